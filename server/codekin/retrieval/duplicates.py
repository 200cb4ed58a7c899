"""Near-duplicate groups over the whole index, found by sketches and proved on the texts."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from codekin.index import Index, View, mask
from codekin.index.sketch import WIDTH, resemblance
from codekin.records import Filters, Fragment, Hit
from codekin.retrieval.hits import hit_of
from codekin.retrieval.reasons import NEAR_DUPLICATE

_BANDS = 16
_FEWEST_LINES = 4
_FEWEST_CHARACTERS = 120
_CROWD = 200
_FIRST = "the others are like it"
_SAYS_NOTHING = re.compile(r"\s*(//|/?\*|#|$)")


def duplicates(
    index: Index,
    filters: Filters = Filters(),  # noqa: B008 - frozen
    limit: int = 100,
) -> list[list[Hit]]:
    """Groups of near-duplicates, the largest amount of repeated code first.

    Trivial fragments (under 4 lines or 120 characters) are left out. Within a group each
    member resembles the first; its score is that resemblance.
    """
    view = index.view()
    rows = _candidates(view, filters)
    sketches = index.sketches(view.snapshot.columns.content[rows])
    groups = _groups(index, view.snapshot.columns.id[rows], sketches, max(NEAR_DUPLICATE, filters.min_score))
    groups.sort(key=lambda group: -sum(hit.end_line - hit.start_line + 1 for hit in group[1:]))
    return groups[:limit]


def _candidates(view: View, filters: Filters) -> NDArray[np.int64]:
    columns = view.snapshot.columns
    long_enough = columns.end - columns.start + 1 >= _FEWEST_LINES
    return np.flatnonzero(mask(view.snapshot, filters) & long_enough)


def _groups(index: Index, ids: NDArray[np.int64], sketches: NDArray[np.uint32], least: float) -> list[list[Hit]]:
    """Proves the candidate pairs on their texts and collects each first with those like it."""
    neighbours: dict[int, set[int]] = defaultdict(set)
    for one, other in _pairs(sketches, least):
        neighbours[one].add(other)
        neighbours[other].add(one)
    fragments = index.fragments_by_id([int(ids[row]) for row in sorted(neighbours)])
    grouped: set[int] = set()
    covered: list[Fragment] = []
    groups = []
    for row in sorted(neighbours):
        first = fragments.get(int(ids[row]))
        if row in grouped or first is None or is_trivial(first.text) or _inside(first, covered):
            continue
        others = [(fragments.get(int(ids[other])), other) for other in sorted(neighbours[row] - grouped)]
        alike = [(kin, other, resemblance(first.text, kin.text)) for kin, other in others if kin and _apart(first, kin)]
        alike = [found for found in alike if found[2] >= least]
        if alike:
            covered.extend([first, *(kin for kin, _, _ in alike)])
            grouped |= {row, *(other for _, other, _ in alike)}
            groups.append([_hit(first, 1.0, _FIRST), *(_hit(kin, score) for kin, _, score in alike)])
    return groups


def is_trivial(text: str) -> bool:
    """Whether a text says too little to count as repeated: comments and includes do not count."""
    telling = [line for line in text.splitlines() if not _SAYS_NOTHING.match(line)]
    return len(telling) < _FEWEST_LINES or sum(map(len, telling)) < _FEWEST_CHARACTERS


def _inside(fragment: Fragment, covered: Iterable[Fragment]) -> bool:
    """Whether a fragment lies in one that is in a group already."""
    return any(not _apart(fragment, other) for other in covered if other.path == fragment.path)


def _apart(one: Fragment, other: Fragment) -> bool:
    """Whether neither lies inside the other."""
    return one.path != other.path or one.end_line < other.start_line or other.end_line < one.start_line


def _pairs(sketches: NDArray[np.uint32], least: float) -> Iterator[tuple[int, int]]:
    """Pairs whose sketches agree in one band and, nearly enough, on the whole."""
    seen: set[tuple[int, int]] = set()
    wide = WIDTH // _BANDS
    for band in range(_BANDS):
        keys = np.ascontiguousarray(sketches[:, band * wide : (band + 1) * wide]).view(f"V{wide * 4}").ravel()
        for bucket in _buckets(keys):
            for one, other in _within(bucket):
                if (one, other) not in seen:
                    seen.add((one, other))
                    if (sketches[one] == sketches[other]).mean() >= least - 0.2:
                        yield one, other


def _buckets(keys: NDArray[np.void]) -> Iterator[NDArray[np.int64]]:
    """Rows that share a key."""
    _, inverse, counts = np.unique(keys, return_inverse=True, return_counts=True)
    order = np.argsort(inverse, kind="stable")
    ends = np.cumsum(counts)
    for number in np.flatnonzero(counts > 1).tolist():
        yield order[ends[number] - counts[number] : ends[number]]


def _within(bucket: NDArray[np.int64]) -> Iterable[tuple[int, int]]:
    """All pairs of a small bucket; in a crowd, each with the first."""
    rows = bucket.tolist()
    if len(rows) > _CROWD:
        return ((rows[0], row) for row in rows[1:])
    return ((one, other) for place, one in enumerate(rows) for other in rows[place + 1 :])


def _hit(fragment: Fragment, score: float, why: str = "") -> Hit:
    why = why or ("identical copy" if score == 1.0 else "near-duplicate")
    return hit_of(fragment, score, [why])
