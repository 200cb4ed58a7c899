"""Linear layers for decoding: plain ones, and ones whose weights are kept in 8 bits.

A token's cost is the bytes of the weights, so 8 bits nearly halve it against 16; for the many
rows of a prefill the weights are widened for the moment. Knows nothing of models.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

FEW_ROWS = 8
"""Up to so many rows the product in 8 bits is the faster one (measured; 16 rows are slower)."""


class Linear(Protocol):
    """Maps rows (n, in) to (n, out)."""

    def __call__(self, rows: Tensor) -> Tensor:
        """The product, and the bias where there is one."""
        ...


@dataclass(frozen=True, slots=True)
class Plain:
    """Weight (out, in), bias (out,) or none."""

    weight: Tensor
    bias: Tensor | None = None

    def __call__(self, rows: Tensor) -> Tensor:
        """`rows @ weight.T + bias`."""
        return functional.linear(rows, self.weight, self.bias)


@dataclass(frozen=True, slots=True)
class Int8:
    """Weight (out, in) in 8 bits, a scale (out,) for each row, in bfloat16."""

    weight: Tensor
    scale: Tensor
    bias: Tensor | None = None

    def __call__(self, rows: Tensor) -> Tensor:
        """The same as Plain, to the rounding of the weights."""
        if rows.shape[0] <= FEW_ROWS:
            narrow = rows.to(torch.bfloat16)
            product = torch._weight_int8pack_mm(narrow, self.weight, self.scale).to(rows.dtype)  # noqa: SLF001 - its name
        else:
            product = functional.linear(rows, self.weight.to(rows.dtype)) * self.scale.to(rows.dtype)
        return product if self.bias is None else product + self.bias


def quantised(layer: Plain) -> Int8:
    """Weights rounded to 8 bits, symmetric, with the largest of each row at 127."""
    wide = layer.weight.float()
    # The scale is rounded to bfloat16 first, so that the weights are rounded against what will be used.
    scale = (wide.abs().amax(dim=1).clamp(min=1e-8) / 127).to(torch.bfloat16)
    weight = (wide / scale.float()[:, None]).round().clamp(-127, 127).to(torch.int8)
    return Int8(weight.contiguous(), scale, layer.bias)
