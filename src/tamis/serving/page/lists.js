// Lists side by side: items with the scores of each stage, how long the stages took, and where the lists differ.

import { stageBars } from "./charts.js";
import { fill, make, milliseconds, number, score, shown } from "./elements.js";
import { itemInWords } from "./items.js";

export function showLists(place, answers, versions) {
  const lists = answers.map((answer) => answer.found.results[0]);
  const opened = new Set([...place.querySelectorAll("details[open]")].map((one) => one.dataset.item));
  fill(
    place,
    lists.length > 1 ? make("p", { class: "hint", id: "overlap" }, overlapInWords(...lists)) : null,
    answers.map((answer, i) => panel(answer, lists[i], lists[1 - i] ?? null, versions, opened)),
  );
}

function overlapInWords(one, other) {
  const ids = new Set(other.items.map((item) => item.id));
  const both = one.items.filter((item) => ids.has(item.id)).length;
  const same = one.items.filter((item, i) => item.id === other.items[i]?.id).length;
  return `${both} of ${one.items.length} items are in both lists, ${same} at the same rank. Below its rank stands an item's rank in the other list; new is not in it.`;
}

function panel(answer, list, other, versions, opened) {
  const version = versions.find((one) => one.name === list.version);
  const targets = Object.keys(list.items[0]?.ranking ?? {});
  const title = other ? list.version : "Recommendations";
  return make(
    "section",
    { class: "card list", "aria-label": `Recommendations of ${list.version}` },
    make("h2", {}, title, make("span", { class: "role" }, version ? ` ${other ? version.role : list.version}` : "")),
    make("p", { class: "hint" }, facts(answer, list)),
    answer.found.degraded ? make("p", { class: "warning" }, DEGRADED[answer.found.degraded] ?? answer.found.degraded) : null,
    stageBars(answer.found.stage_ms),
    make("p", { class: "hint" }, funnel(list.explanation)),
    list.items.length ? table(list, other, targets, opened) : make("p", { class: "warning" }, `No items: ${list.reason}.`),
  );
}

const DEGRADED = {
  fewer_candidates: "Time was short: fewer candidates were ranked.",
  retrieval_order: "Time was short: nothing was ranked, this is the order of retrieval.",
  popularity: "Time was short: these are the most popular items.",
  bundle_features: "The feature store gave no answer: users have the features of the bundle.",
  fewer_sources: "An index gave no answer: the candidates are those of the other sources.",
};

function facts(answer, list) {
  const inside = Object.values(answer.found.stage_ms).reduce((sum, ms) => sum + ms, 0);
  const who = list.known ? "" : " The user is not known.";
  return `${list.items.length} items in ${milliseconds(answer.tookMs)}, of which the stages took ${milliseconds(inside)}.${who}`;
}

function funnel(told) {
  if (!told) return "";
  const { filters } = told;
  const taken = Object.entries(filters.take_out).map(([name, count]) => `${name} takes out ${number(count)}`);
  const left = Object.entries(filters.leave_each).map(([name, count]) => `${name} leaves ${number(count)}`);
  const steps = [`${number(filters.on_offer)} items on offer`, ...left, ...taken];
  return `${steps.join(", ")} → ${number(told.num_candidates)} candidates at most → ${number(told.num_ranked)} ranked → ${told.ordering.join(", ")}.`;
}

function table(list, other, targets, opened) {
  const ranks = other && new Map(other.items.map((item) => [item.id, item.rank]));
  const heads = ["#", "Item", "Retrieval", ...targets, "Score"];
  const numeric = new Set(["Retrieval", ...targets, "Score"]);
  const head = make("tr", {}, heads.map((name) => make("th", { scope: "col", class: numeric.has(name) && "number" }, name)));
  const rows = list.items.map((item) => row(item, ranks, targets, opened));
  return make("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "Items" }, make("table", {}, make("thead", {}, head), make("tbody", {}, rows)));
}

function row(item, ranks, targets, opened) {
  const cell = (value) => make("td", { class: "number" }, score(value));
  return make(
    "tr",
    {},
    make("td", { class: "rank" }, String(item.rank), ranks && change(item, ranks)),
    make("td", { class: "item" }, itemInWords(item), make("span", { class: "rest" }, `found by ${item.sources.join(", ")}`), features(item, opened)),
    cell(item.retrieval_score),
    targets.map((target) => cell(item.ranking[target])),
    cell(item.score),
  );
}

// Where the other list has this item.
function change(item, ranks) {
  const rank = ranks.get(item.id);
  if (rank === undefined) return make("span", { class: "rest new" }, "new");
  return make("span", { class: `rest ${rank === item.rank ? "same" : "moved"}` }, rank === item.rank ? "same" : `#${rank}`);
}

function features(item, opened) {
  const values = Object.entries(item.features ?? {});
  if (!values.length) return null;
  const list = make("dl", {}, values.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, shown(value)))));
  const details = make("details", { open: opened.has(String(item.id)), "data-item": item.id }, make("summary", {}, "features"), list);
  return details;
}
