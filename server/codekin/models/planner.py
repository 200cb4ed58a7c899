"""Plans memory, and keeps the loaded models within it.

The plan counts the bytes of weights, attention cache and activations, and says whether models fit a device. The cache
evicts the least recently used model and releases idle ones; it is thread-safe. torch is imported only where a GPU is
looked for: planning and the command line start without it.
"""

import re
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import psutil

from codekin.errors import ModelError
from codekin.models.catalogue import ModelSpec, find_model

WEIGHT_BITS = {"float32": 32, "bfloat16": 16, "float16": 16, "int8": 8, "int4": 4}
QUANTISATION_OVERHEAD = {"int8": 1.005, "int4": 1.125}
"""Quantised weights carry a scale a row (int8) or a scale and a zero point a group of 64 (int4)."""

PREFILL_TOKENS = 128
"""Tokens of a prompt read between two chances to cancel."""

MAX_PASSAGE_TOKENS = 2048
"""Tokens read of a text: longer chunks are split long before; a longer context costs its square."""

SHORT_CONTEXT = 512
RUNTIME_BYTES = 400 << 20
"""What torch and the process take before any model."""

MEMORY_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
CPU_PARAMETER_LIMIT = 3_000_000_000
"""Parameters beyond which a CPU reads the weights too slowly for completion while typing."""


@dataclass(frozen=True, slots=True)
class MemoryNeed:
    """Bytes that a model takes in a dtype, with a context of so many tokens."""

    key: str
    dtype: str
    context: int
    weights: int
    cache: int
    activations: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.cache + self.activations


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """Whether models fit together into a memory; `advice` says what would make them fit."""

    needs: tuple[MemoryNeed, ...]
    memory: int
    fits: bool
    advice: str

    @property
    def total(self) -> int:
        """Bytes of all models and the process."""
        return RUNTIME_BYTES + sum(need.total for need in self.needs)


@dataclass(frozen=True, slots=True)
class HardwareSupport:
    """An answer and its reason; true or false as the answer is."""

    supported: bool
    reason: str

    def __bool__(self) -> bool:
        """The answer."""
        return self.supported


def memory_need(model: ModelSpec, dtype: str, context: int) -> MemoryNeed:
    """The bytes of one model: weights by dtype, cache in 16 bits (32 beside float32), a prefill slice's activations.

    A GGUF file is quantised already: its weights are the file, and its cache has 16 bits.
    """
    width = 4 if dtype == "float32" and not model.file else 2
    context = min(context, model.context) if model.context else context
    if model.file:
        weights, dtype = model.download_bytes, model.quantisation or "GGUF"
    else:
        weights = int(model.parameters * WEIGHT_BITS[dtype] / 8 * QUANTISATION_OVERHEAD.get(dtype, 1.0))
    cache = model.cache_bytes_per_token * context * width // 2 if model.role == "generator" else 0
    rows = PREFILL_TOKENS if model.role == "generator" else min(context, 2048)
    activations = rows * (6 * model.hidden + 2 * model.inner) * width
    activations += 4 * model.vocabulary if model.role == "generator" else 0
    return MemoryNeed(model.key, dtype, context, weights, cache, activations)


def plan_memory(models: Sequence[ModelSpec], memory: int, dtype: str = "bfloat16", context: int = 4096) -> MemoryPlan:
    """Whether the models fit together, and otherwise which quantisation or eviction makes them fit."""
    needs = tuple(memory_need(model, _dtype_of(model, dtype), context) for model in models)
    fits = RUNTIME_BYTES + sum(each.total for each in needs) <= memory
    return MemoryPlan(needs, memory, fits, "" if fits else _advice(models, memory, context))


def choose_device(choice: str = "auto") -> str:
    """The device of a setting: cuda, mps or cpu. Raises ModelError where that device is missing."""
    if choice == "cpu" or (choice == "auto" and not (_may_have_gpu() and has_torch())):
        return "cpu"
    require_torch(f"The device {choice}")
    import torch  # noqa: PLC0415 - heavy, and not needed to plan

    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if choice == "auto":
        return next(name for name, available in there.items() if available)
    if not there.get(choice):
        raise ModelError(f"This machine has no {choice}; set models.device to auto or cpu.")
    return choice


def has_torch() -> bool:
    """Whether PyTorch is installed, with which models other than the bundled encoder run and all are trained."""
    return find_spec("torch") is not None


def torch_advice(what: str) -> str:
    """One sentence that says what needs PyTorch and names the extra; empty where it is installed."""
    return "" if has_torch() else f"{what} needs PyTorch; `pip install 'codekin[models]'` brings it."


def require_torch(what: str) -> None:
    """Raises ModelError with that sentence where PyTorch is not installed."""
    if advice := torch_advice(what):
        raise ModelError(advice)


def _may_have_gpu() -> bool:
    """Whether it is worth asking torch, which takes seconds to be imported: Linux has a device file for each driver."""
    return sys.platform != "linux" or any(Path("/dev", name).exists() for name in ("nvidiactl", "dxg", "kfd"))


def free_memory(device: str = "cpu") -> int:
    """Bytes that can be had on a device now."""
    if device == "cuda":
        import torch  # noqa: PLC0415 - heavy, and not needed to plan

        return int(torch.cuda.mem_get_info()[0])
    return int(psutil.virtual_memory().available)


def require_memory(model: ModelSpec, dtype: str, context: int, device: str, memory: int = 0) -> None:
    """Raises ModelError where a model takes more than `memory`, in bytes; 0 means what is free on the device."""
    needed, free = memory_need(model, dtype, context).total, memory or free_memory(device)
    if needed > free:
        raise ModelError(
            f"{model.key} takes {format_gigabytes(needed)} in {dtype} and {format_gigabytes(free)} are free; "
            f"close other programs or choose a smaller model."
        )


def check_hardware(name: str, memory: int | None = None, device: str = "cpu") -> HardwareSupport:
    """Whether a model can run here, by its key, with the reason either way."""
    model = find_model(name)
    available = free_memory(device) if memory is None else memory
    for dtype in _dtypes_for(device):
        need = memory_need(model, dtype, 4096)
        whole = RUNTIME_BYTES + need.total
        if whole <= available:
            slow = device == "cpu" and model.role == "generator" and model.parameters > CPU_PARAMETER_LIMIT
            note = ", but a CPU is too slow for completion while typing" if slow else ""
            reason = (
                f"{name} in {need.dtype} takes {format_gigabytes(whole)} "
                f"of the {format_gigabytes(available)} that are free{note}."
            )
            return HardwareSupport(supported=True, reason=reason)
    smallest = RUNTIME_BYTES + memory_need(model, _dtypes_for(device)[-1], 4096).total
    return HardwareSupport(
        supported=False,
        reason=f"{name} takes {format_gigabytes(smallest)} in {_dtypes_for(device)[-1]}, "
        f"and {format_gigabytes(available)} are free.",
    )


def parse_memory(text: str) -> int:
    """Bytes of `16GB`, `512 MB` or a plain number of bytes. Raises ModelError otherwise."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)(?:I?B)?\s*", text, re.IGNORECASE)
    size = int(float(found[1]) * MEMORY_UNITS[found[2].upper()]) if found else 0
    if size <= 0:
        raise ModelError(f"{text!r} is not an amount of memory; write 16GB or 512MB.")
    return size


def format_gigabytes(size: int) -> str:
    """For people: `13.5 GB` of 2^30 bytes."""
    return f"{size / (1 << 30):.2f} GB"


def _dtype_of(model: ModelSpec, dtype: str) -> str:
    """Quantised weights ruin an embedder's vectors, so it stays in 16 bits."""
    return "bfloat16" if model.role == "embedder" and dtype in ("int8", "int4") else dtype


def _dtypes_for(device: str) -> tuple[str, ...]:
    return ("bfloat16", "int8", "int4") if device == "cuda" else ("float32", "bfloat16", "int8", "int4")


def _advice(models: Sequence[ModelSpec], memory: int, context: int) -> str:
    """The first of these that fits: smaller weights, one model at a time, the same with a short context."""
    for tokens in (context, min(context, SHORT_CONTEXT)):
        limit = f" with a context of {tokens} tokens" if tokens != context else ""
        for together in (True, False):
            for dtype in ("bfloat16", "int8", "int4"):
                if _fits_memory(models, memory, dtype, tokens, together):
                    how = "They fit" if together else "They fit one at a time, the least recently used one evicted,"
                    return f"{how} with the generator's weights in {dtype}{limit}."
    smallest = RUNTIME_BYTES + max(
        memory_need(model, _dtype_of(model, "int4"), SHORT_CONTEXT).total for model in models
    )
    return f"They do not fit in any way; at least {format_gigabytes(smallest)} are needed."


def _fits_memory(models: Sequence[ModelSpec], memory: int, dtype: str, context: int, together: bool) -> bool:
    totals = [memory_need(model, _dtype_of(model, dtype), context).total for model in models]
    return RUNTIME_BYTES + (sum(totals) if together else max(totals)) <= memory


@dataclass(slots=True)
class _LoadedModel:
    size: int
    used: float
    release: Callable[[], None]


class ModelCache:
    """Keeps the models of all services within `memory` bytes together.

    `threads` are the processor threads that each service may use for a job, 0 for as many as suit its priority.
    """

    def __init__(self, memory: int = 1 << 62, clock: Callable[[], float] = time.monotonic, threads: int = 0) -> None:
        self.threads = threads
        self._memory = memory
        self._clock = clock
        self._models: dict[str, _LoadedModel] = {}
        self._lock = threading.Lock()

    def reserve(self, key: str, size: int, release: Callable[[], None]) -> None:
        """Make room for a model that is about to be loaded; `release` must unloaded it, from any thread."""
        with self._lock:
            self._models.pop(key, None)
            evicted = self._evict(size)
            self._models[key] = _LoadedModel(size, self._clock(), release)
        for loaded in evicted:
            loaded.release()

    def mark_used(self, key: str) -> None:
        """Take note that a model is used."""
        with self._lock:
            if key in self._models:
                self._models[key].used = self._clock()

    def discard(self, key: str) -> None:
        """Take note that a model is gone."""
        with self._lock:
            self._models.pop(key, None)

    def sizes(self) -> dict[str, int]:
        """Keys and bytes, the one used least recently first."""
        with self._lock:
            return {key: self._models[key].size for key in self._keys_by_use()}

    def release_idle(self, seconds: float) -> list[str]:
        """Unload what was not used for so long; gives the keys."""
        with self._lock:
            now = self._clock()
            idle = {key: one for key, one in self._models.items() if now - one.used >= seconds}
            for key in idle:
                del self._models[key]
        for loaded in idle.values():
            loaded.release()
        return list(idle)

    def _evict(self, size: int) -> list[_LoadedModel]:
        evicted = []
        for key in self._keys_by_use():
            if sum(loaded.size for loaded in self._models.values()) + size <= self._memory:
                break
            evicted.append(self._models.pop(key))
        return evicted

    def _keys_by_use(self) -> list[str]:
        return sorted(self._models, key=lambda key: self._models[key].used)
