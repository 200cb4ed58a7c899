"""What the repository and a generator think of lines for cases, kept line by line: for fitting and for measuring.

    scripts/completion_lines.py --pair CHECKOUT CASES.jsonl [--pair …] --kept FILE [--model FOLDER] [--limit N]

Cases of the checkouts come in turns, so that what is kept of an interrupted run stands for all; the same call goes on.
Prints running figures: exact of the repository, of the generator, and of both, each with and without kin.
Without --model only what is kept is printed.
"""

import argparse
import itertools
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from codekin.completion.corpus import Corpus, corpus_of
from codekin.completion.evaluation import checked, gap_of, texts_of
from codekin.completion.generating import Generation, Writers, considered, finished
from codekin.completion.repository import guesses
from codekin.completion.weighing import Weighed, sure_from, weighed
from codekin.models import load_generator

GUESSES = 12
SHOWN_EVERY = 25
WAYS = {"bare": Generation(has_snippets=False), "kin": Generation()}
"""How a prompt is made: of the file alone, and with kin and definitions."""

Case = tuple[str, Corpus, Mapping[str, str]]


@dataclass(frozen=True)
class Kept:
    """A case with its lines by way, the repository's first; where the repository is sure, the first way alone."""

    id: str
    checkout: str
    group: str
    truth: str
    lines: Mapping[str, Sequence[Weighed]]


def main() -> None:
    arguments = _arguments()
    torch.set_num_threads(1)
    if arguments.model:
        ways = {name: WAYS[name] for name in arguments.ways}
        collect(arguments.model, ways, cases_in_turns(arguments.pair, arguments.seed), arguments.kept, arguments.limit)
    show(kept_in(arguments.kept))


def cases_in_turns(pairs: Sequence[tuple[Path, Path]], seed: int) -> Iterator[Case]:
    """The cases of all checkouts, shuffled within each, one of each in turn."""
    lanes = []
    for root, path in pairs:
        rows = list(checked(json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line))
        random.Random(seed).shuffle(rows)
        corpus = corpus_of(texts_of(root))
        lanes.append([(root.name, corpus, row) for row in rows])
    for turn in itertools.zip_longest(*lanes):
        yield from (case for case in turn if case)


def collect(model: str, ways: Mapping[str, Generation], cases: Iterator[Case], path: Path, limit: int | None) -> None:
    """Adds the cases that are not kept yet, up to so many in all."""
    known = {(case.checkout, case.id) for case in kept_in(path)} if path.exists() else set()
    generator = load_generator(model)
    with path.open("a", encoding="utf-8") as file:
        for checkout, corpus, row in itertools.islice(cases, limit):
            if (checkout, row["id"]) in known:
                continue
            found = Kept(row["id"], checkout, f"{row['language']}/{row['kind']}", row["truth"], {})
            file.write(json.dumps(asdict(found) | {"lines": _lines(generator, corpus, row, ways)}) + "\n")
            file.flush()
            known.add((checkout, row["id"]))
            if len(known) % SHOWN_EVERY == 0:
                show(kept_in(path))


def _lines(
    generator: Any, corpus: Corpus, row: Mapping[str, str], ways: Mapping[str, Generation]
) -> dict[str, list[dict[str, Any]]]:
    gap = gap_of(row)
    found = guesses(corpus, gap, GUESSES)
    if found and found[0].confidence >= sure_from(0):
        ways = dict(list(ways.items())[:1])
    return {
        name: [asdict(line) for line in finished(considered(Writers(generator, corpus, way), gap, found))]
        for name, way in ways.items()
    }


def kept_in(path: Path) -> list[Kept]:
    """The cases that a file holds."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
    return [
        Kept(**row | {"lines": {way: [Weighed(**line) for line in lines] for way, lines in row["lines"].items()}})
        for row in rows
    ]


def show(cases: Sequence[Kept]) -> None:
    """Prints the share of cases that are exact, by way of answering and by checkout."""
    tables = {"all": list(cases)}
    for case in cases:
        tables.setdefault(case.checkout, []).append(case)
    for name, part in tables.items():
        found = [_exact(case) for case in part]
        figures = "  ".join(f"{way} {sum(each[way] for each in found) / len(found):.3f}" for way in found[0])
        print(f"{name:12} {len(part):5}  {figures}", flush=True)


def _exact(case: Kept) -> dict[str, bool]:
    """Whether each way of answering is right, and whether any line is."""
    bare = case.lines.get("bare") or case.lines["kin"]
    kin = case.lines.get("kin", bare)
    truth = case.truth.strip()
    answers = {
        "repository": _first(line.text for line in bare if line.chance),
        "generator": _first(line.text for line in bare if line.is_own),
        "generator+kin": _first(line.text for line in kin if line.is_own),
        "both": answered(bare),
        "both+kin": answered(kin),
    }
    found = {way: text.strip() == truth for way, text in answers.items()}
    return found | {"among all": any(line.text.strip() == truth for line in (*bare, *kin))}


def answered(lines: Sequence[Weighed]) -> str:
    """What both answer: the repository where it is sure, else the best weighed."""
    own = [line for line in lines if line.chance]
    if own and own[0].chance >= sure_from(0):
        return own[0].text
    return weighed(lines, 0)[0].text if lines else ""


def _first(texts: Iterator[str]) -> str:
    return next(texts, "")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pair", nargs=2, type=Path, action="append", default=[], metavar=("CHECKOUT", "CASES"))
    parser.add_argument("--kept", type=Path, required=True)
    parser.add_argument("--model", default="")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--limit", type=int, default=None)
    parser.add_argument("--seed", type=int, default=7)
    return parser.parse_args()


if __name__ == "__main__":
    main()
