// Small charts: how long each stage took, and a rate over time.

import { make, milliseconds, number } from "./elements.js";

// A stage has its colour wherever it is shown.
const STAGES = ["features", "filters", "retrieval", "ranking", "ordering", "telling"];
const colourOf = (stage, i) => (STAGES.includes(stage) ? STAGES.indexOf(stage) : i % 6);
const SVG = "http://www.w3.org/2000/svg";

// One bar of all stages, and each by name below it.
export function stageBars(stageMs) {
  const stages = Object.entries(stageMs);
  const total = stages.reduce((sum, [, ms]) => sum + ms, 0) || 1;
  const bar = make("div", { class: "bar", "aria-hidden": "true" });
  const names = stages.map(([name, ms], i) => {
    const part = make("span", { class: `part colour-${colourOf(name, i)}` });
    part.style.width = `${(100 * ms) / total}%`;
    bar.append(part);
    return make("div", {}, make("dt", { class: `swatch colour-${colourOf(name, i)}` }, name), make("dd", {}, milliseconds(ms)));
  });
  return make("div", { class: "stages" }, bar, make("dl", {}, names));
}

function draw(tag, attributes, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

// A line of values, the latest at the right; `most` is how many fit.
export function rateLine(values, most, label) {
  const [width, height] = [600, 80];
  const top = Math.max(...values, 1);
  const points = values.map((value, i) => {
    const x = width - ((values.length - 1 - i) * width) / (most - 1);
    return `${x.toFixed(1)},${(height - 2 - (value / top) * (height - 6)).toFixed(1)}`;
  });
  const latest = values.length ? number(Math.round(values.at(-1) * 10) / 10) : "–";
  const text = `${label}: ${latest} now, ${number(Math.round(top * 10) / 10)} at the top of the line`;
  const line = draw("polyline", { points: points.join(" "), class: "line" });
  const chart = draw("svg", { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", role: "img", "aria-label": text }, line);
  return [make("p", { class: "hint" }, text), chart];
}
