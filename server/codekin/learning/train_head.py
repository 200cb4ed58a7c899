"""Trains a head on stored vectors: seconds on a CPU, since the encoder itself never runs.

Starts from the identity, takes the regulariser's own minimum (the partial whitening) as its first step, and then
follows the triplets, held near that point by `pull` * ||W - W0||^2.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from codekin.learning.heads import identity
from codekin.learning.objective import in_batch_loss, triplet_accuracy, triplet_loss
from codekin.seams import Vectors

RATE_OVER_ENCODER = 20.0
"""A head learns on vectors that stand still and bears a rate this much above an encoder's."""


@dataclass(frozen=True, slots=True)
class Training:
    """What the user can choose; `in_batch` weighs the loss against all others in the batch."""

    epochs: int = 3
    learning_rate: float = 1e-5
    batch_size: int = 16
    margin: float = 0.2
    in_batch: float = 1.0
    pull: float = 0.05
    warm_up: float = 0.1
    clip: float = 1.0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Epoch:
    """One pass over the triplets: mean loss, and the share of triplets in the right order after it."""

    number: int
    loss: float
    accuracy: float
    seconds: float
    head: Vectors


def train_head(
    sides: tuple[Vectors, Vectors, Vectors],
    start: Vectors,
    choices: Training,
    stopped: Callable[[], bool] = lambda: False,
) -> Iterator[Epoch]:
    """Yields after each epoch; `sides` are the vectors (n, d) of anchors, positives and negatives."""
    torch.manual_seed(choices.seed)
    parts = [torch.from_numpy(np.ascontiguousarray(side, np.float32)) for side in sides]
    anchor_point = torch.from_numpy(start.copy())
    weight = anchor_point.clone().requires_grad_(True)
    optimizer = torch.optim.AdamW([weight], lr=choices.learning_rate * RATE_OVER_ENCODER, weight_decay=0.0)
    steps = max(1, choices.epochs * -(-len(parts[0]) // choices.batch_size))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1.0, (step + 1) / max(1.0, choices.warm_up * steps))
    )
    for number in range(1, choices.epochs + 1):
        began, total = time.monotonic(), 0.0
        order = torch.randperm(len(parts[0]), generator=torch.Generator().manual_seed(choices.seed * 1000 + number))
        for rows in torch.split(order, choices.batch_size):
            if stopped():
                return
            loss = _loss([_moved(weight, part[rows]) for part in parts], choices)
            total += float(loss.detach()) * len(rows)
            (loss + choices.pull * ((weight - anchor_point) ** 2).sum()).backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_([weight], choices.clip)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
        yield Epoch(
            number,
            total / max(1, len(order)),
            accuracy_of(weight.detach().numpy(), sides),
            time.monotonic() - began,
            weight.detach().numpy().copy(),
        )


def accuracy_of(head: Vectors | None, sides: tuple[Vectors, Vectors, Vectors]) -> float:
    """The share of triplets in the right order under a head (None: as they are)."""
    weight = torch.from_numpy(identity(sides[0].shape[1]) if head is None else head)
    return triplet_accuracy(
        *(_moved(weight, torch.from_numpy(np.ascontiguousarray(side, np.float32))) for side in sides)
    )


def _loss(parts: list[Tensor], choices: Training) -> Tensor:
    anchor, positive, negative = parts
    loss = triplet_loss(anchor, positive, negative, choices.margin)
    return loss + choices.in_batch * in_batch_loss(anchor, positive) if choices.in_batch else loss


def _moved(weight: Tensor, vectors: Tensor) -> Tensor:
    return torch.nn.functional.normalize(vectors @ weight.T, dim=1)
