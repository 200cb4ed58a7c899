"""Ranks the live fragments for one query: vectors and words, fused within each language.

Filters are applied inside both scans. A small language is compared whole; in a large one
the best of each signal become candidates, every candidate gets both signals, and their
spreads come from a fixed sample, so that a score depends on the query and nothing else.
"""

from dataclasses import dataclass

import numpy as np

from codekin.index.dense import Dense
from codekin.index.fusion import Scores, damp, fuse, shown, spread
from codekin.index.lexical import LexicalReader
from codekin.index.scoring import Mask, Meaning, Rows, Words, meaning, words
from codekin.index.snapshot import Snapshot
from codekin.seams import Vectors

WHOLE = 2048
_HAMMING_CANDIDATES = 1000
_DENSE_CANDIDATES = 128
_LEXICAL_CANDIDATES = 400
_SAMPLE = 256


@dataclass(frozen=True, slots=True)
class Query:
    """What is looked for: its text, its unit vector (dimensions,) or None, its language or None."""

    text: str
    vector: Vectors | None = None
    language: str | None = None
    name: str = ""


@dataclass(frozen=True, slots=True)
class Ranking:
    """Rows of a snapshot, best first, with their shown scores and both raw signals (or NaN)."""

    rows: Rows
    scores: Scores
    cosine: Scores
    bm25: Scores

    def above(self, least: float) -> "Ranking":
        """The rows with at least this score."""
        count = int(np.searchsorted(-self.scores, -least, side="right"))
        return Ranking(self.rows[:count], self.scores[:count], self.cosine[:count], self.bm25[:count])


@dataclass(frozen=True, slots=True)
class View:
    """One consistent state to search in; either signal may be missing."""

    snapshot: Snapshot
    dense: Dense | None
    lexical: LexicalReader | None


@dataclass(frozen=True, slots=True)
class _Asked:
    """A query made ready for a view."""

    snapshot: Snapshot
    meaning: Meaning | None
    words: Words | None


def rank(view: View, query: Query, mask: Mask, *, limit: int, exact: bool = False) -> Ranking:
    """The best rows under `mask`; `exact` compares every one of them."""
    asked = _Asked(
        view.snapshot,
        meaning(view.dense, view.snapshot, query.vector, query.language),
        words(view.lexical, view.snapshot, query.text, query.name),
    )
    groups = _candidates(asked, mask, exact=exact)
    samples = {number: _sample(asked, number) for number in groups}
    if asked.words and groups:
        asked.words.of(np.concatenate([*groups.values(), *samples.values()]))
    parts = [_scored(asked, number, rows, samples[number]) for number, rows in groups.items()]
    empty = (np.zeros(0, np.int64), *[np.zeros(0, np.float32)] * 3)
    rows, scores, cosine, bm25 = (np.concatenate(column) for column in zip(empty, *parts, strict=True))
    order = np.lexsort((rows, -scores))[:limit]
    return Ranking(rows[order], scores[order], cosine[order], bm25[order])


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


def _sample(asked: _Asked, language: int) -> Rows:
    """A fixed sample of a language's rows, filters aside."""
    columns = asked.snapshot.columns
    rows = np.flatnonzero(columns.language == language)
    level = max(0, int(np.ceil(np.log2(max(1, len(rows)) / _SAMPLE)))) if len(rows) > WHOLE else 0
    return rows[columns.sample[rows] >= level]


def _scored(asked: _Asked, language: int, rows: Rows, sample: Rows) -> tuple[Rows, Scores, Scores, Scores]:
    """Rows of one language with their shown scores and raw signals; unordered."""
    cosine = bm25 = np.full(len(rows), np.nan, np.float32)
    near = like = None
    own_near = own_like = None
    if asked.meaning:
        cosine = asked.meaning.of(language, rows)
        if scale := spread(asked.meaning.of(language, sample)):
            near, own_near = scale.standardise(cosine), scale.standardise(np.ones(1, np.float32))
    if asked.words:
        bm25 = asked.words.of(rows)
        if scale := spread(damp(asked.words.of(sample))):
            like = scale.standardise(damp(bm25))
            own_like = scale.standardise(damp(np.full(1, asked.words.own, np.float32)))
    if near is None and like is None:
        return rows, np.zeros(len(rows), np.float32), cosine, bm25
    return rows, shown(fuse(near, like), float(fuse(own_near, own_like)[0])), cosine, bm25
