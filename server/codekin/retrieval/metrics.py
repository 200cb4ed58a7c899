"""Measures of rankings: average precision, reciprocal rank, recall, and bootstrap intervals.

Ranks are 0-based positions of the right answers in a ranking of all candidates.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def average_precision(ranks: Sequence[int]) -> float:
    """Mean of the precisions at each right answer, all of which must be ranked."""
    ordered = np.sort(np.asarray(ranks))
    return float(np.mean(np.arange(1, len(ordered) + 1) / (ordered + 1)))


def reciprocal_rank(ranks: Sequence[int], within: int = 10) -> float:
    """1 / position of the first right answer, 0 beyond `within`."""
    first = min(ranks)
    return 1.0 / (first + 1) if first < within else 0.0


def recall(ranks: Sequence[int], within: int) -> float:
    """The share of right answers among the first `within`, of those that could be there."""
    return sum(rank < within for rank in ranks) / min(len(ranks), within)


def summary(rankings: Sequence[Sequence[int]]) -> dict[str, float | int]:
    """Means over queries, each given by the ranks of its right answers."""
    count = max(1, len(rankings))
    return {
        "queries": len(rankings),
        "map": sum(map(average_precision, rankings)) / count,
        "mrr10": sum(map(reciprocal_rank, rankings)) / count,
        "recall1": sum(recall(ranks, 1) for ranks in rankings) / count,
        "recall10": sum(recall(ranks, 10) for ranks in rankings) / count,
    }


def bootstrap(values: Sequence[float], samples: int = 1000, seed: int = 0, level: float = 0.95) -> tuple[float, float]:
    """The interval that holds the mean with probability `level`, by resampling queries."""
    table = np.asarray(values, np.float64)
    generator = np.random.default_rng(seed)
    means: NDArray[np.float64] = np.array([generator.choice(table, len(table)).mean() for _ in range(samples)])
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
