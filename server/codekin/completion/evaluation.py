"""Evaluates completion on rows `{id, language, path, kind, prefix, suffix, truth}`.

The file at a row's path is replaced by the row's prefix and suffix. `exact` compares after stripping outer white
space; `similarity` is difflib's ratio.
"""

import os
import posixpath
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codekin.completion.context import CursorPosition
from codekin.completion.corpus_snapshot import Corpus
from codekin.completion.generation import GenerationConfig, HybridModel, generated_guesses, run_to_end
from codekin.completion.ranking import Guess, rank_guesses
from codekin.completion.suggestions import normalize_newlines
from codekin.errors import UsageError
from codekin.parsing import detect_language

if TYPE_CHECKING:
    from codekin.models.generation.prompts import TokenGenerator

Completer = Callable[[CursorPosition], Guess | None]
"""The best guess for a row, of which it gets no more than this."""

MAX_FILE_BYTES = 1 << 20
_FIELDS = ("language", "path", "kind", "prefix", "suffix", "truth")
_SKIPPED = frozenset({"deps", "node_modules", "third_party", "vendor", "_build", "build"})


@dataclass(frozen=True, slots=True)
class CaseResult:
    """What became of one row."""

    group: str
    exact: bool
    similarity: float
    confidence: float
    milliseconds: float


def evaluate_completion(
    rows: Sequence[Mapping[str, str]], complete: Completer, report: Callable[[int], None] = lambda _: None
) -> list[CaseResult]:
    """Completes every row; `report` hears how many are done."""
    outcomes = []
    for number, row in enumerate(rows, 1):
        outcomes.append(_run_case(row, complete))
        report(number)
    return outcomes


def row_cursor(row: Mapping[str, str]) -> CursorPosition:
    """A row without its truth, with line feeds alone."""
    return normalize_newlines(CursorPosition(row["path"], row["language"], row["prefix"], row["suffix"]))


def match_row_paths(rows: Iterable[Mapping[str, str]], texts: Mapping[str, str]) -> list[Mapping[str, str]]:
    """The rows with their paths as the repository has them, so that no row sees its own file.

    A path that is relative to another folder means the file with that ending, before others the one that begins and
    ends as the row does.
    """
    return [{**row, "path": _path_among(texts, row)} for row in rows]


def _path_among(texts: Mapping[str, str], row: Mapping[str, str]) -> str:
    path = posixpath.normpath(row["path"].replace("\\", "/")).lstrip("/")
    if path in texts:
        return path
    similar = [other for other in texts if other.endswith(f"/{path}") or path.endswith(f"/{other}")]
    same = [one for one in similar if texts[one].startswith(row["prefix"]) and texts[one].endswith(row["suffix"])]
    return (same or similar or [path])[0]


def repository_completer(corpus: Corpus) -> Completer:
    """The repository model alone."""

    def complete(cursor: CursorPosition) -> Guess | None:
        found = rank_guesses(corpus, cursor, limit=1)
        return found[0] if found else None

    return complete


def generator_completer(
    generator: "TokenGenerator", corpus: Corpus, generation: GenerationConfig | None = None
) -> Completer:
    """A generator and the repository together."""
    writers = HybridModel(generator, corpus, generation or GenerationConfig())

    def complete(cursor: CursorPosition) -> Guess | None:
        found = run_to_end(generated_guesses(writers, cursor, limit=1))
        return found[0] if found else None

    return complete


def summarize_cases(outcomes: Sequence[CaseResult], threshold: float) -> dict[str, dict[str, Any]]:
    """Per group and over all: n, exact, similarity, times, and what is shown at a threshold of confidence."""
    groups = {"all": list(outcomes)}
    for outcome in outcomes:
        groups.setdefault(outcome.group, []).append(outcome)
    return {
        name: _summarize_group(group, threshold)
        for name, group in sorted(groups.items(), key=lambda item: item[0] != "all")
    }


def validate_rows(rows: Iterable[Mapping[str, Any]]) -> list[Mapping[str, str]]:
    """The rows, if every one has its fields. Raises UsageError that names the first that has not."""
    found = []
    for number, row in enumerate(rows, 1):
        missing = next((name for name in _FIELDS if not isinstance(row.get(name), str)), None)
        if missing:
            raise UsageError(f"Row {number} has no text in `{missing}`: rows are {{id, {', '.join(_FIELDS)}}}.")
        found.append(row)
    return found


def read_sources(root: Path) -> Iterator[tuple[str, str]]:
    """Relative paths and texts of the source files below a folder, hidden and vendored folders left out."""
    if not root.is_dir():
        raise UsageError(f"{root} is no folder: give the checkout that the rows' paths are relative to.")
    for place, folders, names in os.walk(root):
        folder = Path(place)
        folders[:] = sorted(name for name in folders if name not in _SKIPPED and not name.startswith("."))
        for name in sorted(names):
            path = folder / name
            if path.is_symlink() or not path.is_file() or path.stat().st_size > MAX_FILE_BYTES:
                continue
            relative = path.relative_to(root).as_posix()
            if detect_language(relative, "") is not None:
                yield relative, path.read_bytes().decode("utf-8", "replace")


def _run_case(row: Mapping[str, str], complete: Completer) -> CaseResult:
    began = time.perf_counter()
    guess = complete(row_cursor(row))
    milliseconds = (time.perf_counter() - began) * 1000
    text, truth = guess.text.strip() if guess else "", row["truth"].strip()
    return CaseResult(
        group=f"{row['language']}/{row['kind']}",
        exact=text == truth,
        similarity=SequenceMatcher(None, text, truth).ratio(),
        confidence=guess.confidence if guess else 0.0,
        milliseconds=milliseconds,
    )


def _summarize_group(group: Sequence[CaseResult], threshold: float) -> dict[str, Any]:
    count = max(1, len(group))
    times = sorted(outcome.milliseconds for outcome in group)
    shown = [outcome for outcome in group if outcome.confidence >= threshold]
    return {
        "n": len(group),
        "exact": round(sum(outcome.exact for outcome in group) / count, 4),
        "similarity": round(sum(outcome.similarity for outcome in group) / count, 4),
        "ms_p50": round(times[len(times) // 2], 2) if times else 0.0,
        "ms_p99": round(times[min(len(times) - 1, len(times) * 99 // 100)], 2) if times else 0.0,
        "shown": round(len(shown) / count, 4),
        "shown_exact": round(sum(outcome.exact for outcome in shown) / max(1, len(shown)), 4),
    }
