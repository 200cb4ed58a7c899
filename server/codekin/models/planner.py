"""What fits where: the arithmetic of weights, attention cache and activations, in bytes.

Chooses a device and a dtype, and says why a model does not fit and what would make it fit.
Knows rows of the catalogue and this machine's memory; loads no weights.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import psutil

from codekin.errors import ModelError
from codekin.models.catalogue import Model, find_model

WEIGHT_BITS = {"float32": 32, "bfloat16": 16, "float16": 16, "int8": 8, "int4": 4}
SCALE_SHARE = {"int8": 1.005, "int4": 1.125}
"""Quantised weights carry a scale a row (int8) or a scale and a zero point a group of 64 (int4)."""

PREFILL_SLICE = 128
SHORT_CONTEXT = 512
RUNTIME_BYTES = 400 << 20
"""What torch and the process take before any model."""

UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
SLOW_ON_CPU = 3_000_000_000
"""Parameters beyond which a CPU reads the weights too slowly for completion while typing."""


@dataclass(frozen=True, slots=True)
class Need:
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
class Plan:
    """Whether models fit together into a memory; `advice` says what would make them fit."""

    needs: tuple[Need, ...]
    memory: int
    fits: bool
    advice: str

    @property
    def total(self) -> int:
        """Bytes of all models and the process."""
        return RUNTIME_BYTES + sum(need.total for need in self.needs)


@dataclass(frozen=True, slots=True)
class Support:
    """An answer and its reason; true or false as the answer is."""

    supported: bool
    reason: str

    def __bool__(self) -> bool:
        """The answer."""
        return self.supported


def need(model: Model, dtype: str, context: int) -> Need:
    """The bytes of one model: weights by dtype, cache in 16 bits (32 beside float32), a prefill slice's activations."""
    width = 4 if dtype == "float32" else 2
    context = min(context, model.context)
    weights = int(model.parameters * WEIGHT_BITS[dtype] / 8 * SCALE_SHARE.get(dtype, 1.0))
    cache = model.cache_bytes_per_token * context * width // 2 if model.role == "generator" else 0
    rows = PREFILL_SLICE if model.role == "generator" else min(context, 2048)
    activations = rows * (6 * model.hidden + 2 * model.inner) * width
    activations += 4 * model.vocabulary if model.role == "generator" else 0
    return Need(model.key, dtype, context, weights, cache, activations)


def plan(models: Sequence[Model], memory: int, dtype: str = "bfloat16", context: int = 4096) -> Plan:
    """Whether the models fit together, and otherwise which quantisation or eviction makes them fit."""
    needs = tuple(need(model, _dtype_of(model, dtype), context) for model in models)
    fits = RUNTIME_BYTES + sum(each.total for each in needs) <= memory
    return Plan(needs, memory, fits, "" if fits else _advice(models, memory, context))


def device_for(choice: str = "auto") -> str:
    """The device of a setting: cuda, mps or cpu. Raises ModelError where the one asked for is not there."""
    import torch  # noqa: PLC0415 - heavy, and not needed to plan

    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if choice == "auto":
        return next(name for name, available in there.items() if available)
    if not there.get(choice):
        raise ModelError(f"This machine has no {choice}; set models.device to auto or cpu.")
    return choice


def free_memory(device: str = "cpu") -> int:
    """Bytes that can be had on a device now."""
    if device == "cuda":
        import torch  # noqa: PLC0415 - heavy, and needed for a GPU alone

        return int(torch.cuda.mem_get_info()[0])
    return int(psutil.virtual_memory().available)


def hardware_supported(name: str, memory: int | None = None, device: str = "cpu") -> Support:
    """Whether a model can run here, by its key, with the reason either way."""
    model = find_model(name)
    available = free_memory(device) if memory is None else memory
    for dtype in _dtypes_for(device):
        whole = RUNTIME_BYTES + need(model, dtype, 4096).total
        if whole <= available:
            slow = device == "cpu" and model.role == "generator" and model.parameters > SLOW_ON_CPU
            note = ", but a CPU is too slow for completion while typing" if slow else ""
            reason = f"{name} in {dtype} takes {gigabytes(whole)} of the {gigabytes(available)} that are free{note}."
            return Support(supported=True, reason=reason)
    smallest = RUNTIME_BYTES + need(model, _dtypes_for(device)[-1], 4096).total
    return Support(
        supported=False,
        reason=f"{name} takes {gigabytes(smallest)} in {_dtypes_for(device)[-1]}, and {gigabytes(available)} are free.",
    )


def parse_memory(text: str) -> int:
    """Bytes of `16GB`, `512 MB` or a plain number of bytes. Raises ModelError otherwise."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)(?:I?B)?\s*", text, re.IGNORECASE)
    size = int(float(found[1]) * UNITS[found[2].upper()]) if found else 0
    if size <= 0:
        raise ModelError(f"{text!r} is no size of memory; write 16GB or 512MB.")
    return size


def gigabytes(size: int) -> str:
    """For people: `13.5 GB` of 2^30 bytes."""
    return f"{size / (1 << 30):.2f} GB"


def _dtype_of(model: Model, dtype: str) -> str:
    """Quantised weights ruin an embedder's vectors, so it stays in 16 bits."""
    return "bfloat16" if model.role == "embedder" and dtype in ("int8", "int4") else dtype


def _dtypes_for(device: str) -> tuple[str, ...]:
    return ("bfloat16", "int8", "int4") if device == "cuda" else ("float32", "bfloat16", "int8", "int4")


def _advice(models: Sequence[Model], memory: int, context: int) -> str:
    """The first of these that fits: smaller weights, one model at a time, the same with a short context."""
    for tokens in (context, min(context, SHORT_CONTEXT)):
        limit = f" with a context of {tokens} tokens" if tokens != context else ""
        for together in (True, False):
            for dtype in ("bfloat16", "int8", "int4"):
                if _fit(models, memory, dtype, tokens, together):
                    how = "They fit" if together else "They fit one at a time, the one used least lately evicted,"
                    return f"{how} with the generator's weights in {dtype}{limit}."
    smallest = RUNTIME_BYTES + max(need(model, _dtype_of(model, "int4"), SHORT_CONTEXT).total for model in models)
    return f"They do not fit in any way; at least {gigabytes(smallest)} are needed."


def _fit(models: Sequence[Model], memory: int, dtype: str, context: int, together: bool) -> bool:
    totals = [need(model, _dtype_of(model, dtype), context).total for model in models]
    return RUNTIME_BYTES + (sum(totals) if together else max(totals)) <= memory
