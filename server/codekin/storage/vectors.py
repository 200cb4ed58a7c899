"""Embedding spaces and their append-only float16 vector files.

A record holds a vector, its content hash and a checksum, so the file can be checked, and imported, without the
database. A space is `building` until `promote` makes it `serving`; the previous one is then `kept` or `dropped`.
Vectors of two spaces are never compared.
"""

import errno
import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codekin.errors import StoreError
from codekin.protocols import EmbeddingSpace, Vectors
from codekin.storage.database import increment_sequence, row_checksum, transaction

VectorRecords = NDArray[Any]
"""Structured rows: `vector` (dimensions,) float16, `digest` (4,) uint64, `check` uint64."""


def record_dtype(dimensions: int) -> np.dtype[Any]:
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


def build_records(digests: Sequence[bytes], vectors: Vectors) -> VectorRecords:
    """Records of unit `vectors` (n, dimensions) for 32-byte `digests`."""
    records = np.zeros(len(vectors), record_dtype(vectors.shape[1]))
    records["vector"] = vectors
    records["digest"] = np.frombuffer(b"".join(digests), "<u8").reshape(-1, 4)
    records["check"] = record_checksums(records)
    return records


def record_checksums(records: VectorRecords) -> NDArray[np.uint64]:
    """For each record a weighted sum of its 64-bit words: any single changed word shows.

    The weights are odd, so that a changed word always changes the sum (modulo 2^64).
    """
    words = records.view("<u8").reshape(len(records), -1)[:, :-1]
    weights = np.random.default_rng(20).integers(0, 2**63, words.shape[1], dtype=np.uint64) * 2 + 1
    sums: NDArray[np.uint64] = (words * weights).sum(axis=1, dtype=np.uint64)
    return sums ^ np.uint64(0x5EED)


def append_records(path: Path, slot: int, records: VectorRecords) -> None:
    """Writes `records` from `slot` on and syncs them; raises StoreError when the disk is full."""
    try:
        with path.open("r+b" if path.exists() else "w+b", buffering=0) as file:
            file.seek(slot * records.dtype.itemsize)
            _write_all(file.fileno(), memoryview(records.tobytes()))
            _fsync(file.fileno())
    except OSError as error:
        raise disk_error(path, error) from error


def _write_all(descriptor: int, data: memoryview) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


_fsync = getattr(os, "fdatasync", os.fsync)


def disk_error(path: Path, error: OSError) -> StoreError:
    """The sentence for a failed write."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return StoreError(f"the disk is full, so the index in {path.parent} keeps its last state: free some space")
    return StoreError(f"{path} cannot be written ({error.strerror}): check the folder's permissions")


def open_records(path: Path, dimensions: int, slots: int) -> VectorRecords:
    """The first `slots` records, memory-mapped; fewer when the file has been truncated."""
    dtype = record_dtype(dimensions)
    present = min(slots, path.stat().st_size // dtype.itemsize) if path.exists() else 0
    if present == 0:
        return np.zeros(0, dtype)
    return np.memmap(path, dtype=dtype, mode="r", shape=(present,))


def valid_records(records: VectorRecords, block: int = 8192) -> NDArray[np.bool_]:
    """Which records match their checksum."""
    valid = np.zeros(len(records), bool)
    for start in range(0, len(records), block):
        part = np.ascontiguousarray(records[start : start + block])
        valid[start : start + block] = record_checksums(part) == part["check"]
    return valid


_RECORDS_PER_BLOCK = 4096
_SPACE_COLUMNS = "checksum, id, fingerprint, name, dimensions, state, slots"


def vector_path(folder: Path, space: EmbeddingSpace) -> Path:
    """The vector file of a space."""
    return folder / f"vectors-{space.id}.f16"


def read_spaces(database: sqlite3.Connection) -> list[EmbeddingSpace]:
    """All spaces, oldest first; raises sqlite3.DatabaseError when a row is damaged."""
    rows = database.execute(f"SELECT {_SPACE_COLUMNS} FROM space ORDER BY id").fetchall()  # noqa: S608
    if any(row_checksum(*row[2:5]) != row[0] for row in rows):
        raise sqlite3.DatabaseError("malformed row of a space")
    return [EmbeddingSpace(*row[1:]) for row in rows]


def find_space(database: sqlite3.Connection, fingerprint: str) -> EmbeddingSpace | None:
    """The space with this fingerprint."""
    return next((space for space in read_spaces(database) if space.fingerprint == fingerprint), None)


def find_serving_space(database: sqlite3.Connection) -> EmbeddingSpace | None:
    """The space that answers queries."""
    return next((space for space in read_spaces(database) if space.state == "serving"), None)


def ensure_space(
    database: sqlite3.Connection, folder: Path, fingerprint: str, name: str, dimensions: int
) -> EmbeddingSpace:
    """The space with this fingerprint; a first one serves at once, a later one is building."""
    with transaction(database):
        if found := find_space(database, fingerprint):
            if found.dimensions != dimensions:
                raise StoreError(f"the space {name} holds {found.dimensions} dimensions, the model gives {dimensions}")
            database.execute("UPDATE space SET state='building' WHERE id=? AND state='dropped'", (found.id,))
            return _require_space(database, fingerprint)
        state = "building" if find_serving_space(database) else "serving"
        database.execute(
            "INSERT INTO space(fingerprint, name, dimensions, checksum, state, slots) VALUES(?, ?, ?, ?, ?, 0)",
            (fingerprint, name, dimensions, row_checksum(fingerprint, name, dimensions), state),
        )
        increment_sequence(database)
        space = _require_space(database, fingerprint)
        write_space_metadata(folder, space)
    return space


def write_space_metadata(folder: Path, space: EmbeddingSpace) -> None:
    """Makes way for a space's vector file, and notes beside it whose it is, for when the database is lost."""
    vector_path(folder, space).unlink(missing_ok=True)
    note = [space.fingerprint, space.name, space.dimensions]
    vector_path(folder, space).with_suffix(".json").write_text(json.dumps([*note, row_checksum(*note)]))


def read_space_metadata(folder: Path) -> list[tuple[EmbeddingSpace, Path]]:
    """The spaces named in the metadata beside the vector files, with those files."""
    found = []
    for path in sorted(folder.glob("vectors-*.f16")):
        try:
            *note, check = json.loads(path.with_suffix(".json").read_text())
        except (OSError, ValueError):
            continue
        if row_checksum(*note) == check:
            found.append((EmbeddingSpace(0, note[0], note[1], note[2], "building", 0), path))
    return found


def import_vector_file(database: sqlite3.Connection, folder: Path, space: EmbeddingSpace, path: Path) -> None:
    """Takes the sound records of a vector file into a fresh database; texts follow with the files."""
    kept = path.rename(path.with_suffix(".kept"))
    path.with_suffix(".json").unlink(missing_ok=True)
    count = kept.stat().st_size // record_dtype(space.dimensions).itemsize
    records = open_records(kept, space.dimensions, count)
    ensure_space(database, folder, space.fingerprint, space.name, space.dimensions)
    for start in range(0, count, 4096):
        part = np.ascontiguousarray(records[start : start + 4096])
        part = part[valid_records(part)]
        digests = [digest.tobytes() for digest in part["digest"]]
        rows = [(digest, time.time()) for digest in digests]
        database.executemany(
            "INSERT OR IGNORE INTO content(digest, body, terms, sketch, last_used) VALUES(?, x'', x'', x'', ?)", rows
        )
        vectors = {key.hex(): vector for key, vector in zip(digests, part["vector"].astype(np.float32), strict=True)}
        store_vectors(database, folder, space.fingerprint, vectors)
    kept.unlink()


def _require_space(database: sqlite3.Connection, fingerprint: str) -> EmbeddingSpace:
    if space := find_space(database, fingerprint):
        return space
    raise StoreError(f"there is no embedding space {fingerprint}: index the workspace with its model first")


def promote(database: sqlite3.Connection, fingerprint: str, *, keep_old: bool = False) -> None:
    """Makes a space the serving one, in one transaction."""
    with transaction(database):
        space = _require_space(database, fingerprint)
        old = "kept" if keep_old else "dropped"
        database.execute("UPDATE space SET state=? WHERE state='serving' AND id<>?", (old, space.id))
        database.execute("UPDATE space SET state='serving' WHERE id=?", (space.id,))
        increment_sequence(database)


def drop_space(database: sqlite3.Connection, fingerprint: str) -> None:
    """Gives up a space that does not serve."""
    with transaction(database):
        space = _require_space(database, fingerprint)
        if space.state == "serving":
            raise StoreError(f"the space {space.name} is serving: promote another one first")
        database.execute("UPDATE space SET state='dropped' WHERE id=?", (space.id,))
        increment_sequence(database)


def delete_unused_files(database: sqlite3.Connection, folder: Path) -> None:
    """Deletes dropped spaces with their files, and files that no space owns."""
    with transaction(database):
        for space in read_spaces(database):
            if space.state == "dropped":
                database.execute("DELETE FROM vector WHERE space_id=?", (space.id,))
                database.execute("DELETE FROM space WHERE id=?", (space.id,))
    owned = {vector_path(folder, space) for space in read_spaces(database)}
    for path in folder.glob("vectors-*"):
        if path.with_suffix(".f16") not in owned:
            path.unlink(missing_ok=True)


def find_missing_digests(
    database: sqlite3.Connection, space: EmbeddingSpace | None, digests: Iterable[str]
) -> list[str]:
    """Those digests, in order and once each, that have no vector in the space."""
    unique = list(dict.fromkeys(digests))
    if space is None:
        return unique
    query = (
        "SELECT 1 FROM content JOIN vector ON vector.content_id=content.id WHERE content.digest=? AND vector.space_id=?"
    )
    return [d for d in unique if not database.execute(query, (bytes.fromhex(d), space.id)).fetchone()]


def find_unembedded(database: sqlite3.Connection, space: EmbeddingSpace, limit: int) -> list[tuple[str, str, bytes]]:
    """Up to `limit` live contents without a vector: digest, language, compressed text."""
    rows = database.execute(
        "SELECT content.digest, chunk.language, content.body FROM content"
        " JOIN chunk ON chunk.content_id=content.id"
        " WHERE NOT EXISTS (SELECT 1 FROM vector WHERE space_id=? AND content_id=content.id)"
        " GROUP BY content.id ORDER BY content.id LIMIT ?",
        (space.id, limit),
    )
    return [(digest.hex(), language, body) for digest, language, body in rows]


def store_vectors(database: sqlite3.Connection, folder: Path, fingerprint: str, vectors: Mapping[str, Vectors]) -> int:
    """Stores unit vectors by digest for contents that are known and lack one; returns how many.

    Call inside a transaction: the file is synced before the rows are committed.
    """
    space = _require_space(database, fingerprint)
    wanted = _content_ids(database, find_missing_digests(database, space, vectors))
    matrix = np.asarray([vectors[digest.hex()] for _, digest in wanted], np.float32)
    return _append_vectors(database, folder, space, wanted, matrix) if wanted else 0


def _append_vectors(
    database: sqlite3.Connection,
    folder: Path,
    space: EmbeddingSpace,
    wanted: Sequence[tuple[int, bytes]],
    matrix: Vectors,
) -> int:
    """Stores the rows of a matrix for contents (id, digest) that lack a vector."""
    _check_vectors(matrix, space)
    append_records(vector_path(folder, space), space.slots, build_records([digest for _, digest in wanted], matrix))
    rows = [(space.id, content, space.slots + index) for index, (content, _) in enumerate(wanted)]
    database.executemany("INSERT INTO vector VALUES(?, ?, ?)", rows)
    database.execute("UPDATE space SET slots=slots+? WHERE id=?", (len(rows), space.id))
    return len(rows)


def _content_ids(database: sqlite3.Connection, digests: Iterable[str]) -> list[tuple[int, bytes]]:
    """Content id and digest of those digests that are stored."""
    keys = [bytes.fromhex(digest) for digest in digests]
    rows = [(database.execute("SELECT id FROM content WHERE digest=?", (key,)).fetchone(), key) for key in keys]
    return [(row[0], key) for row, key in rows if row]


def _check_vectors(matrix: Vectors, space: EmbeddingSpace) -> None:
    if matrix.shape[1:] != (space.dimensions,):
        raise StoreError(f"the space {space.name} holds {space.dimensions} dimensions, not {matrix.shape[1:]}")
    if not np.isfinite(matrix).all():
        raise StoreError(f"the model of {space.name} gave vectors that are not finite: they were not stored")


def read_vectors(
    database: sqlite3.Connection, folder: Path, fingerprint: str, block: int = _RECORDS_PER_BLOCK
) -> Iterator[tuple[list[str], Vectors]]:
    """All vectors of a space in blocks: digests and float32 rows."""
    space = _require_space(database, fingerprint)
    records = open_records(vector_path(folder, space), space.dimensions, space.slots)
    used = np.array(
        [s for (s,) in database.execute("SELECT slot FROM vector WHERE space_id=? ORDER BY slot", (space.id,))]
    )
    for start in range(0, len(used), block):
        part: NDArray[np.void] = records[used[start : start + block]]
        yield [digest.tobytes().hex() for digest in part["digest"]], part["vector"].astype(np.float32)


def project_space(
    database: sqlite3.Connection,
    folder: Path,
    source: str,
    target: str,
    transform: Callable[[Vectors], Vectors],
) -> int:
    """Fills the space `target` with the transformed vectors of `source`; returns how many.

    Each block is one transaction, so that it can be stopped and run again. A record that carries another content's
    hash than the one that claims it is left out.
    """
    old, stored = _require_space(database, source), 0
    records = open_records(vector_path(folder, old), old.dimensions, old.slots)
    rows = [
        row for row in _unprojected_vectors(database, old, _require_space(database, target)) if row[1] < len(records)
    ]
    for start in range(0, len(rows), _RECORDS_PER_BLOCK):
        part = rows[start : start + _RECORDS_PER_BLOCK]
        found: NDArray[np.void] = records[[slot for _, slot, _ in part]]
        claimed = np.frombuffer(b"".join(digest for *_, digest in part), "<u8").reshape(-1, 4)
        own = (found["digest"] == claimed).all(axis=1)
        wanted = [(content, digest) for (content, _, digest), is_own in zip(part, own, strict=True) if is_own]
        moved = transform(found["vector"][own].astype(np.float32))
        with transaction(database):
            stored += _append_vectors(database, folder, _require_space(database, target), wanted, moved)
            increment_sequence(database)
    return stored


def _unprojected_vectors(
    database: sqlite3.Connection, old: EmbeddingSpace, new: EmbeddingSpace
) -> list[tuple[int, int, bytes]]:
    """Content, slot and digest of the vectors of one space that the other lacks."""
    query = (
        "SELECT content_id, slot, digest FROM vector JOIN content ON content.id=content_id WHERE space_id=?"
        " AND NOT EXISTS (SELECT 1 FROM vector AS moved WHERE moved.space_id=? AND moved.content_id=vector.content_id)"
        " ORDER BY slot"
    )
    return database.execute(query, (old.id, new.id)).fetchall()
