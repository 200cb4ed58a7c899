"""Ranks the live chunks for one query: dense and text similarity, fused within each language.

Filters are applied inside both scans. A small language is compared exhaustively; in a large one the best of each
signal become candidates, and the spread comes from a fixed sample, so that a score depends on the query alone.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace

import numpy as np
from numpy.typing import NDArray

from codekin.errors import StoreError
from codekin.protocols import TextIndex, TextQuery, Vectors
from codekin.ranking.signals import (
    BASELINE_SIMILARITY,
    DENSE_WEIGHT,
    TEXT_WEIGHT,
    QueryTerms,
    Scores,
    Signal,
    calibrate_scores,
    cosines,
    cross_language_similarity,
    fuse,
    hamming_distances,
    keep_shared,
    neighbour_similarity,
    prepare_query_terms,
    question_similarity,
    weight_texts,
    within_language_similarity,
)
from codekin.storage.dense_vectors import DenseVectors
from codekin.storage.reader import IndexView
from codekin.storage.snapshot import IndexSnapshot
from codekin.storage.terms import TermStatistics, WeightedTexts, count_terms, tokenize_for_search

RowNumbers = NDArray[np.int64]
RowMask = NDArray[np.bool_]

_NEIGHBOUR_SAMPLE = 1024
"""How many rows of the query's language say which rows are near to everybody."""

_BEST_QUESTION_COSINE = 0.7
_BEST_CROSS_LANGUAGE_COSINE = 0.75
_BEST_CROSS_LANGUAGE_TEXT = 0.3
"""What the best answers reach where there can be no copy: to a few words, and from language to language."""


@dataclass(frozen=True, slots=True)
class TextSignal:
    """The lexical side of one query; `text_index` finds candidates by the `counts` of its tokens and may be missing."""

    snapshot: IndexSnapshot
    term_statistics: TermStatistics
    text_index: TextIndex | None
    load_terms: Callable[[TermStatistics, RowNumbers], None]
    counts: Mapping[str, float]
    language: str | None
    query_terms: QueryTerms
    is_question: bool

    def matches(self, limit: int, allowed: RowMask, language: int | None = None) -> RowNumbers:
        """The best matching rows that are allowed, best first."""
        if self.text_index is None:
            return np.zeros(0, np.int64)
        label = None if language is None else self.snapshot.languages.words()[language]
        files = None if allowed.all() else np.flatnonzero(np.bincount(self.snapshot.columns.file[allowed])).tolist()
        try:
            ids, _ = self.text_index.search(TextQuery(self.counts, label, files), limit)
        except StoreError:
            return np.zeros(0, np.int64)
        rows = self._rows(ids)
        return rows[allowed[rows]]

    def _rows(self, ids: NDArray[np.int64]) -> RowNumbers:
        """The rows of those ids that are live."""
        known = self.snapshot.columns.id
        place = np.minimum(np.searchsorted(known, ids), max(0, len(known) - 1))
        return np.asarray(place[known[place] == ids] if len(known) else place[:0], np.int64)

    def score(self, language: int, rows: RowNumbers) -> Scores:
        """How alike the words of each row of a language are; 1 for a copy."""
        contents = self.snapshot.columns.content[rows]
        self.load_terms(self.term_statistics, contents)
        return self._compare(language, weight_texts(self.term_statistics, language, contents, self.query_terms))

    def score_sample(self, language: int, sample: RowNumbers) -> Scores:
        """The same for the language's fixed sample, whose weights are kept."""
        if language not in self.term_statistics.samples:
            contents = self.snapshot.columns.content[sample]
            self.load_terms(self.term_statistics, contents)
            self.term_statistics.samples[language] = weight_texts(self.term_statistics, language, contents)
        return self._compare(language, keep_shared(self.query_terms, self.term_statistics.samples[language]))

    def baseline(self, language: int) -> float:
        """How alike the words of a language's row that has nothing to do with the query are."""
        return BASELINE_SIMILARITY if not self.is_question and self._query_language_for(language) == language else 0.0

    def best(self, language: int) -> float:
        """How alike the words of the best answer are that a language can have."""
        return 1.0 if self.is_question or self._query_language_for(language) == language else _BEST_CROSS_LANGUAGE_TEXT

    def _compare(self, language: int, weighted_texts: WeightedTexts) -> Scores:
        if self.is_question:
            return question_similarity(self.term_statistics, self.query_terms, language, weighted_texts)
        query_language = self._query_language_for(language)
        if query_language != language:
            return cross_language_similarity(
                self.term_statistics, self.query_terms, query_language, language, weighted_texts
            )
        return within_language_similarity(self.term_statistics, self.query_terms, language, weighted_texts)

    def _query_language_for(self, language: int) -> int | None:
        """The query's language, the compared one where it is not known, None where nothing else is in it."""
        return self.snapshot.languages.numbers.get(self.language) if self.language else language


@dataclass(frozen=True, slots=True)
class DenseSignal:
    """The dense side of one query: its vector, centred in its own `query_language` where it has one."""

    dense: DenseVectors
    snapshot: IndexSnapshot
    vector: Vectors
    query_language: int | None
    is_question: bool

    def best(self, language: int) -> float:
        """The cosine of the best answer that a language can have."""
        if self.is_question:
            return _BEST_QUESTION_COSINE
        return 1.0 if self.query_language in {None, language} else _BEST_CROSS_LANGUAGE_COSINE

    def distances(self) -> NDArray[np.uint16]:
        """The Hamming distance of each slot, and last of all what stands for no vector."""
        return hamming_distances(self.dense, self.vector)

    def nearest(
        self, language: int, rows: RowNumbers, distances: NDArray[np.uint16], hamming_limit: int, limit: int
    ) -> RowNumbers:
        """The `limit` nearest rows, those by Hamming distance first when there are many."""
        if len(rows) > hamming_limit:
            distance = distances[np.minimum(self.snapshot.columns.slot[rows], len(distances) - 1)]
            rows = rows[np.argpartition(distance, hamming_limit)[:hamming_limit]]
        cosine = np.nan_to_num(self.score(language, rows), nan=-1.0)
        return rows[np.argsort(-cosine, kind="stable")[:limit]]

    def score(self, language: int, rows: RowNumbers) -> Scores:
        """The cosine of each row of a language, NaN where it has no vector."""
        return cosines(self.dense, self.vector, language, self.snapshot.columns.slot[rows])

    def scaled_cosine(self, language: int, rows: RowNumbers, cosine: Scores) -> Scores:
        """By how much each row's cosine exceeds half of what it has with its nearest in the query's language.

        Half of cross-domain similarity local scaling (Conneau and others 2018); the other half is the
        same for all rows. Within a language it is the cosine itself: there it helped nothing.
        """
        if self.query_language is None or self.query_language == language:
            return cosine
        slots = self.snapshot.columns.slot
        nearest = neighbour_similarity(
            self.dense,
            self.query_language,
            slots[sample_rows(self.snapshot, self.query_language, _NEIGHBOUR_SAMPLE)],
            language,
            slots[rows],
        )
        return np.asarray(cosine - nearest / 2, np.float32)


def build_dense_signal(
    dense: DenseVectors | None,
    snapshot: IndexSnapshot,
    vector: Vectors | None,
    language: str | None,
    *,
    is_question: bool,
) -> DenseSignal | None:
    """The dense side of a query; None without vectors."""
    if dense is None or vector is None:
        return None
    vector = np.asarray(vector, np.float32)
    query_language = snapshot.languages.numbers.get(language) if language else None
    return DenseSignal(
        dense,
        snapshot,
        vector if query_language is None else vector - dense.mean(query_language),
        query_language,
        is_question,
    )


def sample_rows(snapshot: IndexSnapshot, language: int, most: int) -> RowNumbers:
    """A fixed sample of a language's rows, about `most` of them, filters aside; a snapshot keeps it."""
    if (language, most) not in snapshot.samples:
        rows = np.flatnonzero(snapshot.columns.language == language)
        level = max(0, int(np.ceil(np.log2(max(1, len(rows)) / most))))
        snapshot.samples[language, most] = rows[snapshot.columns.sample[rows] >= level]
    return snapshot.samples[language, most]


EXHAUSTIVE_LIMIT = 2048
_HAMMING_CANDIDATES = 1000
_DENSE_CANDIDATES = 128
_TEXT_CANDIDATES = 400
_SPREAD_SAMPLE = 256


ScoredRows = tuple[RowNumbers, Scores, Scores, Scores]
"""Rows with their fused scores, cosines and lexical likeness."""


@dataclass(frozen=True, slots=True)
class RankingQuery:
    """What is looked for: its text, its unit vector (dimensions,) or None, its language or None.

    A question is a few words rather than code.
    """

    text: str
    vector: Vectors | None = None
    language: str | None = None
    name: str = ""
    is_question: bool = False
    expansion: Mapping[str, float] = field(default_factory=dict)
    """Other words for those of the text, and what each counts beside them."""


@dataclass(frozen=True, slots=True)
class Ranking:
    """Rows of a snapshot, best first, with their shown scores, cosines and likeness of words (or NaN)."""

    rows: RowNumbers
    scores: Scores
    cosine: Scores
    text_similarity: Scores

    def with_min_score(self, min_score: float) -> "Ranking":
        """The rows with at least this score."""
        count = int(np.searchsorted(-self.scores, -min_score, side="right"))
        return Ranking(self.rows[:count], self.scores[:count], self.cosine[:count], self.text_similarity[:count])

    def with_scores(self, scores: Scores) -> "Ranking":
        """The rows by other scores, best first."""
        order = np.argsort(-scores, kind="stable")
        return replace(self, scores=scores).select(order)

    def select(self, which: RowNumbers | RowMask) -> "Ranking":
        """Some of the rows, by position or mask."""
        return Ranking(self.rows[which], self.scores[which], self.cosine[which], self.text_similarity[which])

    def join(self, other: "Ranking") -> "Ranking":
        """These rows, then those."""
        pairs = ((getattr(self, column.name), getattr(other, column.name)) for column in fields(self))
        return Ranking(*(np.concatenate(pair) for pair in pairs))


@dataclass(frozen=True, slots=True)
class _PreparedQuery:
    """A query made ready for a view."""

    snapshot: IndexSnapshot
    meaning: DenseSignal | None
    words: TextSignal | None


def rank_chunks(view: IndexView, query: RankingQuery, mask: RowMask, *, limit: int, exact: bool = False) -> Ranking:
    """The best rows under `mask` with scores as they are shown; `exact` compares every one of them."""
    ranking = fuse_signals(view, query, mask, limit=limit, exact=exact)
    seen = calibrate_scores(ranking.scores, len(view.snapshot), is_question=query.is_question)
    return replace(ranking, scores=seen)


def fuse_signals(view: IndexView, query: RankingQuery, mask: RowMask, *, limit: int, exact: bool = False) -> Ranking:
    """The same with the fused scores themselves, which may be negative: 0 is the average, 1 the best there can be."""
    words = None
    if view.term_statistics is not None and query.text.strip():
        reading = view.snapshot, view.term_statistics, view.text_index, view.load_terms
        terms = prepare_query_terms(count_terms(query.text), query.expansion)
        own = Counter([*tokenize_for_search(query.text), *tokenize_for_search(query.name)])
        words = TextSignal(*reading, {**query.expansion, **own}, query.language, terms, query.is_question)
    known = build_dense_signal(view.dense, view.snapshot, query.vector, query.language, is_question=query.is_question)
    prepared = _PreparedQuery(view.snapshot, known, words)
    groups = _select_candidates(prepared, mask, exact=exact)
    parts = [_no_rows(), *(_score_language(prepared, number, rows) for number, rows in groups.items())]
    rows, scores, cosine, text_similarity = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.lexsort((rows, -scores))[:limit]
    return Ranking(rows[order], scores[order], cosine[order], text_similarity[order])


def _no_rows() -> ScoredRows:
    none = np.zeros(0, np.float32)
    return np.zeros(0, np.int64), none, none, none


def _select_candidates(prepared: _PreparedQuery, mask: RowMask, *, exact: bool) -> dict[int, RowNumbers]:
    """The rows to compare, by language number: all of a small language, the best of a large one."""
    language = prepared.snapshot.columns.language
    numbers = np.flatnonzero(np.bincount(language[mask], minlength=1)).tolist()
    groups = {number: np.flatnonzero(mask & (language == number)) for number in numbers}
    large = {} if exact else {number: rows for number, rows in groups.items() if len(rows) > EXHAUSTIVE_LIMIT}
    matches = prepared.words.matches(_TEXT_CANDIDATES, mask) if prepared.words and large else np.zeros(0, np.int64)
    distances = prepared.meaning.distances() if prepared.meaning and large else np.zeros(0, np.uint16)
    for number, rows in large.items():
        found = matches[language[matches] == number]
        if prepared.words and len(found) < _TEXT_CANDIDATES // 4:
            found = prepared.words.matches(_TEXT_CANDIDATES // 2, mask, number)
        if prepared.meaning:
            nearest = prepared.meaning.nearest(number, rows, distances, _HAMMING_CANDIDATES, _DENSE_CANDIDATES)
            found = np.concatenate([found, nearest])
        groups[number] = np.sort(np.array(list(set(found.tolist())), np.int64))
    return groups


def _spread_rows(snapshot: IndexSnapshot, language: int) -> RowNumbers:
    """The rows of a language that give the spread: all of a small one."""
    whole = np.count_nonzero(snapshot.columns.language == language) <= EXHAUSTIVE_LIMIT
    return sample_rows(snapshot, language, EXHAUSTIVE_LIMIT if whole else _SPREAD_SAMPLE)


def _score_language(prepared: _PreparedQuery, language: int, rows: RowNumbers) -> ScoredRows:
    """Rows of one language, unordered."""
    baseline = _spread_rows(prepared.snapshot, language)
    others = rows[~np.isin(rows, baseline)]
    both = np.concatenate([baseline, others])
    order = np.argsort(both)[np.searchsorted(np.sort(both), rows)]
    cosine = text_similarity = np.full(len(rows), np.nan, np.float32)
    signals: list[Signal] = []
    if prepared.meaning:
        cosines = prepared.meaning.score(language, both)
        scaled_cosine = prepared.meaning.scaled_cosine(language, both, cosines)
        best = prepared.meaning.best(language) - _mean_present(cosines - scaled_cosine)
        cosine = cosines[order]
        signals.append(Signal(scaled_cosine[order], scaled_cosine[: len(baseline)], DENSE_WEIGHT, best))
    if prepared.words and language in prepared.words.term_statistics.languages:
        known = prepared.words.score_sample(language, baseline)
        text_similarity = np.concatenate([known, prepared.words.score(language, others)])[order]
        signals.append(
            Signal(
                text_similarity, known, TEXT_WEIGHT, prepared.words.best(language), prepared.words.baseline(language)
            )
        )
    scores = fuse(signals) if signals else np.zeros(len(rows), np.float32)
    return rows, scores, cosine, text_similarity


def _mean_present(values: Scores) -> float:
    """The mean of the values that are there, 0 of none."""
    present = values[~np.isnan(values)]
    return float(present.mean()) if len(present) else 0.0
