// Calls of this server, with its key where it asks for one.

const KEY = "tamis-key";
let key = sessionStorage.getItem(KEY);

export function useKey(given) {
  key = given;
  sessionStorage.setItem(KEY, given);
}

// Why there is no answer: `where` says which part of the request is wrong.
export class Refused extends Error {
  constructor(status, error) {
    super(error?.message ?? `The server answered with status ${status}.`);
    this.status = status;
    this.where = error?.where ?? "server";
  }
}

async function answerTo(path, options) {
  const headers = key ? { ...options.headers, Authorization: `Bearer ${key}` } : options.headers;
  let answer;
  try {
    answer = await fetch(path, { ...options, headers, cache: "no-store" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(0, { message: "The server does not answer.", where: "server" });
  }
  if (answer.ok) return answer;
  if (answer.status === 401) document.dispatchEvent(new Event("key-wanted"));
  throw new Refused(answer.status, (await answer.json().catch(() => ({}))).error);
}

export async function getText(path) {
  return (await answerTo(path, {})).text();
}

export async function getJson(path, query = {}, signal = undefined) {
  const asked = new URLSearchParams();
  for (const [name, values] of Object.entries(query)) {
    for (const value of [values].flat()) asked.append(name, value);
  }
  return (await answerTo(asked.size ? `${path}?${asked}` : path, { signal })).json();
}

// The answer, and the milliseconds that it took as seen from here.
export async function post(path, body, signal) {
  const started = performance.now();
  const headers = { "Content-Type": "application/json" };
  const answer = await answerTo(path, { method: "POST", body: JSON.stringify(body), headers, signal });
  const found = await answer.json();
  return { found, tookMs: performance.now() - started };
}
