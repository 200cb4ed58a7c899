"""Trains a head on stored vectors: seconds on a CPU, since the encoder itself never runs.

Starts at W0, which the workspace itself suggests, and follows the triplets, held near by `pull` * ||W - W0||^2.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from codekin.learning.heads import identity
from codekin.learning.loop import Passed, Training, fit
from codekin.learning.objective import triplet_accuracy
from codekin.seams import Vectors

RATE_OVER_ENCODER = 20.0
"""A head learns on vectors that stand still and bears a rate this much above an encoder's."""

Sides = tuple[Vectors, Vectors, Vectors]
"""Vectors (n, d) of anchors, positives and negatives."""


def train_head(sides: Sides, start: Vectors, choices: Training) -> Iterator[tuple[Passed, Vectors]]:
    """Yields each epoch's figures and the head after it."""
    student = _HeadStudent(sides, start, choices.pull)
    for passed in fit(student, len(sides[0]), choices, choices.learning_rate * RATE_OVER_ENCODER):
        yield passed, student.weight.detach().numpy().copy()


class _HeadStudent:
    """A matrix over vectors that stand still."""

    def __init__(self, sides: Sides, start: Vectors, pull: float) -> None:
        self._sides = [_tensor(side) for side in sides]
        self._start = torch.from_numpy(start.copy())
        self._pull = pull
        self.weight = self._start.clone().requires_grad_(True)

    @property
    def parameters(self) -> list[Tensor]:
        return [self.weight]

    def encode(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        anchor, positive, negative = (_moved(self.weight, side[rows]) for side in self._sides)
        return anchor, positive, negative

    def penalty(self) -> Tensor:
        return self._pull * ((self.weight - self._start) ** 2).sum()


def accuracy_of(head: Vectors | None, sides: Sides) -> float:
    """The share of triplets in the right order under a head (None: as they are)."""
    weight = torch.from_numpy(identity(sides[0].shape[1]) if head is None else head)
    return triplet_accuracy(*(_moved(weight, _tensor(side)) for side in sides))


def _tensor(side: Vectors) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(side, np.float32))


def _moved(weight: Tensor, vectors: Tensor) -> Tensor:
    return torch.nn.functional.normalize(vectors @ weight.T, dim=1)
