// How a hit is named and located in the editor.
import * as vscode from "vscode";
import type { Hit } from "./protocol";

/** The name without the modules, namespaces or classes around it: `Shop.Retry.again/3` is `again/3`. */
export function shortName({ name, path }: Pick<Hit, "name" | "path">): string {
  return name.replace(/^(?:[A-Z]\w*\.)+(?=.)/, "").replace(/^(?:[\w ()]+(?:<[^<>]*>)?::)+(?=.)/, "") || path;
}

/** `0.42  again/3`. */
export function scored(hit: Hit): string {
  return `${hit.score.toFixed(2)}  ${shortName(hit)}`;
}

/** The place of a hit as the editor names it. */
export function location(hit: Hit): vscode.Location {
  const { start, end } = hit.range;
  return new vscode.Location(vscode.Uri.parse(hit.uri), new vscode.Range(start.line, start.character, end.line, end.character));
}
