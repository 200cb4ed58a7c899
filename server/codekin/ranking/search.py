"""Search by words, by names, by a regular expression or by a pasted snippet.

A name is answered by its definition first. Words are answered by what the chunks say and mean, and by the priors.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice

import numpy as np

from codekin.errors import StoreError, UsageError
from codekin.protocols import Embedder
from codekin.ranking.collecting import FoundChunk, collect_chunks, spread_ranking
from codekin.ranking.expansion import expand_words
from codekin.ranking.hits import build_hit, explain_similarity, matching_lines
from codekin.ranking.name_meaning import add_name_meaning
from codekin.ranking.names import (
    DEFINED_WITHIN,
    SURE,
    defines,
    find_names,
    is_name_query,
    named_rows,
    put_helpers_below,
)
from codekin.ranking.priors import (
    DEFAULT_WEIGHTS,
    PriorWeights,
    QuestionWords,
    add_priors,
    shares_name_word,
    weigh_question,
    without_stop_words,
)
from codekin.ranking.query import build_mask, looks_like_code, parse_query
from codekin.ranking.scoring import Ranking, RankingQuery, RowMask, RowNumbers, fuse_signals
from codekin.ranking.signals import Scores, calibrate_scores
from codekin.ranking.similar import MIN_SCORE, ROUNDING, find_similar, query_vector
from codekin.ranking.tested_code import scores_by_tests
from codekin.storage import ChunkIndex
from codekin.storage.reader import IndexView
from codekin.storage.terms import split_subtokens
from codekin.types import Chunk, Hit, SearchRequest

_CANDIDATES = 200
_MAX_NAMED = 300
_READ_FOR_DEFINITIONS = 40
_MIN_QUESTION_COSINE, _MIN_STRANGE_COSINE = 0.2, 0.4
"""The cosine from which on a chunk without a word of the question may answer it; and where no chunk has one."""

_BEST_UNNAMED = 0.89
_NAME_SHARE, _TEXT_SHARE = 0.9, 0.09
"""A chunk that is named scores above all others; among those named alike, what they say decides."""


def search_code(
    index: ChunkIndex,
    embedder: Embedder | None,
    request: SearchRequest,
    view: IndexView | None = None,
    weights: PriorWeights = DEFAULT_WEIGHTS,
) -> list[Hit]:
    """Code that is named by the words, that does what they say, or that is like a pasted snippet."""
    view = view or index.view()
    query = parse_query(request.text, request.filters)
    pattern = compile_grep(request.grep) if request.grep else None
    words = query.words or request.grep
    if looks_like_code(words) and not is_name_query(words) and pattern is None:
        return find_similar(index, embedder, words, query.filters, request.limit, view=view)
    search = _PreparedSearch(
        view,
        words,
        RankingQuery(
            without_stop_words(words),
            query_vector(view, index, embedder, _as_chunk(words), "query"),
            is_question=True,
            expansion=_other_words(view, without_stop_words(words)),
        ),
        build_mask(view.snapshot, query.filters),
        weigh_question(words, view.term_statistics),
    )
    limit = int(np.count_nonzero(search.mask)) if pattern else max(_CANDIDATES, 2 * request.limit)
    ranking = _rank(index, search, request, limit, weights, embedder)
    ranking = ranking.with_min_score(query.filters.min_score - ROUNDING)
    found = collect_chunks(
        index, view, ranking, _as_chunk(words), drops_containers=not search.question.wants_containers
    )
    if pattern:
        found = (one for one in found if pattern.search(one.matched.text))
    return [_build_hit(search, pattern, one, ranking) for one in islice(found, request.limit)]


def compile_grep(pattern: str) -> re.Pattern[str]:
    """A regular expression for lines. Raises UsageError where it is none."""
    try:
        return re.compile(pattern, re.MULTILINE)
    except re.error as error:
        raise UsageError(f"{pattern!r} is not a regular expression: {error}.") from error


@dataclass(frozen=True, slots=True)
class _PreparedSearch:
    """A search made ready for a view."""

    view: IndexView
    words: str
    query: RankingQuery
    mask: RowMask
    question: QuestionWords


def _other_words(view: IndexView, question: str) -> Mapping[str, float]:
    """Other words for those of a question that the workspace has: a form that is no word would match by chance."""
    others = expand_words(split_subtokens(question))
    if view.text_index is None:
        return {}
    try:
        return {word: others[word] for word in view.text_index.select_known(others)}
    except StoreError:
        return {}


def _as_chunk(words: str) -> Chunk:
    return Chunk("", "", "file", words, 1, 1, words)


def _rank(  # noqa: PLR0913, PLR0917 - the question, its scope, and what answers it
    index: ChunkIndex,
    search: _PreparedSearch,
    request: SearchRequest,
    limit: int,
    weights: PriorWeights,
    embedder: Embedder | None,
) -> Ranking:
    """The ranking by text and meaning with the priors, and what is named before all else."""
    view, query, mask = search.view, search.query, search.mask
    sureness = named_rows(view.snapshot, find_names(view.snapshot, search.words))
    ranking = fuse_signals(view, query, mask, limit=limit, exact=bool(request.grep))
    if is_name_query(search.words) and not (sureness >= SURE).any():
        sureness = _with_definitions(index, view, ranking, search.words, sureness)
    named = np.flatnonzero((sureness > 0) & mask)
    if len(named) > _MAX_NAMED:
        named = named[np.argsort(-sureness[named], kind="stable")[:_MAX_NAMED]]
    ranking = _with_rows(search, ranking, named)
    lent = _lent_scores(search, ranking.select(_has_evidence(ranking, sureness)))
    ranking = _with_rows(search, ranking, np.flatnonzero(lent))
    if not request.grep:
        is_named = shares_name_word(view.snapshot, ranking, search.question)
        ranking = ranking.select(_has_evidence(ranking, sureness) | is_named | (lent[ranking.rows] > 0))
    ranking = ranking.with_scores(np.maximum(ranking.scores, lent[ranking.rows]))
    ranking = ranking.with_scores(add_priors(view.snapshot, ranking, search.question, request.asking_path, weights))
    if not is_name_query(search.words):
        said = search.question.said
        ranking = add_name_meaning(view.snapshot, ranking, query.vector, embedder, weights.name_meaning, said)
        ranking = put_helpers_below(view.snapshot, ranking)
    scores = calibrate_scores(ranking.scores, len(view.snapshot), is_question=True)
    scores = _names_first(np.maximum(scores, MIN_SCORE), sureness[ranking.rows])
    ranking = ranking.with_scores(scores)
    topic = search.question.names_topic
    return spread_ranking(view, ranking, request.limit, above=_BEST_UNNAMED, names_topic=topic)


def _with_rows(search: _PreparedSearch, ranking: Ranking, rows: RowNumbers) -> Ranking:
    """The ranking, and after it those of the rows that it lacks."""
    missing = np.setdiff1d(rows, ranking.rows)
    if not len(missing):
        return ranking
    only = np.zeros(len(search.mask), bool)
    only[missing] = True
    return ranking.join(fuse_signals(search.view, search.query, only, limit=len(missing), exact=True))


def _lent_scores(search: _PreparedSearch, ranking: Ranking) -> Scores:
    """For each row the score that its tests lend it, 0 where there is none."""
    scores = np.zeros(len(search.mask), np.float32)
    if not search.question.wants_tests:
        for row, score in scores_by_tests(search.view.snapshot, ranking).items():
            scores[row] = score * search.mask[row]
    return scores


def _with_definitions(index: ChunkIndex, view: IndexView, ranking: Ranking, name: str, sureness: Scores) -> Scores:
    """How surely each row is meant, those counted in that define the name among others."""
    rows = ranking.rows[:_READ_FOR_DEFINITIONS].tolist()
    ids = view.snapshot.columns.id[rows].tolist()
    found = index.chunks_by_id(ids)
    defining = [row for row, key in zip(rows, ids, strict=True) if key in found and defines(found[key].text, name)]
    sureness[defining] = DEFINED_WITHIN
    return sureness


def _names_first(scores: Scores, sureness: Scores) -> Scores:
    """Scores in which a named chunk comes before one that is not, and a surely named one before the others."""
    surest = float(sureness.max(initial=0.0))
    best_unnamed = _NAME_SHARE * surest - _TEXT_SHARE if surest >= SURE else _BEST_UNNAMED
    named = _NAME_SHARE * sureness + _TEXT_SHARE * scores
    return np.where(sureness > 0, np.maximum(named, scores * best_unnamed), np.minimum(scores, best_unnamed))


def _has_evidence(ranking: Ranking, sureness: Scores) -> RowMask:
    """Which chunks are named, share a word with the question, or mean nearly the same: something is always nearest."""
    shares_words = np.nan_to_num(ranking.text_similarity) > 0
    least = _MIN_QUESTION_COSINE if shares_words.any() else _MIN_STRANGE_COSINE
    means_it = np.nan_to_num(ranking.cosine) >= least
    is_better_than_most = ranking.scores > 0
    return np.asarray(((shares_words | means_it) & is_better_than_most) | (sureness[ranking.rows] > 0))


def _build_hit(search: _PreparedSearch, pattern: re.Pattern[str] | None, found: FoundChunk, ranking: Ranking) -> Hit:
    query = _as_chunk(search.words)
    score = min(0.99, float(ranking.scores[found.position]))
    reasons = explain_similarity(query, found.matched, float(ranking.cosine[found.position]), score)
    return build_hit(found.chunk, score, reasons, matching_lines(found.matched, search.question, pattern))
