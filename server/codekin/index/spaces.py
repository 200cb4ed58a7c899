"""Embedding spaces: which there are, which one serves, and what vectors they hold.

A space is `building` until `promote` makes it `serving` in one transaction; the one that
served before is then `kept` (its vectors are the base of a head, or a way back) or
`dropped`. Vectors of two spaces never meet. Write numbers are counted by the caller.
"""

import json
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from codekin.errors import StoreError
from codekin.index.schema import next_sequence, row_check, transaction
from codekin.index.vectors import append_records, make_records, open_records, record_type, sound_records
from codekin.seams import Vectors

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BLOCK = 4096
_COLUMNS = "checked, id, fingerprint, name, dimensions, state, slots"


@dataclass(frozen=True, slots=True)
class Space:
    """One embedding space; `slots` counts the records of its file, live or not."""

    id: int
    fingerprint: str
    name: str
    dimensions: int
    state: str
    slots: int


def vector_path(folder: Path, space: Space) -> Path:
    """The vector file of a space."""
    return folder / f"vectors-{space.id}.f16"


def spaces(database: sqlite3.Connection) -> list[Space]:
    """All spaces, oldest first; raises sqlite3.DatabaseError when a row is damaged."""
    rows = database.execute(f"SELECT {_COLUMNS} FROM space ORDER BY id").fetchall()  # noqa: S608
    if any(row_check(*row[2:5]) != row[0] for row in rows):
        raise sqlite3.DatabaseError("malformed row of a space")
    return [Space(*row[1:]) for row in rows]


def find_space(database: sqlite3.Connection, fingerprint: str) -> Space | None:
    """The space with this fingerprint."""
    return next((space for space in spaces(database) if space.fingerprint == fingerprint), None)


def serving_space(database: sqlite3.Connection) -> Space | None:
    """The space that answers queries."""
    return next((space for space in spaces(database) if space.state == "serving"), None)


def ensure_space(database: sqlite3.Connection, folder: Path, fingerprint: str, name: str, dimensions: int) -> Space:
    """The space with this fingerprint; a first one serves at once, a later one is building."""
    with transaction(database):
        if found := find_space(database, fingerprint):
            if found.dimensions != dimensions:
                raise StoreError(f"the space {name} holds {found.dimensions} dimensions, the model gives {dimensions}")
            database.execute("UPDATE space SET state='building' WHERE id=? AND state='dropped'", (found.id,))
            return _known(database, fingerprint)
        state = "building" if serving_space(database) else "serving"
        database.execute(
            "INSERT INTO space(fingerprint, name, dimensions, checked, state, slots) VALUES(?, ?, ?, ?, ?, 0)",
            (fingerprint, name, dimensions, row_check(fingerprint, name, dimensions), state),
        )
        next_sequence(database)
        space = _known(database, fingerprint)
        write_note(folder, space)
    return space


def write_note(folder: Path, space: Space) -> None:
    """Makes way for a space's vector file, and notes beside it whose it is, for when the database is lost."""
    vector_path(folder, space).unlink(missing_ok=True)
    note = [space.fingerprint, space.name, space.dimensions]
    vector_path(folder, space).with_suffix(".json").write_text(json.dumps([*note, row_check(*note)]))


def recorded_spaces(folder: Path) -> list[tuple[Space, Path]]:
    """The spaces that the notes beside the vector files tell of, with those files."""
    found = []
    for path in sorted(folder.glob("vectors-*.f16")):
        try:
            *note, check = json.loads(path.with_suffix(".json").read_text())
        except (OSError, ValueError):
            continue
        if row_check(*note) == check:
            found.append((Space(0, note[0], note[1], note[2], "building", 0), path))
    return found


def adopt(database: sqlite3.Connection, folder: Path, space: Space, path: Path) -> None:
    """Takes the sound records of a vector file into a fresh database; texts follow with the files."""
    kept = path.rename(path.with_suffix(".kept"))
    path.with_suffix(".json").unlink(missing_ok=True)
    count = kept.stat().st_size // record_type(space.dimensions).itemsize
    records = open_records(kept, space.dimensions, count)
    ensure_space(database, folder, space.fingerprint, space.name, space.dimensions)
    for start in range(0, count, 4096):
        part = np.ascontiguousarray(records[start : start + 4096])
        part = part[sound_records(part)]
        digests = [digest.tobytes() for digest in part["digest"]]
        rows = [(digest, time.time()) for digest in digests]
        database.executemany(
            "INSERT OR IGNORE INTO content(digest, body, terms, sketch, touched) VALUES(?, x'', x'', x'', ?)", rows
        )
        vectors = {key.hex(): vector for key, vector in zip(digests, part["vector"].astype(np.float32), strict=True)}
        put_vectors(database, folder, space.fingerprint, vectors)
    kept.unlink()


def _known(database: sqlite3.Connection, fingerprint: str) -> Space:
    if space := find_space(database, fingerprint):
        return space
    raise StoreError(f"there is no embedding space {fingerprint}: index the workspace with its model first")


def promote(database: sqlite3.Connection, fingerprint: str, *, keep_old: bool = False) -> None:
    """Makes a space the serving one, in one transaction."""
    with transaction(database):
        space = _known(database, fingerprint)
        old = "kept" if keep_old else "dropped"
        database.execute("UPDATE space SET state=? WHERE state='serving' AND id<>?", (old, space.id))
        database.execute("UPDATE space SET state='serving' WHERE id=?", (space.id,))
        next_sequence(database)


def drop(database: sqlite3.Connection, fingerprint: str) -> None:
    """Gives up a space that does not serve."""
    with transaction(database):
        space = _known(database, fingerprint)
        if space.state == "serving":
            raise StoreError(f"the space {space.name} is serving: promote another one first")
        database.execute("UPDATE space SET state='dropped' WHERE id=?", (space.id,))
        next_sequence(database)


def sweep(database: sqlite3.Connection, folder: Path) -> None:
    """Deletes dropped spaces with their files, and files that no space owns."""
    with transaction(database):
        for space in spaces(database):
            if space.state == "dropped":
                database.execute("DELETE FROM vector WHERE space_id=?", (space.id,))
                database.execute("DELETE FROM space WHERE id=?", (space.id,))
    owned = {vector_path(folder, space) for space in spaces(database)}
    for path in folder.glob("vectors-*"):
        if path.with_suffix(".f16") not in owned:
            path.unlink(missing_ok=True)


def missing_digests(database: sqlite3.Connection, space: Space | None, digests: Iterable[str]) -> list[str]:
    """Those digests, in order and once each, that have no vector in the space."""
    unique = list(dict.fromkeys(digests))
    if space is None:
        return unique
    query = (
        "SELECT 1 FROM content JOIN vector ON vector.content_id=content.id WHERE content.digest=? AND vector.space_id=?"
    )
    return [d for d in unique if not database.execute(query, (bytes.fromhex(d), space.id)).fetchone()]


def unembedded(database: sqlite3.Connection, space: Space, limit: int) -> list[tuple[str, str, bytes]]:
    """Up to `limit` live contents without a vector: digest, language, compressed text."""
    rows = database.execute(
        "SELECT content.digest, fragment.language, content.body FROM content"
        " JOIN fragment ON fragment.content_id=content.id"
        " WHERE NOT EXISTS (SELECT 1 FROM vector WHERE space_id=? AND content_id=content.id)"
        " GROUP BY content.id ORDER BY content.id LIMIT ?",
        (space.id, limit),
    )
    return [(digest.hex(), language, body) for digest, language, body in rows]


def put_vectors(database: sqlite3.Connection, folder: Path, fingerprint: str, vectors: Mapping[str, Vectors]) -> int:
    """Stores unit vectors by digest for contents that are known and lack one; returns how many.

    Call inside a transaction: the file is synced before the rows are committed.
    """
    space = _known(database, fingerprint)
    wanted = _contents(database, missing_digests(database, space, vectors))
    matrix = np.asarray([vectors[digest.hex()] for _, digest in wanted], np.float32)
    return _append(database, folder, space, wanted, matrix) if wanted else 0


def _append(
    database: sqlite3.Connection, folder: Path, space: Space, wanted: Sequence[tuple[int, bytes]], matrix: Vectors
) -> int:
    """Stores the rows of a matrix for contents (id, digest) that lack a vector."""
    _check_vectors(matrix, space)
    append_records(vector_path(folder, space), space.slots, make_records([digest for _, digest in wanted], matrix))
    rows = [(space.id, content, space.slots + index) for index, (content, _) in enumerate(wanted)]
    database.executemany("INSERT INTO vector VALUES(?, ?, ?)", rows)
    database.execute("UPDATE space SET slots=slots+? WHERE id=?", (len(rows), space.id))
    return len(rows)


def _contents(database: sqlite3.Connection, digests: Iterable[str]) -> list[tuple[int, bytes]]:
    """Content id and digest of those digests that are stored."""
    keys = [bytes.fromhex(digest) for digest in digests]
    rows = [(database.execute("SELECT id FROM content WHERE digest=?", (key,)).fetchone(), key) for key in keys]
    return [(row[0], key) for row, key in rows if row]


def _check_vectors(matrix: Vectors, space: Space) -> None:
    if matrix.shape[1:] != (space.dimensions,):
        raise StoreError(f"the space {space.name} holds {space.dimensions} dimensions, not {matrix.shape[1:]}")
    if not np.isfinite(matrix).all():
        raise StoreError(f"the model of {space.name} gave vectors that are not finite: they were not stored")


def read_vectors(
    database: sqlite3.Connection, folder: Path, fingerprint: str, block: int = _BLOCK
) -> Iterator[tuple[list[str], Vectors]]:
    """All vectors of a space in blocks: digests and float32 rows."""
    space = _known(database, fingerprint)
    records = open_records(vector_path(folder, space), space.dimensions, space.slots)
    used = np.array(
        [s for (s,) in database.execute("SELECT slot FROM vector WHERE space_id=? ORDER BY slot", (space.id,))]
    )
    for start in range(0, len(used), block):
        part: NDArray[np.void] = records[used[start : start + block]]
        yield [digest.tobytes().hex() for digest in part["digest"]], part["vector"].astype(np.float32)


def project(
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
    old, stored = _known(database, source), 0
    records = open_records(vector_path(folder, old), old.dimensions, old.slots)
    rows = [row for row in _unmoved(database, old, _known(database, target)) if row[1] < len(records)]
    for start in range(0, len(rows), _BLOCK):
        part = rows[start : start + _BLOCK]
        found: NDArray[np.void] = records[[slot for _, slot, _ in part]]
        claimed = np.frombuffer(b"".join(digest for *_, digest in part), "<u8").reshape(-1, 4)
        own = (found["digest"] == claimed).all(axis=1)
        wanted = [(content, digest) for (content, _, digest), is_own in zip(part, own, strict=True) if is_own]
        moved = transform(found["vector"][own].astype(np.float32))
        with transaction(database):
            stored += _append(database, folder, _known(database, target), wanted, moved)
            next_sequence(database)
    return stored


def _unmoved(database: sqlite3.Connection, old: Space, new: Space) -> list[tuple[int, int, bytes]]:
    """Content, slot and digest of the vectors of one space that the other lacks."""
    query = (
        "SELECT content_id, slot, digest FROM vector JOIN content ON content.id=content_id WHERE space_id=?"
        " AND NOT EXISTS (SELECT 1 FROM vector AS moved WHERE moved.space_id=? AND moved.content_id=vector.content_id)"
        " ORDER BY slot"
    )
    return database.execute(query, (old.id, new.id)).fetchall()
