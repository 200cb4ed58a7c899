"""The training loop of every method: batches of triplets, AdamW, warm-up, clipping, one epoch after the other.

Knows losses and optimisers; what the vectors come from is the student's own affair.
"""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from codekin.errors import LearningError
from codekin.learning.crew import ALONE, Crew
from codekin.learning.objective import in_batch_loss, triplet_loss
from codekin.learning.unfinished import NOWHERE, Position, Unfinished


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
    """One pass over the triplets: its number from 1, mean loss, seconds, triplets that fit into memory at once."""

    number: int
    loss: float
    seconds: float
    batch: int = 0


@dataclass(frozen=True, slots=True)
class Company:
    """Who else takes part in a training, and where its state is kept against a kill."""

    unfinished: Unfinished = NOWHERE
    crew: Crew = ALONE

    def keep(self, at: Position, student: Student, optimizer: torch.optim.Optimizer, ended: bool) -> None:
        """Keeps the state; in a crew all are alike, and the leader's counts."""
        if self.crew.leads:
            self.unfinished.save(at, student.parameters, optimizer, ended)


def fit(  # noqa: PLR0913, PLR0917 - what a training is made of
    student: Student,
    count: int,
    choices: Training,
    rate: float,
    stepped: Callable[[int, int], None] = lambda *_: None,
    company: Company = Company(),
) -> Iterator[Passed]:
    """Trains on `count` triplets and yields after each epoch; `stepped` hears (steps done, steps in all) after each.

    A run that was killed is taken up: it yields the epochs that are through once more, with their weights. Raises
    MemoryError where a batch does not fit even when it is halved down to one triplet, LearningError where the loss
    is no number any more.
    """
    optimizer = torch.optim.AdamW(student.parameters, lr=rate, weight_decay=0.0)
    at = company.unfinished.take_up(student.parameters, optimizer)
    size = most = _size(count, choices)
    steps = max(1, choices.epochs * -(-count // size))
    try:
        yield from _passed_before(student, at, company)
        for number in range(len(at.losses) + 1, choices.epochs + 1):
            if not company.crew.agreed(True):
                return
            for rows in _batches(count, choices, number)[at.batches :]:
                began = time.monotonic()
                for group in optimizer.param_groups:
                    group["lr"] = rate * min(1.0, (at.steps + 1) / max(1.0, choices.warm_up * steps))
                loss, most = _step(student, rows, choices, company.crew, most)
                at.total += loss * len(rows)
                _move(student, optimizer, choices, company.crew)
                at.batches, at.steps, at.spent = at.batches + 1, at.steps + 1, at.spent + time.monotonic() - began
                company.keep(at, student, optimizer, ended=False)
                stepped(at.steps, steps)
            passed = Passed(number, at.total / max(1, count), at.spent, most)
            at.losses, at.seconds = [*at.losses, passed.loss], [*at.seconds, passed.seconds]
            at.batches, at.total, at.spent = 0, 0.0, 0.0
            company.keep(at, student, optimizer, ended=True)
            yield passed
    except GeneratorExit:
        # Who stops early lets the others know, which wait for the next epoch.
        if company.crew.leads and len(at.losses) < choices.epochs:
            company.crew.agreed(False)
        raise


def _passed_before(student: Student, at: Position, company: Company) -> Iterator[Passed]:
    """The epochs of a run that was taken up; the weights of the moment are put back behind them."""
    current = [parameter.detach().clone() for parameter in student.parameters]
    for number, (loss, seconds) in enumerate(zip(at.losses, at.seconds, strict=True), 1):
        if company.unfinished.epoch(number, student.parameters):
            yield Passed(number, loss, seconds)
    with torch.no_grad():
        for parameter, value in zip(student.parameters, current, strict=True):
            parameter.copy_(value)


def _size(count: int, choices: Training) -> int:
    return min(choices.batch_size, max(1, count))


def _batches(count: int, choices: Training, number: int) -> tuple[Tensor, ...]:
    """The batches of an epoch, in an order of its own that the seed decides."""
    order = torch.randperm(count, generator=torch.Generator().manual_seed(choices.seed * 1000 + number))
    return torch.split(order, _size(count, choices))


def _move(student: Student, optimizer: torch.optim.Optimizer, choices: Training, crew: Crew) -> None:
    """One step of the optimiser, of clipped gradients."""
    crew.sum_gradients(student.parameters)
    torch.nn.utils.clip_grad_norm_(student.parameters, choices.clip)
    optimizer.step()
    optimizer.zero_grad()


def _step(student: Student, rows: Tensor, choices: Training, crew: Crew, most: int) -> tuple[float, int]:
    """Leaves the gradients of one batch, `most` triplets at a time or, if memory runs out, half as many and so on.

    Gives its loss, and how many triplets fit.
    """
    while True:
        try:
            parts = torch.split(rows, most)
            loss = sum(_part(student, part, choices, crew, len(part) / len(rows)) for part in parts)
            break
        except (MemoryError, RuntimeError) as error:
            if not _is_full(error):
                raise
            if most == 1 or crew.size > 1:
                raise MemoryError from None
            most = max(1, most // 2)
            for parameter in student.parameters:
                parameter.grad = None
    if not math.isfinite(loss):
        raise LearningError("The loss is no number any more: lower learning.learning_rate; nothing was kept.")
    return loss, most


def _is_full(error: Exception) -> bool:
    """Whether memory ran out; torch's allocator on a processor says so in words alone."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "allocate memory" in str(error)


def _part(student: Student, rows: Tensor, choices: Training, crew: Crew, weight: float) -> float:
    """Adds the weighted gradients of this process's share of some triplets; gives the weighted loss of them all."""
    mine = crew.share(rows)
    sides = student.encode(mine if len(mine) else rows[:1])
    anchor, positive, negative = (crew.gathered(side[: len(mine)]) for side in sides)
    loss = weight * _loss((anchor, positive, negative), choices)
    whole = loss + weight * student.penalty() if crew.leads else loss
    if whole.requires_grad:
        whole.backward()  # type: ignore[no-untyped-call]
    return float(loss.detach())


def _loss(sides: tuple[Tensor, Tensor, Tensor], choices: Training) -> Tensor:
    anchor, positive, negative = sides
    loss = triplet_loss(anchor, positive, negative, choices.margin)
    return loss + choices.in_batch * in_batch_loss(anchor, positive) if choices.in_batch else loss
