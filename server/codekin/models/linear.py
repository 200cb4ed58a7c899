"""Matrix products: the fastest kernel of this machine for an encoder, and a decoder's linear layers in 16, 8 or 4 bits.

Without AMX or AVX512-BF16 a bfloat16 product is six times slower than float32, with them four to six times faster; on
some processors oneDNN's float32 is twice as fast as MKL's. No flag reports it reliably, so a probe of about 0.2 s
decides, cached per machine and torch version. Torch's own quantised products run on a processor, those of
bitsandbytes, an optional extra that is imported where it is requested, on a GPU.
"""

import json
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from codekin.errors import ModelError

PROBE_SECONDS = 0.2
MIN_BFLOAT16_SPEEDUP = 1.2


@dataclass(frozen=True, slots=True)
class LinearKernel:
    """A way to compute a linear layer: the dtype of its operands, and the library."""

    dtype: torch.dtype
    onednn: bool

    @property
    def name(self) -> str:
        """For instance `bfloat16-onednn`."""
        return f"{str(self.dtype).removeprefix('torch.')}{'-onednn' if self.onednn else ''}"

    def linear(self, rows: Tensor, weight: Tensor, bias: Tensor, activation: str = "none") -> Tensor:
        """`activation(rows @ weight.T + bias)`, with activation `none` or `gelu`; rows is (n, k)."""
        if self.onednn:
            algorithm = "none" if activation == "gelu" else ""
            product: Tensor = torch.ops.mkldnn._linear_pointwise(  # noqa: SLF001 - torch's own name for the fused product
                rows, weight, bias, activation, [], algorithm
            )
            return product
        product = functional.linear(rows, weight, bias)
        return functional.gelu(product) if activation == "gelu" else product


PLAIN_KERNEL = LinearKernel(torch.float32, onednn=False)


def fastest_kernel(cache: Path | None = None) -> LinearKernel:
    """The fastest kernel here, measured once; `cache` is a JSON file that keeps the answer."""
    kernels = {kernel.name: kernel for kernel in candidate_kernels()}
    known = _read_cache(cache).get(_machine_key()) if cache else None
    if known in kernels:
        return kernels[known]
    chosen = _measure_fastest()
    if cache:
        _write_cache(cache, chosen.name)
    return chosen


def resolve_dtype(dtype: str, device: str) -> torch.dtype:
    """The dtype of a setting; `auto` takes bfloat16 where it is the faster one."""
    if dtype in ("int8", "int4"):
        dtype = "bfloat16"
    if dtype == "auto":
        return torch.bfloat16 if device == "cuda" else torch.float16 if device == "mps" else fastest_kernel().dtype
    found: torch.dtype = getattr(torch, dtype)
    return found


def candidate_kernels() -> list[LinearKernel]:
    """The kernels this build of torch offers, plain float32 first."""
    onednn = bool(torch.backends.mkldnn.is_available())  # type: ignore[no-untyped-call]
    found = [PLAIN_KERNEL, LinearKernel(torch.float32, onednn=True)] if onednn else [PLAIN_KERNEL]
    found.append(LinearKernel(torch.bfloat16, onednn=onednn))
    return [kernel for kernel in found if _is_usable(kernel)]


@lru_cache(maxsize=1)
def _measure_fastest() -> LinearKernel:
    rates = {kernel: _products_per_second(kernel) for kernel in candidate_kernels()}
    single = max((kernel for kernel in rates if kernel.dtype == torch.float32), key=rates.__getitem__)
    best = max(rates, key=rates.__getitem__)
    return best if rates[best] > MIN_BFLOAT16_SPEEDUP * rates[single] else single


def _is_usable(kernel: LinearKernel) -> bool:
    """Whether the operator exists and computes a product of ones right."""
    ones = torch.ones(2, 16, dtype=kernel.dtype)
    try:
        product = kernel.linear(ones, ones, torch.zeros(2, dtype=kernel.dtype), "gelu")
    except (AttributeError, RuntimeError):
        return False
    return bool(torch.allclose(product.float(), torch.full((2, 2), 16.0)))


def _products_per_second(kernel: LinearKernel) -> float:
    """Products per second of the shape that dominates a small encoder."""
    rows = torch.randn(512, 384, dtype=kernel.dtype)
    weight = torch.randn(1536, 384, dtype=kernel.dtype)
    bias = torch.zeros(1536, dtype=kernel.dtype)
    return _calls_per_second(lambda: kernel.linear(rows, weight, bias), PROBE_SECONDS / 3)


def _calls_per_second(call: Callable[[], object], seconds: float) -> float:
    """The best of the intervals measured: interference only ever slows a call down."""
    call()
    best, deadline = float("inf"), time.perf_counter() + seconds
    while (start := time.perf_counter()) < deadline:
        call()
        best = min(best, time.perf_counter() - start)
    return 1 / best


def _machine_key() -> str:
    """What the answer depends on."""
    capability = torch.backends.cpu.get_cpu_capability()
    return f"{platform.machine()} {platform.processor()} {_processor()} {capability} torch {torch.__version__}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.node()
    return " ".join(sorted({line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")}))


def _read_cache(cache: Path) -> dict[str, str]:
    try:
        answers = json.loads(cache.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return answers if isinstance(answers, dict) else {}


def _write_cache(cache: Path, name: str) -> None:
    """A cache that cannot be written costs a probe at the next start, nothing else."""
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        cache.write_text(json.dumps({**_read_cache(cache), _machine_key(): name}), encoding="utf-8")
    except OSError:
        return


MAX_INT8_ROWS = 8
"""Up to so many rows the product in 8 bits is the faster one (measured; 16 rows are slower)."""


INT4_GROUP = 64
"""Weights of a row that share a scale in 4 bits."""


class LinearLayer(Protocol):
    """Maps rows (n, in) to (n, out)."""

    def __call__(self, rows: Tensor) -> Tensor:
        """The product, and the bias where there is one."""
        ...


@dataclass(frozen=True, slots=True)
class PlainLinear:
    """Weight (out, in), bias (out,) or none."""

    weight: Tensor
    bias: Tensor | None = None

    def __call__(self, rows: Tensor) -> Tensor:
        """`rows @ weight.T + bias`."""
        return functional.linear(rows, self.weight, self.bias)


@dataclass(frozen=True, slots=True)
class Int8Linear:
    """Weight (out, in) in 8 bits, a scale (out,) for each row, in bfloat16."""

    weight: Tensor
    scale: Tensor
    bias: Tensor | None = None

    def __call__(self, rows: Tensor) -> Tensor:
        """The same as Plain, to the rounding of the weights."""
        if rows.shape[0] <= MAX_INT8_ROWS:
            narrow = rows.to(torch.bfloat16)
            product = torch._weight_int8pack_mm(narrow, self.weight, self.scale).to(rows.dtype)  # noqa: SLF001 - its name
        else:
            product = functional.linear(rows, self.weight.to(rows.dtype)) * self.scale.to(rows.dtype)
        return product if self.bias is None else product + self.bias


@dataclass(frozen=True, slots=True)
class Int4Linear:
    """Weight in 4 bits, packed as torch wants it; a scale and a middle for each GROUP of a row.

    `plane` is (in / GROUP, out, 2) in bfloat16. The packing is torch's secret, so that the rows of a prefill go
    through the product a few at a time: it costs about twice that of 8 bits.
    """

    weight: Tensor
    plane: Tensor
    bias: Tensor | None = None

    def __call__(self, rows: Tensor) -> Tensor:
        """The same as Plain, to the rounding of the weights."""
        product = torch.cat([self._product(few) for few in torch.split(rows.to(torch.bfloat16), MAX_INT8_ROWS)])
        product = product.to(rows.dtype)
        return product if self.bias is None else product + self.bias

    def _product(self, rows: Tensor) -> Tensor:
        return torch._weight_int4pack_mm_for_cpu(rows, self.weight, INT4_GROUP, self.plane)  # noqa: SLF001 - its name


@dataclass(frozen=True, slots=True)
class BitsAndBytesLinear:
    """A layer of bitsandbytes, which computes in `dtype`."""

    layer: Any
    dtype: torch.dtype

    def __call__(self, rows: Tensor) -> Tensor:
        """The same as Plain, to the rounding of the weights."""
        product: Tensor = self.layer(rows.to(self.dtype))
        return product.to(rows.dtype)


Quantiser = Callable[[PlainLinear], LinearLayer]
"""Turns a plain layer into the one that is run."""


def keep_precision(layer: PlainLinear) -> LinearLayer:
    """The layer itself."""
    return layer


def choose_quantiser(bits: int, device: str) -> Quantiser:
    """What keeps the weights in so many bits (8, 4; 16 as they are) on a device. Raises ModelError."""
    if bits == 16:
        return keep_precision
    if device == "cpu":
        return quantise_int8 if bits == 8 else quantise_int4
    if device == "mps":
        raise ModelError(f"Weights in {bits} bits are not run on mps; set models.dtype to auto.")
    return bitsandbytes_quantiser(bits, device)


def quantise_int8(layer: PlainLinear) -> Int8Linear:
    """Weights rounded to 8 bits, symmetric, with the largest of each row at 127."""
    wide = layer.weight.float()
    # The scale is rounded to bfloat16 first, so that the weights are rounded against what will be used.
    scale = (wide.abs().amax(dim=1).clamp(min=1e-8) / 127).to(torch.bfloat16)
    weight = (wide / scale.float()[:, None]).round().clamp(-127, 127).to(torch.int8)
    return Int8Linear(weight.contiguous(), scale, layer.bias)


def quantise_int4(layer: PlainLinear) -> Int4Linear | Int8Linear:
    """Weights rounded to 16 levels between the least and the most of each group; 8 bits where groups do not fit."""
    out, width = layer.weight.shape
    if width % INT4_GROUP or out % 16:
        return quantise_int8(layer)
    groups = layer.weight.float().view(out, width // INT4_GROUP, INT4_GROUP)
    low, high = groups.amin(-1), groups.amax(-1)
    scale = ((high - low) / 15).clamp(min=1e-8).to(torch.bfloat16)
    middle = (low + 8 * scale.float()).to(torch.bfloat16)
    levels = ((groups - middle.float()[..., None]) / scale.float()[..., None] + 8).round().clamp(0, 15)
    levels = levels.to(torch.int32).view(out, width)
    packed = torch._convert_weight_to_int4pack_for_cpu(levels, 2)  # noqa: SLF001 - its name
    plane = torch.stack([scale, middle], -1).transpose(0, 1).contiguous()
    return Int4Linear(packed, plane, layer.bias)


def bitsandbytes_quantiser(bits: int, device: str) -> Quantiser:
    """Layers of bitsandbytes: LLM.int8 (arXiv 2208.07339), or NF4 (arXiv 2305.14314). Raises ModelError without it."""
    try:
        import bitsandbytes  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise ModelError(
            f"Weights in {bits} bits on {device} need bitsandbytes: `pip install codekin[quantised]`, "
            "or set models.dtype to auto."
        ) from error
    nn = bitsandbytes.nn

    def quantise(layer: PlainLinear) -> LinearLayer:
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
        return BitsAndBytesLinear(made.to(device).eval(), dtype)

    return quantise
