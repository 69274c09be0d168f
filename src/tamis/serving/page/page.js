// The page: two tabs over what this server answers.

import { startAsking } from "./ask.js";
import { getJson, useKey } from "./calls.js";
import { byId, number } from "./elements.js";
import { showMetrics, stopMetrics } from "./live.js";

const tabs = [...document.querySelectorAll("[role=tab]")];

function choose(tab, { focus = false } = {}) {
  for (const one of tabs) {
    const isChosen = one === tab;
    one.setAttribute("aria-selected", String(isChosen));
    one.tabIndex = isChosen ? 0 : -1;
    byId(one.getAttribute("aria-controls")).hidden = !isChosen;
  }
  if (focus) tab.focus();
  const name = tab.getAttribute("aria-controls");
  history.replaceState(null, "", `#${name}`);
  if (name === "metrics") showMetrics();
  else stopMetrics();
}

function byArrow(event) {
  const at = tabs.indexOf(event.currentTarget);
  const next = { ArrowRight: at + 1, ArrowLeft: at - 1 + tabs.length, Home: 0, End: tabs.length - 1 }[event.key];
  if (next === undefined) return;
  event.preventDefault();
  choose(tabs[next % tabs.length], { focus: true });
}

function inWords(told) {
  const parts = told.versions.map((one) => {
    if (one.role === "shadow") return `${one.name} as shadow`;
    return one.share < 1 ? `${one.name} for ${Math.round(100 * one.share)} % of the users` : one.name;
  });
  const first = told.versions[0];
  const failed = Object.keys(told.failed);
  const off = failed.length ? `; off: ${failed.join(", ")}` : "";
  return `${parts.join(", ")}${off} · ${number(first.num_items)} items, ${number(first.num_users)} users`;
}

async function start() {
  try {
    const told = await getJson("v1/versions");
    byId("serving").textContent = inWords(told);
    byId("key-form").hidden = true;
    startAsking(told);
  } catch (error) {
    byId("serving").textContent = error.message;
  }
}

document.addEventListener("key-wanted", () => {
  byId("key-form").hidden = false;
  byId("key").focus();
});
byId("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  useKey(byId("key").value);
  start();
});
for (const tab of tabs) {
  tab.addEventListener("click", () => choose(tab));
  tab.addEventListener("keydown", byArrow);
}
if (location.hash === "#metrics") choose(byId("tab-metrics"));
start();
