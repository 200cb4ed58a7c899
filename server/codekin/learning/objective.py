"""The loss and the accuracy of triplets, on torch tensors of unit rows (n, d)."""

import torch
from torch import Tensor


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
