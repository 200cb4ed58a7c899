"""Weighs candidates: a small network over their features, with the chance that none of them is right.

Its few thousand weights lie beside this file and are fitted by scripts/fit_completion_ranking.py on public
repositories; they know features of matches, never words of code.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]

_WEIGHTS = Path(__file__).with_name("ranking.npz")
_FARTHEST = 5.0


def probabilities(features: Matrix) -> Matrix:
    """The chance of each candidate to be exactly right, shape (n,); what is missing to 1 is the chance of none."""
    weights = _weights()
    scaled = np.clip((features - weights["mean"]) / weights["deviation"], -_FARTHEST, _FARTHEST)
    scores = _layers(scaled, weights, "candidate")
    nothing = _layers(scaled.mean(axis=0, keepdims=True), weights, "nothing")
    scores = np.concatenate([scores, nothing])
    chances = np.exp(scores - scores.max())
    shares: Matrix = chances[:-1] / chances.sum()
    return shares


def _layers(values: Matrix, weights: Mapping[str, Matrix], name: str) -> Matrix:
    depth = 0
    while f"{name}.{depth + 1}.weight" in weights:
        values = np.maximum(values @ weights[f"{name}.{depth}.weight"].T + weights[f"{name}.{depth}.bias"], 0.0)
        depth += 1
    return (values @ weights[f"{name}.{depth}.weight"].T + weights[f"{name}.{depth}.bias"])[:, 0]


@cache
def _weights() -> Mapping[str, Matrix]:
    with np.load(_WEIGHTS, allow_pickle=False) as stored:
        return {name: stored[name].astype(np.float64) for name in stored.files}
