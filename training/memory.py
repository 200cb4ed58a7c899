"""The contrastive loss against the batch and a memory of texts of earlier steps.

A batch that one processor can afford holds few negatives; the vectors of the last texts of each side are
kept and serve as more (cross-batch memory, arXiv 1912.06798): the nearest strangers of the encoder as it
is now, so they are mined hard negatives that cost one matrix product. Two rules keep them honest:

- No false negatives: what has the pair's key, or is nearly the pair's own partner, is no negative.
- Consistency: a pair of a guessed kind counts only if the partner is among the nearest of all
  candidates by the encoder itself, in one direction at least.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

ALMOST_THE_PARTNER = 0.9
NEAREST = 0.15
"""The share of candidates among which a guessed pair's partner must be."""


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a batch: unit vectors (n, d), the side's name (`elixir`, `words`), and each text's key."""

    vectors: Tensor
    name: str
    keys: Sequence[str]


class Memory:
    """The last vectors of each side, without gradients."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.vectors: dict[str, Tensor] = {}
        self.keys: dict[str, list[str]] = defaultdict(list)

    def keep(self, side: Side) -> None:
        """Add a batch's texts and drop the oldest."""
        if self.size:
            fresh = side.vectors.detach()
            old = self.vectors.get(side.name, fresh[:0])
            self.vectors[side.name] = torch.cat([old, fresh])[-self.size :]
            self.keys[side.name] = [*self.keys[side.name], *side.keys][-self.size :]

    def beside(self, side: Side) -> tuple[Tensor, list[str]]:
        """The batch's texts, then what is remembered of their side."""
        if side.name not in self.vectors:
            return side.vectors, list(side.keys)
        return torch.cat([side.vectors, self.vectors[side.name]]), [*side.keys, *self.keys[side.name]]


def contrast(left: Side, right: Side, memory: Memory, temperature: float, guessed: bool) -> tuple[Tensor, int]:
    """Symmetric InfoNCE over the pairs that count, and how many count."""
    forward, near_forward = _one_way(left, right, memory, temperature)
    backward, near_backward = _one_way(right, left, memory, temperature)
    counts = near_forward | near_backward if guessed else torch.ones_like(near_forward)
    total = int(counts.sum())
    return ((forward + backward) / 2 * counts).sum() / max(1, total), total


def _one_way(asking: Side, answering: Side, memory: Memory, temperature: float) -> tuple[Tensor, Tensor]:
    """Each text's loss (n,), and whether its partner is among the nearest (n,)."""
    candidates, keys = memory.beside(answering)
    count = len(asking.vectors)
    device = candidates.device
    own = torch.arange(count, device=device)
    with torch.no_grad():
        almost = answering.vectors @ candidates.T > ALMOST_THE_PARTNER
        numbers = {key: number for number, key in enumerate(dict.fromkeys([*asking.keys, *keys]))}
        asked, known = (torch.tensor([numbers[key] for key in some], device=device) for some in (asking.keys, keys))
        same = asked[:, None] == known[None, :]
        false = almost | same
        false[own, own] = False
    scores = (asking.vectors @ candidates.T).masked_fill(false, -1.0)
    better = (scores > scores[own, own, None]).sum(1)
    return functional.cross_entropy(scores / temperature, own, reduction="none"), better <= NEAREST * len(keys)
