// The form: what is asked, and where its errors are shown.

import { getJson, post } from "./calls.js";
import { byId, fill, make, number, shown } from "./elements.js";
import { itemInWords } from "./items.js";
import { showLists } from "./lists.js";

const MOST_COLUMNS = 8;
const form = byId("ask");
const tries = new Set(); // filters to try that are on
let told = null; // what the server said of its versions
let running = null;

export function startAsking(versions) {
  told = versions;
  const current = told.versions[0];
  fill(byId("users"), current.users_to_try.map((user) => make("option", { value: user })));
  if (!byId("user").value && current.users_to_try.length) byId("user").value = current.users_to_try[0];
  fill(byId("tries"), current.filters_to_try.map(chip));
  fillVersions();
  fill(byId("context"), Object.entries(current.context).map(contextField));
  fill(byId("filter-hint"), columnsInWords(current.item_columns));
  ask();
}

function chip(condition) {
  const button = make("button", { type: "button", "aria-pressed": String(tries.has(condition)) }, condition);
  button.addEventListener("click", () => {
    const isOn = !tries.delete(condition);
    if (isOn) tries.add(condition);
    button.setAttribute("aria-pressed", String(isOn));
    ask();
  });
  return button;
}

function fillVersions() {
  const names = told.versions.map((one) => one.name);
  const options = (first) => [make("option", { value: "" }, first), ...names.map((name) => make("option", {}, name))];
  fill(byId("version"), options("the user's own"));
  fill(byId("other"), options("none"));
  byId("other").disabled = names.length < 2;
  byId("version-hint").textContent =
    names.length < 2 ? "One version is loaded. tamis publish BUNDLE --to PLACE --shadow loads one to compare with." : "";
}

function contextField([name, usual]) {
  const input = make("input", { id: `context-${name}`, name, placeholder: usual === null ? "must be given" : shown(usual) });
  input.dataset.kind = typeof usual;
  return make("div", { class: "field narrow" }, make("label", { for: input.id }, name), input);
}

function columnsInWords(columns) {
  const names = Object.entries(columns).map(([name, kind]) => [make("code", {}, name), ` ${kind}`]);
  if (!names.length) return ["The items have no columns; their id can be filtered by."];
  return ["Columns: ", ...names.flatMap((one, i) => (i ? [", ", ...one] : one)), "."];
}

// What the fields say, as a request; empty fields say nothing.
function request() {
  const user = byId("user").value.trim();
  const filter = byId("filter").value.trim();
  const body = { k: Number(byId("k").value) || 10, explain: true, exclude_seen: byId("unseen").checked };
  if (user) body.users = [user];
  else body.features = [{}];
  body.filters = [...tries, ...(filter ? [filter] : [])];
  for (const [id, name] of [["num-candidates", "num_candidates"], ["num-ranked", "num_ranked"], ["timeout", "timeout_ms"]]) {
    if (byId(id).value) body[name] = Number(byId(id).value);
  }
  const context = [...byId("context").querySelectorAll("input")].filter((input) => input.value.trim());
  if (context.length) body.context = Object.fromEntries(context.map((input) => [input.name, contextValue(input)]));
  return body;
}

function contextValue(input) {
  const text = input.value.trim();
  const isNumber = input.dataset.kind !== "string" && Number.isFinite(Number(text));
  return isNumber ? Number(text) : text;
}

// Columns to show: of a version by name its own, else those that all versions have.
function columnsOf(version) {
  const columns = told.versions.filter((one) => !version || one.name === version).map((one) => one.item_columns);
  return Object.keys(columns[0]).filter((name) => columns.every((one) => name in one)).slice(0, MOST_COLUMNS);
}

function asked(version, body, signal) {
  return post("v1/recommend", { ...body, show: columnsOf(version), ...(version ? { version } : {}) }, signal);
}

async function ask() {
  running?.abort();
  running = new AbortController();
  const { signal } = running;
  const body = request();
  const versions = [byId("version").value, ...(byId("other").value ? [byId("other").value] : [])];
  byId("answer").setAttribute("aria-busy", "true");
  try {
    const [met, ...answers] = await Promise.all([
      historyOf(body.users?.[0], versions[0], signal),
      ...versions.map((version) => asked(version, body, signal)),
    ]);
    tell(null);
    showHistory(met);
    byId("answer").classList.toggle("side-by-side", answers.length > 1);
    showLists(byId("lists"), answers, told.versions);
  } catch (error) {
    if (error.name === "AbortError") return; // a newer request is on its way
    tell(error);
  }
  byId("answer").setAttribute("aria-busy", "false");
}

async function historyOf(user, version, signal) {
  if (!user) return null;
  return getJson("v1/history", { user, show: columnsOf(version), ...(version ? { version } : {}) }, signal);
}

function tell(error) {
  const where = error?.where ?? "";
  const isOf = { filter: /^(Where|body\.filters)/.test(where), user: /^(body\.users|query\.user)/.test(where) };
  for (const [id, isHere] of Object.entries(isOf)) {
    byId(`${id}-error`).textContent = isHere ? error.message : "";
    byId(id).setAttribute("aria-invalid", String(isHere));
  }
  byId("error").textContent = error && !isOf.filter && !isOf.user ? error.message : "";
  byId("lists").classList.toggle("old", error !== null);
}

function showHistory(met) {
  const facts = byId("history-facts");
  if (met === null) facts.textContent = "Nobody in particular.";
  else if (!met.num_items) facts.textContent = met.known ? "Nothing yet." : "This user is not known, and has met nothing.";
  else facts.textContent = met.items.length < met.num_items ? `The latest ${met.items.length} of ${number(met.num_items)} items` : `${met.num_items} items, latest first`;
  const list = byId("history-items");
  list.start = met?.num_items ?? 0;
  fill(list, (met?.items ?? []).map((item) => make("li", {}, itemInWords(item))));
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  ask();
});
byId("another").addEventListener("click", () => {
  const users = told.versions[0].users_to_try.map(String);
  byId("user").value = users[(users.indexOf(byId("user").value) + 1) % users.length] ?? "";
  ask();
});
for (const id of ["user", "k", "version", "other", "unseen"]) byId(id).addEventListener("change", ask);
