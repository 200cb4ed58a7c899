"""Fits the default gate of ghost text on checkouts, and writes `completion/gate.json`.

    python scripts/fit_completion_gate.py --repos DIR REPOSITORY … [--places 600]

At random places (as `scripts/benchmarks/shown.py` draws them) the best plausible guess is right or not. For each
language and kind of place a line in log-odds is fitted, drawn towards the line of the kind in all languages, and that
one towards leaving the confidence as it is.
"""

import argparse
import json
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parent / "benchmarks"))

from shown import Repository, suggest

from codekin.completion import gate

TABLE = Path(gate.__file__).with_name(gate.GATE_NAME)
STEPS, PRIOR = 50, 1 / 0.5**2
LEAST_SLOPE = 0.2

Line = NDArray[np.float64]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repos", type=Path, required=True)
    parser.add_argument("names", nargs="+")
    parser.add_argument("--places", type=int, default=600)
    options = parser.parse_args()
    rows: defaultdict[str, list[tuple[float, bool]]] = defaultdict(list)
    for name in options.names:
        repository = Repository.read(options.repos / name)
        for place in repository.places(options.places, seed=5):
            if found := suggest(repository, place, threshold=0.0):
                is_right = place.truth.strip() == found[0].text.partition("\n")[0].strip()
                row = gate.log_odds_of(found[0].estimate), is_right
                rows[place.kind].append(row)
                rows[f"{place.cursor.language}/{place.kind}"].append(row)
    fitted: dict[str, Line] = {}
    for group in sorted(rows, key=lambda group: ("/" in group, group)):
        fitted[group] = fit(rows[group], fitted.get(group.partition("/")[2], np.array([0.0, 1.0])))
        print(group, len(rows[group]), np.round(fitted[group], 3), file=sys.stderr)
    table = {group: [round(float(part), 3) for part in line] for group, line in fitted.items()}
    TABLE.write_text(json.dumps(table, indent=1) + "\n")


def fit(rows: list[tuple[float, bool]], prior: Line) -> Line:
    """Intercept and slope by Newton's method with a Gaussian prior."""
    odds = np.array([[1.0, row[0]] for row in rows])
    right = np.array([row[1] for row in rows], float)
    line = prior.copy()
    for _ in range(STEPS):
        chance = 1 / (1 + np.exp(-odds @ line))
        gradient = odds.T @ (right - chance) - PRIOR * (line - prior)
        curvature = odds.T @ (odds * (chance * (1 - chance))[:, None]) + PRIOR * np.eye(2)
        line = line + np.linalg.solve(curvature, gradient)
    return np.array([line[0], max(line[1], LEAST_SLOPE)])


if __name__ == "__main__":
    main()
