"""Finds and repairs damage in an index folder, and compacts it.

Damaged rows are deleted with their file, which the next scan reads again; damaged vectors are embedded again. An
unreadable database is replaced: the readable part of the journal and all valid vectors are kept. Compaction deletes
old history and unused texts, and rewrites vector files that are mostly unused.
"""

import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np

from codekin.errors import StoreError
from codekin.protocols import EmbeddingSpace
from codekin.storage.database import (
    DAMAGE_ERRORS,
    DATABASE_NAME,
    connect,
    decode_detail,
    decompress_text,
    increment_sequence,
    read_meta_value,
    read_sequence,
    transaction,
    write_meta_value,
)
from codekin.storage.snapshot import load_snapshot
from codekin.storage.terms import decode_terms
from codekin.storage.vectors import (
    append_records,
    delete_unused_files,
    import_vector_file,
    open_records,
    read_space_metadata,
    read_spaces,
    valid_records,
    vector_path,
    write_space_metadata,
)

_INSPECTION_MARKER = "inspect"
_TEXTS_PER_BLOCK = 2000
_SEQUENCE_JUMP = 1_000_000

JournalRow = tuple[int, float, int, bytes, str | None, str | None, int]


def request_inspection(folder: Path) -> None:
    """Reports possible damage to the writer; never fails."""
    try:
        (folder / _INSPECTION_MARKER).touch()
    except OSError:
        return


def inspection_requested(folder: Path) -> bool:
    """Whether an inspection was requested since the last one."""
    return (folder / _INSPECTION_MARKER).exists()


def clear_inspection_request(folder: Path) -> None:
    """Notes that an inspection has been done."""
    (folder / _INSPECTION_MARKER).unlink(missing_ok=True)


def find_damaged_files(folder: Path) -> set[int]:
    """Files whose rows, chunks or texts fail their checksums.

    Reads through a connection of its own; raises sqlite3.DatabaseError when the structure is damaged.
    """
    with closing(connect(folder, write=False)) as database:
        check_structure(database)
        return set(load_snapshot(database).damaged) | set(_find_damaged_texts(database))


def _find_damaged_texts(database: sqlite3.Connection) -> Iterator[int]:
    """Files with a chunk whose text or detail cannot be read, a block at a time."""
    query = (
        "SELECT chunk.id, file_id, detail, body, terms FROM chunk JOIN content ON content.id=content_id"
        " WHERE chunk.id>? ORDER BY chunk.id LIMIT ?"
    )
    last = 0
    while rows := database.execute(query, (last, _TEXTS_PER_BLOCK)).fetchall():
        last = rows[-1][0]
        for _, file, detail, body, terms in rows:
            try:
                decode_detail(detail)
                decompress_text(body)
                decode_terms(terms)
            except StoreError:
                yield file


def find_damaged_slots(database: sqlite3.Connection, folder: Path, space: EmbeddingSpace) -> list[tuple[int, int]]:
    """Slot and content id of the space's vectors that are cut off, altered, or not of the content that claims them."""
    claims = database.execute(
        "SELECT slot, content_id, digest FROM vector LEFT JOIN content ON content.id=content_id WHERE space_id=?",
        (space.id,),
    ).fetchall()
    records = open_records(vector_path(folder, space), space.dimensions, space.slots)
    valid = valid_records(records)
    found = []
    for slot, content, digest in claims:
        if not (0 <= slot < len(records)) or not valid[slot] or records["digest"][slot].tobytes() != digest:
            found.append((slot, content))
    return found


def remove_damaged(database: sqlite3.Connection, folder: Path, files: set[int]) -> list[str]:
    """Deletes damaged files and vectors; returns sentences on what was done."""
    messages = []
    with transaction(database):
        for space in read_spaces(database):
            if bad := find_damaged_slots(database, folder, space):
                database.executemany("DELETE FROM vector WHERE space_id=? AND slot=?", [(space.id, s) for s, _ in bad])
                messages.append(f"{len(bad)} damaged vectors are embedded again.")
        if files:
            _remove_damaged_files(database, files)
            messages.append(f"{len(files)} files with damaged entries are read again.")
        if messages:
            increment_sequence(database)
    return messages


def _remove_damaged_files(database: sqlite3.Connection, files: set[int]) -> None:
    """Forgets files with their chunks and texts, so that everything of them is written again."""
    for file in files:
        contents = "SELECT content_id FROM chunk WHERE file_id=?"
        database.execute(f"DELETE FROM vector WHERE content_id IN ({contents})", (file,))  # noqa: S608
        database.execute(f"UPDATE content SET body=x'' WHERE id IN ({contents})", (file,))  # noqa: S608
        database.execute("DELETE FROM chunk WHERE file_id=?", (file,))
        database.execute("DELETE FROM file WHERE id=?", (file,))
        change = (increment_sequence(database), time.time(), file)
        database.execute("INSERT INTO change VALUES(?, ?, ?, x'', NULL, NULL, 1)", change)


def open_for_writing(folder: Path) -> sqlite3.Connection:
    """The database for writing, with its counters put right; sqlite3.DatabaseError when it is damaged."""
    database = connect(folder, write=True)
    try:
        if inspection_requested(folder):
            check_structure(database)
        _raise_counters(database)
        delete_unused_files(database, folder)
    except BaseException:
        database.close()
        raise
    return database


def check_structure(database: sqlite3.Connection) -> None:
    """Raises sqlite3.DatabaseError unless SQLite finds its own structure whole."""
    found = database.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise sqlite3.DatabaseError(found)


_PUT_AWAY = "not-ours-"


def put_folders_away(folder: Path) -> None:
    """Gives folders that stand where files of the index belong another name: they may hold somebody's files."""
    for path in (*folder.glob(DATABASE_NAME + "*"), *folder.glob("vectors-*.f16")):
        if path.is_dir() and not path.is_symlink():
            path.rename(path.with_name(f"{_PUT_AWAY}{path.name}-{path.stat().st_ino}"))


def replace_database(folder: Path) -> None:
    """Replaces an unreadable database by a fresh one with the rest of the journal and all sound vectors."""
    journal = _read_remaining_journal(folder / DATABASE_NAME)
    last = max((row[0] for row in journal), default=0)
    for suffix in ("", "-wal", "-shm"):
        (folder / (DATABASE_NAME + suffix)).unlink(missing_ok=True)
    for unused in (*folder.glob("lexical-*"), *folder.glob("text-index-*")):
        shutil.rmtree(unused, ignore_errors=True)
    database = connect(folder, write=True)
    with transaction(database):
        database.executemany("INSERT OR IGNORE INTO change VALUES(?, ?, ?, ?, ?, ?, ?)", journal)
        write_meta_value(database, "seq", last + _SEQUENCE_JUMP)
        write_meta_value(database, "journal_from", read_sequence(database))
        for space, path in read_space_metadata(folder):
            import_vector_file(database, folder, space, path)
    database.close()


def _read_remaining_journal(path: Path) -> list[JournalRow]:
    """The rows of the journal that can still be read."""
    rows: list[JournalRow] = []
    try:
        database = sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)
        found = database.execute("SELECT seq, ts, file_id, path, old_hash, new_hash, buffer FROM change")
        rows.extend(row for row in found if isinstance(row[0], int) and isinstance(row[3], bytes))
    except DAMAGE_ERRORS:
        return rows
    database.close()
    return rows


def _raise_counters(database: sqlite3.Connection) -> None:
    """Raises counters that are too low, so that nothing live is overwritten."""
    with transaction(database):
        last = database.execute("SELECT MAX(seq) FROM change").fetchone()[0] or 0
        if read_sequence(database) < last:
            write_meta_value(database, "seq", last)
        database.execute(
            "UPDATE space SET slots=(SELECT MAX(slot)+1 FROM vector WHERE space_id=space.id)"
            " WHERE slots<(SELECT MAX(slot)+1 FROM vector WHERE space_id=space.id)"
        )


SECONDS_PER_DAY = 24 * 3600.0
_TEXT_RETENTION = 30 * SECONDS_PER_DAY
_JOURNAL_RETENTION = 180 * SECONDS_PER_DAY
_MIN_SLOTS = 4096
_RECORDS_PER_COPY = 8192


def compaction_is_due(database: sqlite3.Connection) -> bool:
    """Whether a day has gone by since the last time."""
    return time.time() - float(read_meta_value(database, "compacted") or 0.0) > SECONDS_PER_DAY


def compact_index(database: sqlite3.Connection, folder: Path, now: float | None = None) -> None:
    """Deletes old history and unused texts, and rewrites vector files that are mostly unused."""
    now = time.time() if now is None else now
    with transaction(database):
        _delete_old_changes(database, now - _JOURNAL_RETENTION)
        _delete_unused_texts(database, now - _TEXT_RETENTION)
        write_meta_value(database, "compacted", now)
    for space in read_spaces(database):
        live = database.execute("SELECT COUNT(*) FROM vector WHERE space_id=?", (space.id,)).fetchone()[0]
        if space.slots >= _MIN_SLOTS and live < space.slots / 2:
            with transaction(database):
                _rewrite_vector_file(database, folder, space)
    delete_unused_files(database, folder)


def _delete_old_changes(database: sqlite3.Connection, before: float) -> None:
    last = database.execute("SELECT MAX(seq) FROM change WHERE ts<?", (before,)).fetchone()[0]
    if last is not None:
        database.execute("DELETE FROM edit WHERE seq<=?", (last,))
        database.execute("DELETE FROM change WHERE seq<=?", (last,))
        write_meta_value(database, "journal_from", last)


def _delete_unused_texts(database: sqlite3.Connection, before: float) -> None:
    """Deletes texts that no chunk, no edit and no saved file under a buffer refers to."""
    if database.execute("SELECT 1 FROM file WHERE saved IS NOT NULL LIMIT 1").fetchone():
        return
    database.execute(
        "DELETE FROM content WHERE last_used<?"
        " AND NOT EXISTS (SELECT 1 FROM chunk WHERE content_id=content.id)"
        " AND id NOT IN (SELECT old_content FROM edit WHERE old_content IS NOT NULL)"
        " AND id NOT IN (SELECT new_content FROM edit WHERE new_content IS NOT NULL)",
        (before,),
    )
    database.execute("DELETE FROM vector WHERE content_id NOT IN (SELECT id FROM content)")


def _rewrite_vector_file(database: sqlite3.Connection, folder: Path, space: EmbeddingSpace) -> None:
    """Copies the records in use to a new file under a new space id, in the caller's transaction."""
    rows = database.execute(
        "SELECT slot, content_id FROM vector WHERE space_id=? ORDER BY slot", (space.id,)
    ).fetchall()
    records = open_records(vector_path(folder, space), space.dimensions, space.slots)
    number = 1 + int(database.execute("SELECT MAX(id) FROM space").fetchone()[0])
    rewritten = EmbeddingSpace(number, space.fingerprint, space.name, space.dimensions, space.state, len(rows))
    write_space_metadata(folder, rewritten)
    slots = np.array([slot for slot, _ in rows], np.int64)
    for start in range(0, len(slots), _RECORDS_PER_COPY):
        append_records(
            vector_path(folder, rewritten),
            start,
            np.ascontiguousarray(records[slots[start : start + _RECORDS_PER_COPY]]),
        )
    database.execute("DELETE FROM vector WHERE space_id=?", (space.id,))
    found = [(number, content, slot) for slot, (_, content) in enumerate(rows)]
    database.executemany("INSERT INTO vector VALUES(?, ?, ?)", found)
    database.execute("UPDATE space SET id=?, slots=? WHERE id=?", (number, len(rows), space.id))
    increment_sequence(database)
