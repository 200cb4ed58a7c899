"""What the repository and a generator think of lines for cases, kept line by line: for fitting and for measuring.

    scripts/score_completion_lines.py --pair CHECKOUT CASES.jsonl [--pair …] --kept FILE [--model FOLDER] [--limit N]

Cases of the checkouts come in turns, so that what is kept of an interrupted run stands for all; the same call goes on.
Prints running figures: exact of the repository, of the generator, and of both, each with and without snippets.
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

from codekin.completion.corpus_snapshot import Corpus, build_corpus
from codekin.completion.evaluation import read_sources, row_cursor, validate_rows
from codekin.completion.generation import GenerationConfig, HybridModel, run_to_end, score_candidates
from codekin.completion.ranking import ScoredLine, rank_guesses, rerank, skip_threshold
from codekin.models.loading import load_generator

GUESSES = 12
SHOWN_EVERY = 25
PROMPT_VARIANTS = {"bare": GenerationConfig(has_snippets=False), "snippets": GenerationConfig()}
"""How a prompt is made: of the file alone, and with similar snippets and definitions."""

Case = tuple[str, Corpus, Mapping[str, str]]


@dataclass(frozen=True)
class ScoredCase:
    """A case with its lines by way, the repository's first; where the repository is sure, the first way alone."""

    id: str
    checkout: str
    group: str
    truth: str
    lines: Mapping[str, Sequence[ScoredLine]]


def main() -> None:
    arguments = _arguments()
    torch.set_num_threads(1)
    if arguments.model:
        variants = {name: PROMPT_VARIANTS[name] for name in arguments.variants}
        collect(
            arguments.model, variants, interleave_cases(arguments.pair, arguments.seed), arguments.kept, arguments.limit
        )
    show(read_scored_cases(arguments.kept))


def interleave_cases(pairs: Sequence[tuple[Path, Path]], seed: int) -> Iterator[Case]:
    """The cases of all checkouts, shuffled within each, one of each in turn."""
    lanes = []
    for root, path in pairs:
        rows = list(validate_rows(json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line))
        random.Random(seed).shuffle(rows)
        corpus = build_corpus(read_sources(root))
        lanes.append([(root.name, corpus, row) for row in rows])
    for turn in itertools.zip_longest(*lanes):
        yield from (case for case in turn if case)


def collect(
    model: str, variants: Mapping[str, GenerationConfig], cases: Iterator[Case], path: Path, limit: int | None
) -> None:
    """Adds the cases that are not kept yet, up to so many in all."""
    known = {(case.checkout, case.id) for case in read_scored_cases(path)} if path.exists() else set()
    generator = load_generator(model)
    with path.open("a", encoding="utf-8") as file:
        for checkout, corpus, row in itertools.islice(cases, limit):
            if (checkout, row["id"]) in known:
                continue
            found = ScoredCase(row["id"], checkout, f"{row['language']}/{row['kind']}", row["truth"], {})
            file.write(json.dumps(asdict(found) | {"lines": _lines(generator, corpus, row, variants)}) + "\n")
            file.flush()
            known.add((checkout, row["id"]))
            if len(known) % SHOWN_EVERY == 0:
                show(read_scored_cases(path))


def _lines(
    generator: Any, corpus: Corpus, row: Mapping[str, str], variants: Mapping[str, GenerationConfig]
) -> dict[str, list[dict[str, Any]]]:
    cursor = row_cursor(row)
    found = rank_guesses(corpus, cursor, GUESSES)
    if found and found[0].confidence >= skip_threshold(0):
        variants = dict(list(variants.items())[:1])
    return {
        name: [
            asdict(line)
            for line in run_to_end(score_candidates(HybridModel(generator, corpus, variant), cursor, found))
        ]
        for name, variant in variants.items()
    }


def read_scored_cases(path: Path) -> list[ScoredCase]:
    """The cases that a file holds."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
    return [
        ScoredCase(
            **row
            | {"lines": {variant: [ScoredLine(**line) for line in lines] for variant, lines in row["lines"].items()}}
        )
        for row in rows
    ]


def show(cases: Sequence[ScoredCase]) -> None:
    """Prints the share of cases that are exact, by way of answering and by checkout."""
    tables = {"all": list(cases)}
    for case in cases:
        tables.setdefault(case.checkout, []).append(case)
    for name, part in tables.items():
        found = [_exact(case) for case in part]
        figures = "  ".join(
            f"{variant} {sum(each[variant] for each in found) / len(found):.3f}" for variant in found[0]
        )
        print(f"{name:12} {len(part):5}  {figures}", flush=True)


def _exact(case: ScoredCase) -> dict[str, bool]:
    """Whether each way of answering is right, and whether any line is."""
    bare = case.lines.get("bare") or case.lines["snippets"]
    with_snippets = case.lines.get("snippets", bare)
    truth = case.truth.strip()
    guesses_by_source = {
        "repository": _first(line.text for line in bare if line.chance),
        "generator": _first(line.text for line in bare if line.is_generated),
        "generator+snippets": _first(line.text for line in with_snippets if line.is_generated),
        "both": pick_line(bare),
        "both+snippets": pick_line(with_snippets),
    }
    found = {variant: text.strip() == truth for variant, text in guesses_by_source.items()}
    return found | {"among all": any(line.text.strip() == truth for line in (*bare, *with_snippets))}


def pick_line(lines: Sequence[ScoredLine]) -> str:
    """What both answer: the repository where it is sure, else the best weighed."""
    own = [line for line in lines if line.chance]
    if own and own[0].chance >= skip_threshold(0):
        return own[0].text
    return rerank(lines, 0)[0].text if lines else ""


def _first(texts: Iterator[str]) -> str:
    return next(texts, "")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pair", nargs=2, type=Path, action="append", default=[], metavar=("CHECKOUT", "CASES"))
    parser.add_argument("--kept", type=Path, required=True)
    parser.add_argument("--model", default="")
    parser.add_argument("--ways", nargs="+", choices=PROMPT_VARIANTS, default=list(PROMPT_VARIANTS))
    parser.add_argument("--limit", type=int, default=None)
    parser.add_argument("--seed", type=int, default=7)
    return parser.parse_args()


if __name__ == "__main__":
    main()
