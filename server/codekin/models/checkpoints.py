"""Fine-tuned checkpoints of a workspace, and the SHA-256 checks of files on disk.

    <folder>/<id>/head.safetensors (or model.safetensors, adapter)   the weights
    <folder>/<id>/meta.json                                        base model, space, method, data range, metrics
    <folder>/<id>/manifest.json                                    SHA-256 of every file above
    <folder>/active, <folder>/latest                               the id, replaced by rename

A checkpoint that is corrupt, not finite or trained on another base model is refused with the reason. Does not import
torch.
"""

import hashlib
import json
import re
import shutil
from collections.abc import Collection, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load, save

from codekin.errors import CheckpointError
from codekin.protocols import Vectors
from codekin.util.files import sync_to_disk, write_atomically

_DIGEST = re.compile(r"[0-9a-f]{64}")


def expected_digest(path: Path) -> str:
    """The SHA-256 by which the hub's cache names a file, or that its program noted beside one; empty for neither."""
    note = path.parent / ".cache" / "huggingface" / "download" / f"{path.name}.metadata"
    lines = note.read_text(encoding="utf-8").split() if note.is_file() else []
    return next((candidate for candidate in (path.resolve().name, *lines[1:2]) if _DIGEST.fullmatch(candidate)), "")


def file_digest(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    digest = sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


BASE = "base"
FULL_METHOD, LORA_METHOD = "full", "lora"
ENCODER_METHODS = (FULL_METHOD, LORA_METHOD)
"""The methods whose checkpoints hold an encoder, or an adapter of one: texts are embedded anew for them."""

ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
HEAD_FILE = "head.safetensors"
HEAD_TENSOR = "head"
MANIFEST_FILE = "manifest.json"
META_FILE = "meta.json"
MAX_HEAD_HEADER_BYTES = 1_000_000
_EPOCH_SUFFIX = re.compile(r"-e\d+$")
"""The end of the name of a single epoch's checkpoint; the one that a run decided on has none."""


def head_files(head: Vectors) -> dict[str, bytes]:
    """The files of a head's checkpoint."""
    return {HEAD_FILE: save({HEAD_TENSOR: np.ascontiguousarray(head, np.float32)})}


def write_checkpoint(folder: Path, name: str, files: Mapping[str, bytes], meta: Mapping[str, Any]) -> Path:
    """Writes the files, their hashes and the description; visible under its name once all is on the disk."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    part = folder / f".{name}.part"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(mode=0o700)
    contents = {**files, META_FILE: json.dumps(dict(meta), indent=1).encode()}
    for file, content in contents.items():
        _write_durably(part / file, content)
    hashes = {file: hashlib.sha256(content).hexdigest() for file, content in contents.items()}
    _write_durably(part / MANIFEST_FILE, json.dumps(hashes, indent=1).encode())
    shutil.rmtree(folder / name, ignore_errors=True)
    part.rename(folder / name)
    sync_to_disk(folder)
    set_pointer(folder, "latest", name)
    return folder / name


def set_pointer(folder: Path, pointer: str, name: str) -> None:
    """Makes `active` or `latest` name a checkpoint, in one step."""
    write_atomically(folder / pointer, name, durable=True)


def read_pointer(folder: Path, pointer: str = "active") -> str:
    """The id that a pointer names; the base where there is none."""
    try:
        name = (folder / pointer).read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return BASE
    return name if name and _is_checkpoint_name(name) else BASE


def list_checkpoints(folder: Path) -> list[str]:
    """All checkpoints, oldest first."""
    if not folder.is_dir():
        return []
    found = [
        path for path in folder.iterdir() if path.is_dir() and not path.is_symlink() and _is_checkpoint_name(path.name)
    ]
    return [path.name for path in sorted(found, key=lambda path: (path.stat().st_mtime_ns, path.name))]


def read_meta(folder: Path, name: str) -> dict[str, Any]:
    """The checked description of a checkpoint. Raises CheckpointError."""
    return dict(json.loads(_verified_contents(folder, name)[META_FILE]))


def read_head_matrix(folder: Path, name: str, base_space: str) -> Vectors:
    """The square matrix of a head that was trained on the space `base_space`. Raises CheckpointError."""
    contents = _verified_contents(folder, name)
    if json.loads(contents[META_FILE]).get("base_space") != base_space:
        raise CheckpointError(f"Checkpoint {name} was trained for another base model: fine-tune again with this one.")
    if HEAD_FILE not in contents or int.from_bytes(contents[HEAD_FILE][:8], "little") > MAX_HEAD_HEADER_BYTES:
        raise CheckpointError(f"Checkpoint {name} holds no head that can be read: roll back to another one.")
    matrix = load(contents[HEAD_FILE]).get(HEAD_TENSOR)
    if matrix is None or matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or matrix.dtype != np.float32:
        raise CheckpointError(f"Checkpoint {name} holds a head of a wrong shape: roll back to another one.")
    if not np.isfinite(matrix).all():
        raise CheckpointError(f"Checkpoint {name} holds values that are not finite: roll back to another one.")
    return np.asarray(matrix, np.float32)


def prune_checkpoints(folder: Path, keep: int, served: Collection[str] = ()) -> list[str]:
    """Deletes the oldest beyond `keep`, never the active one, the latest or one that has served; returns what went.

    What has served does not count against `keep`, so that refused ones never push it out. Of the single epochs only
    those of the latest run stay. What a killed writer left half done goes too, so no other may be writing.
    """
    safe = {read_pointer(folder, "active"), read_pointer(folder, "latest"), *served}
    existing = list_checkpoints(folder)
    decided = [name for name in existing if not _EPOCH_SUFFIX.search(name)]
    epochs = [
        name for name in existing if _EPOCH_SUFFIX.search(name) and _EPOCH_SUFFIX.sub("", name) not in decided[-1:]
    ]
    counted = [name for name in decided if name not in served]
    old = [name for name in [*epochs, *counted[: -keep or None]] if name not in safe]
    for path in (*(folder / name for name in old), *folder.glob(".*.part")):
        shutil.rmtree(path, ignore_errors=True)
    return old


def _verified_contents(folder: Path, name: str) -> dict[str, bytes]:
    """The contents of a checkpoint's files, each checked against its hash."""
    checkpoint = folder / name
    if not _is_checkpoint_name(name) or checkpoint.is_symlink() or not checkpoint.is_dir():
        raise CheckpointError(f"There is no checkpoint {name!r}: name a run by its number in `codekin history`.")
    try:
        hashes = json.loads((checkpoint / MANIFEST_FILE).read_text(encoding="utf-8"))
        contents = {file: _read_plain_file(checkpoint / file) for file in hashes}
    except (OSError, ValueError) as error:
        raise CheckpointError(f"Checkpoint {name} cannot be read ({error}): roll back to another one.") from error
    wrong = [file for file, content in contents.items() if hashlib.sha256(content).hexdigest() != hashes[file]]
    if wrong or META_FILE not in contents:
        raise CheckpointError(
            f"Checkpoint {name} is damaged ({', '.join(wrong) or META_FILE}): roll back to another one."
        )
    return contents


def _read_plain_file(path: Path) -> bytes:
    if path.is_symlink() or path.parent.resolve() != path.resolve().parent:
        raise ValueError(f"{path.name} is not a plain file of its folder")
    return path.read_bytes()


def _is_checkpoint_name(name: str) -> bool:
    return re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", name) is not None


def _write_durably(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    sync_to_disk(path)
