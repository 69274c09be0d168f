// What Prometheus' text says, and rates and percentiles out of it.

const LINE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? ([^ ]+)/;
const LABEL = /([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"/g;
const ESCAPED = { "\\n": "\n", '\\"': '"', "\\\\": "\\" };

function value(text) {
  return { "+Inf": Infinity, "-Inf": -Infinity }[text] ?? Number(text);
}

// Samples by name: each has labels and a value.
export function parse(text) {
  const found = new Map();
  for (const line of text.split("\n")) {
    const match = line.startsWith("#") ? null : LINE.exec(line);
    if (match === null) continue;
    const labels = {};
    for (const [, name, raw] of (match[2] ?? "").matchAll(LABEL)) labels[name] = raw.replace(/\\[n"\\]/g, (one) => ESCAPED[one]);
    if (!found.has(match[1])) found.set(match[1], []);
    found.get(match[1]).push({ labels, value: value(match[3]) });
  }
  return found;
}

export function matching(samples, name, labels = {}) {
  const wanted = Object.entries(labels);
  return (samples?.get(name) ?? []).filter((one) => wanted.every(([label, text]) => one.labels[label] === text));
}

// The sum of all samples of a name with these labels; undefined where there is none.
export function total(samples, name, labels) {
  const found = matching(samples, name, labels);
  return found.length ? found.reduce((sum, one) => sum + one.value, 0) : undefined;
}

export function distinct(samples, name, label) {
  return [...new Set(matching(samples, name).map((one) => one.labels[label]))].sort();
}

// How much a counter grew since the samples before; all of it where there are none.
export function growth(samples, before, name, labels) {
  return Math.max((total(samples, name, labels) ?? 0) - (total(before, name, labels) ?? 0), 0);
}

// The value below which a share of a histogram's new observations lies, as straight lines between its bounds give it.
export function percentile(samples, before, name, labels, share) {
  const bounds = distinct(samples, `${name}_bucket`, "le").map((text) => ({ text, bound: value(text) }));
  bounds.sort((one, other) => one.bound - other.bound);
  const counts = bounds.map(({ text }) => growth(samples, before, `${name}_bucket`, { ...labels, le: text }));
  const all = counts.at(-1) ?? 0;
  if (!all) return NaN;
  const at = counts.findIndex((count) => count >= share * all);
  const [low, below] = at ? [bounds[at - 1].bound, counts[at - 1]] : [0, 0];
  if (bounds[at].bound === Infinity) return low;
  return low + ((bounds[at].bound - low) * (share * all - below)) / (counts[at] - below);
}
