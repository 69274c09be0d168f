// Items in words, whatever their columns hold.

import { make, shown } from "./elements.js";

// The name of an item, and below it what else is known.
export function itemInWords(item) {
  const columns = Object.entries(item.columns ?? {}).filter(([, value]) => value !== null);
  const title = columns.find(([name]) => /^(title|name|label)$/i.test(name)) ?? columns.find(([, value]) => typeof value === "string");
  const rest = columns.filter((one) => one !== title).map(([name, value]) => `${name} ${shown(value)}`);
  if (title) rest.unshift(`id ${item.id}`);
  return [make("span", { class: "title" }, title ? shown(title[1]) : `${item.id}`), make("span", { class: "rest" }, rest.join(" · "))];
}
