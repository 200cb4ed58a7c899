"""Ranks the live fragments for one query: vectors and words, fused within each language.

Filters are applied inside both scans. A small language is compared whole; in a large one
the best of each signal become candidates, every candidate gets both signals, and their
spreads come from a fixed sample, so that a score depends on the query and nothing else.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from codekin.index.dense import Dense
from codekin.index.fusion import DENSE_WEIGHT, LEXICAL_WEIGHT, Scores, Signal, fuse, shown
from codekin.index.lexical import LexicalReader
from codekin.index.lexis import Lexis, ask
from codekin.index.scoring import Mask, Meaning, Rows, Words, meaning, sample
from codekin.index.snapshot import Snapshot
from codekin.index.terms import count_terms
from codekin.seams import Vectors

WHOLE = 2048
_HAMMING_CANDIDATES = 1000
_DENSE_CANDIDATES = 128
_LEXICAL_CANDIDATES = 400
_SAMPLE = 256


Scored = tuple[Rows, Scores, Scores, Scores]
"""Rows with their fused scores, cosines and lexical likeness."""


@dataclass(frozen=True, slots=True)
class Query:
    """What is looked for: its text, its unit vector (dimensions,) or None, its language or None.

    A question is a few words rather than code.
    """

    text: str
    vector: Vectors | None = None
    language: str | None = None
    name: str = ""
    is_question: bool = False


@dataclass(frozen=True, slots=True)
class Ranking:
    """Rows of a snapshot, best first, with their shown scores, cosines and likeness of words (or NaN)."""

    rows: Rows
    scores: Scores
    cosine: Scores
    likeness: Scores

    def above(self, least: float) -> "Ranking":
        """The rows with at least this score."""
        count = int(np.searchsorted(-self.scores, -least, side="right"))
        return Ranking(self.rows[:count], self.scores[:count], self.cosine[:count], self.likeness[:count])


@dataclass(frozen=True, slots=True)
class View:
    """One consistent state to search in; each signal may be missing.

    `fetch` reads terms into the lexis that are not in memory yet.
    """

    snapshot: Snapshot
    dense: Dense | None
    lexis: Lexis | None
    lexical: LexicalReader | None
    fetch: Callable[[Lexis, Rows], None]


@dataclass(frozen=True, slots=True)
class _Asked:
    """A query made ready for a view."""

    snapshot: Snapshot
    meaning: Meaning | None
    words: Words | None


def rank(view: View, query: Query, mask: Mask, *, limit: int, exact: bool = False) -> Ranking:
    """The best rows under `mask`; `exact` compares every one of them."""
    words = None
    if view.lexis is not None and query.text.strip():
        reading = view.snapshot, view.lexis, view.lexical, view.fetch
        terms = ask(count_terms(query.text))
        words = Words(*reading, query.text, query.name, query.language, terms, query.is_question)
    known = meaning(view.dense, view.snapshot, query.vector, query.language, is_question=query.is_question)
    asked = _Asked(view.snapshot, known, words)
    groups = _candidates(asked, mask, exact=exact)
    parts = [_empty(), *(_scored(asked, number, rows) for number, rows in groups.items())]
    rows, scores, cosine, likeness = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.lexsort((rows, -scores))[:limit]
    seen = shown(scores[order], len(view.snapshot), is_question=query.is_question)
    return Ranking(rows[order], seen, cosine[order], likeness[order])


def _empty() -> Scored:
    none = np.zeros(0, np.float32)
    return np.zeros(0, np.int64), none, none, none


def _candidates(asked: _Asked, mask: Mask, *, exact: bool) -> dict[int, Rows]:
    """The rows to compare, by language number: all of a small language, the best of a large one."""
    language = asked.snapshot.columns.language
    numbers = np.flatnonzero(np.bincount(language[mask], minlength=1)).tolist()
    groups = {number: np.flatnonzero(mask & (language == number)) for number in numbers}
    large = {} if exact else {number: rows for number, rows in groups.items() if len(rows) > WHOLE}
    matches = asked.words.matches(_LEXICAL_CANDIDATES, mask) if asked.words and large else np.zeros(0, np.int64)
    for number, rows in large.items():
        found = matches[language[matches] == number]
        if asked.words and len(found) < _LEXICAL_CANDIDATES // 4:
            found = asked.words.matches(_LEXICAL_CANDIDATES // 2, mask, number)
        if asked.meaning:
            near = asked.meaning.near(number, rows, _HAMMING_CANDIDATES, _DENSE_CANDIDATES)
            found = np.concatenate([found, near])
        groups[number] = np.sort(np.array(list(set(found.tolist())), np.int64))
    return groups


def _sample(snapshot: Snapshot, language: int) -> Rows:
    """The rows of a language that give the spread: all of a small one."""
    whole = np.count_nonzero(snapshot.columns.language == language) <= WHOLE
    return sample(snapshot, language, WHOLE if whole else _SAMPLE)


def _scored(asked: _Asked, language: int, rows: Rows) -> Scored:
    """Rows of one language, unordered."""
    usual = _sample(asked.snapshot, language)
    others = rows[~np.isin(rows, usual)]
    both = np.concatenate([usual, others])
    order = np.argsort(both)[np.searchsorted(np.sort(both), rows)]
    cosine = likeness = np.full(len(rows), np.nan, np.float32)
    signals: list[Signal] = []
    if asked.meaning:
        cosines = asked.meaning.of(language, both)
        excess = asked.meaning.excess(language, both, cosines)
        best = asked.meaning.best(language) - _mean(cosines - excess)
        cosine = cosines[order]
        signals.append(Signal(excess[order], excess[: len(usual)], DENSE_WEIGHT, best))
    if asked.words and language in asked.words.lexis.languages:
        known = asked.words.of_sample(language, usual)
        likeness = np.concatenate([known, asked.words.of(language, others)])[order]
        signals.append(Signal(likeness, known, LEXICAL_WEIGHT, asked.words.best(language), asked.words.usual(language)))
    scores = fuse(signals) if signals else np.zeros(len(rows), np.float32)
    return rows, scores, cosine, likeness


def _mean(values: Scores) -> float:
    """The mean of the values that are there, 0 of none."""
    present = values[~np.isnan(values)]
    return float(present.mean()) if len(present) else 0.0
