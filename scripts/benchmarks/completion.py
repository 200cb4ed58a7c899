"""Completion by the repository against plain copying of the longest match, on cases that were never tuned on.

    scripts/benchmarks/completion.py --pair CHECKOUT CASES.jsonl [--pair ...]

Prints exact and similarity of both, their ratios, times, and bytes for each token. A generator beside the repository,
with and without similar code, is measured by scripts/score_completion_lines.py.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from codekin.completion.context import CursorPosition, read_context
from codekin.completion.corpus_snapshot import Corpus, build_corpus
from codekin.completion.evaluation import (
    CaseResult,
    Completer,
    evaluate_completion,
    read_sources,
    repository_completer,
    summarize_cases,
    validate_rows,
)
from codekin.completion.matches import find_matches, read_continuation
from codekin.completion.ranking import Guess

LONGEST_LINE = 48


def main() -> None:
    arguments = _arguments()
    corpora = [(build_corpus(read_sources(root)), _rows(rows)) for root, rows in arguments.pair]
    print("bytes a token", round(sum(map(bytes_of, (corpus for corpus, _ in corpora))) / _tokens(corpora), 1))
    plain = _measured("longest match", [evaluate_completion(rows, copier(corpus)) for corpus, rows in corpora])
    ours = _measured(
        "repository", [evaluate_completion(rows, repository_completer(corpus)) for corpus, rows in corpora]
    )
    for group, row in ours.items():
        other = plain[group]
        ratio = row["exact"] / other["exact"] if other["exact"] else float("inf")
        print(f"{group:16} exact x{ratio:.2f}  similarity {row['similarity'] - other['similarity']:+.3f}")


def copier(corpus: Corpus) -> Completer:
    """What plain copying says: the rest of the line behind the longest match, the nearest of equals."""

    def complete(cursor: CursorPosition) -> Guess | None:
        context = read_context(corpus.vocabulary, cursor)
        best: tuple[tuple[int, int, int], str] | None = None
        for matches in find_matches(corpus, context):
            for at, (matched, nearness) in enumerate(zip(matches.matched, matches.nearness, strict=True)):
                key = (int(matched), int(nearness), -int(matches.distance[at]))
                if matched and (best is None or key > best[0]):
                    line = read_continuation(matches, at, LONGEST_LINE).tolist()
                    best = key, corpus.vocabulary.join(line)[len(context.typed) :]
        return Guess(best[1], 1.0) if best else None

    return complete


def bytes_of(corpus: Corpus) -> int:
    """The bytes of a corpus's arrays."""
    base = corpus.base
    tables = [*base.tables, *base.shape_tables]
    arrays = [base.tokens, base.breaks, base.starts, corpus.vocabulary.traits]
    arrays += [array for table in tables for array in (table.keys, table.starts, table.positions)]
    strings = sum(sys.getsizeof(text) + 100 for text in corpus.vocabulary.texts)
    return strings + sum(array.nbytes for array in arrays)


def _measured(title: str, outcomes: list[list[CaseResult]]) -> dict[str, dict[str, float]]:
    found = summarize_cases([outcome for part in outcomes for outcome in part], threshold=0.13)
    for group, row in found.items():
        print(f"{title:16} {group:16} " + "  ".join(f"{name} {value}" for name, value in row.items()), flush=True)
    return found


def _tokens(corpora: list[tuple[Corpus, list[dict[str, str]]]]) -> int:
    return sum(len(corpus.base.tokens) for corpus, _ in corpora)


def _rows(path: Path) -> list[dict[str, str]]:
    return list(validate_rows(_objects(path)))  # type: ignore[arg-type]


def _objects(path: Path) -> Iterator[dict[str, str]]:
    for line in path.read_text(encoding="utf-8").splitlines():
        yield json.loads(line)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pair", nargs=2, type=Path, action="append", required=True, metavar=("CHECKOUT", "CASES"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
