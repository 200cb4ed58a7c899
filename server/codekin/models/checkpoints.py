"""Checkpoints of one workspace: a folder each, checked by hash, and the pointers `latest` and `active`.

    <folder>/<id>/head.safetensors (or model.safetensors, adapter)   the weights
    <folder>/<id>/meta.json                                        base model, space, method, data range, metrics
    <folder>/<id>/manifest.json                                    SHA-256 of every file above
    <folder>/active, <folder>/latest                               the id, replaced by rename

A checkpoint that is corrupt, of another base model or not finite is refused with the reason. Knows no models.
"""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load, save

from codekin.errors import CheckpointError
from codekin.seams import Vectors

BASE = "base"
FULL, LORA = "full", "lora"
ENCODERS = (FULL, LORA)
"""The methods whose checkpoints hold an encoder, or an adapter of one: texts are embedded anew for them."""

HEAD = "head.safetensors"
TENSOR = "head"
MANIFEST = "manifest.json"
META = "meta.json"
LARGEST_HEADER = 1_000_000
_EPOCH = re.compile(r"-e\d+$")
"""The end of the name of a single epoch's checkpoint; the one that a run decided on has none."""


def write_head(folder: Path, name: str, head: Vectors, meta: Mapping[str, Any]) -> Path:
    """A new checkpoint of a head, whole or not at all, and `latest` pointing to it."""
    return write_checkpoint(folder, name, head_files(head), meta)


def head_files(head: Vectors) -> dict[str, bytes]:
    """The files of a head's checkpoint."""
    return {HEAD: save({TENSOR: np.ascontiguousarray(head, np.float32)})}


def write_checkpoint(folder: Path, name: str, files: Mapping[str, bytes], meta: Mapping[str, Any]) -> Path:
    """Writes the files, their hashes and the description; visible under its name once all is on the disk."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    part = folder / f".{name}.part"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(mode=0o700)
    contents = {**files, META: json.dumps(dict(meta), indent=1).encode()}
    for file, content in contents.items():
        _write_durably(part / file, content)
    hashes = {file: hashlib.sha256(content).hexdigest() for file, content in contents.items()}
    _write_durably(part / MANIFEST, json.dumps(hashes, indent=1).encode())
    shutil.rmtree(folder / name, ignore_errors=True)
    part.rename(folder / name)
    _sync(folder)
    point(folder, "latest", name)
    return folder / name


def point(folder: Path, pointer: str, name: str) -> None:
    """Makes `active` or `latest` name a checkpoint, in one step."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    fresh = folder / f".{pointer}.new"
    _write_durably(fresh, name.encode())
    fresh.replace(folder / pointer)
    _sync(folder)


def pointed(folder: Path, pointer: str = "active") -> str:
    """The id that a pointer names; the base where there is none."""
    try:
        name = (folder / pointer).read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return BASE
    return name if name and _is_name(name) else BASE


def names(folder: Path) -> list[str]:
    """All checkpoints, oldest first."""
    if not folder.is_dir():
        return []
    found = [path for path in folder.iterdir() if path.is_dir() and not path.is_symlink() and _is_name(path.name)]
    return [path.name for path in sorted(found, key=lambda path: (path.stat().st_mtime_ns, path.name))]


def read_meta(folder: Path, name: str) -> dict[str, Any]:
    """The checked description of a checkpoint. Raises CheckpointError."""
    return dict(json.loads(_checked(folder, name)[META]))


def read_matrix(folder: Path, name: str, base_space: str) -> Vectors:
    """The square matrix of a head that was trained on the space `base_space`. Raises CheckpointError."""
    contents = _checked(folder, name)
    if json.loads(contents[META]).get("base_space") != base_space:
        raise CheckpointError(f"Checkpoint {name} was trained for another base model: learn again with this one.")
    if HEAD not in contents or int.from_bytes(contents[HEAD][:8], "little") > LARGEST_HEADER:
        raise CheckpointError(f"Checkpoint {name} holds no head that can be read: roll back to another one.")
    matrix = load(contents[HEAD]).get(TENSOR)
    if matrix is None or matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or matrix.dtype != np.float32:
        raise CheckpointError(f"Checkpoint {name} holds a head of a wrong shape: roll back to another one.")
    if not np.isfinite(matrix).all():
        raise CheckpointError(f"Checkpoint {name} holds values that are not finite: roll back to another one.")
    return np.asarray(matrix, np.float32)


def retain(folder: Path, keep: int) -> list[str]:
    """Deletes the oldest beyond `keep`, never the one that is active or latest; returns what went.

    Of the single epochs only those of the latest run stay. What a killed writer left half done goes too, so no
    other may be writing.
    """
    safe = {pointed(folder, "active"), pointed(folder, "latest")}
    there = names(folder)
    decided = [name for name in there if not _EPOCH.search(name)]
    epochs = [name for name in there if _EPOCH.search(name) and _EPOCH.sub("", name) not in decided[-1:]]
    old = [name for name in [*epochs, *decided[: -keep or None]] if name not in safe]
    for path in (*(folder / name for name in old), *folder.glob(".*.part")):
        shutil.rmtree(path, ignore_errors=True)
    return old


def _checked(folder: Path, name: str) -> dict[str, bytes]:
    """The contents of a checkpoint's files, each as its hash says."""
    place = folder / name
    if not _is_name(name) or place.is_symlink() or not place.is_dir():
        raise CheckpointError(f"There is no checkpoint {name!r}: name a run by its number in `codekin history`.")
    try:
        hashes = json.loads((place / MANIFEST).read_text(encoding="utf-8"))
        contents = {file: _plain_file(place / file) for file in hashes}
    except (OSError, ValueError) as error:
        raise CheckpointError(f"Checkpoint {name} cannot be read ({error}): roll back to another one.") from error
    wrong = [file for file, content in contents.items() if hashlib.sha256(content).hexdigest() != hashes[file]]
    if wrong or META not in contents:
        raise CheckpointError(f"Checkpoint {name} is damaged ({', '.join(wrong) or META}): roll back to another one.")
    return contents


def _plain_file(path: Path) -> bytes:
    if path.is_symlink() or path.parent.resolve() != path.resolve().parent:
        raise ValueError(f"{path.name} is not a plain file of its folder")
    return path.read_bytes()


def _is_name(name: str) -> bool:
    return re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", name) is not None


def _write_durably(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    """A rename is on the disk once its folder is."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
