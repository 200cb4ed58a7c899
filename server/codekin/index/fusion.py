"""Pure functions that put the signals of one query together: centring, z-scores, shown scores.

Vectors and BM25 live on scales of their own, and so do the candidate languages. Each signal
is therefore measured in standard deviations from the mean of the candidates of one language
(for this query), and the sum is shown as a share of what an exact copy would reach.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float32]
"""One number for each candidate; NaN where a signal is missing."""

DENSE_WEIGHT = 1.5
_SHRINKAGE = 5.0
_LEXICAL_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Spread:
    """Mean and standard deviation of a signal over the candidates of one language."""

    mean: float
    deviation: float

    def standardise(self, values: Scores) -> Scores:
        """The values in standard deviations from the mean."""
        return np.asarray((values - np.float32(self.mean)) / np.float32(self.deviation), np.float32)


def spread(values: Scores) -> Spread | None:
    """The spread of the values that are there; None when there are none."""
    present = values[~np.isnan(values)]
    if len(present) == 0:
        return None
    return Spread(float(present.mean()), max(float(present.std()), 1e-3))


def damp(bm25: Scores) -> Scores:
    """BM25 scores on the scale that is fused: log(1 + score)."""
    return np.asarray(np.log1p(bm25), np.float32)


def centre(total: NDArray[np.float64], count: int) -> NDArray[np.float32]:
    """The mean vector of a language from its sum, drawn to zero while there are few."""
    return (total / (count + _SHRINKAGE)).astype(np.float32)


def fuse(dense: Scores | None, lexical: Scores | None) -> Scores:
    """The weighted sum of standardised signals; either may be None, or NaN for a candidate.

    A candidate without a vector gets the part of the dense signal that its words foretell.
    """
    if dense is None and lexical is None:
        raise ValueError("nothing to fuse")
    if dense is None:
        return np.asarray(lexical)
    if lexical is None:
        return DENSE_WEIGHT * np.nan_to_num(dense, nan=-9.0)
    foretold = np.where(np.isnan(dense), _LEXICAL_SHARE * lexical, dense)
    return np.asarray(DENSE_WEIGHT * foretold + lexical, np.float32)


def shown(fused: Scores, own: float) -> Scores:
    """Scores between 0 and 1: the share of `own`, which an exact copy of the query reaches."""
    return np.asarray(np.clip(fused / max(own, 1e-3), 0.0, 1.0), np.float32)
