"""Initialises a linear head in closed form and trains it on stored vectors, in seconds on a CPU.

A head W measures similarity by the metric WᵀW. Its initialisation W0 combines the partial whitening of the
workspace's vectors, W = U diag((s + e·mean s)^-a) Uᵀ for the covariance U diag(s) Uᵀ; the metric R Rᵀ of the ridge
regression R from vectors to the TF-IDF of their texts; and removes the direction that separates names from code. Each
is shrunk to the identity where there is little code. Training follows the triplets, with the penalty `pull` * ||W -
W0||^2.
"""

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from codekin.finetune.dataset.training_set import TripletVectors
from codekin.finetune.trainers.loop import EpochResult, TrainingOptions, train_epochs, triplet_accuracy
from codekin.protocols import Vectors
from codekin.storage.terms import split_subtokens as terms_of

WHITENING_STRENGTH = 0.5
WHITENING_FLOOR = 0.3
TFIDF_WEIGHT = 0.2
"""What the words count beside the whitening."""

RIDGE_PENALTY = 0.1
MAX_TERMS = 4096
MAX_TEXTS = 6000
TFIDF_BLOCK = 512

Matrix = NDArray[np.float64]
EmbeddedTexts = tuple[Vectors, Sequence[str]]
"""Vectors (n, d), centred within their language or their kind of text, and the texts."""


def identity_head(dimensions: int) -> Vectors:
    """The head that changes nothing."""
    return np.eye(dimensions, dtype=np.float32)


def initial_head(known: EmbeddedTexts, views: EmbeddedTexts, offset: Vectors) -> Vectors:
    """The head (d, d) that the workspace itself suggests, by its functions and by other views of them.

    `offset` (d,) is the mean of names' words less that of code, zero where it is not known.
    """
    metric = _unit_diagonal(_gram(whitening(known[0])))
    vectors = np.concatenate([known[0], views[0]])
    words = TFIDF_WEIGHT * _shrinkage(known[0]) * _unit_diagonal(tfidf_metric(vectors, [*known[1], *views[1]]))
    values, basis = np.linalg.eigh(metric + words)
    root = (basis * np.sqrt(np.maximum(values, 0))) @ basis.T
    root /= np.sqrt(np.mean(np.maximum(values, 0)))
    length = float(np.linalg.norm(offset))
    direction = offset.astype(np.float64) / length if length > 0 else np.zeros(len(offset))
    return np.asarray(root - np.outer(root @ direction, direction), np.float32)


def whitening(vectors: Vectors, strength: float = WHITENING_STRENGTH, floor: float = WHITENING_FLOOR) -> Vectors:
    """The partial whitening of centred vectors (n, d); few vectors are drawn to the identity."""
    wide = vectors.astype(np.float64)
    values, basis = np.linalg.eigh(wide.T @ wide / max(1, len(wide)))
    scales = (np.maximum(values, 0) + floor * values.mean() + 1e-12) ** -strength
    scales /= np.sqrt(np.mean(scales**2))
    trust = _shrinkage(vectors)
    return np.asarray(trust * (basis * scales) @ basis.T + (1 - trust) * np.eye(wide.shape[1]), np.float32)


def tfidf_metric(vectors: Vectors, texts: Sequence[str]) -> Matrix:
    """R Rᵀ (d, d) of the ridge regression R from centred vectors to the TF-IDF rows of their texts."""
    step = max(1, -(-len(texts) // MAX_TEXTS))
    wide, counts = vectors[::step].astype(np.float64), [Counter(terms_of(text)) for text in texts[::step]]
    dimensions = wide.shape[1]
    gram, crossed = wide.T @ wide, np.zeros((dimensions, MAX_TERMS))
    for start, rows in _tfidf_blocks(counts):
        crossed += wide[start : start + len(rows)].T @ rows
    floor = RIDGE_PENALTY * np.trace(gram) / dimensions + 1e-9
    slopes = np.linalg.solve(gram + floor * np.eye(dimensions), crossed)
    return np.asarray(slopes @ slopes.T)


def _tfidf_blocks(counts: Sequence[Counter[str]]) -> Iterator[tuple[int, Matrix]]:
    """Unit rows (block, MOST_TERMS) of the commonest terms that occur in at least two texts, a block at a time."""
    spread = Counter(term for count in counts for term in count)
    terms = {term: at for at, (term, texts) in enumerate(spread.most_common(MAX_TERMS)) if texts > 1}
    rarity = {term: np.log(1 + len(counts) / spread[term]) for term in terms}
    for start in range(0, len(counts), TFIDF_BLOCK):
        rows = np.zeros((len(counts[start : start + TFIDF_BLOCK]), MAX_TERMS))
        for row, count in enumerate(counts[start : start + TFIDF_BLOCK]):
            for term in terms.keys() & count.keys():
                rows[row, terms[term]] = (1 + np.log(count[term])) * rarity[term]
        yield start, rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)


def _shrinkage(vectors: Vectors) -> float:
    """How much is believed of as many vectors: half where there are as many as dimensions."""
    count, dimensions = vectors.shape
    return float(count / (count + dimensions))


def _gram(matrix: Vectors) -> Matrix:
    wide = matrix.astype(np.float64)
    return np.asarray(wide.T @ wide)


def _unit_diagonal(metric: Matrix) -> Matrix:
    """With a mean of one on the diagonal."""
    return np.asarray(metric / max(float(np.trace(metric)) / len(metric), 1e-12))


HEAD_RATE_FACTOR = 20.0
"""A head is trained on fixed vectors and bears a rate this much above an encoder's."""


def train_head(
    sides: TripletVectors, start: Vectors, options: TrainingOptions
) -> Iterator[tuple[EpochResult, Vectors]]:
    """Yields each epoch's figures and the head after it."""
    triplet_encoder = _HeadTripletEncoder(sides, start, options.pull)
    for epoch_result in train_epochs(triplet_encoder, len(sides[0]), options, options.learning_rate * HEAD_RATE_FACTOR):
        yield epoch_result, triplet_encoder.weight.detach().numpy().copy()


class _HeadTripletEncoder:
    """A matrix over vectors that are not trained."""

    def __init__(self, sides: TripletVectors, start: Vectors, pull: float) -> None:
        self._sides = [_tensor(side) for side in sides]
        self._start = torch.from_numpy(start.copy())
        self._pull = pull
        self.weight = self._start.clone().requires_grad_(True)

    @property
    def parameters(self) -> list[Tensor]:
        return [self.weight]

    def encode(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        anchor, positive, negative = (_apply_weight(self.weight, side[rows]) for side in self._sides)
        return anchor, positive, negative

    def penalty(self) -> Tensor:
        return self._pull * ((self.weight - self._start) ** 2).sum()


def head_accuracy(head: Vectors | None, sides: TripletVectors) -> float:
    """The share of triplets in the right order under a head (None: as they are)."""
    weight = torch.from_numpy(identity_head(sides[0].shape[1]) if head is None else head)
    return triplet_accuracy(*(_apply_weight(weight, _tensor(side)) for side in sides))


def _tensor(side: Vectors) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(side, np.float32))


def _apply_weight(weight: Tensor, vectors: Tensor) -> Tensor:
    return torch.nn.functional.normalize(vectors @ weight.T, dim=1)
