// The tab of live metrics: asks for /metrics every two seconds while somebody looks.

import { getText } from "./calls.js";
import { rateLine } from "./charts.js";
import { byId, fill, make, milliseconds, number, percent } from "./elements.js";
import { distinct, growth, matching, parse, percentile, total } from "./prometheus.js";

const EVERY_MS = 2000;
const MINUTE_MS = 60_000;
const MOST_POINTS = 60;
const REQUESTS = "tamis_requests_total";
let timer = null;
let looks = []; // { at, samples }, the oldest a minute ago
let rates = [];

export function showMetrics() {
  if (timer === null) look();
}

export function stopMetrics() {
  clearTimeout(timer);
  timer = null;
}

async function look() {
  timer = setTimeout(look, EVERY_MS);
  if (document.hidden) return;
  try {
    const samples = parse(await getText("metrics"));
    remember({ at: performance.now(), samples });
    show();
  } catch (error) {
    byId("metrics-state").textContent = error.message;
  }
}

function remember(look) {
  const before = looks.at(-1);
  if (before) {
    rates.push((1000 * answered(look.samples, before.samples)) / (look.at - before.at));
    rates = rates.slice(-MOST_POINTS);
  }
  looks.push(look);
  looks = looks.filter((one) => look.at - one.at <= MINUTE_MS);
}

// Requests for answers and updates: not those of probes, nor of this page for itself.
const routes = (samples) => distinct(samples, REQUESTS, "route").filter((route) => /^\/v\d\//.test(route));

function answered(samples, before, labels = {}) {
  return routes(samples).reduce((sum, route) => sum + growth(samples, before, REQUESTS, { ...labels, route }), 0);
}

function refused(samples, before) {
  const statuses = distinct(samples, REQUESTS, "status").filter((status) => status === "429" || status >= "500" || status === "0");
  return statuses.reduce((sum, status) => sum + answered(samples, before, { status }), 0);
}

function show() {
  const { samples, at } = looks.at(-1);
  const seconds = (at - looks[0].at) / 1000;
  const before = seconds > 0 ? looks[0].samples : null;
  byId("metrics-state").textContent = `As of ${new Date().toLocaleTimeString()}. “Now” is the last ${before ? Math.round(seconds) : 0} seconds.`;
  fill(byId("tiles"), tiles(samples, before, seconds).map(([name, text]) => make("div", { class: "card" }, make("dt", {}, name), make("dd", {}, text))));
  fill(byId("rate"), rateLine(rates, MOST_POINTS, "Requests per second"));
  fill(byId("tables"), routeTable(samples, before, seconds), stageTable(samples, before), versionTable(samples));
}

function tiles(samples, before, seconds) {
  const all = answered(samples, null);
  const hits = total(samples, "tamis_filter_cache_total", { result: "hit" }) ?? 0;
  const misses = total(samples, "tamis_filter_cache_total", { result: "miss" }) ?? 0;
  return [
    ["Requests per second", before ? number(Math.round((10 * answered(samples, before)) / seconds) / 10) : "–"],
    ["Requests since the start", number(all)],
    ["Refused as busy, or failed", percent(refused(samples, null) / all)],
    ["Made simpler for lack of time", number(total(samples, "tamis_degraded_total") ?? 0)],
    ["At work or waiting", number(total(samples, "tamis_in_work") ?? 0)],
    ["Filters found in memory", percent(hits / (hits + misses))],
    ["Updates taken", number(total(samples, "tamis_updates_total") ?? 0)],
    ["Versions that stay off", number(total(samples, "tamis_failed_versions") ?? 0)],
  ];
}

const TIMES = ["p50 now", "p99 now", "p50", "p99"];

function times(samples, before, name, labels) {
  const of = (earlier, share) => milliseconds(1000 * percentile(samples, earlier, name, labels, share));
  return [before ? of(before, 0.5) : "–", before ? of(before, 0.99) : "–", of(null, 0.5), of(null, 0.99)];
}

function routeTable(samples, before, seconds) {
  const rows = routes(samples).map((route) => {
    const now = before ? number(Math.round((10 * growth(samples, before, REQUESTS, { route })) / seconds) / 10) : "–";
    const count = number(growth(samples, null, REQUESTS, { route }));
    return [route, count, now, ...times(samples, before, "tamis_request_seconds", { route })];
  });
  return table("Requests by route", ["Route", "Requests", "per second now", ...TIMES], rows);
}

function stageTable(samples, before) {
  const name = "tamis_stage_seconds";
  const rows = distinct(samples, `${name}_count`, "version").flatMap((version) =>
    distinct(samples, `${name}_count`, "stage")
      .filter((stage) => total(samples, `${name}_count`, { version, stage }))
      .map((stage) => [version, stage, ...times(samples, before, name, { version, stage })]),
  );
  return table("Stages", ["Version", "Stage", ...TIMES], rows);
}

function versionTable(samples) {
  const serving = matching(samples, "tamis_version_info").filter((one) => one.value === 1);
  const rows = serving.map(({ labels: { version, role } }) => {
    const of = (name, labels = {}) => total(samples, name, { version, ...labels });
    const recalls = matching(samples, "tamis_index_recall", { version }).map((one) => `${one.labels.source} ${percent(one.value)}`);
    return [
      version,
      role,
      number(of("tamis_items")),
      recalls.join(", ") || "–",
      number(of("tamis_lists_total")),
      percent(of("tamis_unknown_user_share")),
      number(of("tamis_score_drift")),
      number(of("tamis_refused_updates")),
    ];
  });
  const heads = ["Version", "Role", "Items", "Recall of its index", "Lists", "Unknown users", "Score drift", "Refused updates"];
  return table("Versions", heads, rows);
}

function table(caption, heads, rows) {
  const isText = (name) => ["Route", "Version", "Stage", "Role", "Recall of its index"].includes(name);
  const kind = heads.map((name) => (isText(name) ? null : "number"));
  const head = make("tr", {}, heads.map((name, i) => make("th", { scope: "col", class: kind[i] }, name)));
  const body = rows.map((row) => make("tr", {}, row.map((text, i) => make(i ? "td" : "th", { class: kind[i], scope: i ? null : "row" }, text))));
  const empty = rows.length ? [] : [make("tr", {}, make("td", { colspan: heads.length }, "Nothing yet."))];
  const whole = make("table", {}, make("caption", {}, caption), make("thead", {}, head), make("tbody", {}, body, empty));
  return make("div", { class: "card scroll", tabindex: "0", role: "group", "aria-label": caption }, whole);
}

document.addEventListener("visibilitychange", () => {
  if (!document.hidden && timer !== null) {
    stopMetrics();
    look();
  }
});
