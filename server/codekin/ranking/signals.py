"""The signals of a query and their fusion: cosines centred by language, TF-IDF and BM25, z-scores, calibration.

Each signal is measured in standard deviations from the mean of the candidates of one language; the weighted sum is
shown as a share of what an exact copy of the query would reach. The weights were chosen by mean average precision,
see docs.

A prefilter keeps the sign of each centred component and finds the nearest by Hamming distance; the exact comparison
reads the float16 file. Codes and means are computed on opening. Records with a wrong checksum or content hash are
ignored.

Within a language it is the mean of the TF-IDF cosine, which includes term pairs, and of BM25 on single terms; across
languages it is BM25 alone, and a term that is common in either language counts little. In a very large index,
frequencies come from a sample.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from codekin.storage.dense_vectors import DenseVectors, Floats, sign_codes
from codekin.storage.terms import (
    FIRST_PAIR_NUMBER,
    TERM_NUMBERS,
    ContentIds,
    TermCounts,
    TermStatistics,
    WeightedTexts,
    concatenate_terms,
    count_terms,
    unpack_terms,
)

Scores = NDArray[np.float32]
"""One number for each candidate; NaN where a signal is missing."""

DENSE_WEIGHT = 1.5
TEXT_WEIGHT = 1.0
_UNRELATED_SCORE = 0.2
_UNRELATED_SCORE_OF_QUESTION = 0.35
_UNRELATED_COUNT = 10_000
"""How far the likeliest of so many unrelated chunks gets on the way from the average to a copy."""

_MISSING_SIGNAL_SHARE = 0.5
_COPY_THRESHOLD = 0.98
_PRIOR_DEVIATION = 0.15
_PRIOR_DEVIATION_WEIGHT = 2
_PRIOR_MEAN_WEIGHT = 20
"""In a small sample the spread and the mean are drawn to what is usual, as if so many values had been seen before: the
few functions of a small workspace would else be their own average."""


@dataclass(frozen=True, slots=True)
class Signal:
    """A value for each candidate, and for the sample that gives its spread.

    A perfect answer has `best`, unrelated code `baseline`.
    """

    values: Scores
    sample: Scores
    weight: float
    best: float = 1.0
    baseline: float = 0.0


def fuse(signals: Sequence[Signal]) -> Scores:
    """One score for each candidate: 0 is the average of the sample, 1 an exact copy; not clipped.

    A candidate without one signal gets the part of it that the others foretell.
    """
    count = len(signals[0].values)
    total, missing = np.zeros(count, np.float32), np.zeros(count, np.float32)
    copy_score = weight = 0.0
    copies = _find_copies(signals)
    for signal in signals:
        mean, deviation = _mean_and_deviation(signal.sample[~copies], signal.baseline)
        standard = (signal.values - np.float32(mean)) / np.float32(deviation)
        is_missing = np.isnan(standard)
        total += signal.weight * np.where(is_missing, 0, standard)
        missing += signal.weight * is_missing
        copy_score += signal.weight * (signal.best - mean) / deviation
        weight += signal.weight
    present = np.maximum(np.float32(weight) - missing, np.float32(1e-6))
    total *= 1 + np.float32(_MISSING_SIGNAL_SHARE) * missing / present
    return np.asarray(total / np.float32(max(copy_score, 1e-3)), np.float32)


def calibrate_scores(scores: Scores, chunks: int, *, is_question: bool) -> Scores:
    """Fused scores as users see them, between 0 and 1: 0 is what the likeliest of so many unrelated chunks gets.

    The largest of n normal deviates grows with the square root of log n.
    """
    best_unrelated = _UNRELATED_SCORE_OF_QUESTION if is_question else _UNRELATED_SCORE
    unrelated = best_unrelated * float(np.sqrt(np.log(max(2, chunks)) / np.log(_UNRELATED_COUNT)))
    return np.asarray(np.clip((scores - unrelated) / (1 - unrelated), 0.0, 1.0), np.float32)


def _find_copies(signals: Sequence[Signal]) -> NDArray[np.bool_]:
    """Which of the sample are the query itself or a copy: they say nothing of how others are spread."""
    copies = np.zeros(len(signals[0].sample), bool)
    for signal in signals:
        copies |= signal.sample >= _COPY_THRESHOLD * signal.best
    return copies


def _mean_and_deviation(sample: Scores, baseline: float) -> tuple[float, float]:
    """Mean and standard deviation of the values that are there and of a few around `baseline`."""
    present = sample[~np.isnan(sample)]
    if len(present) == 0:
        return baseline, 1.0
    count = len(present) + _PRIOR_DEVIATION_WEIGHT
    mean = (float(present.sum()) + _PRIOR_MEAN_WEIGHT * baseline) / (len(present) + _PRIOR_MEAN_WEIGHT)
    variance = (len(present) * float(present.var()) + _PRIOR_DEVIATION_WEIGHT * _PRIOR_DEVIATION**2) / count
    return mean, float(np.sqrt(variance))


_MAX_NEIGHBOURS = 5
_ROWS_PER_NEIGHBOUR = 10
"""In a crowd of less than 50 not five are near, but one in so many."""


def hamming_distances(view: DenseVectors, query: Floats) -> NDArray[np.uint16]:
    """Differing signs between the centred query and each slot's vector, and, last of all, what stands for no vector."""
    distance = np.zeros(view.codes.shape[1] + 1, np.uint16)
    for word, bits in zip(view.codes, sign_codes(query[None, :])[:, 0], strict=True):
        distance[:-1] += np.bitwise_count(word ^ bits)
    distance[:-1][~view.valid] = distance[-1] = np.iinfo(np.uint16).max
    return distance


def cosines(view: DenseVectors, query: Floats, language: int, slots: NDArray[np.int32]) -> Scores:
    """Cosine of the centred query with the centred vectors of `slots`, NaN where there is none."""
    if query.dtype != np.float32:
        raise TypeError("a query vector is float32: a wider one would slow the scan tenfold")
    cosine = np.full(len(slots), np.nan, np.float32)
    present = view.has_vectors(slots)
    if present.any():
        centred = view.vectors(slots[present])
        centred -= view.mean(language)
        norms = np.sqrt(np.einsum("ij,ij->i", centred, centred)) * np.linalg.norm(query)
        cosine[present] = (centred @ query) / np.maximum(norms, np.float32(1e-9))
    return cosine


def neighbour_similarity(
    view: DenseVectors, query_language: int, neighbour_slots: NDArray[np.int32], language: int, slots: NDArray[np.int32]
) -> Scores:
    """The mean cosine of each of a language's `slots` with its nearest in the crowd, which is of the `query_language`.

    Zero in a crowd too small to judge, NaN where there is no vector. A view caches what it has computed.
    """
    known = view.neighbour_similarities.setdefault(
        (query_language, language), np.full(len(view.records), np.nan, np.float32)
    )
    present = view.has_vectors(slots)
    missing = np.unique(slots[present][np.isnan(known[slots[present]])])
    if len(missing):
        known[missing] = _mean_of_largest(
            _unit_vectors(view, language, missing)
            @ _unit_vectors(view, query_language, neighbour_slots[view.has_vectors(neighbour_slots)]).T
        )
    near = np.full(len(slots), np.nan, np.float32)
    near[present] = known[slots[present]]
    return near


def _mean_of_largest(cosines: Floats) -> Floats:
    """The mean of the few largest of each row."""
    count = cosines.shape[1]
    few = min(_MAX_NEIGHBOURS, count // _ROWS_PER_NEIGHBOUR)
    if few == 0:
        return np.zeros(len(cosines), np.float32)
    return np.asarray(np.partition(cosines, count - few, axis=1)[:, count - few :].mean(axis=1), np.float32)


def _unit_vectors(view: DenseVectors, language: int, slots: NDArray[np.int32]) -> Floats:
    """Centred vectors of unit length."""
    centred = view.vectors(slots) - view.mean(language)
    return np.asarray(centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-9), np.float32)


_PIVOT_SLOPE = 0.3

BASELINE_SIMILARITY = 0.25
"""How alike two functions of one language are that have nothing to do with each other."""

TYPICAL_NORM = 70.0
"""The length of the TF-IDF vector of a function of ten lines."""


@dataclass(frozen=True, slots=True)
class QueryTerms:
    """A query's terms: their numbers and counts, and for every term number which of them it is, from 1 on.

    `trust` is 1 for a term that the query has, less for another word for one.
    """

    numbers: TermCounts
    counts: Scores
    trust: Scores
    positions: NDArray[np.unsignedinteger]


def weight_texts(
    term_statistics: TermStatistics, language: int, contents: ContentIds, query_terms: QueryTerms | None = None
) -> WeightedTexts:
    """The texts of some contents with the weights of their terms in a language; those of a query alone where given."""
    known, (norms, lengths) = term_statistics.languages[language], _text_sizes(term_statistics, language, contents)
    terms, begins = concatenate_terms(term_statistics, contents)
    owners = np.repeat(np.arange(len(contents)), np.diff(begins))
    if query_terms is not None:
        shared = np.flatnonzero(query_terms.positions[terms >> np.uint32(8)])
        terms, owners = terms[shared], owners[shared]
    numbers, counts = unpack_terms(terms)
    weights = (1 + np.log(counts)) * known.inverse_document_frequency(numbers) / norms[owners]
    return WeightedTexts(numbers, weights, known.saturated_counts(counts, lengths[owners]), owners, norms)


def _text_sizes(term_statistics: TermStatistics, language: int, contents: ContentIds) -> tuple[Scores, Scores]:
    """The length of the TF-IDF vector of each content, and how many terms it has; computed once for each."""
    sizes = term_statistics.sizes.setdefault(language, {})
    if missing := [key for key in contents.tolist() if key not in sizes]:
        terms, begins = concatenate_terms(term_statistics, np.array(missing, np.int64))
        numbers, counts = unpack_terms(terms)
        weights = (1 + np.log(counts)) * term_statistics.languages[language].inverse_document_frequency(numbers)
        norms = np.maximum(np.sqrt(_segment_sums(weights * weights, begins)), np.float32(1e-9))
        sizes.update(zip(missing, zip(norms, _segment_sums(counts, begins), strict=True), strict=True))
    found = np.array([sizes[key] for key in contents.tolist()], np.float32).reshape(-1, 2)
    return found[:, 0], found[:, 1]


def keep_shared(query_terms: QueryTerms, weighted_texts: WeightedTexts) -> WeightedTexts:
    """The texts with those terms alone that a query has."""
    shared = np.flatnonzero(query_terms.positions[weighted_texts.numbers])
    return WeightedTexts(
        weighted_texts.numbers[shared],
        weighted_texts.weights[shared],
        weighted_texts.saturated_counts[shared],
        weighted_texts.owners[shared],
        weighted_texts.norms,
    )


def prepare_query_terms(query: TermCounts, expansion: Mapping[str, float] = MappingProxyType({})) -> QueryTerms:
    """A query made ready for any number of texts, with other words for its own and what each of them counts."""
    numbers, counts = unpack_terms(query)
    trust = dict.fromkeys(numbers.tolist(), 1.0)
    for word, weight in expansion.items():
        trust.setdefault(int(count_terms(word)[0] >> np.uint32(8)), weight)
    others = np.array(list(trust)[len(numbers) :], numbers.dtype)
    numbers = np.concatenate([numbers, others])
    positions = np.zeros(TERM_NUMBERS, np.min_scalar_type(len(numbers)))
    positions[numbers] = np.arange(1, len(numbers) + 1)
    counts = np.concatenate([counts, np.ones(len(others), counts.dtype)])
    return QueryTerms(numbers, counts, np.fromiter(trust.values(), np.float32, len(trust)), positions)


def within_language_similarity(
    term_statistics: TermStatistics, query_terms: QueryTerms, language: int, weighted_texts: WeightedTexts
) -> Scores:
    """How alike the query and each text of its own language are, between 0 and 1; 1 for a copy."""
    shared, own = _bm25(
        term_statistics, query_terms, {language}, language, weighted_texts, query_terms.numbers < FIRST_PAIR_NUMBER
    )
    part = np.log1p(shared) / max(float(np.log1p(own)), 1e-9)
    return np.asarray((_tfidf_cosine(term_statistics, query_terms, language, weighted_texts) + part) / 2, np.float32)


def cross_language_similarity(
    term_statistics: TermStatistics,
    query_terms: QueryTerms,
    query_language: int | None,
    language: int,
    weighted_texts: WeightedTexts,
) -> Scores:
    """The same for texts of another language; `query_language` is None where no chunk is in it."""
    shared, own = _bm25(
        term_statistics,
        query_terms,
        {query_language, language},
        language,
        weighted_texts,
        np.ones(len(query_terms.numbers), bool),
    )
    return np.asarray(shared / max(own, 1e-9), np.float32)


def question_similarity(
    term_statistics: TermStatistics, query_terms: QueryTerms, language: int, weighted_texts: WeightedTexts
) -> Scores:
    """How well each text answers a few words: the cosine, but a long text is held less against itself.

    Lengths are pivoted (Singhal, Buckley and Mitra 1996) around a text of TYPICAL_NORM, and
    1 is a text of that length that has every word once. The square root keeps one rare word from
    outweighing what a text means.
    """
    inverse_document_frequency = term_statistics.languages[language].inverse_document_frequency(query_terms.numbers)
    own = query_terms.trust == 1
    best = (
        float((_query_weights(term_statistics, query_terms, language) * inverse_document_frequency)[own].sum())
        / TYPICAL_NORM
    )
    pivoted = weighted_texts.norms / ((1 - _PIVOT_SLOPE) * TYPICAL_NORM + _PIVOT_SLOPE * weighted_texts.norms)
    return np.asarray(
        np.sqrt(_tfidf_cosine(term_statistics, query_terms, language, weighted_texts) * pivoted / max(best, 1e-9)),
        np.float32,
    )


def _tfidf_cosine(
    term_statistics: TermStatistics, query_terms: QueryTerms, language: int, weighted_texts: WeightedTexts
) -> Scores:
    """TF-IDF cosine of the query with each text, between 0 and 1."""
    return _dot_products(
        query_terms, _query_weights(term_statistics, query_terms, language), weighted_texts, weighted_texts.weights
    )


def _bm25(  # noqa: PLR0913, PLR0917 - what is compared, by which languages, and of which terms
    term_statistics: TermStatistics,
    query_terms: QueryTerms,
    languages_counted: set[int | None],
    language: int,
    weighted_texts: WeightedTexts,
    counting: NDArray[np.bool_],
) -> tuple[Scores, float]:
    """BM25 of the `counting` terms of the query with each text, and what a copy would have.

    The `languages_counted` have equal weight in how common a term is, however many chunks they have.
    """
    known = [one for number, one in term_statistics.languages.items() if number in languages_counted]
    total = sum(one.chunks for one in known)
    common = total * np.mean([one.document_share(query_terms.numbers) for one in known], axis=0)
    inverse_document_frequency = np.where(counting, np.log((total + 1) / (common + 0.5)), 0).astype(np.float32)
    own = term_statistics.languages[language].saturated_counts(query_terms.counts, float(query_terms.counts.sum()))
    return _dot_products(
        query_terms, inverse_document_frequency, weighted_texts, weighted_texts.saturated_counts
    ), float((inverse_document_frequency * own).sum())


def _dot_products(
    query_terms: QueryTerms, query_weights: Scores, weighted_texts: WeightedTexts, held: Scores
) -> Scores:
    """For each text the sum of `query_weights` times `held` over the terms that it shares with the query."""
    position = query_terms.positions[weighted_texts.numbers]
    shared = np.flatnonzero(position)
    products = query_weights[position[shared] - 1] * held[shared]
    return np.bincount(weighted_texts.owners[shared], products, minlength=len(weighted_texts.norms)).astype(np.float32)


def _query_weights(term_statistics: TermStatistics, query_terms: QueryTerms, language: int) -> Scores:
    """The TF-IDF weights of the query's terms, of unit length."""
    weights = (1 + np.log(query_terms.counts)) * term_statistics.languages[language].inverse_document_frequency(
        query_terms.numbers
    )
    norm = float(np.linalg.norm(weights[query_terms.trust == 1]))
    return np.asarray(weights * query_terms.trust / max(norm, 1e-9), np.float32)


def _segment_sums(values: NDArray[np.floating], begins: NDArray[np.int64]) -> Scores:
    """The sum of each stretch of values."""
    totals = np.concatenate([np.zeros(1), np.cumsum(values, dtype=np.float64)])
    return np.asarray(totals[begins[1:]] - totals[begins[:-1]], np.float32)
