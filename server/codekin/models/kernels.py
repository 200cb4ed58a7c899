"""Chooses the matrix product a small encoder runs on: dtype and library, by measuring.

Without AMX or AVX512-BF16 a bfloat16 product is six times slower than float32, with them
four to six times faster; and on some processors oneDNN's float32 is twice MKL's. No flag
tells this reliably, so a probe of about 0.2 s does, cached per machine and torch version.
Knows nothing of models.
"""

import json
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

PROBE_SECONDS = 0.2
BFLOAT16_MUST_GAIN = 1.2


@dataclass(frozen=True, slots=True)
class Kernel:
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


PLAIN = Kernel(torch.float32, onednn=False)


def fastest_kernel(cache: Path | None = None) -> Kernel:
    """The fastest kernel here, measured once; `cache` is a JSON file that keeps the answer."""
    kernels = {kernel.name: kernel for kernel in candidates()}
    known = _read(cache).get(_machine()) if cache else None
    if known in kernels:
        return kernels[known]
    chosen = _measured()
    if cache:
        _remember(cache, chosen.name)
    return chosen


def candidates() -> list[Kernel]:
    """The kernels this build of torch offers, plain float32 first."""
    onednn = bool(torch.backends.mkldnn.is_available())  # type: ignore[no-untyped-call]
    found = [PLAIN, Kernel(torch.float32, onednn=True)] if onednn else [PLAIN]
    found.append(Kernel(torch.bfloat16, onednn=onednn))
    return [kernel for kernel in found if _works(kernel)]


@lru_cache(maxsize=1)
def _measured() -> Kernel:
    rates = {kernel: _rate(kernel) for kernel in candidates()}
    single = max((kernel for kernel in rates if kernel.dtype == torch.float32), key=rates.__getitem__)
    best = max(rates, key=rates.__getitem__)
    return best if rates[best] > BFLOAT16_MUST_GAIN * rates[single] else single


def _works(kernel: Kernel) -> bool:
    """Whether the operator exists and computes a product of ones right."""
    ones = torch.ones(2, 16, dtype=kernel.dtype)
    try:
        product = kernel.linear(ones, ones, torch.zeros(2, dtype=kernel.dtype), "gelu")
    except (AttributeError, RuntimeError):
        return False
    return bool(torch.allclose(product.float(), torch.full((2, 2), 16.0)))


def _rate(kernel: Kernel) -> float:
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


def _machine() -> str:
    """What the answer depends on."""
    capability = torch.backends.cpu.get_cpu_capability()
    return f"{platform.machine()} {platform.processor()} {_processor()} {capability} torch {torch.__version__}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.node()
    return " ".join(sorted({line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")}))


def _read(cache: Path) -> dict[str, str]:
    try:
        answers = json.loads(cache.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return answers if isinstance(answers, dict) else {}


def _remember(cache: Path, name: str) -> None:
    """A cache that cannot be written costs a probe at the next start, nothing else."""
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        cache.write_text(json.dumps({**_read(cache), _machine(): name}), encoding="utf-8")
    except OSError:
        return
