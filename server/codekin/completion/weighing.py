"""Weighs lines by what the repository and a generator think of them: one softmax over all, and "none of them".

The weights are fitted by scripts/fit_completion_weighing.py on public repositories with a model of 135 million
parameters. A larger generator's own chance of a whole line is mixed in, the more the larger it is.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from codekin.completion.repository import Guess

if TYPE_CHECKING:
    from codekin.models.generation import Generator

Matrix = NDArray[np.float64]

SURE, SURE_BY_TRUST = 0.8, 0.15
"""Confidence from which the repository answers without the generator; more where the generator is trusted."""

MOST_TRUST = 0.8
SMALLEST, TRUST_BY_SIZE = 1.35e8, 0.4
"""The model that the weights are fitted with, and how trust grows for each factor of ten in parameters."""

LOG_CHANCE, LOG_NOTHING = 0, 9
"""The features that hold the repository's own chance of a line, and of none."""

_FITTED = Path(__file__).with_name("weighing.npz")
_LEAST, _LEAST_OF_TOKEN = -60.0, -15.0


@dataclass(frozen=True, slots=True)
class Weighed:
    """A rest of the line: the repository's chance of it, whether the generator wrote it, and log-probabilities.

    `line` are those of its tokens and its end, `following` those of the first tokens of the next line behind it.
    """

    text: str
    chance: float
    is_own: bool
    line: list[float]
    following: list[float]


def weighed(lines: Sequence[Weighed], trust: float) -> list[Guess]:
    """The lines with the chance of each to be exactly right, likeliest first.

    Two estimates of the same chance are mixed by their reliability: that of the fitted weights, and with `trust` the
    generator's own, the product of its chances of the tokens.
    """
    fitted = _fitted()
    scaled = (features(lines) - fitted["mean"]) / fitted["deviation"]
    scores = np.append(scaled @ fitted["weights"], fitted["nothing"])
    shares = np.exp(scores - scores.max())
    shares /= shares.sum()
    own = np.array([math.exp(sum(line.line)) for line in lines])
    chances = ((1 - trust) * shares[:-1] + trust * own).tolist()
    ranked = sorted(zip(lines, chances, strict=True), key=lambda pair: -pair[1])
    return [Guess(line.text, chance) for line, chance in ranked]


def features(lines: Sequence[Weighed]) -> Matrix:
    """What speaks for each line, shape (n, f)."""
    chance = np.array([line.chance for line in lines])
    is_own = np.array([line.is_own for line in lines], float)
    size = np.array([len(line.line) for line in lines])
    total = np.maximum([sum(line.line) for line in lines], _LEAST)
    following = np.array([sum(line.following) for line in lines])
    least = np.maximum([min(line.line) for line in lines], _LEAST_OF_TOKEN)
    likely = np.exp(total)
    nothing = np.full(len(lines), np.log(max(0.0, 1 - float(chance.sum())) + 0.02))
    return np.column_stack(
        [
            np.log(chance + 0.01),
            chance,
            total / 10,
            np.array([sum(line.line) for line in lines]) / size,
            following / 10,
            (following - following.max()) / 10,
            is_own,
            is_own * (chance > 0),
            is_own * nothing,
            nothing,
            np.log(size),
            least / 10,
            np.full(len(lines), chance.max()),
            likely,
            is_own * likely,
        ]
    )


@cache
def _fitted() -> Mapping[str, Matrix]:
    with np.load(_FITTED, allow_pickle=False) as stored:
        return {name: stored[name].astype(np.float64) for name in stored.files}


def trust_in(generator: "Generator") -> float:
    """How far a generator's own chances are believed: not at all at 135 million parameters, two thirds at 7 billion."""
    parameters = generator.model.parameters or generator.device_bytes / 2
    return min(TRUST_BY_SIZE * math.log10(max(parameters, SMALLEST) / SMALLEST), MOST_TRUST)


def sure_from(trust: float) -> float:
    """The repository's confidence from which a generator is not asked."""
    return SURE + SURE_BY_TRUST * trust
