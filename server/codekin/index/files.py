"""Writes of whole files: a file's fragments are replaced together, with their journal entry.

Everything here runs inside the caller's write transaction.
"""

import sqlite3
import time
from collections.abc import Sequence
from dataclasses import replace

from codekin.index.journal import Piece, pack_pieces, record_change, record_edits, unpack_pieces
from codekin.index.rows import FileState, clean, file_row, fragment_row, write_body, write_path
from codekin.index.schema import row_check
from codekin.index.sketch import sketch
from codekin.index.terms import count_terms, write_terms
from codekin.records import Fragment

_INSERT_FILE = (
    "INSERT INTO file(path, size, mtime_ns, inode, hash, language, skipped, buffer, checked)"
    " VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT(path) DO UPDATE SET size=excluded.size,"
    " mtime_ns=excluded.mtime_ns, inode=excluded.inode, hash=excluded.hash, language=excluded.language,"
    " skipped=excluded.skipped, buffer=excluded.buffer, checked=excluded.checked"
)
_INSERT_FRAGMENT = (
    "INSERT INTO fragment"
    "(file_id, content_id, language, kind, name, start_line, end_line, part, sample, detail, checked)"
    " VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


def touch_file(database: sqlite3.Connection, path: str, state: FileState) -> bool:
    """Notes a file's new times when its content is as known; False when the content differs."""
    row = database.execute(
        "SELECT hash, buffer, language, skipped FROM file WHERE path=?", (write_path(path),)
    ).fetchone()
    if row is None or (row[0], bool(row[1])) != (state.hash, state.buffer):
        return False
    state = replace(state, language=row[2], skipped=row[3])
    _write_file(database, path, state)
    return True


def replace_file(
    database: sqlite3.Connection, seq: int, path: str, state: FileState, fragments: Sequence[Fragment]
) -> int:
    """Replaces all that is known of a file, and journals it; returns the file's id."""
    known = database.execute("SELECT id, hash, buffer, saved FROM file WHERE path=?", (write_path(path),)).fetchone()
    old = _pieces(database, known[0]) if known else []
    file = _write_file(database, path, state)
    _delete_fragments(database, file)
    contents = [_content(database, fragment) for fragment in fragments]
    _insert_fragments(database, file, fragments, contents)
    new = [
        (clean(part.kind), clean(part.name), part.part, content)
        for part, content in zip(fragments, contents, strict=True)
    ]
    record_change(
        database, seq, (file, write_path(path)), (known[1] if known else None, state.hash), buffer=state.buffer
    )
    if known:
        _journal_edits(database, seq, known, (old, new), buffer=state.buffer)
    return file


def remove_file(database: sqlite3.Connection, seq: int, path: str) -> int | None:
    """Forgets a file and its fragments, and journals it; returns the file's id if it was known."""
    known = database.execute("SELECT id, hash, buffer, saved FROM file WHERE path=?", (write_path(path),)).fetchone()
    if known is None:
        return None
    old = _pieces(database, known[0])
    _delete_fragments(database, known[0])
    database.execute("DELETE FROM file WHERE id=?", (known[0],))
    record_change(database, seq, (known[0], write_path(path)), (known[1], None), buffer=False)
    record_edits(database, seq, unpack_pieces(known[3]) if known[3] else old, [])
    return int(known[0])


def _journal_edits(
    database: sqlite3.Connection,
    seq: int,
    known: tuple[int, str, int, str | None],
    pieces: tuple[list[Piece], list[Piece]],
    *,
    buffer: bool,
) -> None:
    """Counts edits between saved versions only: the last one is kept while a buffer lies over it."""
    old, new = pieces
    file, _, was_buffer, saved = known
    if buffer:
        if not was_buffer:
            database.execute("UPDATE file SET saved=? WHERE id=?", (pack_pieces(old), file))
        return
    if saved or not was_buffer:
        record_edits(database, seq, unpack_pieces(saved) if saved else old, new)
    database.execute("UPDATE file SET saved=NULL WHERE id=?", (file,))


def _write_file(database: sqlite3.Connection, path: str, state: FileState) -> int:
    values = file_row(write_path(path), state)
    database.execute(_INSERT_FILE, (*values, row_check(*values)))
    return int(database.execute("SELECT id FROM file WHERE path=?", (values[0],)).fetchone()[0])


def _pieces(database: sqlite3.Connection, file: int) -> list[Piece]:
    return database.execute(
        "SELECT kind, name, part, content_id FROM fragment WHERE file_id=? ORDER BY id", (file,)
    ).fetchall()


def _delete_fragments(database: sqlite3.Connection, file: int) -> None:
    """Deletes a file's fragments; their contents stay, so that they need not be embedded again."""
    database.execute(
        "UPDATE content SET touched=? WHERE id IN (SELECT content_id FROM fragment WHERE file_id=?)",
        (time.time(), file),
    )
    database.execute("DELETE FROM fragment WHERE file_id=?", (file,))


def _insert_fragments(
    database: sqlite3.Connection, file: int, fragments: Sequence[Fragment], contents: Sequence[int]
) -> None:
    rows = []
    for fragment, content in zip(fragments, contents, strict=True):
        row = fragment_row(fragment)
        rows.append((file, content, *row, row_check(file, content, *row[:-1])))
    database.executemany(_INSERT_FRAGMENT, rows)


def _content(database: sqlite3.Connection, fragment: Fragment) -> int:
    """The id of a fragment's text, stored once for each content hash."""
    digest = bytes.fromhex(fragment.digest)
    row = database.execute("SELECT id, length(body) FROM content WHERE digest=?", (digest,)).fetchone()
    if row and row[1]:
        return int(row[0])
    text = fragment.text
    values = (digest, write_body(text), write_terms(count_terms(text)), sketch(text).tobytes(), time.time())
    if row:
        query = "UPDATE content SET digest=?, body=?, terms=?, sketch=?, touched=? WHERE id=?"
        database.execute(query, (*values, row[0]))
        return int(row[0])
    query = "INSERT INTO content(digest, body, terms, sketch, touched) VALUES(?, ?, ?, ?, ?)"
    cursor = database.execute(query, values)
    return int(cursor.lastrowid or 0)
