// The map: every chunk a point, coloured by language, module or pattern; found, hovered, zoomed, opened.
import { ask, attempt, byId, chart, colour, look, make, number, open, placeButton, say } from "./parts.js";

/** Told apart on white and on black, also by most of those who see few colours. */
const COLOURS = ["#3b82d0", "#e08214", "#2f9e5f", "#cf5fa0", "#8a6fd1", "#b8a11c", "#22a5b5", "#c9503f", "#7a8f3c"];
const OTHERS = "#8d939b";
const LISTED = 200;
/** Modules are folders, named as deep as it takes to tell a few apart. */
const [FEW_MODULES, DEEPEST] = [5, 4];

let points = [];
let indexed = 0;
let depth = 1;
let drawn = { names: [], at: new Map() };
/** What a search by meaning found, best first; null while typing narrows by name and path. */
let hits = null;

const folderOf = (path) => path.split("/").slice(0, -1).slice(0, depth).join("/") || "top folder";
const KEYS = {
  language: (point) => point[2],
  module: (point) => folderOf(point[5]),
  pattern: (point) => point[7] || "none",
};
const has = (point, needle) => point[3].toLowerCase().includes(needle) || point[5].toLowerCase().includes(needle);
const matches = (point, needle) => (hits ? hits.some((hit) => isAt(point, hit)) : has(point, needle));
const isAt = (point, { path, line, name }) => point[5] === path && (point[6] === line || point[3] === name);
const escape = (text) => text.replace(/[&<>"]/g, (sign) => `&#${sign.charCodeAt(0)};`);
const needle = () => byId("needle").value.trim().toLowerCase();

export const isBare = () => !points.length;

export async function showMap() {
  const { points: found, total } = await ask("data/map");
  if (!points.length && new Set(found.map(KEYS.language)).size < 2) byId("colour").value = "module";
  points = found;
  depth = 1;
  while (depth < DEEPEST && new Set(points.map(KEYS.module)).size < FEW_MODULES) depth += 1;
  indexed = total;
  byId("bare").hidden = points.length > 0;
  byId("split").hidden = !points.length;
  byId("bare").textContent = "There is nothing to draw yet: the map fills while the code is being indexed, and the Index tab tells how far that is.";
  if (!points.length) return;
  drawMap();
  findPlaces();
}

/** The groups by size, small ones put together; a colour for each. */
function groups() {
  const key = KEYS[byId("colour").value];
  const counts = new Map();
  for (const point of points) counts.set(key(point), (counts.get(key(point)) ?? 0) + 1);
  const top = [...counts].sort((a, b) => b[1] - a[1]).slice(0, COLOURS.length).map(([name]) => name);
  const named = new Set(top);
  const found = new Map([...top, "others"].map((name) => [name, []]));
  for (const point of points) found.get(named.has(key(point)) ? key(point) : "others").push(point);
  if (!found.get("others").length) found.delete("others");
  return found;
}

function drawMap() {
  const sought = needle();
  const found = groups();
  const size = points.length > 3000 ? 5 : points.length > 800 ? 7 : 9;
  const series = [...found].map(([name, members], at) => ({
    name, type: "scatter", symbolSize: size, itemStyle: { color: name === "others" ? OTHERS : COLOURS[at], opacity: 0.8 },
    emphasis: { scale: 1.8, itemStyle: { opacity: 1, borderColor: colour("--ink"), borderWidth: 1.5 } },
    data: members.map((point) => ({ value: point, ...((hits || sought) && !matches(point, sought) ? { itemStyle: { opacity: 0.07 } } : {}) })),
  }));
  drawn = { at: new Map(series.flatMap(({ data }, seriesIndex) => data.map(({ value }, dataIndex) => [value, { seriesIndex, dataIndex }]))) };
  const zoom = chart("chart").getOption()?.dataZoom?.map(({ start, end }) => ({ start, end })) ?? [];
  const axis = { show: false, min: -1.05, max: 1.05 };
  const common = look();
  chart("chart").setOption({
    ...common, grid: { left: 12, right: 12, top: 40, bottom: 12 }, xAxis: axis, yAxis: axis, series,
    dataZoom: ["xAxisIndex", "yAxisIndex"].map((which, at) => ({ type: "inside", [which]: 0, filterMode: "none", ...zoom[at] })),
    tooltip: { ...common.tooltip, formatter: ({ value }) => about(value) },
  }, true);
  chart("chart").off("click");
  chart("chart").on("click", ({ value }) => open(value[5], value[6]));
}

function about([, , language, name, kind, path, line, pattern]) {
  return `<b>${escape(name || path)}</b><br>${escape([language, kind, pattern].filter(Boolean).join(" · "))}<br>${escape(path)}:${line}`;
}

function findPlaces() {
  if (hits) return listHits();
  const found = points.filter((point) => matches(point, needle()));
  byId("count").textContent = `${found.length < indexed ? `${number(found.length)} of ` : ""}${number(indexed)} places`;
  const rows = found.slice(0, LISTED).map((point) => {
    const button = placeButton({ name: point[3], path: point[5], line: point[6] });
    for (const event of ["mouseenter", "focus"]) button.addEventListener(event, () => pointAt(point));
    return make("li", [button]);
  });
  const rest = found.length - rows.length;
  if (rest > 0) rows.push(make("li", `and ${number(rest)} more: type to narrow them`, { class: "faint place" }));
  byId("places").replaceChildren(...(rows.length ? rows : [make("li", "No name and no path has that.", { class: "faint place" })]));
}

/** The hits of a search in their order, each shown on the map while it is under the mouse. */
function listHits() {
  byId("count").textContent = hits.length === 1 ? "1 place found" : `${number(hits.length)} places found`;
  const rows = hits.map((hit) => {
    const button = placeButton(hit);
    const point = points.find((one) => isAt(one, hit));
    for (const event of point ? ["mouseenter", "focus"] : []) button.addEventListener(event, () => pointAt(point));
    return make("li", [button]);
  });
  byId("places").replaceChildren(...(rows.length ? rows : [make("li", "Nothing says that: other words may.", { class: "faint place" })]));
}

/** Asks as `codekin search` does: by words, names, filters and a regular expression. */
async function search() {
  const [text, grep] = [byId("needle").value.trim(), byId("grep").value.trim()];
  if (!text && !grep) return narrow();
  const found = await ask("data/search", { text, ...(grep ? { grep } : {}), limit: LISTED });
  hits = found.places;
  say(found.degraded);
  drawMap();
  findPlaces();
}

function narrow() {
  hits = null;
  if (points.length) { drawMap(); findPlaces(); }
}

/** Shows on the map where a place of the list is. */
function pointAt(point) {
  const where = drawn.at.get(point);
  chart("chart").dispatchAction({ type: "downplay" });
  if (where) for (const type of ["highlight", "showTip"]) chart("chart").dispatchAction({ type, ...where });
}

function showWhole() {
  chart("chart").dispatchAction({ type: "dataZoom", batch: [0, 1].map((dataZoomIndex) => ({ dataZoomIndex, start: 0, end: 100 })) });
}

byId("needle").addEventListener("input", narrow);
byId("colour").addEventListener("change", () => { if (points.length) drawMap(); });
byId("whole").addEventListener("click", showWhole);
byId("find").addEventListener("submit", (event) => { event.preventDefault(); attempt(search); });
