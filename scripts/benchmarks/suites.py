"""Runs the editors' suites many times in a row and prints how many of the last runs were green.

    python scripts/benchmarks/suites.py [SUITE ...] [--runs 10] [--until-green] [--table] [--folder FOLDER]

The suites take turns, so that a busy minute does not fall on one alone. Each run is a line of FOLDER/runs.txt; the
whole output of a run that failed is kept beside it. A failure begins the suite's count anew; `--until-green` goes on
until each suite has its runs in a row; `--table` runs nothing and prints what the folder has. Nothing is installed:
run `scripts/test -m editor` once before.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
PYTEST = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
EXTENSION = REPOSITORY / "editors" / "vscode"

SUITES: dict[str, tuple[list[str], Path]] = {
    "vscode-host": (["node", "test/host.mjs"], EXTENSION),
    "vscode-screen": (["node", "test/ui.mjs"], EXTENSION),
    "nvim": ([*PYTEST, "tests/editors/nvim"], REPOSITORY),
    "dashboard": ([*PYTEST, "tests/dashboard"], REPOSITORY),
    "emacs-helix": ([*PYTEST, "tests/editors/emacs", "tests/editors/helix"], REPOSITORY),
    "lsp-clients": ([*PYTEST, "tests/lsp/test_lsp_clients.py"], REPOSITORY),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=f"of {', '.join(SUITES)}; all, if none is named")
    parser.add_argument("--runs", type=int, default=10, help="in a row, of each suite")
    parser.add_argument("--until-green", action="store_true")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--folder", type=Path, default=REPOSITORY / ".editors" / "runs")
    arguments = parser.parse_args()
    if unknown := set(arguments.suites) - set(SUITES):
        parser.error(f"there is no suite {', '.join(sorted(unknown))}; there are {', '.join(SUITES)}")
    arguments.folder.mkdir(parents=True, exist_ok=True)
    if arguments.table:
        print(table(kept(arguments.folder / "runs.txt")))
        return
    runs = repeat(arguments.suites or list(SUITES), arguments.runs, arguments.until_green, arguments.folder)
    print(table(runs))
    sys.exit(any(in_a_row(green for green, _ in done) < arguments.runs for done in runs.values()))


def repeat(suites: list[str], wanted: int, until_green: bool, folder: Path) -> dict[str, list[tuple[bool, float]]]:
    """Whether each run of each suite was green and its seconds, in their order."""
    runs: dict[str, list[tuple[bool, float]]] = {suite: [] for suite in suites}

    def wants_more(suite: str) -> bool:
        done = in_a_row(green for green, _ in runs[suite]) if until_green else len(runs[suite])
        return done < wanted

    while waiting := [suite for suite in suites if wants_more(suite)]:
        for suite in waiting:
            runs[suite].append(run(suite, len(runs[suite]) + 1, folder))
    return runs


def run(suite: str, number: int, folder: Path) -> tuple[bool, float]:
    command, place = SUITES[suite]
    path = f"{REPOSITORY / '.editors' / 'bin'}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "CODEKIN": str(Path(sys.executable).with_name("codekin"))}
    began = time.monotonic()
    done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False)
    seconds, green = time.monotonic() - began, done.returncode == 0
    line = f"{suite} {number} {'green' if green else 'FAILED'} {seconds:.0f} s, load {os.getloadavg()[0]:.0f}"
    with (folder / "runs.txt").open("a") as file:
        file.write(f"{time.strftime('%H:%M')} {line}\n")
    print(line, file=sys.stderr, flush=True)
    if not green:
        (folder / f"{suite}-{number}.log").write_text(done.stdout + done.stderr)
    return green, seconds


def kept(file: Path) -> dict[str, list[tuple[bool, float]]]:
    """The runs in a file, in its order; a line that is not of a run is a remark."""
    runs: dict[str, list[tuple[bool, float]]] = {suite: [] for suite in SUITES}
    for words in map(str.split, file.read_text().splitlines()):
        if words[1] in runs:
            runs[words[1]].append((words[3] == "green", float(words[4])))
    return {suite: done for suite, done in runs.items() if done}


def in_a_row(greens: Iterable[bool]) -> int:
    """How many of the last runs were green."""
    count = 0
    for green in greens:
        count = count + 1 if green else 0
    return count


def table(runs: dict[str, list[tuple[bool, float]]]) -> str:
    lines = ["| suite | runs | green in a row | seconds a run |", "|---|---|---|---|"]
    for suite, done in runs.items():
        seconds = sorted(seconds for _, seconds in done)
        row = in_a_row(green for green, _ in done)
        lines.append(f"| {suite} | {len(done)} | {row} | {seconds[0]:.0f} to {seconds[-1]:.0f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
