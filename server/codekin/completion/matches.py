"""Finds positions in the corpus whose preceding or following tokens match those around the cursor."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codekin.completion.context import CompletionContext, folder_of, role_of
from codekin.completion.corpus_snapshot import Corpus
from codekin.completion.ngrams import (
    FILE_BOUNDARY,
    MAX_NGRAM,
    SHAPE_NGRAMS,
    CorpusSegment,
    Positions,
    TokenIds,
    TokenVocabulary,
    ngram_hash,
)

MAX_MATCH = 32
MAX_FOLLOWING = 12
MAX_FROM_DOCUMENT, MAX_FROM_CORPUS = 96, 224
NEARBY_TOKENS = 48
_SCANNED = 4096
_THIS_FILE, _THIS_FOLDER, _THIS_ROLE, _ELSEWHERE = 3, 2, 1, 0


@dataclass(frozen=True, slots=True)
class ContextMatches:
    """Places of one segment behind which the line may go on as at the cursor; all arrays have one entry a place.

    `positions` are the last tokens before the continuation, `ends` the line breaks behind it. `matched` counts equal
    tokens up to the place, `shaped` tokens of equal shape, `followed` equal tokens from the line's end on. `nearness`
    is 3 in this file, 2 in its folder and in similar files, 1 in files of its role, else 0. `earlier` are the tokens
    up to the place, nearest first, shape (n, LONGEST_MATCH at most). `similarity_before` and `similarity_after` are
    the shares, by weight, of the surrounding words that also surround the cursor.
    """

    segment: CorpusSegment
    positions: Positions
    ends: Positions
    matched: NDArray[np.int64]
    shaped: NDArray[np.int64]
    followed: NDArray[np.int64]
    nearness: NDArray[np.int64]
    distance: NDArray[np.int64]
    earlier: NDArray[np.uint32]
    similarity_before: NDArray[np.float32]
    similarity_after: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class _SearchedSegment:
    """A segment to search: which of its places are out, and where the cursor is nearest."""

    segment: CorpusSegment
    center: int
    most: int
    hidden: NDArray[np.bool_]
    is_document: bool = False

    def nearest(self, positions: Positions, most: int) -> Positions:
        """At most so many of the places, those around home."""
        if len(positions) <= most:
            return positions
        middle = int(np.searchsorted(positions, self.center))
        start = max(0, min(middle - most // 2, len(positions) - most))
        return positions[start : start + most]


def find_matches(corpus: Corpus, context: CompletionContext) -> list[ContextMatches]:
    """Memories of every part of the corpus and of the document itself."""
    found = []
    for source in _sources(corpus, context):
        positions = np.unique(
            np.concatenate([_match_preceding(source, context, corpus.vocabulary), _match_following(source, context)])
        )
        if len(positions):
            found.append(_compare(source, positions, context, corpus))
    return found


def _sources(corpus: Corpus, context: CompletionContext) -> list[_SearchedSegment]:
    document = context.document
    hidden = corpus.is_outdated.copy()
    if (number := corpus.file_numbers.get(context.path)) is not None:
        hidden[number] = True
    sources = [_SearchedSegment(document, context.cursor_index, MAX_FROM_DOCUMENT, np.zeros(2, bool), is_document=True)]
    if len(corpus.base.paths):
        sources.append(_SearchedSegment(corpus.base, corpus.position_of(context.path), MAX_FROM_CORPUS, hidden))
    if corpus.changed:
        is_edited = np.array([path == context.path for path in corpus.changed_segment.paths], bool)
        sources.append(_SearchedSegment(corpus.changed_segment, 0, MAX_FROM_DOCUMENT, is_edited))
    return sources


def _match_preceding(source: _SearchedSegment, context: CompletionContext, vocabulary: TokenVocabulary) -> Positions:
    """Ends of the longest runs equal to what precedes the cursor, and of runs of equal shape."""
    tables = source.segment.tables
    found = [np.zeros(0, np.int64)]
    missing = source.most
    for length in range(min(MAX_NGRAM, len(context.before)), 0, -1):
        positions = tables[length - 1].find(ngram_hash(context.before[-length:]))
        positions = _continuable(source, context, source.nearest(positions, _SCANNED))
        found.append(source.nearest(positions, missing if length < MAX_NGRAM // 2 + 1 else source.most))
        missing = source.most - len(found[-1])
        if missing <= 0:
            break
    if not source.is_document:
        found += _match_shape(source, context, vocabulary)
    return np.concatenate(found)


def _match_shape(source: _SearchedSegment, context: CompletionContext, vocabulary: TokenVocabulary) -> list[Positions]:
    shaped = vocabulary.shapes(context.before[-max(SHAPE_NGRAMS) :])
    found = []
    for length, table in zip(SHAPE_NGRAMS, source.segment.shape_tables, strict=True):
        if len(shaped) >= length:
            positions = source.nearest(table.find(ngram_hash(shaped[-length:])), _SCANNED)
            found.append(source.nearest(_continuable(source, context, positions), 32))
    return found


def _match_following(source: _SearchedSegment, context: CompletionContext) -> Positions:
    """Places in lines that are followed as the cursor's line is."""
    ends = [np.zeros(0, np.int64)]
    missing = source.most // 2
    for length in range(min(MAX_NGRAM, len(context.after)), 2, -1):
        found = source.segment.tables[length - 1].find(ngram_hash(context.after[:length])) - (length - 1)
        ends.append(source.nearest(_visible(source, context, found), source.most // 2))
        missing -= len(ends[-1])
        if missing <= 0:
            break
    starts = source.segment.line_starts(np.unique(np.concatenate(ends)))
    if context.line_start < len(context.before) - 1:
        starts = _last_token_in_lines(source.segment, starts, int(context.before[-1]))
    return _continuable(source, context, starts)


def _last_token_in_lines(segment: CorpusSegment, starts: Positions, token: int) -> Positions:
    """The position of a token in the lines that begin at `starts`."""
    across = np.minimum(starts[:, None] + np.arange(40)[None, :], len(segment.tokens) - 1)
    line = segment.tokens[across]
    is_break = line <= FILE_BOUNDARY
    is_break[:, 0] = False
    is_inside = np.cumsum(is_break, axis=1) == 0
    return np.unique(across[(line == token) & is_inside])


def _visible(source: _SearchedSegment, context: CompletionContext, positions: Positions) -> Positions:
    """Places in files that count; of the document all but the cursor's own."""
    if source.is_document:
        here = (context.cursor_index, context.cursor_index + 2)
        return np.setdiff1d(positions, here, assume_unique=True)
    if not source.hidden.any():
        return positions
    return positions[~source.hidden[source.segment.files_at(positions)]]


def _continuable(source: _SearchedSegment, context: CompletionContext, positions: Positions) -> Positions:
    """Places behind which the line goes on, with what is being typed."""
    positions = _visible(source, context, positions)
    following = source.segment.tokens[positions + 1]
    is_usable = following > FILE_BOUNDARY
    if context.allowed is not None:
        is_usable &= context.allowed[following]
    return positions[is_usable]


def _compare(
    source: _SearchedSegment, positions: Positions, context: CompletionContext, corpus: Corpus
) -> ContextMatches:
    vocabulary = corpus.vocabulary
    segment, before = source.segment, context.before[::-1][:MAX_MATCH]
    back = positions[:, None] - np.arange(len(before))[None, :]
    earlier = segment.tokens[np.maximum(back, 0)]
    is_inside = back >= 0
    ends = segment.line_ends(positions)
    ahead = np.minimum(ends[:, None] + np.arange(MAX_FOLLOWING)[None, :], len(segment.tokens) - 1)
    following = context.after[:MAX_FOLLOWING]
    followed = _run_length(segment.tokens[ahead[:, : len(following)]] == following)
    is_same_shape = vocabulary.shapes(earlier) == vocabulary.shapes(before)
    matches = ContextMatches(
        segment=segment,
        positions=positions,
        ends=ends,
        matched=_run_length((earlier == before) & is_inside),
        shaped=_run_length(is_same_shape & is_inside),
        followed=followed,
        nearness=_nearness(source, positions, context),
        distance=np.abs(positions - context.cursor_index) if source.is_document else np.full(len(positions), 100_000),
        earlier=earlier,
        similarity_before=_word_similarity(corpus, segment, positions, -1, context.before[-NEARBY_TOKENS:]),
        similarity_after=_word_similarity(corpus, segment, ends, 1, context.after[:NEARBY_TOKENS]),
    )
    return _not_across_cursor(matches, context) if source.is_document else matches


def _word_similarity(
    corpus: Corpus, segment: CorpusSegment, positions: Positions, direction: int, here: TokenIds
) -> NDArray[np.float32]:
    """The weight of the words near each place, on one side of it, that are among the words here; as a share."""
    near = np.clip(positions[:, None] + direction * np.arange(NEARBY_TOKENS)[None, :], 0, len(segment.tokens) - 1)
    words = corpus.vocabulary.traits["word"][segment.tokens[near]]
    weights = corpus.weights()[words]
    is_here = np.zeros(len(corpus.vocabulary.traits), bool)
    is_here[corpus.vocabulary.traits["word"][here]] = True
    shares: NDArray[np.float32] = np.where(is_here[words], weights, 0).sum(axis=1) / weights.sum(axis=1)
    return shares


def _not_across_cursor(matches: ContextMatches, context: CompletionContext) -> ContextMatches:
    """Leaves out the line of the cursor itself, which has no end yet, and its false next line."""
    keep = ~((matches.positions <= context.cursor_index) & (matches.ends > context.cursor_index))
    return ContextMatches(
        matches.segment,
        *(getattr(matches, name)[keep] for name in ContextMatches.__slots__ if name != "segment"),
    )


def _run_length(is_equal: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The number of leading true entries of each row."""
    lengths: NDArray[np.int64] = np.logical_and.accumulate(is_equal, axis=1).sum(axis=1)
    return lengths


def _nearness(source: _SearchedSegment, positions: Positions, context: CompletionContext) -> NDArray[np.int64]:
    if source.is_document:
        return np.full(len(positions), _THIS_FILE)
    files, inverse = np.unique(source.segment.files_at(positions), return_inverse=True)
    folder, role = folder_of(context.path), role_of(context.path)

    def level(other: str) -> int:
        if folder_of(other) == folder or other in context.similar_paths:
            return _THIS_FOLDER
        return _THIS_ROLE if role_of(other) == role else _ELSEWHERE

    levels = [level(source.segment.paths[number]) for number in files.tolist()]
    nearness: NDArray[np.int64] = np.array(levels, np.int64)[inverse]
    return nearness


def read_continuation(matches: ContextMatches, at: int, longest: int) -> TokenIds:
    """The tokens behind a place up to its line's end."""
    start = int(matches.positions[at]) + 1
    return matches.segment.tokens[start : min(int(matches.ends[at]), start + longest)]
