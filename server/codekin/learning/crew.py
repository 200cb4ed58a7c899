"""Several processes that train one model, started by torchrun: each takes a share of every batch.

The first of them leads: it gathers the material, judges and writes; the others only help with the passes over the
triplets. Each vector is computed once, all see all vectors, and gradients are summed, so that the loss is that of
one process. A crew of one does nothing of this. Knows nothing of what is trained.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, distributed


@dataclass(frozen=True, slots=True)
class Crew:
    """The place of this process among `size`."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether it is the one that decides and writes."""
        return self.rank == 0

    def share(self, rows: Tensor) -> Tensor:
        """The rows of a batch that this process takes; none where there are fewer rows than processes."""
        return torch.tensor_split(rows, self.size)[self.rank]

    def gathered(self, mine: Tensor) -> Tensor:
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

    def agreed(self, value: Any) -> Any:
        """What the leader says, heard by all."""
        if self.size == 1:
            return value
        said = [value]
        distributed.broadcast_object_list(said)
        return said[0]


ALONE = Crew()


def joined() -> Crew:
    """The crew that torchrun's environment names; alone without one."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size < 2:
        return ALONE
    if not distributed.is_initialized():
        distributed.init_process_group("gloo")
    return Crew(distributed.get_rank(), size)


def part() -> None:
    """Ends the meeting, if there was one."""
    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()
