"""The training loop of every method: losses, AdamW, warm-up, gradient clipping, epochs, one process or several.

Under torchrun each process takes a share of every batch; vectors are gathered and gradients summed, so that the loss
is that of one process. The process of rank 0 loads the data, evaluates and writes.
"""

import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, distributed

from codekin.errors import FinetuneError
from codekin.finetune.trainers.resume_state import NO_RESUME_STATE, ResumeState, TrainingPosition


@dataclass(frozen=True, slots=True)
class ProcessGroup:
    """The place of this process among `size`."""

    rank: int = 0
    size: int = 1

    @property
    def is_main(self) -> bool:
        """Whether it is the one that decides and writes."""
        return self.rank == 0

    def share(self, rows: Tensor) -> Tensor:
        """The rows of a batch that this process takes; none where there are fewer rows than processes."""
        return torch.tensor_split(rows, self.size)[self.rank]

    def gather(self, mine: Tensor) -> Tensor:
        """The rows (n, d) of all processes in their order; gradients flow to this one's own."""
        if self.size == 1:
            return mine
        counts = [torch.zeros(1, dtype=torch.long) for _ in range(self.size)]
        distributed.all_gather(counts, torch.tensor([len(mine)]))
        most = max(int(count) for count in counts)
        sent = torch.zeros(most, mine.shape[1], dtype=mine.dtype)
        sent[: len(mine)] = mine.detach()
        parts = [torch.empty_like(sent) for _ in range(self.size)]
        distributed.all_gather(parts, sent)
        whole = [part[: int(count)] for part, count in zip(parts, counts, strict=True)]
        whole[self.rank] = mine
        return torch.cat(whole)

    def sum_gradients(self, parameters: Sequence[Tensor]) -> None:
        """Adds up what each process found."""
        if self.size == 1:
            return
        for parameter in parameters:
            parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            distributed.all_reduce(parameter.grad)

    def broadcast(self, value: Any) -> Any:
        """Broadcasts a value of rank 0 to all ranks."""
        if self.size == 1:
            return value
        said = [value]
        distributed.broadcast_object_list(said)
        return said[0]


SINGLE_PROCESS = ProcessGroup()


def join_process_group() -> ProcessGroup:
    """The process group of torchrun's environment; a single process without one."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size < 2:
        return SINGLE_PROCESS
    if not distributed.is_initialized():
        distributed.init_process_group("gloo")
    return ProcessGroup(distributed.get_rank(), size)


def leave_process_group() -> None:
    """Ends the meeting, if there was one."""
    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()


def triplet_loss(anchor: Tensor, positive: Tensor, negative: Tensor, margin: float) -> Tensor:
    """Mean of max(0, margin + d(a, p) - d(a, n)) with the cosine distance d = 1 - cos (Schroff et al., 2015)."""
    return torch.relu(margin + (anchor * negative).sum(1) - (anchor * positive).sum(1)).mean()


def in_batch_loss(anchor: Tensor, positive: Tensor, temperature: float = 0.05) -> Tensor:
    """Cross-entropy of finding each anchor's positive among those of the batch (van den Oord et al., 2018)."""
    return torch.nn.functional.cross_entropy(
        anchor @ positive.T / temperature, torch.arange(len(anchor), device=anchor.device)
    )


def triplet_accuracy(anchor: Tensor, positive: Tensor, negative: Tensor) -> float:
    """The share of triplets whose positive is nearer to the anchor than the negative."""
    return float(((anchor * positive).sum(1) > (anchor * negative).sum(1)).float().mean())


@dataclass(frozen=True, slots=True)
class TrainingOptions:
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


class TripletEncoder(Protocol):
    """The model in training."""

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
class EpochResult:
    """One pass over the triplets: its number from 1, mean loss, seconds, triplets that fit into memory at once."""

    number: int
    loss: float
    seconds: float
    batch: int = 0


@dataclass(frozen=True, slots=True)
class TrainingContext:
    """Who else takes part in a training, and where its state is kept against a kill."""

    resume_state: ResumeState = NO_RESUME_STATE
    process_group: ProcessGroup = SINGLE_PROCESS

    def save_state(
        self, at: TrainingPosition, triplet_encoder: TripletEncoder, optimizer: torch.optim.Optimizer, ended: bool
    ) -> None:
        """Keeps the state; in a process group all are equal, and rank 0's counts."""
        if self.process_group.is_main:
            self.resume_state.save(at, triplet_encoder.parameters, optimizer, ended)


def train_epochs(  # noqa: PLR0913, PLR0917 - what a training is made of
    triplet_encoder: TripletEncoder,
    count: int,
    options: TrainingOptions,
    rate: float,
    on_step: Callable[[int, int], None] = lambda *_: None,
    context: TrainingContext = TrainingContext(),
) -> Iterator[EpochResult]:
    """Trains on `count` triplets and yields after each epoch; `on_step` is called with (steps done, steps in all).

    A run that was killed is resumed: it yields its complete epochs once more, with their weights. Raises
    MemoryError where a batch does not fit even when it is halved down to one triplet, LearningError where the loss
    is not finite.
    """
    optimizer = torch.optim.AdamW(triplet_encoder.parameters, lr=rate, weight_decay=0.0)
    at = context.resume_state.restore(triplet_encoder.parameters, optimizer)
    size = micro_batch = _batch_size(count, options)
    steps = max(1, options.epochs * -(-count // size))
    try:
        yield from _replay_epochs(triplet_encoder, at, context)
        for number in range(len(at.losses) + 1, options.epochs + 1):
            if not context.process_group.broadcast(True):
                return
            for rows in _batches(count, options, number)[at.batches :]:
                started = time.monotonic()
                for group in optimizer.param_groups:
                    group["lr"] = rate * min(1.0, (at.steps + 1) / max(1.0, options.warm_up * steps))
                loss, micro_batch = _accumulate_gradients(
                    triplet_encoder, rows, options, context.process_group, micro_batch
                )
                at.total += loss * len(rows)
                _optimizer_step(triplet_encoder, optimizer, options, context.process_group)
                at.batches, at.steps, at.elapsed = at.batches + 1, at.steps + 1, at.elapsed + time.monotonic() - started
                context.save_state(at, triplet_encoder, optimizer, ended=False)
                on_step(at.steps, steps)
            epoch_result = EpochResult(number, at.total / max(1, count), at.elapsed, micro_batch)
            at.losses, at.seconds = [*at.losses, epoch_result.loss], [*at.seconds, epoch_result.seconds]
            at.batches, at.total, at.elapsed = 0, 0.0, 0.0
            context.save_state(at, triplet_encoder, optimizer, ended=True)
            yield epoch_result
    except GeneratorExit:
        # Who stops early lets the others know, which wait for the next epoch.
        if context.process_group.is_main and len(at.losses) < options.epochs:
            context.process_group.broadcast(False)
        raise


def _replay_epochs(
    triplet_encoder: TripletEncoder, at: TrainingPosition, context: TrainingContext
) -> Iterator[EpochResult]:
    """The epochs of a run that was taken up; the weights of the moment are put back behind them."""
    current = [parameter.detach().clone() for parameter in triplet_encoder.parameters]
    for number, (loss, seconds) in enumerate(zip(at.losses, at.seconds, strict=True), 1):
        if context.resume_state.epoch(number, triplet_encoder.parameters):
            yield EpochResult(number, loss, seconds)
    with torch.no_grad():
        for parameter, value in zip(triplet_encoder.parameters, current, strict=True):
            parameter.copy_(value)


def _batch_size(count: int, options: TrainingOptions) -> int:
    return min(options.batch_size, max(1, count))


def _batches(count: int, options: TrainingOptions, number: int) -> tuple[Tensor, ...]:
    """The batches of an epoch, in an order of its own that the seed decides."""
    order = torch.randperm(count, generator=torch.Generator().manual_seed(options.seed * 1000 + number))
    return torch.split(order, _batch_size(count, options))


def _optimizer_step(
    triplet_encoder: TripletEncoder,
    optimizer: torch.optim.Optimizer,
    options: TrainingOptions,
    process_group: ProcessGroup,
) -> None:
    """One step of the optimiser, of clipped gradients."""
    process_group.sum_gradients(triplet_encoder.parameters)
    torch.nn.utils.clip_grad_norm_(triplet_encoder.parameters, options.clip)
    optimizer.step()
    optimizer.zero_grad()


def _accumulate_gradients(
    triplet_encoder: TripletEncoder,
    rows: Tensor,
    options: TrainingOptions,
    process_group: ProcessGroup,
    micro_batch: int,
) -> tuple[float, int]:
    """Leaves the gradients of one batch, `most` triplets at a time or, if memory runs out, half as many and so on.

    Gives its loss, and how many triplets fit.
    """
    while True:
        try:
            parts = torch.split(rows, micro_batch)
            loss = sum(
                _backward_part(triplet_encoder, part, options, process_group, len(part) / len(rows)) for part in parts
            )
            break
        except (MemoryError, RuntimeError) as error:
            if not _is_out_of_memory(error):
                raise
            if micro_batch == 1 or process_group.size > 1:
                raise MemoryError from None
            micro_batch = max(1, micro_batch // 2)
            for parameter in triplet_encoder.parameters:
                parameter.grad = None
    if not math.isfinite(loss):
        raise FinetuneError("The loss is not finite: lower finetune.learning_rate; nothing was kept.")
    return loss, micro_batch


def _is_out_of_memory(error: Exception) -> bool:
    """Whether memory ran out; on a CPU, torch reports it by the message alone."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "allocate memory" in str(error)


def _backward_part(
    triplet_encoder: TripletEncoder, rows: Tensor, options: TrainingOptions, process_group: ProcessGroup, weight: float
) -> float:
    """Adds the weighted gradients of this process's share of some triplets; gives the weighted loss of them all."""
    mine = process_group.share(rows)
    sides = triplet_encoder.encode(mine if len(mine) else rows[:1])
    anchor, positive, negative = (process_group.gather(side[: len(mine)]) for side in sides)
    loss = weight * _triplet_objective((anchor, positive, negative), options)
    whole = loss + weight * triplet_encoder.penalty() if process_group.is_main else loss
    if whole.requires_grad:
        whole.backward()  # type: ignore[no-untyped-call]
    return float(loss.detach())


def _triplet_objective(sides: tuple[Tensor, Tensor, Tensor], options: TrainingOptions) -> Tensor:
    anchor, positive, negative = sides
    loss = triplet_loss(anchor, positive, negative, options.margin)
    return loss + options.in_batch * in_batch_loss(anchor, positive) if options.in_batch else loss
