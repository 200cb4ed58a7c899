"""Reads safetensors files after checking that they are what they say; never a pickle.

Knows nothing of architectures: it returns named tensors, finite and complete, or raises
CheckpointError with the sentence that says which file is wrong and what to do.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from codekin.errors import CheckpointError
from codekin.models.digests import file_digest, told_digest

LARGEST_HEADER = 100_000_000
PICKLE_SUFFIXES = frozenset({".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle"})
_PICKLE_STARTS = (b"\x80", b"PK\x03\x04")


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, after `check_file`, all of them finite."""
    check_file(path)
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path} is damaged ({error}); fetch it again.") from error
    check_finite(tensors, path)
    return tensors


def check_file(path: Path) -> None:
    """Raise CheckpointError unless the file looks like safetensors of its own size."""
    if path.suffix in PICKLE_SUFFIXES:
        raise CheckpointError(f"{path} is a pickle, which can run code; use a safetensors file.")
    try:
        with path.open("rb") as file:
            start = file.read(8)
        size = path.stat().st_size
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error.strerror}); fetch it again.") from error
    header = int.from_bytes(start, "little")
    if start.startswith(_PICKLE_STARTS) and header > size:
        raise CheckpointError(f"{path} is a pickle, which can run code; use a safetensors file.")
    if len(start) < 8 or header > min(LARGEST_HEADER, size - 8):
        raise CheckpointError(f"{path} has a header of {header:,} bytes in a file of {size:,}; fetch it again.")


def check_finite(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Raise CheckpointError when a tensor holds NaN or infinity."""
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor.sum(dtype=torch.float32))):
            raise CheckpointError(f"{path}: {name} holds values that are not finite; use another checkpoint.")


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a model folder; raises CheckpointError with the file's name."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} is missing or is not JSON; fetch the model again.") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} is not a JSON object; fetch the model again.")
    return value


def checked_digest(path: Path) -> str:
    """SHA-256 of a file; CheckpointError where it is not the one it was fetched with."""
    digest = file_digest(path)
    if told_digest(path) not in ("", digest):
        raise CheckpointError(f"{path} is damaged: its checksum is not the one it was fetched with; fetch it again.")
    return digest
