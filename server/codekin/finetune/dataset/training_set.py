"""Builds the training set: triplets, pairs of views of one function or test, and validation samples.

Views are never of a kind that the gate evaluates. Files of their own validate and are in neither triplets nor pairs.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from random import Random

import numpy as np

from codekin.errors import NothingToTrainError
from codekin.finetune.dataset.functions import FunctionSample, normalize_layout
from codekin.finetune.dataset.sources import SourceMaterial, sample_source_pairs
from codekin.finetune.dataset.triplets import MinedTriplets, TripletMix
from codekin.finetune.dataset.workspace import WorkspaceDataset, without_near_duplicates
from codekin.parsing import tokenize
from codekin.protocols import Vectors

MIN_WORDS = 16
MIN_VIEW_LINES = 4
MIN_NAMES = 6
QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
WORD = re.compile(r"\w{2,}")

ViewPair = tuple[str, str]


def cut_span(sample: FunctionSample, rng: Random) -> ViewPair | None:
    """A run of its words from within, a fifth to a half of them, and what is left around it; None of a short one."""
    words = re.findall(r"\S+\s*", sample.code)
    count = len(words)
    if count < MIN_WORDS:
        return None
    length = rng.randint(count // 5, count // 2)
    start = rng.randint(1, count - length - 1)
    return "".join(words[start : start + length]), "".join([*words[:start], *words[start + length :]])


def deal_lines(sample: FunctionSample, rng: Random) -> ViewPair | None:
    """Its lines in two hands, each line to one of them by chance; None of a short one, or if the hands are halves."""
    lines = sample.code.split("\n")
    hands = [rng.random() < 0.5 for _ in lines]
    if len(lines) < MIN_VIEW_LINES or sum(one != other for one, other in pairwise(hands)) < 2:
        return None
    one, other = (
        "\n".join(line for line, hand in zip(lines, hands, strict=True) if hand == side) for side in (True, False)
    )
    return one, other


def name_and_body(sample: FunctionSample, rng: Random) -> ViewPair | None:  # noqa: ARG001 - as the others
    """The words of its name, and its code without that name; None of an uninformative name."""
    return (sample.words, sample.nameless) if len(sample.words.split()) > 1 else None


def split_names(sample: FunctionSample, rng: Random) -> ViewPair | None:
    """The code twice, each name in only one of the two, at every use; None of a sample with few names."""
    found = tokenize(sample.chunk.language, sample.code)
    names = sorted(set(WORD.findall(sample.code)) - {token.text for token in found if token.kind == "keyword"})
    if len(names) < MIN_NAMES:
        return None
    rng.shuffle(names)
    return _remove_names(sample.code, set(names[::2])), _remove_names(sample.code, set(names[1::2]))


def describe_test(sample: FunctionSample, rng: Random) -> ViewPair | None:  # noqa: ARG001 - as the others
    """A test's description and its body; None of an uninformative one."""
    head, _, body = sample.code.partition("\n")
    quoted = QUOTED.search(head)
    said = quoted[1] if quoted else sample.words
    return (said, body) if len(said.split()) > 2 else None


def _remove_names(code: str, names: set[str]) -> str:
    return WORD.sub(lambda word: " " if word[0] in names else word[0], code)


VIEWS = (name_and_body, deal_lines, cut_span)
"""The views that a head is trained on."""

HARD_VIEWS = (split_names, deal_lines)
"""The views that an encoder is trained on: parts that have names in common would teach it to trust those."""

ViewFunction = Callable[[FunctionSample, Random], ViewPair | None]


def sample_view_pairs(
    samples: Sequence[FunctionSample], count: int, rng: Random, views: Sequence[ViewFunction] = VIEWS
) -> list[tuple[int, str, str]]:
    """`count` pairs at most, the views by turns: the position of the view, and two texts of a sample."""
    order = list(range(len(samples))) * -(-count * 2 // max(1, len(samples)))
    rng.shuffle(order)
    found: list[tuple[int, str, str]] = []
    for at in order:
        view = len(found) % len(views)
        pair = views[view](samples[at], rng)
        if pair is not None:
            found.append((view, *pair))
        if len(found) == count:
            break
    return found


VALIDATION_SHARE = 0.3
"""Files below this share that are not held out choose the epoch and the place between the beginning and its end."""

SOURCE_SHARE = 0.25
"""Pairs of each source for each triplet, at most."""

MAX_KINDS = 100
"""More kinds of pairs than there are: the other side of each is centred for itself."""

MAX_TEST_REPEATS = 6
"""A test is taken so often at most: more would teach a small workspace's few by heart."""

NO_TRIPLETS_MESSAGE = "No two functions share a pattern: there is nothing to train on yet."

TripletTexts = tuple[Sequence[str], Sequence[str], Sequence[str]]
"""Texts of anchors, positives and negatives."""

TripletVectors = tuple[Vectors, Vectors, Vectors]
"""Vectors (n, d) of anchors, positives and negatives."""


@dataclass(frozen=True)
class TrainingSet:
    """Samples with vectors and triplets, as many pairs of views (the view, the one text, the other), and validation.

    A head trains on `pairs`, an encoder on `hard_pairs`, of which there are more; both end with the pairs of the
    sources, of which there are so many by name.
    """

    samples: list[FunctionSample]
    vectors: Vectors
    mined: MinedTriplets
    pairs: list[tuple[int, str, str]]
    hard_pairs: list[tuple[int, str, str]]
    validation: list[FunctionSample]
    sources: Mapping[str, int] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """How many triplets."""
        return len(self.mined.rows)

    @property
    def note(self) -> str:
        """Notes about the triplets."""
        return self.mined.note

    @property
    def texts(self) -> TripletTexts:
        """Triplets, and hard pairs beside the next pair's second text, as texts."""
        rows = [(anchor, positive, negative) for _, anchor, positive, negative in self.mined.rows]
        codes = [[self.samples[row[side]].code for row in rows] for side in range(3)]
        ones, others = [one for _, one, _ in self.hard_pairs], [other for _, _, other in self.hard_pairs]
        return [*codes[0], *ones], [*codes[1], *others], [*codes[2], *others[1:], *others[:1]]

    @property
    def view_texts(self) -> list[str]:
        """The one texts of all pairs, then the others."""
        return [*(one for _, one, _ in self.pairs), *(other for _, _, other in self.pairs)]

    def triplet_sides(self) -> TripletVectors:
        """Centred vectors of the triplets."""
        return triplet_vectors(self.samples, self.vectors, self.mined)

    def view_sides(self, vectors: Vectors) -> TripletVectors:
        """The same of the pairs, from the vectors of `view_texts`; the negative is the next pair's second text."""
        one, other = np.split(self.centred_views(vectors), 2)
        return one, other, np.roll(other, -1, axis=0)

    def centred_views(self, vectors: Vectors) -> Vectors:
        """The vectors of `view_texts`, each less the mean of its kind of text."""
        kinds = np.array([pair[0] for pair in self.pairs] + [MAX_KINDS + pair[0] for pair in self.pairs], np.int64)
        return _subtract_group_means(vectors, kinds)

    def offset(self, vectors: Vectors) -> Vectors:
        """The mean of names' words less that of the code that bears them; zero where there are no names."""
        named = np.flatnonzero([pair[0] == 0 for pair in self.pairs])
        if not len(named):
            return np.zeros(vectors.shape[1], np.float32)
        return np.asarray(vectors[named].mean(axis=0) - vectors[len(self.pairs) + named].mean(axis=0))


def build_training_set(dataset: WorkspaceDataset, mix: TripletMix, pairs: int = 1) -> TrainingSet:
    """Mines and cuts what a run trains on, with `pairs` hard pairs for each triplet, a third of them of tests.

    Raises NothingToTrainError where there is nothing to train on.
    """
    rest, validation = dataset.split_validation(VALIDATION_SHARE)
    samples, vectors, mined = _given_triplets(dataset, rest, validation) if dataset.given else rest.mined(mix)
    if not mined.rows:
        raise NothingToTrainError(NO_TRIPLETS_MESSAGE)
    rng = Random(mix.seed)  # noqa: S311 - which views are cut is no secret
    count = len(mined.rows)
    views = sample_view_pairs(rest.train_samples, count, rng)
    view_pairs = sample_view_pairs(
        rest.tests, min(pairs * count // 3, MAX_TEST_REPEATS * len(rest.tests)), rng, (describe_test,)
    )
    material = SourceMaterial(rest.train_samples, rest.tests, rest.commits, rest.natives)
    by_source = sample_source_pairs(material, mix.sources, max(1, round(count * SOURCE_SHARE)), rng)
    source_pairs = [(len(VIEWS) + at, *pair) for at, found in enumerate(by_source.values()) for pair in found]
    left = max(0, pairs * count - len(view_pairs) - len(source_pairs))
    hard_pairs = sample_view_pairs(rest.train_samples, left, rng, HARD_VIEWS) if left else []
    counts = {name: len(found) for name, found in by_source.items()}
    hard = [*hard_pairs, *view_pairs, *source_pairs]
    return TrainingSet(samples, vectors, mined, [*views, *source_pairs], hard, validation, counts)


def _given_triplets(
    dataset: WorkspaceDataset, rest: WorkspaceDataset, validation: Sequence[FunctionSample]
) -> tuple[list[FunctionSample], Vectors, MinedTriplets]:
    """The samples that train with those of a file behind them, and its triplets without copies of what evaluates."""
    given = dataset.given
    if given is None:
        raise NothingToTrainError(NO_TRIPLETS_MESSAGE)
    apart = set(validation)
    rows = [at for at, sample in enumerate(dataset.train_samples) if sample in apart]
    others = [*dataset.held_out, *(dataset.train_samples[at] for at in rows)]
    other_vectors = np.concatenate([dataset.held_out_vectors, dataset.vectors[rows]])
    copied = {normalize_layout(sample.code) for sample in others}
    clean = {
        sample
        for sample in without_near_duplicates(given.samples, given.vectors, others, other_vectors)[0]
        if normalize_layout(sample.code) not in copied
    }
    kept = [row for row in given.rows if all(given.samples[at] in clean for at in row[1:])]
    first = len(rest.train_samples)
    shifted = [(kind, first + a, first + p, first + n) for kind, a, p, n in kept]
    left_out = len(given.rows) - len(kept)
    note = f"{left_out} of {len(given.rows)} triplets copy code that evaluates the model: left out." if left_out else ""
    samples = [*rest.train_samples, *given.samples]
    return samples, np.concatenate([rest.vectors, given.vectors]), MinedTriplets(tuple(shifted), note)


def triplet_vectors(samples: Sequence[FunctionSample], vectors: Vectors, mined: MinedTriplets) -> TripletVectors:
    """Vectors of anchors, positives and negatives, centred within their language as the search centres them."""
    near = centre_by_language(vectors, samples)
    rows = np.asarray([row[1:] for row in mined.rows], np.int64).reshape(-1, 3)
    return near[rows[:, 0]], near[rows[:, 1]], near[rows[:, 2]]


def centre_by_language(vectors: Vectors, samples: Sequence[FunctionSample]) -> Vectors:
    """Each vector less the mean of its language."""
    return _subtract_group_means(vectors, np.asarray([sample.chunk.language for sample in samples]))


def concatenate_triplets(one: TripletVectors, other: TripletVectors) -> TripletVectors:
    """Both, one after the other."""
    anchor, positive, negative = (np.concatenate(pair) for pair in zip(one, other, strict=True))
    return anchor, positive, negative


def _subtract_group_means(vectors: Vectors, groups: "np.ndarray[tuple[int], np.dtype[np.generic]]") -> Vectors:
    found = vectors.copy()
    for group in np.unique(groups).tolist():
        found[groups == group] -= found[groups == group].mean(axis=0)
    return found
