"""Gives back the room of what nobody needs any more.

Texts and vectors of removed fragments are kept for a while, since branches come back; the
journal for longer, since learning may be behind. A vector file is written anew, as another
file, once most of it is dead; readers of the old one move over by themselves.
"""

import sqlite3
import time
from pathlib import Path

import numpy as np

from codekin.index.schema import meta, next_sequence, set_meta, transaction
from codekin.index.spaces import Space, spaces, sweep, vector_path, write_note
from codekin.index.vectors import append_records, open_records

DAY = 24 * 3600.0
_TEXTS_KEPT = 30 * DAY
_JOURNAL_KEPT = 180 * DAY
_FEWEST_SLOTS = 4096
_BLOCK = 8192


def is_due(database: sqlite3.Connection) -> bool:
    """Whether a day has gone by since the last time."""
    return time.time() - float(meta(database, "compacted") or 0.0) > DAY


def compact(database: sqlite3.Connection, folder: Path, now: float | None = None) -> None:
    """Forgets old history and unused texts, and rewrites vector files that are mostly dead."""
    now = time.time() if now is None else now
    with transaction(database):
        _forget_history(database, now - _JOURNAL_KEPT)
        _forget_texts(database, now - _TEXTS_KEPT)
        set_meta(database, "compacted", now)
    for space in spaces(database):
        live = database.execute("SELECT COUNT(*) FROM vector WHERE space_id=?", (space.id,)).fetchone()[0]
        if space.slots >= _FEWEST_SLOTS and live < space.slots / 2:
            with transaction(database):
                _rewrite(database, folder, space)
    sweep(database, folder)


def _forget_history(database: sqlite3.Connection, before: float) -> None:
    last = database.execute("SELECT MAX(seq) FROM change WHERE ts<?", (before,)).fetchone()[0]
    if last is not None:
        database.execute("DELETE FROM edit WHERE seq<=?", (last,))
        database.execute("DELETE FROM change WHERE seq<=?", (last,))
        set_meta(database, "journal_from", last)


def _forget_texts(database: sqlite3.Connection, before: float) -> None:
    """Deletes texts that no fragment, no edit and no saved file under a buffer refers to."""
    if database.execute("SELECT 1 FROM file WHERE saved IS NOT NULL LIMIT 1").fetchone():
        return
    database.execute(
        "DELETE FROM content WHERE touched<?"
        " AND NOT EXISTS (SELECT 1 FROM fragment WHERE content_id=content.id)"
        " AND id NOT IN (SELECT old_content FROM edit WHERE old_content IS NOT NULL)"
        " AND id NOT IN (SELECT new_content FROM edit WHERE new_content IS NOT NULL)",
        (before,),
    )
    database.execute("DELETE FROM vector WHERE content_id NOT IN (SELECT id FROM content)")


def _rewrite(database: sqlite3.Connection, folder: Path, space: Space) -> None:
    """Copies the records in use to a new file under a new space id, in the caller's transaction."""
    rows = database.execute(
        "SELECT slot, content_id FROM vector WHERE space_id=? ORDER BY slot", (space.id,)
    ).fetchall()
    records = open_records(vector_path(folder, space), space.dimensions, space.slots)
    number = 1 + int(database.execute("SELECT MAX(id) FROM space").fetchone()[0])
    fresh = Space(number, space.fingerprint, space.name, space.dimensions, space.state, len(rows))
    write_note(folder, fresh)
    slots = np.array([slot for slot, _ in rows], np.int64)
    for start in range(0, len(slots), _BLOCK):
        append_records(vector_path(folder, fresh), start, np.ascontiguousarray(records[slots[start : start + _BLOCK]]))
    database.execute("DELETE FROM vector WHERE space_id=?", (space.id,))
    found = [(number, content, slot) for slot, (_, content) in enumerate(rows)]
    database.executemany("INSERT INTO vector VALUES(?, ?, ?)", found)
    database.execute("UPDATE space SET id=?, slots=? WHERE id=?", (number, len(rows), space.id))
    next_sequence(database)
