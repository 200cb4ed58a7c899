"""Linear layers for decoding: plain ones, and ones whose weights are kept in 8 or 4 bits.

A token's cost is the bytes of the weights, so 8 bits nearly halve it against 16; for the many
rows of a prefill the weights are widened for the moment. On a processor torch's own products
are used, on a GPU those of bitsandbytes. Knows nothing of models.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from codekin.errors import ModelError

FEW_ROWS = 8
"""Up to so many rows the product in 8 bits is the faster one (measured; 16 rows are slower)."""


GROUP = 64
"""Weights of a row that share a scale in 4 bits."""


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


@dataclass(frozen=True, slots=True)
class Int4:
    """Weight in 4 bits, packed as torch wants it; a scale and a middle for each GROUP of a row.

    `plane` is (in / GROUP, out, 2) in bfloat16. The packing is torch's secret, so that the rows of a prefill go
    through the product a few at a time: it costs about twice that of 8 bits.
    """

    weight: Tensor
    plane: Tensor
    bias: Tensor | None = None

    def __call__(self, rows: Tensor) -> Tensor:
        """The same as Plain, to the rounding of the weights."""
        product = torch.cat([self._product(few) for few in torch.split(rows.to(torch.bfloat16), FEW_ROWS)])
        product = product.to(rows.dtype)
        return product if self.bias is None else product + self.bias

    def _product(self, rows: Tensor) -> Tensor:
        return torch._weight_int4pack_mm_for_cpu(rows, self.weight, GROUP, self.plane)  # noqa: SLF001 - its name


@dataclass(frozen=True, slots=True)
class Foreign:
    """A layer of bitsandbytes, which computes in `dtype`."""

    layer: Any
    dtype: torch.dtype

    def __call__(self, rows: Tensor) -> Tensor:
        """The same as Plain, to the rounding of the weights."""
        product: Tensor = self.layer(rows.to(self.dtype))
        return product.to(rows.dtype)


Finish = Callable[[Plain], Linear]
"""Turns a plain layer into the one that is run."""


def as_it_is(layer: Plain) -> Linear:
    """The layer itself."""
    return layer


def finish_for(bits: int, device: str) -> Finish:
    """What keeps the weights in so many bits (8, 4; 16 as they are) on a device. Raises ModelError."""
    if bits == 16:
        return as_it_is
    if device == "cpu":
        return in_8_bits if bits == 8 else in_4_bits
    if device == "mps":
        raise ModelError(f"Weights in {bits} bits are not run on mps; set models.dtype to auto.")
    return by_bitsandbytes(bits, device)


def in_8_bits(layer: Plain) -> Int8:
    """Weights rounded to 8 bits, symmetric, with the largest of each row at 127."""
    wide = layer.weight.float()
    # The scale is rounded to bfloat16 first, so that the weights are rounded against what will be used.
    scale = (wide.abs().amax(dim=1).clamp(min=1e-8) / 127).to(torch.bfloat16)
    weight = (wide / scale.float()[:, None]).round().clamp(-127, 127).to(torch.int8)
    return Int8(weight.contiguous(), scale, layer.bias)


def in_4_bits(layer: Plain) -> Int4 | Int8:
    """Weights rounded to 16 levels between the least and the most of each group; 8 bits where groups do not fit."""
    out, width = layer.weight.shape
    if width % GROUP or out % 16:
        return in_8_bits(layer)
    groups = layer.weight.float().view(out, width // GROUP, GROUP)
    low, high = groups.amin(-1), groups.amax(-1)
    scale = ((high - low) / 15).clamp(min=1e-8).to(torch.bfloat16)
    middle = (low + 8 * scale.float()).to(torch.bfloat16)
    levels = ((groups - middle.float()[..., None]) / scale.float()[..., None] + 8).round().clamp(0, 15)
    levels = levels.to(torch.int32).view(out, width)
    packed = torch._convert_weight_to_int4pack_for_cpu(levels, 2)  # noqa: SLF001 - its name
    plane = torch.stack([scale, middle], -1).transpose(0, 1).contiguous()
    return Int4(packed, plane, layer.bias)


def by_bitsandbytes(bits: int, device: str) -> Finish:
    """Layers of bitsandbytes: LLM.int8 (arXiv 2208.07339), or NF4 (arXiv 2305.14314). Raises ModelError without it."""
    try:
        import bitsandbytes  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise ModelError(
            f"Weights in {bits} bits on {device} need bitsandbytes: `pip install codekin[quantised]`, "
            "or set models.dtype to auto."
        ) from error
    nn = bitsandbytes.nn

    def finish(layer: Plain) -> Linear:
        out, width = layer.weight.shape
        has_bias = layer.bias is not None
        weight = layer.weight.detach().clone()
        if bits == 8:
            made = nn.Linear8bitLt(width, out, bias=has_bias, has_fp16_weights=False, threshold=6.0)
            made.weight = nn.Int8Params(weight.half(), requires_grad=False, has_fp16_weights=False)
        else:
            made = nn.Linear4bit(width, out, bias=has_bias, compute_dtype=torch.bfloat16, quant_type="nf4")
            made.weight = nn.Params4bit(weight, requires_grad=False, quant_type="nf4")
        dtype = torch.float16 if bits == 8 else torch.bfloat16
        if layer.bias is not None:
            made.bias = torch.nn.Parameter(layer.bias.to(dtype), requires_grad=False)
        return Foreign(made.to(device).eval(), dtype)

    return finish
