// What was learned: held-out MAP before and after each run with its interval, loss, decisions, and the way back.
import { weeksTable } from "./weeks.js";
import { ask, attempt, byId, chart, colour, look, make, say, table } from "./parts.js";

const points = (value) => `${value < 0 ? "−" : "+"}${Math.abs(100 * value).toFixed(1)}`;

export async function showFinetune() {
  const { runs, active } = await ask("data/history");
  drawRuns([...runs].reverse());
  const base = active === "base" ? make("p", "The model as it came is active.") : backButton("base", "Go back to the model as it came");
  const shown = runs.length
    ? table(["when", "how", "held-out MAP", "loss", "decision", "why", ""], runs.map((run) => row(run, active)))
    : make("p", "No fine-tuning run yet; the first is scheduled for tonight.");
  const weeks = runs.length ? [make("h2", "Weeks"), weeksTable(runs), make("h2", "Runs")] : [];
  byId("runs").replaceChildren(...weeks, shown, make("p", [base]));
}

function row(run, active) {
  const way = run.checkpoint && run.checkpoint !== active ? backButton(run.checkpoint) : run.active ? make("b", "active", { class: "good" }) : "";
  const decision = make("span", run.decision, { class: { activated: "good", failed: "bad", interrupted: "bad" }[run.decision] ?? "" });
  return [run.started.slice(0, 16).replace("T", " "), [run.method, run.triggered_by].filter(Boolean).join(", "), gain(run), run.losses?.at(-1)?.toFixed(3) ?? "", decision, run.reason, way];
}

/** The two figures, and below them the gain in points with its interval. */
function gain({ before, after, report }) {
  if (!before || !after) return "";
  const { low, high } = report?.evaluation ?? {};
  const sure = low === undefined || high === undefined ? "" : ` (${points(low)} to ${points(high)})`;
  return make("span", [`${before.map.toFixed(3)} → ${after.map.toFixed(3)}`, make("small", `${points(after.map - before.map)} points${sure}`)]);
}

function backButton(checkpoint, text = "Go back to this") {
  const button = make("button", text, { type: "button" });
  button.addEventListener("click", () => attempt(async () => {
    button.disabled = true;
    const { message } = await ask("do/rollback", { checkpoint }).finally(() => { button.disabled = false; });
    await showFinetune();
    say(message);
  }));
  return button;
}

function drawRuns(runs) {
  const measured = runs.filter((run) => run.before && run.after);
  byId("finetune-runs").hidden = !measured.length;
  if (!measured.length) return;
  const [ink, faint, line, mark] = ["--ink", "--faint", "--line", "--mark"].map(colour);
  const judged = (run, key) => run.report?.evaluation?.[key];
  const bound = (run, key) => (judged(run, key) === undefined ? null : run.before.map + judged(run, key));
  const width = (run) => (bound(run, "low") === null || bound(run, "high") === null ? null : bound(run, "high") - bound(run, "low"));
  const plain = { type: "line", symbol: "circle", symbolSize: 8 };
  // A stack of an unseen bar and the interval's width draws each night's interval, the first one's too.
  const band = { type: "bar", stack: "interval", barMaxWidth: 22, silent: true };
  const common = look();
  const axis = { type: "value", scale: true, axisLabel: { color: faint, formatter: (value) => value.toFixed(2) }, nameTextStyle: { color: faint } };
  chart("finetune-runs").setOption({
    ...common, grid: { left: 56, right: 56, top: 62, bottom: 34 }, tooltip: { ...common.tooltip, trigger: "axis", formatter: (all) => told(measured[all[0].dataIndex]) },
    legend: { ...common.legend, data: ["before", "after", "interval", "loss"] },
    xAxis: { type: "category", data: measured.map((run) => run.date || run.started.slice(0, 10)), axisLabel: { color: faint }, axisLine: { lineStyle: { color: line } } },
    yAxis: [{ ...axis, name: "MAP", splitLine: { lineStyle: { color: line } } }, { ...axis, name: "loss", splitLine: { show: false } }],
    series: [
      { ...band, name: "low", data: measured.map((run) => bound(run, "low")), itemStyle: { opacity: 0 } },
      { ...band, name: "interval", data: measured.map(width), itemStyle: { color: mark, opacity: 0.3, borderRadius: 3 } },
      { ...plain, name: "before", data: measured.map((run) => run.before.map), itemStyle: { color: faint }, lineStyle: { type: "dashed" } },
      { ...plain, name: "after", data: measured.map((run) => run.after.map), itemStyle: { color: mark }, lineStyle: { width: 3 } },
      { ...plain, name: "loss", yAxisIndex: 1, data: measured.map((run) => run.losses?.at(-1) ?? null), itemStyle: { color: ink }, lineStyle: { type: "dotted" } },
    ],
  }, true);
}

function told(run) {
  const { low, high } = run.report?.evaluation ?? {};
  const interval = low === undefined ? "" : ` (${points(low)} to ${points(high)})`;
  const loss = run.losses?.length ? `<br>loss ${run.losses.at(-1).toFixed(3)}` : "";
  return `<b>${run.started.slice(0, 10)}</b><br>MAP ${run.before.map.toFixed(3)} → ${run.after.map.toFixed(3)}${interval}${loss}<br>${run.decision}`;
}
