"""Fits the chances of next edits on the histories of repositories, and writes `next_edit/chances.json`.

    python scripts/fit_next_edit.py --repos DIR REPOSITORY … [--commits 3000] [--cases 400]

Each place that a search finds is a row: right where it touches lines that the commit changes further. The rows of a
commit count together about as much as those of any other. Weights come from a regression with a quadratic penalty, the
threshold from commits that were held out in turn: so many of those with one edit stay silent as SILENT says.
"""

import argparse
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parent / "benchmarks"))

from nextedit import Case, Repository, cases, find_repositories, hunk_at, is_exact

from codekin.next_edit import chances, finder

TABLE = Path(chances.__file__).with_name("chances.json")
ROUNDS, PENALTY, FOLDS, SILENT = 12, 3e-4, 4, 0.93
RIGHT_PLACE = 0.7
"""The label of a place whose text is not exactly right."""

Numbers = NDArray[np.float64]


@dataclass
class Rows:
    """Places with what is known of them; `case` numbers the commits, `alone` holds those with one edit."""

    features: list[dict[str, float]] = field(default_factory=list)
    labels: list[float] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)
    case: list[int] = field(default_factory=list)
    alone: set[int] = field(default_factory=set)
    count: int = 0

    def add(self, case: Case) -> None:
        found = places(case)
        if not case.further:
            self.alone.add(self.count)
        for features, label in found:
            self.features.append(features)
            self.labels.append(label)
            self.weights.append(len(found) ** -0.7)
            self.case.append(self.count)
        self.count += 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repos", type=Path, required=True)
    parser.add_argument("names", nargs="+")
    parser.add_argument("--commits", type=int, default=3000)
    parser.add_argument("--cases", type=int, default=400)
    options = parser.parse_args()
    rows = Rows()
    for folder in find_repositories(options.repos, options.names):
        several, alone = cases(Repository(folder), options.commits, options.cases)
        print(folder, len(several), len(alone), file=sys.stderr, flush=True)
        for case in [*several, *alone]:
            rows.add(case)
    names = sorted({name for row in rows.features for name in row})
    matrix = np.array([[row.get(name, 0.0) for name in names] for row in rows.features])
    labels, weights, case = np.array(rows.labels), np.array(rows.weights), np.array(rows.case)
    held_out = np.zeros(len(labels))
    for fold in range(FOLDS):
        train = case % FOLDS != fold
        held_out[~train] = predict(matrix[~train], fit(matrix[train], labels[train], weights[train]))
    threshold = choose_threshold(held_out, case, rows.alone)
    fitted = dict(zip(names, np.round(fit(matrix, labels, weights), 3).tolist(), strict=True))
    TABLE.write_text(json.dumps({"threshold": round(threshold, 3), "weights": fitted}, indent=1) + "\n")
    shown = {number for number, chance in zip(case.tolist(), held_out, strict=True) if chance >= threshold}
    several = rows.count - len(rows.alone)
    print(f"{len(labels)} places of {rows.count} commits, {np.mean(labels > 0):.3f} right; threshold {threshold:.3f}")
    print(f"held out: shown in {len(shown - rows.alone)} of {several} with further edits")
    print(f"a right place among the first 3: {first_right(held_out, labels, case, threshold):.3f} of all of them")


def places(case: Case) -> list[tuple[dict[str, float], float]]:
    """What is known of each place, and whether it is right."""
    taken: list[dict[str, float]] = []
    original = chances.features_of

    def keep(*given: object) -> dict[str, float]:
        taken.append(original(*given))  # type: ignore[arg-type]
        return taken[-1]

    chances.features_of = keep
    try:
        found = case.search().sites()
    finally:
        chances.features_of = original
    rows = []
    for (site, _), features in zip(found, taken, strict=True):
        text = case.sources.text(site.path) or ""
        edit = next(finder.merged(site.path, text, [(site, 0.5)]), None)
        hunk = hunk_at(edit, case.further) if edit else None
        rows.append((features, 0.0 if edit is None or hunk is None else 1.0 if is_exact(edit, hunk) else RIGHT_PLACE))
    return rows


def fit(matrix: Numbers, labels: Numbers, weights: Numbers) -> Numbers:
    """Newton's method, which needs few rounds."""
    solution, weights = np.zeros(matrix.shape[1]), weights / weights.sum()
    for _ in range(ROUNDS):
        chance = predict(matrix, solution)
        gradient = matrix.T @ (weights * (chance - labels)) + PENALTY * solution
        curvature = matrix.T @ (matrix * (weights * chance * (1 - chance))[:, None])
        solution = solution - np.linalg.solve(curvature + PENALTY * np.eye(len(solution)), gradient)
    return solution


def predict(matrix: Numbers, solution: Numbers) -> Numbers:
    return 1 / (1 + np.exp(-np.clip(matrix @ solution, -30, 30)))


def choose_threshold(chance: Numbers, case: NDArray[np.int64], alone: set[int]) -> float:
    """The chance that the best place reaches in no more than so many commits with one edit."""
    best = [max(chance[case == number], default=0.0) for number in alone]
    return float(np.quantile(best, SILENT)) + 1e-3


def first_right(chance: Numbers, labels: Numbers, case: NDArray[np.int64], threshold: float) -> float:
    found = [
        bool((labels[rows][np.argsort(-chance[rows])[:3]] * (np.sort(chance[rows])[::-1][:3] >= threshold)).any())
        for number in np.unique(case)
        if len(rows := np.flatnonzero(case == number))
    ]
    several = len({number for number, label in zip(case.tolist(), labels, strict=True) if label})
    return sum(found) / max(1, several)


if __name__ == "__main__":
    main()
