"""Where the training of a head begins: in closed form, from the workspace's own vectors and words.

A head W measures likeness by the metric WᵀW. Three things that a workspace tells of itself go into it, each drawn
to nothing where there is little code:

- the *partial whitening* of its vectors, W = U diag((s + e·mean s)^-a) Uᵀ for the covariance U diag(s) Uᵀ: directions
  that all of its code shares count less, those that tell its functions apart count more;
- its *words*: R Rᵀ of the ridge regression R from vectors to the TF-IDF of their texts, so that directions count by
  how rare the words are here that they stand for;
- without the direction that only tells the words of a name from code.
"""

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from codekin.index.tokens import pieces as terms_of
from codekin.seams import Vectors

STRENGTH = 0.5
FLOOR = 0.3
WORDS_SHARE = 0.2
"""What the words count beside the whitening."""

RIDGE = 0.1
MOST_TERMS = 4096
MOST_TEXTS = 6000
BLOCK = 512

Matrix = NDArray[np.float64]
Texts = tuple[Vectors, Sequence[str]]
"""Vectors (n, d), centred within their language or their kind of text, and the texts."""


def identity(dimensions: int) -> Vectors:
    """The head that changes nothing."""
    return np.eye(dimensions, dtype=np.float32)


def beginning(known: Texts, views: Texts, offset: Vectors) -> Vectors:
    """The head (d, d) that the workspace itself suggests, by its functions and by other views of them.

    `offset` (d,) is the mean of names' words less that of code, zero where it is not known.
    """
    metric = _scaled(_squared(whitening(known[0])))
    vectors = np.concatenate([known[0], views[0]])
    words = WORDS_SHARE * _trust(known[0]) * _scaled(lexical_metric(vectors, [*known[1], *views[1]]))
    values, basis = np.linalg.eigh(metric + words)
    root = (basis * np.sqrt(np.maximum(values, 0))) @ basis.T
    root /= np.sqrt(np.mean(np.maximum(values, 0)))
    length = float(np.linalg.norm(offset))
    direction = offset.astype(np.float64) / length if length > 0 else np.zeros(len(offset))
    return np.asarray(root - np.outer(root @ direction, direction), np.float32)


def whitening(vectors: Vectors, strength: float = STRENGTH, floor: float = FLOOR) -> Vectors:
    """The partial whitening of centred vectors (n, d); few vectors are drawn to the identity."""
    wide = vectors.astype(np.float64)
    values, basis = np.linalg.eigh(wide.T @ wide / max(1, len(wide)))
    scales = (np.maximum(values, 0) + floor * values.mean() + 1e-12) ** -strength
    scales /= np.sqrt(np.mean(scales**2))
    trust = _trust(vectors)
    return np.asarray(trust * (basis * scales) @ basis.T + (1 - trust) * np.eye(wide.shape[1]), np.float32)


def lexical_metric(vectors: Vectors, texts: Sequence[str]) -> Matrix:
    """R Rᵀ (d, d) of the ridge regression R from centred vectors to the TF-IDF rows of their texts."""
    step = max(1, -(-len(texts) // MOST_TEXTS))
    wide, counts = vectors[::step].astype(np.float64), [Counter(terms_of(text)) for text in texts[::step]]
    dimensions = wide.shape[1]
    gram, crossed = wide.T @ wide, np.zeros((dimensions, MOST_TERMS))
    for start, rows in _tfidf(counts):
        crossed += wide[start : start + len(rows)].T @ rows
    floor = RIDGE * np.trace(gram) / dimensions + 1e-9
    slopes = np.linalg.solve(gram + floor * np.eye(dimensions), crossed)
    return np.asarray(slopes @ slopes.T)


def _tfidf(counts: Sequence[Counter[str]]) -> Iterator[tuple[int, Matrix]]:
    """Unit rows (block, MOST_TERMS) of the commonest terms that stand in two texts at least, a block at a time."""
    spread = Counter(term for count in counts for term in count)
    terms = {term: at for at, (term, texts) in enumerate(spread.most_common(MOST_TERMS)) if texts > 1}
    rarity = {term: np.log(1 + len(counts) / spread[term]) for term in terms}
    for start in range(0, len(counts), BLOCK):
        rows = np.zeros((len(counts[start : start + BLOCK]), MOST_TERMS))
        for row, count in enumerate(counts[start : start + BLOCK]):
            for term in terms.keys() & count.keys():
                rows[row, terms[term]] = (1 + np.log(count[term])) * rarity[term]
        yield start, rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)


def _trust(vectors: Vectors) -> float:
    """How much is believed of as many vectors: half where there are as many as dimensions."""
    count, dimensions = vectors.shape
    return float(count / (count + dimensions))


def _squared(matrix: Vectors) -> Matrix:
    wide = matrix.astype(np.float64)
    return np.asarray(wide.T @ wide)


def _scaled(metric: Matrix) -> Matrix:
    """With a mean of one on the diagonal."""
    return np.asarray(metric / max(float(np.trace(metric)) / len(metric), 1e-12))
