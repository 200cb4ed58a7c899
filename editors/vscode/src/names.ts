// Names short enough for a list or a tab.
import type { Hit } from "./protocol";

/** The name without the modules, namespaces or classes around it: `Shop.Retry.again/3` is `again/3`. */
export function shortName({ name, path }: Pick<Hit, "name" | "path">): string {
  return name.replace(/^(?:[A-Z]\w*\.)+(?=.)/, "").replace(/^(?:[\w ()]+(?:<[^<>]*>)?::)+(?=.)/, "") || path;
}

/** `0.42  again/3`. */
export function scored(hit: Hit): string {
  return `${hit.score.toFixed(2)}  ${shortName(hit)}`;
}
