"""The append-only float16 file of one embedding space.

A record is one vector, the content hash it belongs to and a checksum, so that the file can
be checked, and read back, without the database. It does not know which records are in use:
SQLite says that, and records past its count are leftovers of a crash.
"""

import errno
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codekin.errors import StoreError
from codekin.seams import Vectors

Records = NDArray[Any]
"""Structured rows: `vector` (dimensions,) float16, `digest` (4,) uint64, `check` uint64."""


def record_type(dimensions: int) -> np.dtype[Any]:
    """The layout of one record; vectors are padded to whole 8-byte words."""
    padding = -dimensions % 4
    return np.dtype(
        [
            ("vector", "<f2", (dimensions,)),
            ("padding", "<f2", (padding,)),
            ("digest", "<u8", (4,)),
            ("check", "<u8"),
        ]
    )


def make_records(digests: Sequence[bytes], vectors: Vectors) -> Records:
    """Records of unit `vectors` (n, dimensions) for 32-byte `digests`."""
    records = np.zeros(len(vectors), record_type(vectors.shape[1]))
    records["vector"] = vectors
    records["digest"] = np.frombuffer(b"".join(digests), "<u8").reshape(-1, 4)
    records["check"] = checksums(records)
    return records


def checksums(records: Records) -> NDArray[np.uint64]:
    """For each record a weighted sum of its 64-bit words: any single changed word shows.

    The weights are odd, so that a changed word always changes the sum (modulo 2^64).
    """
    words = records.view("<u8").reshape(len(records), -1)[:, :-1]
    weights = np.random.default_rng(20).integers(0, 2**63, words.shape[1], dtype=np.uint64) * 2 + 1
    sums: NDArray[np.uint64] = (words * weights).sum(axis=1, dtype=np.uint64)
    return sums ^ np.uint64(0x5EED)


def append_records(path: Path, slot: int, records: Records) -> None:
    """Writes `records` from `slot` on and syncs them; raises StoreError when the disk is full."""
    try:
        with path.open("r+b" if path.exists() else "w+b", buffering=0) as file:
            file.seek(slot * records.dtype.itemsize)
            _write_all(file.fileno(), memoryview(records.tobytes()))
            _sync(file.fileno())
    except OSError as error:
        raise disk_error(path, error) from error


def _write_all(descriptor: int, data: memoryview) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


_sync = getattr(os, "fdatasync", os.fsync)


def disk_error(path: Path, error: OSError) -> StoreError:
    """The sentence for a failed write."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return StoreError(f"the disk is full, so the index in {path.parent} keeps its last state: free some space")
    return StoreError(f"{path} cannot be written ({error.strerror}): check the folder's permissions")


def open_records(path: Path, dimensions: int, slots: int) -> Records:
    """The first `slots` records, memory-mapped; fewer when the file has been truncated."""
    dtype = record_type(dimensions)
    present = min(slots, path.stat().st_size // dtype.itemsize) if path.exists() else 0
    if present == 0:
        return np.zeros(0, dtype)
    return np.memmap(path, dtype=dtype, mode="r", shape=(present,))


def sound_records(records: Records, block: int = 8192) -> NDArray[np.bool_]:
    """Which records match their checksum."""
    sound = np.zeros(len(records), bool)
    for start in range(0, len(records), block):
        part = np.ascontiguousarray(records[start : start + block])
        sound[start : start + block] = checksums(part) == part["check"]
    return sound
