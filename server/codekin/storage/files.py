"""Replaces a file's chunks in one transaction and records the change in the journal.

Fine-tuning, refreshing readers and the text index read the journal. Changes of unsaved buffers are recorded
separately: edits are counted from one saved version to the next.
"""

import json
import sqlite3
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from codekin.storage.database import (
    FileState,
    compress_text,
    decode_path,
    decompress_text,
    encode_chunk_row,
    encode_file_row,
    encode_path,
    replace_surrogates,
    row_checksum,
)
from codekin.storage.terms import compute_sketch, count_terms, encode_terms
from codekin.types import Chunk

ChunkKey = tuple[str, str, int, int]
"""Kind, name, part and content id of a chunk."""


@dataclass(frozen=True, slots=True)
class ChunkEdit:
    """A chunk that changed: `old_text` is None when it is new, `new_text` when it is gone."""

    kind: str
    name: str
    old_text: str | None
    new_text: str | None


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """A file that changed; `ts` in seconds since 1970, hashes None where the file was not there."""

    seq: int
    ts: float
    path: str
    old_hash: str | None
    new_hash: str | None
    buffer: bool
    edits: tuple[ChunkEdit, ...] = ()


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


def record_edits(database: sqlite3.Connection, seq: int, old: Sequence[ChunkKey], new: Sequence[ChunkKey]) -> None:
    """Records which of the old chunks changed, matched by kind, name and part."""
    before, after = _content_by_key(old), _content_by_key(new)
    kept = set(before.values()) & set(after.values())
    for key in {**before, **after}:
        one, other = before.get(key), after.get(key)
        if one != other and not (one in kept and other in kept):
            database.execute("INSERT INTO edit VALUES(?, ?, ?, ?, ?)", (seq, key[0], key[1], one, other))


def _content_by_key(keys: Sequence[ChunkKey]) -> dict[tuple[str, str, int, int], int]:
    """Content ids by kind, name, part and rank among equals."""
    found: dict[tuple[str, str, int, int], int] = {}
    for kind, name, part, content in keys:
        rank = 0
        while (kind, name, part, rank) in found:
            rank += 1
        found[kind, name, part, rank] = content
    return found


def read_changes(database: sqlite3.Connection, since: int, *, buffers: bool = False) -> Iterator[JournalEntry]:
    """All changes after the write number `since`, oldest first, with their edits."""
    rows = database.execute(
        "SELECT seq, ts, path, old_hash, new_hash, buffer FROM change WHERE seq>? AND buffer<=? ORDER BY seq",
        (since, int(buffers)),
    ).fetchall()
    for seq, ts, path, old, new, buffer in rows:
        yield JournalEntry(seq, ts, decode_path(path), old, new, bool(buffer), _read_edits(database, seq))


def _read_edits(database: sqlite3.Connection, seq: int) -> tuple[ChunkEdit, ...]:
    rows = database.execute(
        "SELECT edit.kind, edit.name, before.body, after.body FROM edit"
        " LEFT JOIN content AS before ON before.id=old_content LEFT JOIN content AS after ON after.id=new_content"
        " WHERE seq=? ORDER BY edit.rowid",
        (seq,),
    )
    return tuple(
        ChunkEdit(kind, name, decompress_text(old or None), decompress_text(new or None))
        for kind, name, old, new in rows
    )


def serialize_chunk_keys(keys: Sequence[ChunkKey]) -> str:
    """The chunk keys of a saved file as text, kept while a buffer lies over it."""
    return json.dumps(keys)


def parse_chunk_keys(packed: str) -> list[ChunkKey]:
    """The reverse of `serialize_chunk_keys`."""
    return [(kind, name, part, content) for kind, name, part, content in json.loads(packed)]


_INSERT_FILE = (
    "INSERT INTO file(path, size, mtime_ns, inode, hash, language, skipped, buffer, checksum)"
    " VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT(path) DO UPDATE SET size=excluded.size,"
    " mtime_ns=excluded.mtime_ns, inode=excluded.inode, hash=excluded.hash, language=excluded.language,"
    " skipped=excluded.skipped, buffer=excluded.buffer, checksum=excluded.checksum"
)
_INSERT_CHUNK = (
    "INSERT INTO chunk"
    "(file_id, content_id, language, kind, name, start_line, end_line, part, sample, detail, checksum)"
    " VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


def touch_file(database: sqlite3.Connection, path: str, state: FileState) -> bool:
    """Notes a file's new times when its content is as known; False when the content differs."""
    row = database.execute(
        "SELECT hash, buffer, language, skipped FROM file WHERE path=?", (encode_path(path),)
    ).fetchone()
    if row is None or (row[0], bool(row[1])) != (state.hash, state.buffer):
        return False
    state = replace(state, language=row[2], skipped=row[3])
    _write_file(database, path, state)
    return True


def replace_file(database: sqlite3.Connection, seq: int, path: str, state: FileState, chunks: Sequence[Chunk]) -> int:
    """Replaces all that is known of a file, and journals it; returns the file's id."""
    known = database.execute("SELECT id, hash, buffer, saved FROM file WHERE path=?", (encode_path(path),)).fetchone()
    old = _read_chunk_keys(database, known[0]) if known else []
    file = _write_file(database, path, state)
    _delete_chunks(database, file)
    contents = [_store_content(database, chunk) for chunk in chunks]
    _insert_chunks(database, file, chunks, contents)
    new = [
        (replace_surrogates(part.kind), replace_surrogates(part.name), part.part, content)
        for part, content in zip(chunks, contents, strict=True)
    ]
    record_change(
        database, seq, (file, encode_path(path)), (known[1] if known else None, state.hash), buffer=state.buffer
    )
    if known:
        _record_saved_edits(database, seq, known, (old, new), buffer=state.buffer)
    return file


def remove_file(database: sqlite3.Connection, seq: int, path: str) -> int | None:
    """Forgets a file and its chunks, and journals it; returns the file's id if it was known."""
    known = database.execute("SELECT id, hash, buffer, saved FROM file WHERE path=?", (encode_path(path),)).fetchone()
    if known is None:
        return None
    old = _read_chunk_keys(database, known[0])
    _delete_chunks(database, known[0])
    database.execute("DELETE FROM file WHERE id=?", (known[0],))
    record_change(database, seq, (known[0], encode_path(path)), (known[1], None), buffer=False)
    record_edits(database, seq, parse_chunk_keys(known[3]) if known[3] else old, [])
    return int(known[0])


def _record_saved_edits(
    database: sqlite3.Connection,
    seq: int,
    known: tuple[int, str, int, str | None],
    keys: tuple[list[ChunkKey], list[ChunkKey]],
    *,
    buffer: bool,
) -> None:
    """Counts edits between saved versions only: the last one is kept while a buffer lies over it."""
    old, new = keys
    file, _, was_buffer, saved = known
    if buffer:
        if not was_buffer:
            database.execute("UPDATE file SET saved=? WHERE id=?", (serialize_chunk_keys(old), file))
        return
    if saved or not was_buffer:
        record_edits(database, seq, parse_chunk_keys(saved) if saved else old, new)
    database.execute("UPDATE file SET saved=NULL WHERE id=?", (file,))


def _write_file(database: sqlite3.Connection, path: str, state: FileState) -> int:
    values = encode_file_row(encode_path(path), state)
    database.execute(_INSERT_FILE, (*values, row_checksum(*values)))
    return int(database.execute("SELECT id FROM file WHERE path=?", (values[0],)).fetchone()[0])


def _read_chunk_keys(database: sqlite3.Connection, file: int) -> list[ChunkKey]:
    return database.execute(
        "SELECT kind, name, part, content_id FROM chunk WHERE file_id=? ORDER BY id", (file,)
    ).fetchall()


def _delete_chunks(database: sqlite3.Connection, file: int) -> None:
    """Deletes a file's chunks; their contents stay, so that they need not be embedded again."""
    database.execute(
        "UPDATE content SET last_used=? WHERE id IN (SELECT content_id FROM chunk WHERE file_id=?)",
        (time.time(), file),
    )
    database.execute("DELETE FROM chunk WHERE file_id=?", (file,))


def _insert_chunks(database: sqlite3.Connection, file: int, chunks: Sequence[Chunk], contents: Sequence[int]) -> None:
    rows = []
    for chunk, content in zip(chunks, contents, strict=True):
        row = encode_chunk_row(chunk)
        rows.append((file, content, *row, row_checksum(file, content, *row[:-1])))
    database.executemany(_INSERT_CHUNK, rows)


def _store_content(database: sqlite3.Connection, chunk: Chunk) -> int:
    """The id of a chunk's text, stored once for each content hash."""
    digest = bytes.fromhex(chunk.digest)
    row = database.execute("SELECT id, length(body) FROM content WHERE digest=?", (digest,)).fetchone()
    if row and row[1]:
        return int(row[0])
    text = chunk.text
    values = (digest, compress_text(text), encode_terms(count_terms(text)), compute_sketch(text).tobytes(), time.time())
    if row:
        query = "UPDATE content SET digest=?, body=?, terms=?, sketch=?, last_used=? WHERE id=?"
        database.execute(query, (*values, row[0]))
        return int(row[0])
    query = "INSERT INTO content(digest, body, terms, sketch, last_used) VALUES(?, ?, ?, ?, ?)"
    cursor = database.execute(query, values)
    return int(cursor.lastrowid or 0)
