// Tries a plugin: sends the form, shows what came of it, and draws the places of a result on its picture.
"use strict";

(() => {
  const LEAST_LABEL_PX = 11;
  const form = document.querySelector("form[data-try]");
  if (!form) return;
  const state = form.querySelector("[data-try-state]");
  const cancel = form.querySelector("[data-cancel]");
  const run = form.querySelector("button[type=submit]");
  const shown = document.querySelector("[data-tried]");
  const input = form.querySelector("input[type=file]");
  const confirmation = document.querySelector('meta[name="confirmation"]')?.content ?? "";
  let sample = null;
  let running = null;
  let picture = "";

  // Without this script it stays disabled; with it, while the plugin takes no calls or one runs.
  const allow = () => {
    run.disabled = running !== null || form.querySelector("[data-takes-none]") !== null;
  };
  const given = () => {
    if (sample) return [sample];
    return input ? [...input.files] : [];
  };
  const say = (words) => {
    state.textContent = words;
  };

  const asked = () => {
    const body = new FormData();
    body.append("plugin", form.dataset.plugin);
    if (form.dataset.input === "json") {
      body.append("payload", form.elements.payload.value);
      return body;
    }
    for (const file of given()) body.append(form.dataset.input === "image" ? "image" : "files", file, file.name);
    const options = form.elements.options.value.trim();
    if (options) body.append("options", options);
    return body;
  };

  const send = async () => {
    if (form.dataset.input === "image" && given().length !== 1) {
      say("Choose an image, or use a sample.");
      input.focus();
      return;
    }
    if (form.dataset.input === "files" && !given().length) {
      say("Choose files, or use a sample.");
      input.focus();
      return;
    }
    running?.abort();
    const mine = new AbortController();
    running = mine;
    allow();
    cancel.hidden = false;
    say("It runs …");
    const files = given();
    const name = sample?.name;
    try {
      const answer = await fetch(form.dataset.try, {
        method: "POST",
        body: asked(),
        headers: { "X-Confirmation": confirmation, "HX-Request": "true" },
        signal: mine.signal,
      });
      const to = answer.headers.get("HX-Redirect");
      if (to) {
        window.location.assign(to);
        return;
      }
      shown.innerHTML = await answer.text();
      say(answer.ok ? "It has ended." : "It was refused.");
      offer(name);
      draw(files);
    } catch (error) {
      say(mine.signal.aborted ? "It was cancelled." : "The server did not answer.");
    } finally {
      if (running === mine) {
        running = null;
        allow();
        cancel.hidden = true;
      }
    }
  };

  // Who copies the call has the sample nowhere.
  const offer = (name) => {
    const link = shown.querySelector("[data-save-sample]");
    if (!link || !name) return;
    link.href = form.dataset.sample;
    link.download = name;
    shown.querySelector("[data-of-sample]").hidden = false;
  };

  // A file says how a camera was held. What a plugin gets is the file as it is; whether it has turned
  // the picture, the size that its result names tells, or else its reader does.
  const sizes = (image) => {
    const { naturalWidth: width, naturalHeight: height } = image; // turned already, whatever is shown
    image.classList.remove("upright");
    const isTurned = Math.abs(image.clientWidth * width - image.clientHeight * height) <
      Math.abs(image.clientWidth * height - image.clientHeight * width);
    return { raw: width !== height && isTurned ? [height, width] : [width, height], upright: [width, height] };
  };

  // How a file says that its camera was held; 1 is upright, and also where nothing is said. Sizes do
  // not tell it of a square or of one upside down, and what a canvas draws is turned always.
  const orientationOf = async (file) => {
    const view = new DataView(await file.arrayBuffer());
    try {
      for (let at = 0; at + 16 < view.byteLength; at += 1) {
        if ((view.getUint32(at) | 0x20202020) !== 0x65786966) continue; // "exif", as each kind writes it
        for (const start of [at + 4, at + 6, at + 8]) {
          const isLittle = view.getUint32(start) === 0x49492a00;
          if (!isLittle && view.getUint32(start) !== 0x4d4d002a) continue;
          const table = start + view.getUint32(start + 4, isLittle);
          for (let entry = table + 2; entry < table + 2 + 12 * view.getUint16(table, isLittle); entry += 12) {
            if (view.getUint16(entry, isLittle) === 0x0112) return view.getUint16(entry + 8, isLittle);
          }
        }
      }
    } catch (error) {
      if (!(error instanceof RangeError)) throw error; // it ends in the middle
    }
    return 1;
  };

  // Next to its shape, and inside of the picture: above it, or else below where it begins.
  const putLabel = (text, width, height, line) => {
    const edge = line * 0.2;
    const [x, y] = [Number(text.dataset.x), Number(text.dataset.y)];
    const within = (value, least, most) => Math.max(least, Math.min(value, most));
    text.removeAttribute("textLength");
    let length = text.getComputedTextLength();
    if (length > width - 2 * edge) {
      length = width - 2 * edge;
      text.setAttribute("textLength", String(length));
      text.setAttribute("lengthAdjust", "spacingAndGlyphs");
    }
    text.setAttribute("x", String(within(x, edge, width - length - edge)));
    const above = y - line * 0.25;
    const base = above < line ? y + line : above;
    text.setAttribute("y", String(within(base, line, height - line * 0.25)));
  };

  const draw = async (files) => {
    const figure = shown.querySelector("[data-drawn]");
    if (!figure) return;
    if (picture) URL.revokeObjectURL(picture);
    picture = "";
    if (files.length !== 1 || !files[0].type.startsWith("image/") || files[0].type.includes("svg")) return;
    picture = URL.createObjectURL(files[0]);
    const image = figure.querySelector("[data-picture]");
    const overlay = figure.querySelector("[data-overlay]");
    const turn = figure.querySelector("[data-turn]");
    figure.hidden = false;
    image.src = picture;
    try {
      await image.decode();
    } catch {
      figure.hidden = true; // a kind of picture that this browser cannot show
      return;
    }
    const orientation = await orientationOf(files[0]);
    const known = sizes(image);
    const said = [Number(figure.dataset.width), Number(figure.dataset.height)];
    const is = (size) => size[0] === said[0] && size[1] === said[1];
    turn.checked = is(known.raw) === is(known.upright) ? "upright" in figure.dataset : is(known.upright);
    figure.querySelector("[data-turn-row]").hidden = orientation === 1;
    const place = () => {
      image.classList.toggle("upright", turn.checked);
      const [width, height] = turn.checked ? known.upright : known.raw;
      overlay.setAttribute("viewBox", `0 0 ${width} ${height}`);
      const unit = Math.max(width, height) / 100;
      // Of a picture that is shown small, labels are to be read still.
      const line = Math.max(unit * 2.4, (LEAST_LABEL_PX * width) / (overlay.clientWidth || width));
      overlay.setAttribute("font-size", String(line));
      overlay.querySelectorAll("text").forEach((text) => putLabel(text, width, height, line));
      overlay.querySelectorAll("[data-dot]").forEach((dot) => dot.setAttribute("r", String(unit * 0.7)));
      figure.dataset.ready = "";
    };
    turn.addEventListener("change", place);
    new ResizeObserver(() => requestAnimationFrame(place)).observe(image);
    place();
  };

  allow();
  document.addEventListener("live:runs", allow);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (!run.disabled) send();
  });
  cancel.addEventListener("click", () => running?.abort());
  input?.addEventListener("change", () => {
    sample = null;
    say("");
  });
  form.querySelector("[data-take-sample]")?.addEventListener("click", async () => {
    const answer = await fetch(form.dataset.sample);
    if (!answer.ok) {
      say("There is no sample for this plugin.");
      return;
    }
    const blob = await answer.blob();
    sample = new File([blob], answer.headers.get("X-Sample-Name") ?? "sample", { type: blob.type });
    input.value = "";
    say(`${sample.name} is chosen.`);
  });
  document.addEventListener("click", async (event) => {
    if (!event.target.matches("[data-copy]")) return;
    const text = event.target.parentElement.querySelector("[data-copied]").textContent;
    try {
      await navigator.clipboard.writeText(text);
      event.target.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(event.target.parentElement.querySelector("[data-copied]"));
    }
  });
})();
