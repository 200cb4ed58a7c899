"""Similar code for a chunk or a snippet, counts for code lenses, and groups of near-duplicates over the whole index."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from codekin import parsing
from codekin.protocols import Embedder, TextKind, Vectors
from codekin.ranking.collecting import FoundChunk, LineRange, collect_chunks
from codekin.ranking.hits import NEAR_DUPLICATE_SIMILARITY, build_hit, explain_similarity, is_copy
from codekin.ranking.priors import CONTAINERS
from codekin.ranking.query import build_mask
from codekin.ranking.scoring import Ranking, RankingQuery, rank_chunks
from codekin.storage import ChunkIndex
from codekin.storage.reader import IndexView
from codekin.storage.terms import SKETCH_SIZE, jaccard_similarity
from codekin.types import Chunk, Filters, Hit

EXTRA_CANDIDATES = 40
ROUNDING = 0.00005
MIN_SCORE = 0.01
"""A chunk that scores less is unrelated: nothing is found rather than noise."""

_CONTAINER_SHARE = np.float32(0.75)
"""What is left of a container between its functions speaks of everything in it, and is seldom what was meant."""


@dataclass(frozen=True, slots=True)
class SimilarChunk:
    """A hit, the chunk or part of one that was compared, and the cosine of the vectors, NaN where there was none."""

    hit: Hit
    matched: Chunk
    cosine: float


def find_similar(  # noqa: PLR0913, PLR0917 - the query, the place to search, and what to leave out
    index: ChunkIndex,
    embedder: Embedder | None,
    query: Chunk | str,
    filters: Filters = Filters(),  # noqa: B008 - frozen
    limit: int = 10,
    exclude: LineRange | None = None,
    view: IndexView | None = None,
) -> list[Hit]:
    """Code like a chunk or a pasted snippet, best first; in a `view` of the index, else in its newest state.

    `exclude` is a path with its first and last line: nothing that overlaps is returned. It
    defaults to the chunk's own place. Without an embedder the words alone decide, unless
    the chunk's vector is stored.
    """
    return [one.hit for one in find_similar_chunks(index, embedder, query, filters, limit, exclude, view)]


def find_similar_chunks(  # noqa: PLR0913, PLR0917
    index: ChunkIndex,
    embedder: Embedder | None,
    query: Chunk | str,
    filters: Filters,
    limit: int,
    exclude: LineRange | None = None,
    view: IndexView | None = None,
) -> list[SimilarChunk]:
    """The same with the chunks that were compared."""
    view = view or index.view()
    chunk = query if isinstance(query, Chunk) else parse_snippet(query, view.snapshot.languages.words())
    if exclude is None and chunk.path:
        exclude = (chunk.path, chunk.start_line, chunk.end_line)
    vector = query_vector(view, index, embedder, chunk, "passage")
    ranking_query = RankingQuery(chunk.text, vector, chunk.language or None, chunk.name)
    mask = build_mask(view.snapshot, filters)
    ranking = rank_chunks(view, ranking_query, mask, limit=limit * 2 + EXTRA_CANDIDATES)
    ranking = _demote_containers(view, chunk, ranking).with_min_score(max(filters.min_score - ROUNDING, MIN_SCORE))
    found = islice(collect_chunks(index, view, ranking, chunk, exclude), limit)
    return [_build_similar(chunk, one, ranking) for one in found]


def count_similar(
    index: ChunkIndex, embedder: Embedder | None, chunks: Sequence[Chunk], min_score: float = 0.35, limit: int = 50
) -> list[int]:
    """For each chunk how many places `find_similar` shows above `min_score`, `limit` at most."""
    filters = Filters(min_score=min_score)
    return [len(find_similar(index, embedder, chunk, filters, limit)) for chunk in chunks]


def parse_snippet(text: str, languages: Sequence[str]) -> Chunk:
    """A snippet as a chunk without a path: its language among `languages` (or none), its name and shape.

    The language is the first in which it parses without problems; name and shape are those
    of its first chunk.
    """
    blank = Chunk("", "", "file", "", 1, 1 + text.count("\n"), text)
    for language in languages:
        if language not in parsing.LANGUAGES:
            continue
        found, problems = parsing.cut_chunks("", text, language)
        if found and not problems:
            first = found[0]
            return Chunk("", language, first.kind, first.name, 1, blank.end_line, text, first.doc, 0, first.shape)
    return blank


def query_vector(
    view: IndexView, index: ChunkIndex, embedder: Embedder | None, chunk: Chunk, kind: TextKind
) -> Vectors | None:
    """The query's vector in the serving space: stored, or embedded now, or None."""
    space = view.snapshot.space
    if space is None or view.dense is None:
        return None
    if kind == "passage" and (stored := index.vector(chunk.digest, view)) is not None:
        return stored
    if embedder is None or embedder.space != space.fingerprint:
        return None
    return np.asarray(embedder.embed([chunk.text], kind)[0], np.float32)


def _demote_containers(view: IndexView, query: Chunk, ranking: Ranking) -> Ranking:
    """The ranking with what is left of containers lower, unless the query is a container itself."""
    numbers = view.snapshot.kinds.numbers
    lower = {"namespace"} if query.kind in CONTAINERS else CONTAINERS - {"describe"}
    contains = np.isin(view.snapshot.columns.kind[ranking.rows], [numbers[kind] for kind in lower if kind in numbers])
    return ranking.with_scores(np.where(contains, _CONTAINER_SHARE * ranking.scores, ranking.scores))


def _build_similar(query: Chunk, found: FoundChunk, ranking: Ranking) -> SimilarChunk:
    matched, cosine = found.matched, float(ranking.cosine[found.position])
    score = 1.0 if is_copy(query, matched) else min(0.99, float(ranking.scores[found.position]))
    reasons = explain_similarity(query, matched, cosine, score)
    return SimilarChunk(build_hit(found.chunk, score, reasons), matched, cosine)


_BANDS = 16
_MIN_LINES = 4
_MIN_CHARACTERS = 120
_LARGE_BUCKET = 200
_GROUP_HEAD_REASON = "the others resemble it"
_TRIVIAL_LINE = re.compile(r"\s*(//|/?\*|#|$)")


def find_duplicates(
    index: ChunkIndex,
    filters: Filters = Filters(),  # noqa: B008 - frozen
    limit: int = 100,
) -> list[list[Hit]]:
    """Groups of near-duplicates, the largest amount of repeated code first.

    Trivial chunks (under 4 lines or 120 characters) are left out. Within a group each
    member resembles the first; its score is that resemblance.
    """
    view = index.view()
    rows = _candidate_rows(view, filters)
    sketches = index.sketches(view.snapshot.columns.content[rows])
    groups = _confirm_groups(
        index, view.snapshot.columns.id[rows], sketches, max(NEAR_DUPLICATE_SIMILARITY, filters.min_score)
    )
    groups.sort(key=lambda group: -sum(hit.end_line - hit.start_line + 1 for hit in group[1:]))
    return groups[:limit]


def _candidate_rows(view: IndexView, filters: Filters) -> NDArray[np.int64]:
    columns = view.snapshot.columns
    long_enough = columns.end - columns.start + 1 >= _MIN_LINES
    return np.flatnonzero(build_mask(view.snapshot, filters) & long_enough)


def _confirm_groups(
    index: ChunkIndex, ids: NDArray[np.int64], sketches: NDArray[np.uint32], min_similarity: float
) -> list[list[Hit]]:
    """Proves the candidate pairs on their texts and collects each first with those like it."""
    neighbours: dict[int, set[int]] = defaultdict(set)
    for one, other in _candidate_pairs(sketches, min_similarity):
        neighbours[one].add(other)
        neighbours[other].add(one)
    chunks = index.chunks_by_id([int(ids[row]) for row in sorted(neighbours)])
    grouped: set[int] = set()
    covered: list[Chunk] = []
    groups = []
    for row in sorted(neighbours):
        first = chunks.get(int(ids[row]))
        if row in grouped or first is None or is_trivial(first.text) or _overlaps_any(first, covered):
            continue
        others = [(chunks.get(int(ids[other])), other) for other in sorted(neighbours[row] - grouped)]
        matches = [
            (other_chunk, other, jaccard_similarity(first.text, other_chunk.text))
            for other_chunk, other in others
            if other_chunk and _are_disjoint(first, other_chunk)
        ]
        matches = [found for found in matches if found[2] >= min_similarity]
        if matches:
            covered.extend([first, *(other_chunk for other_chunk, _, _ in matches)])
            grouped |= {row, *(other for _, other, _ in matches)}
            groups.append(
                [
                    _build_duplicate_hit(first, 1.0, _GROUP_HEAD_REASON),
                    *(_build_duplicate_hit(other_chunk, score) for other_chunk, _, score in matches),
                ]
            )
    return groups


def is_trivial(text: str) -> bool:
    """Whether a text says too little to count as repeated: comments and includes do not count."""
    significant = [line for line in text.splitlines() if not _TRIVIAL_LINE.match(line)]
    return len(significant) < _MIN_LINES or sum(map(len, significant)) < _MIN_CHARACTERS


def _overlaps_any(chunk: Chunk, covered: Iterable[Chunk]) -> bool:
    """Whether a chunk lies in one that is in a group already."""
    return any(not _are_disjoint(chunk, other) for other in covered if other.path == chunk.path)


def _are_disjoint(one: Chunk, other: Chunk) -> bool:
    """Whether neither lies inside the other."""
    return one.path != other.path or one.end_line < other.start_line or other.end_line < one.start_line


def _candidate_pairs(sketches: NDArray[np.uint32], min_similarity: float) -> Iterator[tuple[int, int]]:
    """Pairs whose sketches agree in one band and, nearly enough, on the whole."""
    seen: set[tuple[int, int]] = set()
    band_width = SKETCH_SIZE // _BANDS
    for band in range(_BANDS):
        keys = (
            np.ascontiguousarray(sketches[:, band * band_width : (band + 1) * band_width])
            .view(f"V{band_width * 4}")
            .ravel()
        )
        for bucket in _buckets(keys):
            for one, other in _bucket_pairs(bucket):
                if (one, other) not in seen:
                    seen.add((one, other))
                    if (sketches[one] == sketches[other]).mean() >= min_similarity - 0.2:
                        yield one, other


def _buckets(keys: NDArray[np.void]) -> Iterator[NDArray[np.int64]]:
    """Rows that share a key."""
    _, inverse, counts = np.unique(keys, return_inverse=True, return_counts=True)
    order = np.argsort(inverse, kind="stable")
    ends = np.cumsum(counts)
    for number in np.flatnonzero(counts > 1).tolist():
        yield order[ends[number] - counts[number] : ends[number]]


def _bucket_pairs(bucket: NDArray[np.int64]) -> Iterable[tuple[int, int]]:
    """All pairs of a small bucket; in a crowd, each with the first."""
    rows = bucket.tolist()
    if len(rows) > _LARGE_BUCKET:
        return ((rows[0], row) for row in rows[1:])
    return ((one, other) for position, one in enumerate(rows) for other in rows[position + 1 :])


def _build_duplicate_hit(chunk: Chunk, score: float, why: str = "") -> Hit:
    why = why or ("identical copy" if score == 1.0 else "near-duplicate")
    return build_hit(chunk, score, [why])
