"""How well `codekin search` answers questions about repositories, by the installed command.

    python scripts/benchmarks/search.py --semble CHECKOUT --repos DIR [--only NAME …] [--json]
    python scripts/benchmarks/search.py --questions FILE.jsonl --repos DIR [--only NAME …] [--json]

FILE has rows {"repo": "owner/name", "q", "answers", "first"?}: how often a name that ends with one of the answers is
among the first three, or is the first where the row says so. The other form gives NDCG@10 on semble's public benchmark:

CHECKOUT is a checkout of semble with `benchmarks/annotations`; DIR holds checkouts of the repositories, each under its
name there or in its address. Those in Elixir, C++, C and Python are asked about through the installed command
after `codekin index`. A target counts at the first hit in its file that has one of its lines; primary and secondary
targets count alike, as in semble's own figures.
"""

import argparse
import json
import math
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from figures import Figure, show

CODEKIN = Path(sys.executable).with_name("codekin")
LANGUAGES = frozenset({"elixir", "cpp", "c++", "c", "python"})
SHOWN = 10
BAR, QUESTIONS_BAR = 0.88, 0.85
ARITY = re.compile(r"/\d+$")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked = parser.add_mutually_exclusive_group(required=True)
    asked.add_argument("--semble", type=Path)
    asked.add_argument("--questions", type=Path)
    parser.add_argument("--repos", type=Path, required=True)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    measured = in_first_three if options.questions else by_semble
    show(measured(options), as_json=options.json)


def in_first_three(options: argparse.Namespace) -> list[Figure]:
    """For each repository at hand, and for all: how many questions have a right answer among the first three."""
    rows = [json.loads(line) for line in options.questions.read_text("utf-8").splitlines() if line.strip()]
    found: dict[str, list[bool]] = {}
    for name in dict.fromkeys(row["repo"].rpartition("/")[2] for row in rows):
        if (options.repos / name).is_dir() and (not options.only or name in options.only):
            subprocess.run([CODEKIN, "index", options.repos / name], check=True, capture_output=True)
            found[name] = [is_answered(options.repos / name, row) for row in rows if row["repo"].endswith(f"/{name}")]
    figures = [Figure(f"{name}, first three", sum(good), beside=f"of {len(good)}") for name, good in found.items()]
    every = [good for goods in found.values() for good in goods]
    if every:
        figures.append(Figure("first three, share of all", sum(every) / len(every), at_least=QUESTIONS_BAR))
    return figures


def is_answered(folder: Path, row: Mapping[str, Any]) -> bool:
    """Whether a right answer is where it must be."""
    hits = search(folder, row["q"])[: 1 if row.get("first") else 3]
    answers = tuple(ARITY.sub("", answer) for answer in row["answers"])
    return any(ARITY.sub("", hit["name"]).endswith(answers) for hit in hits)


def by_semble(options: argparse.Namespace) -> list[Figure]:
    """NDCG@10 of each repository at hand, and their mean."""
    found = {}
    for name, folder in checkouts(options.semble, options.repos):
        if options.only and name not in options.only:
            continue
        questions = json.loads((options.semble / "benchmarks" / "annotations" / f"{name}.json").read_text("utf-8"))
        found[name] = measure(folder, questions)
    figures = [Figure(f"NDCG@10, {name}", value, beside=f"{count} questions") for name, (value, count) in found.items()]
    if found:
        mean = sum(value for value, _ in found.values()) / len(found)
        figures.append(Figure("NDCG@10, mean of the repositories", mean, at_least=BAR))
    return figures


def checkouts(semble: Path, repos: Path) -> Iterator[tuple[str, Path]]:
    """The benchmark's repositories in our languages that are at hand, by name."""
    for row in json.loads((semble / "benchmarks" / "repos.json").read_text("utf-8")):
        names = (row["name"], row["url"].rstrip("/").removesuffix(".git").rpartition("/")[2])
        folder = next((repos / name for name in names if (repos / name).is_dir()), None)
        if folder is not None and row["language"].lower() in LANGUAGES:
            yield row["name"], folder / (row.get("benchmark_root") or "")


def measure(folder: Path, questions: Sequence[Mapping[str, Any]]) -> tuple[float, int]:
    """The mean of NDCG@10 over the questions, and their number."""
    subprocess.run([CODEKIN, "index", folder], check=True, capture_output=True)
    values = []
    for question in questions:
        targets = [target_of(raw) for raw in [*question.get("relevant", []), *question.get("secondary", [])]]
        values.append(ndcg(search(folder, question["query"]), targets))
    return sum(values) / max(1, len(values)), len(values)


def target_of(raw: str | Mapping[str, Any]) -> tuple[str, int, int]:
    """A target's path with its first and last line; the whole file where there are none."""
    if isinstance(raw, str):
        return raw, 1, sys.maxsize
    return str(raw["path"]), int(raw.get("start_line") or 1), int(raw.get("end_line") or sys.maxsize)


def search(folder: Path, text: str) -> list[Mapping[str, Any]]:
    """The hits of the installed command."""
    command = [CODEKIN, "search", text, "--root", folder, "--limit", str(SHOWN), "--json"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    hits: list[Mapping[str, Any]] = json.loads(done.stdout)["hits"] if done.stdout else []
    return hits


def ndcg(hits: Sequence[Mapping[str, Any]], targets: Sequence[tuple[str, int, int]]) -> float:
    """Normalised discounted cumulative gain of ten hits (Järvelin and Kekäläinen 2002), each target counted once."""
    ranks = {next((at for at, hit in enumerate(hits, 1) if covers(hit, target)), 0) for target in targets}
    ideal = sum(1 / math.log2(rank + 1) for rank in range(1, min(SHOWN, len(targets)) + 1))
    return sum(1 / math.log2(rank + 1) for rank in ranks if rank) / ideal if ideal else 0.0


def covers(hit: Mapping[str, Any], target: tuple[str, int, int]) -> bool:
    """Whether a hit has a line of a target; of the paths one may be the end of the other."""
    path, first, last = target
    here = str(hit["path"])
    same_file = here == path or here.endswith(f"/{path}") or path.endswith(f"/{here}")
    return same_file and hit["start_line"] <= last and hit["end_line"] >= first


if __name__ == "__main__":
    main()
