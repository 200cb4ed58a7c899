"""Pure functions that put the signals of one query together: centring, z-scores, shown scores.

Vectors and words live on scales of their own, and so do the candidate languages. Each
signal is therefore measured in standard deviations from the mean of the candidates of one
language (for this query), and the weighted sum is shown as a share of what an exact copy of
the query would reach. The weights were chosen by mean average precision, see docs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float32]
"""One number for each candidate; NaN where a signal is missing."""

DENSE_WEIGHT = 1.5
LEXICAL_WEIGHT = 1.0
_SHRINKAGE = 5.0
_STRANGERS = 0.2
_STRANGERS_TO_QUESTION = 0.35
_OF_SO_MANY = 10_000
"""How far the likeliest of so many strangers gets on the way from the average to a copy; further if words ask."""

_FORETOLD = 0.5
_COPY = 0.98
_EXPECTED_DEVIATION = 0.15
_EXPECTATION_COUNTS = 2
_USUAL_COUNTS = 20
"""In a small sample the spread and the mean are drawn to what is usual, as if so many values had been seen before: the
few functions of a small workspace would else be their own average."""


@dataclass(frozen=True, slots=True)
class Signal:
    """A value for each candidate, and for the sample that gives its spread.

    A perfect answer has `best`, a stranger `usual`.
    """

    values: Scores
    sample: Scores
    weight: float
    best: float = 1.0
    usual: float = 0.0


def centre(total: NDArray[np.float64], count: int) -> NDArray[np.float32]:
    """The mean vector of a language from its sum, drawn to zero while there are few."""
    return (total / (count + _SHRINKAGE)).astype(np.float32)


def fuse(signals: Sequence[Signal]) -> Scores:
    """One score for each candidate: 0 is the average of the sample, 1 an exact copy; not clipped.

    A candidate without one signal gets the part of it that the others foretell.
    """
    count = len(signals[0].values)
    total, missing = np.zeros(count, np.float32), np.zeros(count, np.float32)
    own = weight = 0.0
    copies = _copies(signals)
    for signal in signals:
        mean, deviation = _spread(signal.sample[~copies], signal.usual)
        standard = (signal.values - np.float32(mean)) / np.float32(deviation)
        gap = np.isnan(standard)
        total += signal.weight * np.where(gap, 0, standard)
        missing += signal.weight * gap
        own += signal.weight * (signal.best - mean) / deviation
        weight += signal.weight
    present = np.maximum(np.float32(weight) - missing, np.float32(1e-6))
    total *= 1 + np.float32(_FORETOLD) * missing / present
    return np.asarray(total / np.float32(max(own, 1e-3)), np.float32)


def shown(scores: Scores, fragments: int, *, is_question: bool) -> Scores:
    """Fused scores as users see them, between 0 and 1: 0 is what the likeliest of so many strangers gets.

    The largest of n normal deviates grows with the square root of log n.
    """
    likeliest = _STRANGERS_TO_QUESTION if is_question else _STRANGERS
    strangers = likeliest * float(np.sqrt(np.log(max(2, fragments)) / np.log(_OF_SO_MANY)))
    return np.asarray(np.clip((scores - strangers) / (1 - strangers), 0.0, 1.0), np.float32)


def _copies(signals: Sequence[Signal]) -> NDArray[np.bool_]:
    """Which of the sample are the query itself or a copy: they say nothing of how others are spread."""
    copies = np.zeros(len(signals[0].sample), bool)
    for signal in signals:
        copies |= signal.sample >= _COPY * signal.best
    return copies


def _spread(sample: Scores, usual: float) -> tuple[float, float]:
    """Mean and standard deviation of the values that are there and of a few around `usual`."""
    present = sample[~np.isnan(sample)]
    if len(present) == 0:
        return usual, 1.0
    count = len(present) + _EXPECTATION_COUNTS
    mean = (float(present.sum()) + _USUAL_COUNTS * usual) / (len(present) + _USUAL_COUNTS)
    variance = (len(present) * float(present.var()) + _EXPECTATION_COUNTS * _EXPECTED_DEVIATION**2) / count
    return mean, float(np.sqrt(variance))
