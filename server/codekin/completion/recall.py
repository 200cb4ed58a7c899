"""Where something like the cursor's surroundings stood before: places found by what precedes and by what follows."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codekin.completion.corpus import Corpus
from codekin.completion.lexicon import BOUNDARY, Tokens, Vocabulary
from codekin.completion.ngrams import Places, run_hash
from codekin.completion.segment import LONGEST_RUN, SHAPE_RUNS, Segment
from codekin.completion.situation import Situation, folder_of, role_of

LONGEST_MATCH = 32
LONGEST_FOLLOWING = 12
FROM_DOCUMENT, FROM_CORPUS = 96, 224
AROUND = 48
_SCANNED = 4096
_THIS_FILE, _THIS_FOLDER, _THIS_ROLE, _ELSEWHERE = 3, 2, 1, 0


@dataclass(frozen=True, slots=True)
class Memories:
    """Places of one segment behind which the line may go on as at the cursor; all arrays have one entry a place.

    `places` are the last tokens before the continuation, `ends` the line breaks behind it. `matched` counts equal
    tokens up to the place, `shaped` tokens of equal shape, `followed` equal tokens from the line's end on.
    `nearness` is 3 in this file, 2 in its folder and in its kin, 1 in files of its role, else 0. `earlier` are the
    tokens up to the place, nearest first, shape (n, LONGEST_MATCH at most). `alike_before` and `alike_behind` are the
    shares, by weight, of the words around that also stand around the cursor.
    """

    segment: Segment
    places: Places
    ends: Places
    matched: NDArray[np.int64]
    shaped: NDArray[np.int64]
    followed: NDArray[np.int64]
    nearness: NDArray[np.int64]
    distance: NDArray[np.int64]
    earlier: NDArray[np.uint32]
    alike_before: NDArray[np.float32]
    alike_behind: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class _Source:
    """A segment to search: which of its places are out, and where the cursor is nearest."""

    segment: Segment
    home: int
    most: int
    hidden: NDArray[np.bool_]
    is_document: bool = False

    def nearest(self, places: Places, most: int) -> Places:
        """At most so many of the places, those around home."""
        if len(places) <= most:
            return places
        middle = int(np.searchsorted(places, self.home))
        start = max(0, min(middle - most // 2, len(places) - most))
        return places[start : start + most]


def recall(corpus: Corpus, situation: Situation) -> list[Memories]:
    """Memories of every part of the corpus and of the document itself."""
    found = []
    for source in _sources(corpus, situation):
        places = np.unique(
            np.concatenate([_by_preceding(source, situation, corpus.vocabulary), _by_following(source, situation)])
        )
        if len(places):
            found.append(_compare(source, places, situation, corpus))
    return found


def _sources(corpus: Corpus, situation: Situation) -> list[_Source]:
    document = situation.document
    hidden = corpus.is_struck.copy()
    if (number := corpus.file_numbers.get(situation.path)) is not None:
        hidden[number] = True
    sources = [_Source(document, situation.cursor, FROM_DOCUMENT, np.zeros(2, bool), is_document=True)]
    if len(corpus.base.paths):
        sources.append(_Source(corpus.base, corpus.place_of(situation.path), FROM_CORPUS, hidden))
    if corpus.changed:
        is_edited = np.array([path == situation.path for path in corpus.fresh.paths], bool)
        sources.append(_Source(corpus.fresh, 0, FROM_DOCUMENT, is_edited))
    return sources


def _by_preceding(source: _Source, situation: Situation, vocabulary: Vocabulary) -> Places:
    """Ends of the longest runs equal to what precedes the cursor, and of runs of equal shape."""
    tables = source.segment.tables
    found = [np.zeros(0, np.int64)]
    missing = source.most
    for length in range(min(LONGEST_RUN, len(situation.before)), 0, -1):
        places = tables[length - 1].find(run_hash(situation.before[-length:]))
        places = _usable(source, situation, source.nearest(places, _SCANNED))
        found.append(source.nearest(places, missing if length < LONGEST_RUN // 2 + 1 else source.most))
        missing = source.most - len(found[-1])
        if missing <= 0:
            break
    if not source.is_document:
        found += _by_shape(source, situation, vocabulary)
    return np.concatenate(found)


def _by_shape(source: _Source, situation: Situation, vocabulary: Vocabulary) -> list[Places]:
    shaped = vocabulary.shapes(situation.before[-max(SHAPE_RUNS) :])
    found = []
    for length, table in zip(SHAPE_RUNS, source.segment.shape_tables, strict=True):
        if len(shaped) >= length:
            places = source.nearest(table.find(run_hash(shaped[-length:])), _SCANNED)
            found.append(source.nearest(_usable(source, situation, places), 32))
    return found


def _by_following(source: _Source, situation: Situation) -> Places:
    """Places in lines that are followed as the cursor's line is."""
    ends = [np.zeros(0, np.int64)]
    missing = source.most // 2
    for length in range(min(LONGEST_RUN, len(situation.behind)), 2, -1):
        found = source.segment.tables[length - 1].find(run_hash(situation.behind[:length])) - (length - 1)
        ends.append(source.nearest(_standing(source, situation, found), source.most // 2))
        missing -= len(ends[-1])
        if missing <= 0:
            break
    starts = source.segment.line_starts(np.unique(np.concatenate(ends)))
    if situation.line_start < len(situation.before) - 1:
        starts = _last_token_in_lines(source.segment, starts, int(situation.before[-1]))
    return _usable(source, situation, starts)


def _last_token_in_lines(segment: Segment, starts: Places, token: int) -> Places:
    """Where a token stands in the lines that begin at `starts`."""
    across = np.minimum(starts[:, None] + np.arange(40)[None, :], len(segment.tokens) - 1)
    line = segment.tokens[across]
    is_break = line <= BOUNDARY
    is_break[:, 0] = False
    is_inside = np.cumsum(is_break, axis=1) == 0
    return np.unique(across[(line == token) & is_inside])


def _standing(source: _Source, situation: Situation, places: Places) -> Places:
    """Places in files that count; of the document all but the cursor's own."""
    if source.is_document:
        here = (situation.cursor, situation.cursor + 2)
        return np.setdiff1d(places, here, assume_unique=True)
    if not source.hidden.any():
        return places
    return places[~source.hidden[source.segment.files_at(places)]]


def _usable(source: _Source, situation: Situation, places: Places) -> Places:
    """Places behind which the line goes on, with what is being typed."""
    places = _standing(source, situation, places)
    following = source.segment.tokens[places + 1]
    is_usable = following > BOUNDARY
    if situation.allowed is not None:
        is_usable &= situation.allowed[following]
    return places[is_usable]


def _compare(source: _Source, places: Places, situation: Situation, corpus: Corpus) -> Memories:
    vocabulary = corpus.vocabulary
    segment, before = source.segment, situation.before[::-1][:LONGEST_MATCH]
    back = places[:, None] - np.arange(len(before))[None, :]
    earlier = segment.tokens[np.maximum(back, 0)]
    is_inside = back >= 0
    ends = segment.line_ends(places)
    ahead = np.minimum(ends[:, None] + np.arange(LONGEST_FOLLOWING)[None, :], len(segment.tokens) - 1)
    following = situation.behind[:LONGEST_FOLLOWING]
    followed = _run_length(segment.tokens[ahead[:, : len(following)]] == following)
    is_same_shape = vocabulary.shapes(earlier) == vocabulary.shapes(before)
    memories = Memories(
        segment=segment,
        places=places,
        ends=ends,
        matched=_run_length((earlier == before) & is_inside),
        shaped=_run_length(is_same_shape & is_inside),
        followed=followed,
        nearness=_nearness(source, places, situation),
        distance=np.abs(places - situation.cursor) if source.is_document else np.full(len(places), 100_000),
        earlier=earlier,
        alike_before=_alike(corpus, segment, places, -1, situation.before[-AROUND:]),
        alike_behind=_alike(corpus, segment, ends, 1, situation.behind[:AROUND]),
    )
    return _not_across_cursor(memories, situation) if source.is_document else memories


def _alike(corpus: Corpus, segment: Segment, places: Places, direction: int, here: Tokens) -> NDArray[np.float32]:
    """The weight of the words near each place, on one side of it, that are among the words here; as a share."""
    near = np.clip(places[:, None] + direction * np.arange(AROUND)[None, :], 0, len(segment.tokens) - 1)
    words = corpus.vocabulary.traits["word"][segment.tokens[near]]
    weights = corpus.weights()[words]
    is_here = np.zeros(len(corpus.vocabulary.traits), bool)
    is_here[corpus.vocabulary.traits["word"][here]] = True
    shares: NDArray[np.float32] = np.where(is_here[words], weights, 0).sum(axis=1) / weights.sum(axis=1)
    return shares


def _not_across_cursor(memories: Memories, situation: Situation) -> Memories:
    """Leaves out the line of the cursor itself, which has no end yet, and its false next line."""
    keep = ~((memories.places <= situation.cursor) & (memories.ends > situation.cursor))
    return Memories(
        memories.segment,
        *(getattr(memories, name)[keep] for name in Memories.__slots__ if name != "segment"),
    )


def _run_length(is_equal: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The number of leading true entries of each row."""
    lengths: NDArray[np.int64] = np.logical_and.accumulate(is_equal, axis=1).sum(axis=1)
    return lengths


def _nearness(source: _Source, places: Places, situation: Situation) -> NDArray[np.int64]:
    if source.is_document:
        return np.full(len(places), _THIS_FILE)
    files, inverse = np.unique(source.segment.files_at(places), return_inverse=True)
    folder, role = folder_of(situation.path), role_of(situation.path)

    def level(other: str) -> int:
        if folder_of(other) == folder or other in situation.kin:
            return _THIS_FOLDER
        return _THIS_ROLE if role_of(other) == role else _ELSEWHERE

    levels = [level(source.segment.paths[number]) for number in files.tolist()]
    nearness: NDArray[np.int64] = np.array(levels, np.int64)[inverse]
    return nearness


def continuation(memories: Memories, at: int, longest: int) -> Tokens:
    """The tokens behind a place up to its line's end."""
    start = int(memories.places[at]) + 1
    return memories.segment.tokens[start : min(int(memories.ends[at]), start + longest)]
