"""Completion by the repository against plain copying of the longest match, on cases that were never tuned on.

    scripts/benchmarks/completion.py --pair CHECKOUT CASES.jsonl [--pair ...]

Prints exact and similarity of both, their ratios, times, and bytes for each token. A generator beside the repository,
with and without kin, is measured by scripts/completion_lines.py.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from codekin.completion.corpus import Corpus, corpus_of
from codekin.completion.evaluation import (
    Completer,
    Outcome,
    checked,
    evaluate,
    figures,
    repository_completer,
    texts_of,
)
from codekin.completion.gap import Gap
from codekin.completion.recall import continuation, recall
from codekin.completion.repository import Guess
from codekin.completion.situation import situation_of

LONGEST_LINE = 48


def main() -> None:
    arguments = _arguments()
    corpora = [(corpus_of(texts_of(root)), _rows(rows)) for root, rows in arguments.pair]
    print("bytes a token", round(sum(map(bytes_of, (corpus for corpus, _ in corpora))) / _tokens(corpora), 1))
    plain = _measured("longest match", [evaluate(rows, copier(corpus)) for corpus, rows in corpora])
    ours = _measured("repository", [evaluate(rows, repository_completer(corpus)) for corpus, rows in corpora])
    for group, row in ours.items():
        other = plain[group]
        ratio = row["exact"] / other["exact"] if other["exact"] else float("inf")
        print(f"{group:16} exact x{ratio:.2f}  similarity {row['similarity'] - other['similarity']:+.3f}")


def copier(corpus: Corpus) -> Completer:
    """What plain copying says: the rest of the line behind the longest match, the nearest of equals."""

    def complete(gap: Gap) -> Guess | None:
        situation = situation_of(corpus.vocabulary, gap)
        best: tuple[tuple[int, int, int], str] | None = None
        for memories in recall(corpus, situation):
            for at, (matched, nearness) in enumerate(zip(memories.matched, memories.nearness, strict=True)):
                key = (int(matched), int(nearness), -int(memories.distance[at]))
                if matched and (best is None or key > best[0]):
                    line = continuation(memories, at, LONGEST_LINE).tolist()
                    best = key, corpus.vocabulary.join(line)[len(situation.typed) :]
        return Guess(best[1], 1.0) if best else None

    return complete


def bytes_of(corpus: Corpus) -> int:
    """The bytes of a corpus's arrays."""
    base = corpus.base
    tables = [*base.tables, *base.shape_tables]
    arrays = [base.tokens, base.breaks, base.starts, corpus.vocabulary.traits]
    arrays += [array for table in tables for array in (table.keys, table.starts, table.places)]
    strings = sum(sys.getsizeof(text) + 100 for text in corpus.vocabulary.texts)
    return strings + sum(array.nbytes for array in arrays)


def _measured(title: str, outcomes: list[list[Outcome]]) -> dict[str, dict[str, float]]:
    found = figures([outcome for part in outcomes for outcome in part], threshold=0.13)
    for group, row in found.items():
        print(f"{title:16} {group:16} " + "  ".join(f"{name} {value}" for name, value in row.items()), flush=True)
    return found


def _tokens(corpora: list[tuple[Corpus, list[dict[str, str]]]]) -> int:
    return sum(len(corpus.base.tokens) for corpus, _ in corpora)


def _rows(path: Path) -> list[dict[str, str]]:
    return list(checked(_objects(path)))  # type: ignore[arg-type]


def _objects(path: Path) -> Iterator[dict[str, str]]:
    for line in path.read_text(encoding="utf-8").splitlines():
        yield json.loads(line)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pair", nargs=2, type=Path, action="append", required=True, metavar=("CHECKOUT", "CASES"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
