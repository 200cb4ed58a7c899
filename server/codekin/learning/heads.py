"""Where the training of a head begins.

It begins as the identity and is drawn towards a partial whitening of the workspace's own vectors: directions that
all of its code shares count less, those that tell its functions apart count more. Triplets then move it further.
Whitening: W = U diag((s + e*mean(s))^-a) U^T of the covariance U diag(s) U^T, scaled to keep the mean squared length.
"""

import numpy as np

from codekin.seams import Vectors

STRENGTH = 0.5
FLOOR = 0.2


def identity(dimensions: int) -> Vectors:
    """The head that changes nothing."""
    return np.eye(dimensions, dtype=np.float32)


def whitening(vectors: Vectors, groups: list[str], strength: float = STRENGTH, floor: float = FLOOR) -> Vectors:
    """The partial whitening of (n, d) vectors centred within their groups; few vectors are drawn to the identity."""
    centred = vectors.astype(np.float64)
    names = np.asarray(groups)
    for name in set(groups):
        centred[names == name] -= centred[names == name].mean(axis=0)
    count, dimensions = centred.shape
    values, basis = np.linalg.eigh(centred.T @ centred / max(1, count))
    scales = (np.maximum(values, 0) + floor * values.mean() + 1e-12) ** -strength
    scales /= np.sqrt(np.mean(scales**2))
    trust = count / (count + dimensions)
    matrix = trust * (basis * scales) @ basis.T + (1 - trust) * np.eye(dimensions)
    return np.asarray(matrix, np.float32)
