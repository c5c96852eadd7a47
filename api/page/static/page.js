// What all pages have in common: forms that scripts send are confirmed, and pieces are kept live.
"use strict";

(() => {
  const confirmation = document.querySelector('meta[name="confirmation"]')?.content ?? "";

  document.addEventListener("htmx:configRequest", (event) => {
    event.detail.headers["X-Confirmation"] = confirmation;
  });
  document.addEventListener("htmx:beforeRequest", () => {
    document.getElementById("notice")?.replaceChildren();
  });
  // Without htmx, too: a form that says so asks before it is sent.
  document.addEventListener("submit", (event) => {
    const question = event.target.dataset.confirm;
    if (question && !window.confirm(question)) event.preventDefault();
  });

  // One stream a page, and none while nobody can see it: a browser has few connections to give.
  const address = document.body.dataset.liveAddress;
  if (!address) return;
  const state = document.querySelector("[data-live-state]");
  const shown = new Map();
  let stream = null;

  const say = (isLive) => {
    if (!state) return;
    state.hidden = false;
    state.classList.toggle("still", !isLive);
    state.textContent = isLive ? "live" : "not live";
  };

  // Whoever reads or uses a piece is not disturbed: it is the same element that has the focus after.
  const put = (element, html) => {
    const selection = document.getSelection();
    if (selection && !selection.isCollapsed && element.contains(selection.anchorNode)) return;
    const active = document.activeElement;
    const href = element.contains(active) ? active.getAttribute("href") : null;
    if (element.contains(active) && !href) return;
    const open = [...element.querySelectorAll("details")].map((one) => one.open);
    element.innerHTML = html;
    element.querySelectorAll("details").forEach((one, place) => {
      if (place in open) one.open = open[place];
    });
    if (href) {
      [...element.querySelectorAll("a[href]")].find((one) => one.getAttribute("href") === href)?.focus();
    }
    window.htmx?.process(element);
  };

  const take = (name) => (event) => {
    if (shown.get(name) === event.data) return;
    shown.set(name, event.data);
    document.querySelectorAll(`[data-live="${name}"]`).forEach((one) => put(one, event.data));
    document.dispatchEvent(new CustomEvent(`live:${name}`, { detail: event.data }));
  };

  const names = new Set([...document.querySelectorAll("[data-live]")].map((one) => one.dataset.live));
  for (const name of (document.body.dataset.liveEvents ?? "drawn").split(" ")) names.add(name);

  const open = () => {
    if (stream || document.hidden) return;
    stream = new EventSource(address);
    stream.onopen = () => say(true);
    stream.onerror = () => say(false);
    stream.addEventListener("over", () => window.location.reload());
    stream.addEventListener("ended", close);
    for (const name of names) stream.addEventListener(name, take(name));
  };
  const close = () => {
    stream?.close();
    stream = null;
  };
  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  window.addEventListener("pagehide", close);
  window.addEventListener("pageshow", open);
  open();
})();
