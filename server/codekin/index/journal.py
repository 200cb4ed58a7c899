"""What changed and when: one row for each replaced file, one for each edited fragment.

Nightly learning reads it, and so do readers that refresh and a lexical index that lags.
The text of an edited fragment's earlier version is kept for as long as its row is. Changes
of unsaved buffers are told apart, and edits are counted from one saved version to the next.
"""

import json
import sqlite3
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from codekin.index.rows import read_body, read_path

Piece = tuple[str, str, int, int]
"""Kind, name, part and content id of a fragment."""


@dataclass(frozen=True, slots=True)
class Edit:
    """A fragment that changed: `old_text` is None when it is new, `new_text` when it is gone."""

    kind: str
    name: str
    old_text: str | None
    new_text: str | None


@dataclass(frozen=True, slots=True)
class Change:
    """A file that changed; `ts` in seconds since 1970, hashes None where the file was not there."""

    seq: int
    ts: float
    path: str
    old_hash: str | None
    new_hash: str | None
    buffer: bool
    edits: tuple[Edit, ...] = ()


def record_change(
    database: sqlite3.Connection,
    seq: int,
    file: tuple[int, bytes],
    hashes: tuple[str | None, str | None],
    *,
    buffer: bool,
) -> None:
    """Notes that `file` (id, path) went from the first of `hashes` to the second."""
    row = (seq, time.time(), *file, *hashes, int(buffer))
    database.execute("INSERT INTO change VALUES(?, ?, ?, ?, ?, ?, ?)", row)


def record_edits(database: sqlite3.Connection, seq: int, old: Sequence[Piece], new: Sequence[Piece]) -> None:
    """Notes which of the old pieces changed, matched by kind, name and part."""
    before, after = _by_name(old), _by_name(new)
    kept = set(before.values()) & set(after.values())
    for key in {**before, **after}:
        one, other = before.get(key), after.get(key)
        if one != other and not (one in kept and other in kept):
            database.execute("INSERT INTO edit VALUES(?, ?, ?, ?, ?)", (seq, key[0], key[1], one, other))


def _by_name(pieces: Sequence[Piece]) -> dict[tuple[str, str, int, int], int]:
    """Content ids by kind, name, part and rank among equals."""
    found: dict[tuple[str, str, int, int], int] = {}
    for kind, name, part, content in pieces:
        rank = 0
        while (kind, name, part, rank) in found:
            rank += 1
        found[kind, name, part, rank] = content
    return found


def changes(database: sqlite3.Connection, since: int, *, buffers: bool = False) -> Iterator[Change]:
    """All changes after the write number `since`, oldest first, with their edits."""
    rows = database.execute(
        "SELECT seq, ts, path, old_hash, new_hash, buffer FROM change WHERE seq>? AND buffer<=? ORDER BY seq",
        (since, int(buffers)),
    ).fetchall()
    for seq, ts, path, old, new, buffer in rows:
        yield Change(seq, ts, read_path(path), old, new, bool(buffer), _edits(database, seq))


def _edits(database: sqlite3.Connection, seq: int) -> tuple[Edit, ...]:
    rows = database.execute(
        "SELECT edit.kind, edit.name, before.body, after.body FROM edit"
        " LEFT JOIN content AS before ON before.id=old_content LEFT JOIN content AS after ON after.id=new_content"
        " WHERE seq=? ORDER BY edit.rowid",
        (seq,),
    )
    return tuple(Edit(kind, name, read_body(old or None), read_body(new or None)) for kind, name, old, new in rows)


def pack_pieces(pieces: Sequence[Piece]) -> str:
    """The pieces of a saved file as text, kept while a buffer lies over it."""
    return json.dumps(pieces)


def unpack_pieces(packed: str) -> list[Piece]:
    """The reverse of `pack_pieces`."""
    return [(kind, name, part, content) for kind, name, part, content in json.loads(packed)]
