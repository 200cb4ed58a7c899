"""Collects the best hits: no container over what it holds, no file or family of near-copies too often."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from codekin.ranking.priors import CONTAINERS
from codekin.ranking.scoring import Ranking
from codekin.storage import ChunkIndex
from codekin.storage.reader import IndexView
from codekin.storage.snapshot import IndexSnapshot
from codekin.storage.terms import unpack_terms
from codekin.types import Chunk

SAME_FILE_SHARE, SAME_FILE_SHARE_OF_TOPIC = 0.9, 0.8
NEAR_COPY_SHARE = 0.7
"""What is left of a score for each place above from the same file beyond the second (beyond the first where a topic is
asked about: its files count), and for each near-copy above."""

_FREE_PLACES, _FREE_PLACES_OF_TOPIC = 2, 1
_NEAR_COPY = 0.8
_CONSIDERED = 40


def spread_ranking(
    view: IndexView, ranking: Ranking, limit: int, above: float, *, names_topic: bool = False
) -> Ranking:
    """The ranking in which repetitions of a file or a text are lower; scores over `above` stay as they are."""
    free = _FREE_PLACES_OF_TOPIC if names_topic else _FREE_PLACES
    share = SAME_FILE_SHARE_OF_TOPIC if names_topic else SAME_FILE_SHARE
    scores = ranking.scores.astype(np.float64)
    count = min(len(ranking.rows), max(_CONSIDERED, 2 * limit))
    texts = [_read_terms(view, row) for row in ranking.rows[:count].tolist()]
    files = view.snapshot.columns.file[ranking.rows[:count]].tolist()
    waiting, taken = list(range(count)), Counter[int]()
    while waiting and taken.total() < limit:
        best = max(waiting, key=lambda at: scores[at])
        waiting.remove(best)
        taken[files[best]] += 1
        for at in waiting:
            if scores[at] > above:
                continue
            if files[at] == files[best]:
                scores[at] *= share if taken[files[best]] > free else 1.0
            elif _are_near_copies(texts[best], texts[at]):
                scores[at] *= NEAR_COPY_SHARE
    return ranking.with_scores(scores.astype(np.float32))


@dataclass(frozen=True, slots=True)
class _TermsOfChunk:
    """The content and language of a chunk, by number, and its terms; none where they are not known."""

    content: int
    language: int
    terms: frozenset[int]


def _read_terms(view: IndexView, row: int) -> _TermsOfChunk:
    content, language = int(view.snapshot.columns.content[row]), int(view.snapshot.columns.language[row])
    packed = view.term_statistics.texts.get(content) if view.term_statistics is not None else None
    terms = frozenset(unpack_terms(packed)[0].tolist()) if packed is not None else frozenset[int]()
    return _TermsOfChunk(content, language, terms)


def _are_near_copies(one: _TermsOfChunk, other: _TermsOfChunk) -> bool:
    """Whether two chunks share nearly all of their terms."""
    if one.content == other.content:
        return True
    fewer, more = sorted((len(one.terms), len(other.terms)))
    if one.language != other.language or not fewer or fewer < _NEAR_COPY * more:
        return False
    shared = len(one.terms & other.terms)
    return shared >= _NEAR_COPY * (fewer + more - shared)


_FETCH_BATCH = 12
_ARITY_SUFFIX = re.compile(r"/\d+$")

LineRange = tuple[str, int, int]
"""A path with its first and last line."""


@dataclass(frozen=True, slots=True)
class FoundChunk:
    """A chunk that is shown, the whole of a function that is in parts, and its place in the ranking.

    `matched` is the part that was found, or the chunk itself.
    """

    chunk: Chunk
    matched: Chunk
    position: int


def collect_chunks(  # noqa: PLR0913 - what is ranked, and what to leave out
    index: ChunkIndex,
    view: IndexView,
    ranking: Ranking,
    query: Chunk,
    exclude: LineRange | None = None,
    *,
    drops_containers: bool = True,
) -> Iterator[FoundChunk]:
    """The chunks of a ranking in its order, without the query itself, without what another one shows already.

    A container takes no place from what is in it; unless containers are asked for, it is left out when something in it
    was better.
    """
    shown = [query] if query.part else []
    for position, candidate in _read_chunks(index, view.snapshot.columns.id[ranking.rows].tolist()):
        if overlaps(candidate, exclude) or is_same_function(candidate, query):
            continue
        if any(_shows_already(other, candidate, drops_containers=drops_containers) for other in shown):
            continue
        shown.append(candidate)
        yield FoundChunk(_join_parts(index, view.snapshot, int(ranking.rows[position]), candidate), candidate, position)


def _read_chunks(index: ChunkIndex, ids: Sequence[int]) -> Iterator[tuple[int, Chunk]]:
    """Positions in the ranking with their chunks, read as far as they are wanted."""
    for start in range(0, len(ids), _FETCH_BATCH):
        found = index.chunks_by_id(ids[start : start + _FETCH_BATCH])
        for position, key in enumerate(ids[start : start + _FETCH_BATCH], start):
            if candidate := found.get(key):
                yield position, candidate


def overlaps(candidate: Chunk, position: LineRange | None) -> bool:
    """Whether a chunk has lines of a range."""
    return (
        position is not None
        and candidate.path == position[0]
        and candidate.start_line <= position[2]
        and candidate.end_line >= position[1]
    )


def is_same_function(one: Chunk, other: Chunk) -> bool:
    """Parts of one function, or one inside the other. A name with its arity is one function in all of a file."""
    return _are_parts(one, other) or overlaps(one, (other.path, other.start_line, other.end_line))


def _are_parts(one: Chunk, other: Chunk) -> bool:
    same_name = (one.path, one.kind, one.name) == (other.path, other.kind, other.name)
    return same_name and bool((one.part and other.part) or _ARITY_SUFFIX.search(one.name))


def _shows_already(shown: Chunk, candidate: Chunk, *, drops_containers: bool) -> bool:
    """Whether a place above shows the candidate too: a container does not show what is in it."""
    are_apart = shown.kind in CONTAINERS and candidate.kind not in CONTAINERS
    if are_apart or (candidate.kind in CONTAINERS and not drops_containers):
        return _are_parts(shown, candidate)
    return is_same_function(shown, candidate)


def _join_parts(index: ChunkIndex, snapshot: IndexSnapshot, row: int, chunk: Chunk) -> Chunk:
    """The whole of a function, of which a part was found."""
    if not chunk.part:
        return chunk
    rows = _part_rows(snapshot, row)
    ids = snapshot.columns.id[[rows[0], rows[-1]]].tolist()
    found = index.chunks_by_id(ids)
    first, last = found.get(ids[0], chunk), found.get(ids[1], chunk)
    return replace(first, end_line=max(last.end_line, chunk.end_line))


def _part_rows(snapshot: IndexSnapshot, row: int) -> list[int]:
    """The rows of all parts of the function that a row is a part of, in order."""
    columns = snapshot.columns
    same = (columns.file == columns.file[row]) & (columns.name == columns.name[row])
    same &= (columns.kind == columns.kind[row]) & (columns.part > 0)
    rows = np.flatnonzero(same)
    rows = rows[np.argsort(columns.start[rows], kind="stable")]
    at = int(np.flatnonzero(rows == row)[0])
    starts = np.flatnonzero(columns.part[rows] == 1)
    begin = int(starts[starts <= at][-1]) if (starts <= at).any() else 0
    later = starts[starts > at]
    return rows[begin : int(later[0]) if len(later) else len(rows)].tolist()  # type: ignore[no-any-return]
