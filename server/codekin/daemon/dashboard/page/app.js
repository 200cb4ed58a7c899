// The page's frame: tabs, theme, the line in the header. What each view shows stands in its own file.
import { ask, attempt, byId, givenTheme, number, resizeCharts, root } from "./parts.js";
import { showDuplicates, showIndex } from "./lists.js";
import { showFinetune } from "./finetune.js";
import { isBare, showMap } from "./map.js";

const STATE_MS = 5000;
const VIEWS = { map: showMap, duplicates: showDuplicates, index: showIndex, finetune: showFinetune };
const tabs = [...document.querySelectorAll("[role=tab]")];
let state = "";

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

const currentView = () => tabs.find((tab) => tab.getAttribute("aria-selected") === "true").getAttribute("aria-controls");

async function refresh() {
  const view = currentView();
  byId(view).setAttribute("aria-busy", "true");
  await attempt(VIEWS[view]);
  byId(view).setAttribute("aria-busy", "false");
  resizeCharts();
}

/** The line in the header; what is shown is asked for again when the index moves on. */
async function tellState() {
  const before = state;
  const status = await ask("data/state").catch(() => undefined);
  state = status?.state ?? "lost";
  byId("state").dataset.state = state;
  byId("state").textContent = status ? words(status) : "the daemon has gone: run `codekin dashboard` again";
  const moving = status && state !== "ready" && (currentView() === "index" || (currentView() === "map" && isBare()));
  if (moving || (before && before !== state && state === "ready")) await refresh();
}

function words({ progress, chunks, model, problems }) {
  const far = progress?.total ? ` (${number(progress.done)} of ${number(progress.total)})` : "";
  const trouble = problems.length ? `, ${problems.length === 1 ? "a problem" : `${problems.length} problems`}: see Index` : "";
  return `${state}${far}, ${number(chunks)} chunks, ${model.name || "no model"}${trouble}`;
}

function paint(theme) {
  document.documentElement.dataset.theme = theme;
  byId("theme").textContent = theme === "dark" ? "Light theme" : "Dark theme";
}

function move(tab, key) {
  const at = tabs.indexOf(tab);
  const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: -1 }[key];
  return to === undefined ? undefined : tabs.at(to % tabs.length);
}

for (const tab of tabs) {
  tab.addEventListener("click", () => select(tab));
  tab.addEventListener("keydown", (event) => {
    const next = move(tab, event.key);
    if (!next) return;
    event.preventDefault();
    void select(next);
  });
}
byId("theme").addEventListener("click", async () => {
  paint(document.documentElement.dataset.theme === "dark" ? "light" : "dark");
  await refresh();
});
addEventListener("resize", resizeCharts);
addEventListener("keydown", ({ key }) => { if (key === "Escape") byId("message").textContent = ""; });

byId("root").textContent = root.split("/").filter(Boolean).at(-1) ?? "";
byId("root").title = root;
paint(givenTheme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light"));
await Promise.all([tellState(), refresh()]);
setInterval(tellState, STATE_MS);
