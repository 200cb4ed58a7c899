"""Builds a hit from a chunk: its reasons, most distinctive first, and its matching lines."""

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

from codekin.parsing import count_lines_before_code
from codekin.ranking.expansion import stem
from codekin.ranking.priors import CONTAINERS, QuestionWords
from codekin.storage.terms import jaccard_similarity, split_subtokens
from codekin.types import Chunk, Hit

_SCORE_DIGITS = 4
_NOISE_SHARE, _CLEAR_SCORE = 0.2, 0.6
"""A place with less than this part of its language's best score is noise; no best counts for more than a clear one."""


def build_hit(chunk: Chunk, score: float, reasons: Iterable[str], lines: Sequence[int] = ()) -> Hit:
    """The place of a chunk, with its score, why it was found, and the lines that match."""
    return Hit(
        path=chunk.path,
        name=chunk.name,
        kind=chunk.kind,
        language=chunk.language,
        start_line=chunk.start_line,
        end_line=chunk.end_line,
        code_line=chunk.start_line + count_lines_before_code(chunk.language, chunk.text),
        score=round(score, _SCORE_DIGITS),
        reasons=tuple(reasons),
        lines=tuple(lines),
    )


def drop_noise(hits: Sequence[Hit]) -> list[Hit]:
    """The places without those that are noise beside the best in their language."""
    best: dict[str, float] = {}
    for hit in hits:
        best[hit.language] = max(best.get(hit.language, 0.0), min(hit.score, _CLEAR_SCORE))
    return [hit for hit in hits if hit.score >= _NOISE_SHARE * best[hit.language]]


NEAR_DUPLICATE_SIMILARITY = 0.8
_SIMILAR_MEANING = 0.5
_MIN_COMPARED_SCORE = 0.6
_MAX_NAMES = 3
_STOP_WORDS = frozenset(
    """
    def defp do end fn if else case cond when return int void const auto bool
    char for while std the a of to is in and or not nil true false
    null self this class struct public private static size string ok error new with import use
    """.split()  # noqa: SIM905 - eighty quoted words are harder to read
)
"""Words too common to carry meaning."""


def is_copy(query: Chunk, candidate: Chunk) -> bool:
    """Whether the texts are the same, in the same language where the query has one."""
    return query.text.strip() == candidate.text.strip() and query.language in {"", candidate.language}


def explain_similarity(query: Chunk, candidate: Chunk, cosine: float, score: float) -> tuple[str, ...]:
    """Up to four reasons; at least one."""
    found = [*_text_and_name_reasons(query, candidate, score), *_shape_reasons(query, candidate)]
    if cosine >= _SIMILAR_MEANING:
        found.append("similar meaning")
    if len(found) < 4 and (shared := _shared_words(query.text, candidate.text)):
        found.append("shares words: " + ", ".join(shared))
    return tuple(found[:4]) or ("similar meaning" if cosine > 0 else "shares words",)


def _text_and_name_reasons(query: Chunk, candidate: Chunk, score: float) -> Iterable[str]:
    if is_copy(query, candidate):
        yield "identical copy"
    elif score >= _MIN_COMPARED_SCORE and jaccard_similarity(query.text, candidate.text) >= NEAR_DUPLICATE_SIMILARITY:
        yield "near-duplicate"
    if query.name and _short_name(query.name) == _short_name(candidate.name):
        yield "same name"


def _shape_reasons(query: Chunk, candidate: Chunk) -> Iterable[str]:
    behaviours = _common_names(query.shape.behaviours, candidate.shape.behaviours)
    callbacks = _common_names(query.shape.callbacks, candidate.shape.callbacks)
    if callbacks:
        owners = behaviours or _common_names(query.shape.uses, candidate.shape.uses)
        owner = f"{owners[0]}." if len(owners) == 1 and "." not in callbacks[0] else ""
        yield f"both implement {owner}{callbacks[0]}"
    elif behaviours:
        yield "same behaviour: " + ", ".join(behaviours[:_MAX_NAMES])
    if calls := _common_names(query.shape.calls, candidate.shape.calls):
        yield "calls the same: " + ", ".join(calls[:_MAX_NAMES])
    if uses := _common_names(query.shape.uses, candidate.shape.uses):
        yield "uses the same: " + ", ".join(uses[:_MAX_NAMES])


def _common_names(one: Iterable[str], other: Iterable[str]) -> list[str]:
    """Names in both, in the order of the first."""
    present = set(other)
    return [name for name in dict.fromkeys(one) if name in present]


def _short_name(name: str) -> str:
    """`handle_call` of `MyApp.Server.handle_call/3`, `method` of `ns::Class::method`."""
    return name.split("/", maxsplit=1)[0].rsplit("::", maxsplit=1)[-1].rsplit(".", maxsplit=1)[-1].lower()


def _shared_words(one: str, other: str) -> list[str]:
    """The longest words of both."""
    return sorted(_distinctive_words(one) & _distinctive_words(other), key=lambda word: (-len(word), word))[:_MAX_NAMES]


@lru_cache(maxsize=256)
def _distinctive_words(text: str) -> frozenset[str]:
    return frozenset(word for word in set(split_subtokens(text)) - _STOP_WORDS if len(word) > 2 and word.isalpha())


_MAX_LINES = 3
_MAX_GREP_LINES = 20


def matching_lines(chunk: Chunk, question: QuestionWords, pattern: re.Pattern[str] | None = None) -> tuple[int, ...]:
    """The numbers of the lines that a regular expression matches, or that say most of the question; in order."""
    lines = list(_numbered_lines(chunk))
    if pattern:
        return tuple(number for number, line in lines if pattern.search(line))[:_MAX_GREP_LINES]
    mentions = ((number, line) for number, line in lines if _may_have(line, question.weights))
    said = [(sum(question.weights.get(word, 0.0) for word in _words(line)), -number) for number, line in mentions]
    best = sorted((one for one in said if one[0] > 0), reverse=True)[:_MAX_LINES]
    return tuple(sorted(-number for _, number in best))


def _numbered_lines(chunk: Chunk) -> Iterator[tuple[int, str]]:
    """The lines of a chunk that are in its file verbatim; none of an outline.

    A later part of a function begins with the function's head, which is elsewhere in the file.
    """
    lines, count = chunk.text.split("\n"), chunk.end_line - chunk.start_line + 1
    if len(lines) == count:
        yield from enumerate(lines, chunk.start_line)
    elif chunk.part > 1 and chunk.kind not in CONTAINERS:
        yield from enumerate(lines[-count:], chunk.start_line)


def _may_have(line: str, stems: Iterable[str]) -> bool:
    """Whether a line has the beginning of a word at all: splitting a line into words takes much longer."""
    lowered = line.lower()
    return any(stem in lowered for stem in stems)


def _words(line: str) -> set[str]:
    return {stem(word) for word in split_subtokens(line)}
