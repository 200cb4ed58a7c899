"""Ranks the live fragments for one query: vectors and words, fused within each language.

Filters are applied inside both scans. A language with few fragments is compared whole; in
a larger one the best of each signal become candidates, every candidate gets both signals,
and the spreads come from a fixed sample, so that scores depend on nothing but the query.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codekin.index.dense import Dense, cosines, nearest
from codekin.index.fusion import Scores, Spread, damp, fuse, shown, spread
from codekin.index.lexical import LexicalReader, Term
from codekin.index.snapshot import Snapshot
from codekin.index.tokens import tokens
from codekin.seams import Vectors

WHOLE = 4096
_DENSE_CANDIDATES = 1000
_LEXICAL_CANDIDATES = 300
_SAMPLE = 1024

Rows = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Query:
    """What is looked for: its text, its unit vector (dimensions,) or None, its language or None."""

    text: str
    vector: Vectors | None = None
    language: str | None = None
    name: str = ""


@dataclass(frozen=True, slots=True)
class Ranking:
    """Rows of a snapshot, best first, with their shown scores and both raw signals."""

    rows: Rows
    scores: Scores
    cosine: Scores
    bm25: Scores

    def take(self, order: Rows | Mask) -> "Ranking":
        """Some of the rows."""
        return Ranking(self.rows[order], self.scores[order], self.cosine[order], self.bm25[order])


@dataclass(frozen=True, slots=True)
class View:
    """One consistent state to search in; either signal may be missing."""

    snapshot: Snapshot
    dense: Dense | None
    lexical: LexicalReader | None


def rank(view: View, query: Query, mask: Mask, *, limit: int, exact: bool = False) -> Ranking:
    """The best rows under `mask`; `exact` compares every one of them."""
    prepared = _prepare(view, query)
    found = [
        _rank_language(prepared, number, np.flatnonzero(mask & (view.snapshot.columns.language == number)), exact=exact)
        for number in np.unique(view.snapshot.columns.language[mask]).tolist()
    ]
    if not found:
        empty = np.zeros(0, np.float32)
        return Ranking(np.zeros(0, np.int64), empty, empty, empty)
    together = Ranking(*(np.concatenate([getattr(one, part) for one in found]) for part in Ranking.__slots__))
    order = np.lexsort((together.rows, -together.scores))
    return together.take(order[:limit])


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A query with what does not depend on the candidates' language."""

    view: View
    vector: Vectors | None
    terms: list[Term]
    own_bm25: float


def _prepare(view: View, query: Query) -> _Prepared:
    vector, terms, own = None, [], 0.0
    if view.dense is not None and query.vector is not None:
        vector = np.asarray(query.vector, np.float32)
        if query.language is not None:
            vector = vector - view.dense.mean(view.snapshot.languages.number(query.language))
    if view.lexical is not None:
        pieces = tokens(query.text)
        terms = view.lexical.telling(Counter(pieces) + Counter(tokens(query.name)))
        own = view.lexical.own_score(terms, len(pieces))
    return _Prepared(view, vector, terms, own)


def _rank_language(query: _Prepared, language: int, rows: Rows, *, exact: bool) -> Ranking:
    """Candidates of one language with fused, shown scores; unordered."""
    whole = exact or len(rows) <= WHOLE
    candidates = rows if whole else np.unique(np.concatenate(list(_candidates(query, language, rows))))
    cosine = _cosines(query, language, candidates)
    bm25 = _bm25(query, language, candidates, whole=whole)
    dense_spread, lexical_spread = _spreads(query, language)
    dense = dense_spread.standardise(cosine) if dense_spread else None
    lexical = lexical_spread.standardise(damp(bm25)) if lexical_spread else None
    if dense is None and lexical is None:
        return Ranking(candidates, np.zeros(len(candidates), np.float32), cosine, bm25)
    scores = shown(fuse(dense, lexical), _own(dense_spread, lexical_spread, query.own_bm25))
    return Ranking(candidates, scores, cosine, bm25)


def _own(dense: Spread | None, lexical: Spread | None, bm25: float) -> float:
    """The fused score of an exact copy of the query."""
    one = dense.standardise(np.ones(1, np.float32)) if dense else None
    other = lexical.standardise(damp(np.full(1, bm25, np.float32))) if lexical else None
    return float(fuse(one, other)[0])


def _candidates(query: _Prepared, language: int, rows: Rows) -> Iterator[Rows]:
    """The nearest rows by vector and the best by words."""
    columns = query.view.snapshot.columns
    if query.vector is not None and query.view.dense is not None:
        slots = columns.slot[rows]
        near = nearest(query.view.dense, query.vector, language, np.unique(slots[slots >= 0]), _DENSE_CANDIDATES)
        yield rows[np.isin(slots, near)]
    if query.terms and query.view.lexical is not None:
        ids, _ = query.view.lexical.search(query.terms, _conditions(query, language, rows), _LEXICAL_CANDIDATES)
        yield rows[np.isin(columns.id[rows], ids)]


def _conditions(query: _Prepared, language: int, rows: Rows) -> list[object]:
    """What a lexical match must meet to stand for one of the rows."""
    view = query.view
    assert view.lexical is not None  # noqa: S101 - asked only with words at hand
    columns = view.snapshot.columns
    conditions = [view.lexical.language_is(view.snapshot.languages.words()[language])]
    if len(rows) < int((columns.language == language).sum()):
        conditions.append(view.lexical.among("id", columns.id[rows].tolist()))
    return conditions


def _cosines(query: _Prepared, language: int, rows: Rows) -> Scores:
    if query.vector is None or query.view.dense is None:
        return np.full(len(rows), np.nan, np.float32)
    return cosines(query.view.dense, query.vector, language, query.view.snapshot.columns.slot[rows])


def _bm25(query: _Prepared, language: int, rows: Rows, *, whole: bool) -> Scores:
    """BM25 of each row, 0 where nothing matches."""
    scores = np.zeros(len(rows), np.float32)
    lexical = query.view.lexical
    if lexical is None or not query.terms or len(rows) == 0:
        return scores
    ids = query.view.snapshot.columns.id[rows]
    conditions = [lexical.language_is(query.view.snapshot.languages.words()[language])]
    if not whole:
        conditions.append(lexical.among("id", ids.tolist()))
    found, values = lexical.search(query.terms, conditions, lexical.documents if whole else len(ids))
    place = np.minimum(np.searchsorted(ids, found), len(ids) - 1)
    hit = ids[place] == found
    scores[place[hit]] = values[hit]
    return scores


def _spreads(query: _Prepared, language: int) -> tuple[Spread | None, Spread | None]:
    """How both signals are spread over a fixed sample of the language, filters aside."""
    columns = query.view.snapshot.columns
    rows = np.flatnonzero(columns.language == language)
    level = max(0, int(np.ceil(np.log2(max(1, len(rows)) / _SAMPLE))))
    rows = rows[columns.sample[rows] >= level]
    dense = spread(_cosines(query, language, rows)) if query.vector is not None else None
    lexical = None
    if query.terms and query.view.lexical is not None:
        lexical = spread(damp(_sampled_bm25(query.view.lexical, query, language, rows, level)))
    return dense, lexical


def _sampled_bm25(lexical: LexicalReader, query: _Prepared, language: int, rows: Rows, level: int) -> Scores:
    """BM25 of the sample; rows are only counted, since the spread has no order."""
    conditions = [lexical.language_is(query.view.snapshot.languages.words()[language])]
    if level:
        conditions.append(lexical.sampled(level))
    _, values = lexical.search(query.terms, conditions, len(rows))
    return np.pad(values, (0, max(0, len(rows) - len(values))))
