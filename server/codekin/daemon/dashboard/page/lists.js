// Near-duplicates, and what is in the index: how much, what is left out and why, how completions fare.
import { ask, breakable, byId, make, number, percent, placeButton } from "./parts.js";

export async function showDuplicates() {
  const groups = await ask("data/duplicates");
  const cards = groups.map((group) => make("li", [make("h3", `${group.length} places`), ...group.map(placeButton)], { class: "panel" }));
  const told = groups.length === 1 ? "One group of places that say nearly the same." : `${number(groups.length)} groups of places that say nearly the same.`;
  byId("duplicates").replaceChildren(...(groups.length
    ? [make("p", told), make("ol", cards, { class: "cards" })]
    : [make("p", "There are no near-duplicates.")]));
}

export async function showIndex() {
  const status = await ask("data/status");
  byId("index").replaceChildren(
    ...status.problems.map((problem) => make("p", problem, { class: "note" })),
    tiles(figures(status)),
    make("h2", "Completions"), completions(status.completion ?? {}),
    make("h2", `Left out: ${number(status.skipped)} files`), ...leftOut(status.left_out),
  );
}

function figures({ state, progress, files, chunks, embedded, model, space }) {
  const far = progress?.total ? `${number(progress.done)} of ${number(progress.total)}` : "";
  return [
    ["State", state, far], ["Files", number(files), ""], ["Chunks", number(chunks), ""],
    ["With a vector", percent(embedded, chunks), `${number(embedded)} of them`],
    ["Model", model.name || "none", model.problem || model.phase], ["Space", space.split("-").at(0) || "none yet", space],
  ];
}

function tiles(rows) {
  return make("dl", rows.map(([name, value, more]) => make("div", [make("dt", name), make("dd", [...breakable(value), ...(more ? [make("small", more)] : [])])], { class: "panel" })), { class: "tiles" });
}

function completions({ model = "none", shown = 0, accepted = 0, partial = 0, rejected = 0 }) {
  if (!shown) return make("p", `None has been shown yet. They come from the model “${model}”.`, { class: "faint" });
  const part = (count, name) => make("i", "", { class: name, style: `width: ${(100 * count) / shown}%` });
  const words = `${accepted} of ${shown} accepted (${percent(accepted, shown)}), ${partial} in part, ${rejected} rejected, by the model “${model}”.`;
  return make("div", [make("div", [part(accepted, "good"), part(partial, "partial"), part(rejected, "bad")], { class: "bar", "aria-hidden": "true" }), make("p", words)], { id: "completions" });
}

function leftOut(reasons) {
  if (!reasons.length) return [make("p", "Nothing.", { class: "faint" })];
  return reasons.map(({ reason, count, paths }) => {
    const listed = paths.map((path) => make("li", breakable(path)));
    if (count > paths.length) listed.push(make("li", `and ${number(count - paths.length)} more: \`codekin status --files\` lists them all`, { class: "faint" }));
    const line = make("summary", [`${reason}: `, make("b", number(count))]);
    return make("details", [line, make("ul", listed)], { class: "panel", ...(reasons.length === 1 || count <= 5 ? { open: "" } : {}) });
  });
}
