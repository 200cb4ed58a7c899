// What every view uses: questions to the daemon, elements, charts, the line at the bottom.
/* global echarts */

const asked = new URLSearchParams(location.search);
export const root = asked.get("root") ?? "";
/** The theme that the editor asked for, when the page stands inside one. */
export const givenTheme = asked.get("theme");
export const byId = (id) => document.getElementById(id);
const charts = {};
const pass = takePass();

/** The pass came with the page; it is kept for a reload, and the used token leaves the address bar. */
function takePass() {
  const given = document.querySelector("meta[name=codekin-pass]").content;
  history.replaceState(null, "", `?root=${encodeURIComponent(root)}${givenTheme ? `&theme=${encodeURIComponent(givenTheme)}` : ""}`);
  try {
    if (given) sessionStorage.setItem("pass", given);
    return given || sessionStorage.getItem("pass") || "";
  } catch {
    return given; // a frame may have no storage
  }
}

export async function ask(path, body) {
  const headers = { Authorization: `Bearer ${pass}`, "Content-Type": "application/json" };
  const options = body ? { method: "POST", headers, body: JSON.stringify({ root, ...body }) } : { headers };
  const response = await fetch(body ? path : `${path}?root=${encodeURIComponent(root)}`, options).catch(() => {
    throw new Error("The daemon has gone: run `codekin dashboard` again.");
  });
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(answer.message ?? "The daemon could not answer; `codekin doctor` says why.");
  return answer;
}

/** Does what a click asked for; what is refused is said. */
export async function attempt(work) {
  await work().catch((error) => say(error.message));
}

export const say = (text) => { byId("message").textContent = text; };
export const number = (value) => value.toLocaleString("en");
export const percent = (part, whole) => `${Math.round((100 * part) / Math.max(whole, 1))} %`;

/** An element with a text or children; text is never markup. */
export function make(tag, content = "", attributes = {}) {
  const element = document.createElement(tag);
  element.append(...(Array.isArray(content) ? content : [content]));
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

/** A name or path that may break after a dot, a slash or an underscore, and nowhere else while there is room. */
export const breakable = (text) => text.split(/(?<=[._/:])(?=\w)/).flatMap((part, at) => (at ? [make("wbr"), part] : [part]));

export function table(headers, rows) {
  const head = make("tr", headers.map((header) => make("th", header, { scope: "col" })));
  const body = rows.map((cells) => make("tr", cells.map((cell) => make("td", cell instanceof Node ? cell : String(cell)))));
  return make("div", [make("table", [make("thead", head), make("tbody", body)])], { class: "wide panel" });
}

/** A place that a click opens in the editor. */
export function placeButton({ name, path, line, score }) {
  const where = `${path}:${line}`;
  const shown = [...breakable(name || path), make("small", breakable(where))];
  if (score !== undefined) shown.unshift(make("span", score.toFixed(2), { class: "score", title: "how near, from 0 to 1" }));
  const button = make("button", shown, { type: "button", class: "place", title: `Open ${where} in the editor` });
  button.addEventListener("click", () => open(path, line));
  return button;
}

export async function open(path, line) {
  await attempt(async () => {
    const { windows } = await ask("do/open", { path, line });
    say(windows ? "" : `No editor window has this folder open: ${path}:${line}`);
  });
}

export function chart(id) {
  charts[id] ??= echarts.init(byId(id), null, { renderer: "canvas" });
  return charts[id];
}

export const resizeCharts = () => Object.values(charts).forEach((drawn) => drawn.resize());
export const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** What both charts have in common, in the colours of the theme. */
export function look() {
  return {
    animation: false, aria: { enabled: true },
    legend: { top: 8, left: 12, right: 12, type: "scroll", textStyle: { color: colour("--ink") }, inactiveColor: colour("--line"), pageIconColor: colour("--mark"), pageTextStyle: { color: colour("--faint") } },
    tooltip: { confine: true, backgroundColor: colour("--panel"), borderColor: colour("--line"), textStyle: { color: colour("--ink") } },
  };
}
