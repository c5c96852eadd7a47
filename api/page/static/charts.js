// Draws what the server says of the past; the table beside it says the same without a picture.
"use strict";

(() => {
  const root = document.querySelector("[data-charts]");
  if (!root || !window.uPlot) return;

  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const figure = (value, unit) => {
    if (value === null || value === undefined) return "–";
    const digits = value >= 100 ? 0 : value >= 10 ? 1 : 2;
    return `${value.toFixed(digits)}${unit}`;
  };
  // As the table and the tiles have it.
  const often = (value) => {
    if (!value || value >= 1) return figure(value, "/s");
    return value * 60 >= 1 ? figure(value * 60, "/min") : figure(value * 3600, "/h");
  };
  const atMost = (value) => {
    return value === null || value === undefined ? "–" : `≤ ${figure(value, " ms")}`;
  };
  // What each chart shows: the names of its lines, and their figures.
  const KINDS = {
    rate: { say: often, lines: (data) => [["calls", data.rate]] },
    times: { say: atMost, lines: (data) => [["median", data.p50], ["p99", data.p99]] },
    failures: { say: often, lines: (data) => Object.entries(data.failures) },
    waiting: { say: (value) => figure(value, ""), lines: (data) => [["waiting", data.waiting]] },
  };
  const charts = new Map();
  // In UTC, as all times of the page.
  const moment = (at, end) => new Date(at * 1000).toISOString().slice(11, end);

  const axis = () => ({
    stroke: colour("--soft"),
    grid: { stroke: colour("--grid"), width: 1 },
    ticks: { stroke: colour("--grid"), width: 1 },
    font: "11px system-ui, sans-serif",
  });

  const draw = (element, kind, data) => {
    const lines = kind.lines(data);
    const values = [data.at, ...lines.map(([, one]) => one)];
    const names = lines.map(([name]) => name).join("\n");
    const known = charts.get(element);
    if (!lines.length) {
      known?.plot.destroy();
      charts.delete(element);
      element.textContent = "none";
      return;
    }
    if (!known) element.textContent = "";
    if (known && known.names === names) {
      known.plot.setData(values);
      return;
    }
    known?.plot.destroy();
    const fill = lines.length === 1 ? `${colour("--chart-1")}22` : undefined;
    const plot = new window.uPlot(
      {
        width: element.clientWidth,
        height: 150,
        legend: { live: true },
        cursor: { y: false },
        scales: { y: { range: (_, least, most) => [0, most > 0 ? most * 1.1 : 1] } },
        axes: [
          { ...axis(), space: 70, values: (_, all, __, ___, step) => all.map((at) => moment(at, step < 60 ? 19 : 16)) },
          { ...axis(), size: 64 },
        ],
        series: [
          { label: "time", value: (_, at) => (at === null ? "–" : moment(at, 19)) },
          ...lines.map(([label], place) => ({
            label,
            stroke: colour(`--chart-${(place % 6) + 1}`),
            width: 1.5,
            fill,
            points: { show: false },
            value: (_, value) => kind.say(value),
          })),
        ],
      },
      values,
      element,
    );
    charts.set(element, { plot, names });
  };

  let latest = root.dataset.charts;
  const drawAll = () => {
    const data = JSON.parse(latest);
    root.querySelectorAll("[data-chart]").forEach((element) => {
      draw(element, KINDS[element.dataset.chart], data);
    });
  };
  const drawAnew = () => {
    charts.forEach(({ plot }) => plot.destroy());
    charts.clear();
    drawAll();
  };
  document.addEventListener("live:drawn", (event) => {
    latest = event.detail;
    drawAll();
  });
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAnew);
  new ResizeObserver(() => {
    charts.forEach(({ plot }, element) => plot.setSize({ width: element.clientWidth, height: 150 }));
  }).observe(root);
  drawAll();
})();
