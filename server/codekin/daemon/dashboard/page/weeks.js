// What each week of fine-tuning gave: the gain over the model as it came, by kind of question, and what was learned from.
import { make, table } from "./parts.js";

const DAY = 24 * 60 * 60 * 1000;
const points = (value) => `${value < 0 ? "−" : "+"}${Math.abs(100 * value).toFixed(1)}`;
const share = (value) => `${Math.round(100 * value)} %`;

/** The Monday of a run's week, as a date. */
export function weekOf(started) {
  const day = new Date(`${started.slice(0, 10)}T00:00:00Z`);
  return new Date(day.getTime() - ((day.getUTCDay() + 6) % 7) * DAY).toISOString().slice(0, 10);
}

/** A table with a row for each week, the latest first; `runs` are the latest first, too. */
export function weeksTable(runs) {
  const weeks = new Map();
  for (const run of runs) weeks.set(weekOf(run.started), [...(weeks.get(weekOf(run.started)) ?? []), run]);
  const headers = ["week of", "gain over the base", "by kind", "BEAM patterns", "learned from", "refused"];
  return table(headers, [...weeks].map(([week, found]) => weekRow(week, found)));
}

function weekRow(week, runs) {
  const compared = runs.find((run) => run.report?.from_base);
  return [week, gainOverBase(compared), byKind(compared), beam(compared), learnedFrom(runs), refused(runs)];
}

function gainOverBase(run) {
  if (!run) return "";
  const { before, after, low, high } = run.report.from_base;
  return `${points(after - before)} (${points(low)} to ${points(high)})`;
}

/** The kinds' MAP before and after the week's last comparison. */
function byKind(run) {
  const kinds = Object.entries(run?.report?.all?.kinds ?? {});
  return make("span", kinds.map(([kind, [before, after]]) => make("div", `${kind} ${points(after - before)}`)));
}

function beam(run) {
  const found = run?.report?.beam;
  return found?.base ? `${share(found.base.accuracy1)} → ${share(found.after.accuracy1)}` : "";
}

function learnedFrom(runs) {
  const total = {};
  for (const { report } of runs) {
    for (const [source, count] of Object.entries({ triplets: report?.triplets ?? 0, ...report?.sources })) total[source] = (total[source] ?? 0) + count;
  }
  const parts = Object.entries(total).filter(([, count]) => count > 0);
  return make("span", parts.map(([source, count]) => make("div", `${count} ${source.replaceAll("_", " ")}`)));
}

function refused(runs) {
  const reasons = runs.filter((run) => ["kept", "failed", "interrupted"].includes(run.decision)).map((run) => run.reason);
  return make("span", [...new Set(reasons)].map((reason) => make("div", reason)));
}
