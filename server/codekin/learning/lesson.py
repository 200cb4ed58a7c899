"""What a run practises on: triplets, and beside them pairs of views of one function, or of one test.

Triplets alone pull together what shares a role, and let go of what else makes code alike: its words, its parts. The
views hold them. Files of a share of their own validate, and are in neither. Knows texts and vectors, no models.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import numpy as np

from codekin.errors import NothingToLearnError
from codekin.learning.material import Material
from codekin.learning.pieces import Piece
from codekin.learning.train_head import Sides
from codekin.learning.triplets import Mined, Mix
from codekin.learning.views import HARD_VIEWS, VIEWS, described, view_pairs
from codekin.seams import Vectors

VALIDATION = 0.3
"""Files below this share that are not held out choose the epoch and the place between the beginning and its end."""

MOST_TIMES = 6
"""A test is taken so often at most: more would teach a small workspace's few by heart."""

NOTHING = "No two functions share a pattern: there is nothing to learn from yet."

Three = tuple[list[str], list[str], list[str]]
"""Texts of anchors, positives and negatives."""


@dataclass(frozen=True)
class Lesson:
    """Pieces with vectors and triplets, as many pairs of views (the view, the one text, the other), and validation.

    A head practises on `pairs`, an encoder on `hard_pairs`, of which there are more.
    """

    pieces: list[Piece]
    vectors: Vectors
    mined: Mined
    pairs: list[tuple[int, str, str]]
    hard_pairs: list[tuple[int, str, str]]
    validation: list[Piece]

    @property
    def count(self) -> int:
        """How many triplets."""
        return len(self.mined.rows)

    @property
    def note(self) -> str:
        """What there is to say of the triplets."""
        return self.mined.note

    @property
    def texts(self) -> Three:
        """Triplets, and hard pairs beside the next pair's second text, as texts."""
        rows = [(anchor, positive, negative) for _, anchor, positive, negative in self.mined.rows]
        codes = [[self.pieces[row[side]].code for row in rows] for side in range(3)]
        ones, others = [one for _, one, _ in self.hard_pairs], [other for _, _, other in self.hard_pairs]
        return [*codes[0], *ones], [*codes[1], *others], [*codes[2], *others[1:], *others[:1]]

    @property
    def view_texts(self) -> list[str]:
        """The one texts of all pairs, then the others."""
        return [*(one for _, one, _ in self.pairs), *(other for _, _, other in self.pairs)]

    def triplet_sides(self) -> Sides:
        """Centred vectors of the triplets."""
        return sides(self.pieces, self.vectors, self.mined)

    def view_sides(self, vectors: Vectors) -> Sides:
        """The same of the pairs, from the vectors of `view_texts`; the negative is the next pair's second text."""
        one, other = np.split(self.centred_views(vectors), 2)
        return one, other, np.roll(other, -1, axis=0)

    def centred_views(self, vectors: Vectors) -> Vectors:
        """The vectors of `view_texts`, each less the mean of its kind of text."""
        kinds = np.array([pair[0] for pair in self.pairs] + [len(VIEWS) + pair[0] for pair in self.pairs], np.int64)
        return _less_means(vectors, kinds)

    def offset(self, vectors: Vectors) -> Vectors:
        """The mean of names' words less that of the code that bears them; zero where there are no names."""
        named = np.flatnonzero([pair[0] == 0 for pair in self.pairs])
        if not len(named):
            return np.zeros(vectors.shape[1], np.float32)
        return np.asarray(vectors[named].mean(axis=0) - vectors[len(self.pairs) + named].mean(axis=0))


def prepare(material: Material, mix: Mix, pairs: int = 1) -> Lesson:
    """Mines and cuts what a run practises on, with `pairs` hard pairs for each triplet, a third of them of tests.

    Raises NothingToLearnError where there is nothing to learn from.
    """
    rest, validation = material.without(VALIDATION)
    pieces, vectors, mined = rest.mined(mix)
    if not mined.rows:
        raise NothingToLearnError(NOTHING)
    chance = Random(mix.seed)  # noqa: S311 - which views are cut is no secret
    count = len(mined.rows)
    views = view_pairs(rest.learned, count, chance)
    told = view_pairs(rest.tests, min(pairs * count // 3, MOST_TIMES * len(rest.tests)), chance, (described,))
    hard = view_pairs(rest.learned, pairs * count - len(told), chance, HARD_VIEWS)
    return Lesson(pieces, vectors, mined, views, [*hard, *told], validation)


def sides(pieces: Sequence[Piece], vectors: Vectors, mined: Mined) -> Sides:
    """Vectors of anchors, positives and negatives, centred within their language as the search centres them."""
    near = centred(vectors, pieces)
    rows = np.asarray([row[1:] for row in mined.rows], np.int64).reshape(-1, 3)
    return near[rows[:, 0]], near[rows[:, 1]], near[rows[:, 2]]


def centred(vectors: Vectors, pieces: Sequence[Piece]) -> Vectors:
    """Each vector less the mean of its language."""
    return _less_means(vectors, np.asarray([piece.fragment.language for piece in pieces]))


def beside(one: Sides, other: Sides) -> Sides:
    """Both, one after the other."""
    anchor, positive, negative = (np.concatenate(pair) for pair in zip(one, other, strict=True))
    return anchor, positive, negative


def _less_means(vectors: Vectors, groups: "np.ndarray[tuple[int], np.dtype[np.generic]]") -> Vectors:
    found = vectors.copy()
    for group in np.unique(groups).tolist():
        found[groups == group] -= found[groups == group].mean(axis=0)
    return found
