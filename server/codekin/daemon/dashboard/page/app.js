// The page: asks the daemon for its data and shows it; every view is reachable by keyboard.
/* global echarts */

const root = new URLSearchParams(location.search).get("root") ?? "";
const byId = (id) => document.getElementById(id);
const charts = {};
let points = [];

const pass = takePass();

/** The pass came with the page; it is kept for a reload, and the used token leaves the address bar. */
function takePass() {
  const given = document.querySelector("meta[name=codekin-pass]").content;
  history.replaceState(null, "", `?root=${encodeURIComponent(root)}`);
  try {
    if (given) sessionStorage.setItem("pass", given);
    return given || sessionStorage.getItem("pass") || "";
  } catch {
    return given; // a frame may have no storage
  }
}

async function ask(path, body) {
  const headers = { Authorization: `Bearer ${pass}`, "Content-Type": "application/json" };
  const options = body ? { method: "POST", headers, body: JSON.stringify({ root, ...body }) } : { headers };
  const response = await fetch(body ? path : `${path}?root=${encodeURIComponent(root)}`, options).catch(() => {
    throw new Error("The daemon has gone: run `codekin dashboard` again.");
  });
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(answer.message ?? "The daemon could not answer; `codekin doctor` says why.");
  return answer;
}

function make(tag, text = "", attributes = {}) {
  const element = document.createElement(tag);
  element.textContent = text;
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

function table(headers, rows) {
  const found = make("table");
  const head = found.createTHead().insertRow();
  for (const header of headers) head.append(make("th", header, { scope: "col" }));
  const body = found.createTBody();
  for (const cells of rows) {
    const row = body.insertRow();
    for (const cell of cells) {
      const place = row.insertCell();
      if (typeof cell === "number") place.className = "number";
      place.append(cell instanceof Node ? cell : String(cell));
    }
  }
  return found;
}

function placeButton({ name, path, line }) {
  const button = make("button", name || path, { type: "button", class: "place", title: `Open ${path}:${line} in the editor` });
  button.append(make("small", `${path}:${line}`));
  button.addEventListener("click", () => open(path, line));
  return button;
}

async function open(path, line) {
  await attempt(async () => {
    const { windows } = await ask("do/open", { path, line });
    say(windows ? "" : `No editor window has this folder open: ${path}:${line}`);
  });
}

/** Does what a click asked for; what is refused is said. */
async function attempt(work) {
  await work().catch((error) => say(error.message));
}

const say = (text) => { byId("message").textContent = text; };

// ── the map ──

const KEYS = {
  language: (point) => point[2],
  module: (point) => point[5].split("/").slice(0, 2).join("/"),
  pattern: (point) => point[7] || "none",
};
const MOST_COLOURS = 9;

async function showMap() {
  const { points: found, total } = await ask("data/map");
  if (!points.length && new Set(found.map(KEYS.language)).size < 2) byId("colour").value = "module";
  points = found;
  byId("count").textContent = found.length < total ? `${found.length} of ${total} functions` : `${total} functions`;
  drawMap();
  findPlaces();
}

function drawMap() {
  const key = KEYS[byId("colour").value];
  const needle = byId("needle").value.toLowerCase();
  const counts = new Map();
  for (const point of points) counts.set(key(point), (counts.get(key(point)) ?? 0) + 1);
  const top = [...counts].sort((a, b) => b[1] - a[1]).slice(0, MOST_COLOURS).map(([name]) => name);
  const names = counts.size > top.length ? [...top, "others"] : top;
  const series = names.map((name) => ({
    name, type: "scatter", symbolSize: 6, large: true, largeThreshold: 4000,
    data: points.filter((point) => (top.includes(key(point)) ? key(point) : "others") === name)
      .map((point) => ({ value: point, itemStyle: { opacity: !needle || matches(point, needle) ? 0.85 : 0.08 } })),
  }));
  const axis = { show: false, min: -1.05, max: 1.05 };
  chart("chart").setOption({
    animation: false, grid: { left: 8, right: 8, top: 34, bottom: 8 }, xAxis: axis, yAxis: axis, series,
    legend: { top: 0, type: "scroll", textStyle: { color: colour("--ink") } },
    dataZoom: [{ type: "inside", xAxisIndex: 0, filterMode: "none" }, { type: "inside", yAxisIndex: 0, filterMode: "none" }],
    tooltip: { formatter: ({ value }) => `${escape(value[3])}<br><small>${escape(value[5])}:${value[6]}</small>` },
    aria: { enabled: true },
  }, true);
  chart("chart").off("click");
  chart("chart").on("click", ({ value }) => open(value[5], value[6]));
}

const matches = (point, needle) => point[3].toLowerCase().includes(needle) || point[5].toLowerCase().includes(needle);
const escape = (text) => text.replace(/[&<>"]/g, (sign) => `&#${sign.charCodeAt(0)};`);

function findPlaces() {
  const needle = byId("needle").value.toLowerCase();
  const found = points.filter((point) => matches(point, needle)).slice(0, 200);
  byId("places").replaceChildren(...found.map((point) => {
    const item = make("li");
    item.append(placeButton({ name: point[3], path: point[5], line: point[6] }));
    return item;
  }));
}

// ── the other views ──

async function showDuplicates() {
  const groups = await ask("data/duplicates");
  const rows = groups.map((group) => {
    const places = make("div");
    places.append(...group.map(placeButton));
    return [group.length, places];
  });
  byId("duplicates").replaceChildren(groups.length ? table(["places", "that say nearly the same"], rows) : make("p", "There are no near-duplicates."));
}

async function showIndex() {
  const status = await ask("data/status");
  const facts = [
    ["state", status.state], ...["files", "fragments", "embedded"].map((name) => [name, status[name].toLocaleString("en")]),
    ["model", `${status.model.name || "none"} (${status.model.phase})`], ["space", status.space || "none yet"],
    ["completions", completions(status.completion)],
  ];
  const problems = status.problems.map((problem) => make("p", problem, { class: "bad" }));
  const counts = new Map();
  for (const { reason } of status.skipped_files) counts.set(reason, (counts.get(reason) ?? 0) + 1);
  byId("index").replaceChildren(
    ...problems, table(["", ""], facts),
    make("h2", `Left out: ${status.skipped_files.length}`), table(["reason", "files"], [...counts].sort((a, b) => b[1] - a[1])),
    make("h2", "Each of them"), table(["path", "reason"], status.skipped_files.slice(0, 500).map(({ path, reason }) => [path, reason])),
  );
}

function completions(about) {
  if (!about) return "none yet";
  const { shown = 0, accepted = 0, partial = 0, rejected = 0 } = about;
  const share = `${accepted} of ${shown} accepted (${Math.round((100 * accepted) / shown)} %), ${partial} in part, ${rejected} rejected`;
  return shown ? `${about.model}, ${share}` : `${about.model}, none shown yet`;
}

async function showLearning() {
  const { runs, active } = await ask("data/history");
  drawNights([...runs].reverse());
  const rows = runs.map((run) => [
    run.started.slice(0, 16).replace("T", " "), run.method ?? "", gain(run), run.decision, run.reason,
    run.checkpoint && run.checkpoint !== active ? backButton(run.checkpoint) : run.active ? "active" : "",
  ]);
  const base = active === "base" ? make("p", "The model as it came is active.") : backButton("base", "Go back to the model as it came");
  byId("runs").replaceChildren(runs.length ? table(["when", "method", "MAP", "decision", "why", ""], rows) : make("p", "Nothing has been learned yet: the first run is tonight."), base);
}

const gain = (run) => (run.before && run.after ? `${run.before.map.toFixed(3)} → ${run.after.map.toFixed(3)}` : "");

function backButton(checkpoint, text = "Go back to this") {
  const button = make("button", text, { type: "button" });
  button.addEventListener("click", () => attempt(async () => {
    button.disabled = true;
    const { message } = await ask("do/rollback", { checkpoint }).finally(() => { button.disabled = false; });
    await showLearning();
    say(message);
  }));
  return button;
}

function drawNights(runs) {
  const measured = runs.filter((run) => run.before && run.after);
  byId("nights").hidden = !measured.length;
  if (!measured.length) return;
  const line = (name, values, style) => ({ name, type: "line", data: values, symbolSize: 7, lineStyle: style });
  chart("nights").setOption({
    animation: false, grid: { left: 50, right: 50, top: 34, bottom: 28 }, tooltip: { trigger: "axis" }, aria: { enabled: true },
    legend: { top: 0, textStyle: { color: colour("--ink") } },
    xAxis: { type: "category", data: measured.map((run) => run.started.slice(0, 10)), axisLabel: { color: colour("--faint") } },
    yAxis: [
      { type: "value", scale: true, name: "MAP", axisLabel: { color: colour("--faint") }, splitLine: { lineStyle: { color: colour("--line") } } },
      { type: "value", scale: true, name: "loss", axisLabel: { color: colour("--faint") }, splitLine: { show: false } },
    ],
    series: [
      line("before", measured.map((run) => run.before.map), { type: "dashed" }),
      line("after", measured.map((run) => run.after.map), {}),
      line("low", measured.map((run) => run.before.map + run.report.judged.low), { opacity: 0.4 }),
      line("high", measured.map((run) => run.before.map + run.report.judged.high), { opacity: 0.4 }),
      { ...line("loss", measured.map((run) => run.losses?.at(-1) ?? null), { type: "dotted" }), yAxisIndex: 1 },
    ],
  }, true);
}

// ── the frame ──

const VIEWS = { map: showMap, duplicates: showDuplicates, index: showIndex, learning: showLearning };
const tabs = [...document.querySelectorAll("[role=tab]")];

function chart(id) {
  charts[id] ??= echarts.init(byId(id), null, { renderer: "canvas" });
  return charts[id];
}

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

async function select(tab) {
  for (const other of tabs) {
    const chosen = other === tab;
    other.setAttribute("aria-selected", String(chosen));
    other.tabIndex = chosen ? 0 : -1;
    byId(other.getAttribute("aria-controls")).hidden = !chosen;
  }
  tab.focus();
  await refresh();
}

async function refresh() {
  const view = tabs.find((candidate) => candidate.getAttribute("aria-selected") === "true").getAttribute("aria-controls");
  byId(view).setAttribute("aria-busy", "true");
  await attempt(VIEWS[view]);
  byId(view).setAttribute("aria-busy", "false");
  Object.values(charts).forEach((drawn) => drawn.resize());
}

function paint(theme) {
  document.documentElement.dataset.theme = theme;
  byId("theme").textContent = theme === "dark" ? "Light" : "Dark";
  byId("theme").setAttribute("aria-pressed", String(theme === "dark"));
}

let state = "";

/** The line in the header; what is shown is asked for again once the index is complete. */
async function tellState() {
  const before = state;
  await attempt(async () => {
    const { fragments, model, ...status } = await ask("data/status");
    state = status.state;
    byId("state").textContent = `${state}, ${fragments} fragments, ${model.name || "no model"}`;
  });
  if (before && before !== state && state === "ready") await refresh();
}

tabs.forEach((tab, at) => {
  tab.addEventListener("click", () => select(tab));
  tab.addEventListener("keydown", ({ key }) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[key];
    if (step) select(tabs[(at + step + tabs.length) % tabs.length]);
  });
});
byId("needle").addEventListener("input", () => { drawMap(); findPlaces(); });
byId("colour").addEventListener("change", drawMap);
byId("find").addEventListener("submit", (event) => event.preventDefault());
byId("theme").addEventListener("click", async () => {
  paint(document.documentElement.dataset.theme === "dark" ? "light" : "dark");
  await refresh();
});
addEventListener("resize", () => Object.values(charts).forEach((drawn) => drawn.resize()));

byId("root").textContent = root.split("/").filter(Boolean).at(-1) ?? "";
byId("root").title = root;
paint(matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
await Promise.all([tellState(), refresh()]);
setInterval(tellState, 5000);
