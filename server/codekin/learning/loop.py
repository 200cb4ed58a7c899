"""The training loop of every method: batches of triplets, AdamW, warm-up, clipping, one epoch after the other.

Knows losses and optimisers; what the vectors come from is the student's own affair.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from codekin.learning.objective import in_batch_loss, triplet_loss


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


class Student(Protocol):
    """What learns."""

    @property
    def parameters(self) -> list[Tensor]:
        """The tensors that change."""
        ...

    def encode(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Unit rows (n, d) of the anchors, positives and negatives of these triplets, with gradients."""
        ...

    def penalty(self) -> Tensor:
        """What is added to the loss for having gone far from the beginning."""
        ...


@dataclass(frozen=True, slots=True)
class Passed:
    """One pass over the triplets: its number from 1, the mean loss, the seconds."""

    number: int
    loss: float
    seconds: float


def fit(
    student: Student, count: int, choices: Training, rate: float, stepped: Callable[[int, int], None] = lambda *_: None
) -> Iterator[Passed]:
    """Trains on `count` triplets and yields after each epoch; `stepped` hears (steps done, steps in all) after each.

    Raises MemoryError where a batch does not fit even when it is halved down to one triplet.
    """
    optimizer = torch.optim.AdamW(student.parameters, lr=rate, weight_decay=0.0)
    size = min(choices.batch_size, max(1, count))
    steps = max(1, choices.epochs * -(-count // size))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1.0, (step + 1) / max(1.0, choices.warm_up * steps))
    )
    done = 0
    for number in range(1, choices.epochs + 1):
        began, total = time.monotonic(), 0.0
        order = torch.randperm(count, generator=torch.Generator().manual_seed(choices.seed * 1000 + number))
        for rows in torch.split(order, size):
            total += _step(student, rows, choices) * len(rows)
            torch.nn.utils.clip_grad_norm_(student.parameters, choices.clip)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            done += 1
            stepped(done, steps)
        yield Passed(number, total / max(1, count), time.monotonic() - began)


def _step(student: Student, rows: Tensor, choices: Training) -> float:
    """The gradients of one batch; one that does not fit into memory is taken in halves. Gives its loss."""
    try:
        loss = _loss(student.encode(rows), choices)
        (loss + student.penalty()).backward()  # type: ignore[no-untyped-call]
    except (MemoryError, torch.OutOfMemoryError):
        if len(rows) == 1:
            raise MemoryError from None
        halves = [part for part in torch.tensor_split(rows, 2) if len(part)]
        return sum(_step(student, part, choices) * len(part) for part in halves) / len(rows)
    return float(loss.detach())


def _loss(sides: tuple[Tensor, Tensor, Tensor], choices: Training) -> Tensor:
    anchor, positive, negative = sides
    loss = triplet_loss(anchor, positive, negative, choices.margin)
    return loss + choices.in_batch * in_batch_loss(anchor, positive) if choices.in_batch else loss
