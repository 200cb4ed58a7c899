"""Finds damage in a workspace's folder and takes out what is damaged, so that it is made anew.

Damaged rows of files and fragments go with their file, which the next scan reads again;
damaged vectors are embedded again. A database that SQLite itself cannot read is replaced:
what is left of the journal moves over, and vectors are read back from their own files.
"""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from codekin.errors import StoreError
from codekin.index.rows import read_body, read_detail
from codekin.index.schema import DAMAGE, DATABASE, connect, next_sequence, sequence, set_meta, transaction
from codekin.index.snapshot import load
from codekin.index.spaces import Space, adopt, recorded_spaces, spaces, sweep, vector_path
from codekin.index.terms import read_terms
from codekin.index.vectors import open_records, sound_records

_MARKER = "inspect"
_BLOCK = 2000
_LEAP = 1_000_000

JournalRow = tuple[int, float, int, bytes, str | None, str | None, int]


def ask_for_inspection(folder: Path) -> None:
    """Tells the writer that something looked damaged; never fails."""
    try:
        (folder / _MARKER).touch()
    except OSError:
        return


def inspection_wanted(folder: Path) -> bool:
    """Whether someone asked since the last inspection."""
    return (folder / _MARKER).exists()


def inspected(folder: Path) -> None:
    """Notes that an inspection has been done."""
    (folder / _MARKER).unlink(missing_ok=True)


def look_for_damage(folder: Path) -> set[int]:
    """Files whose rows, fragments or texts fail their checksums.

    Reads through a connection of its own; raises sqlite3.DatabaseError when the structure is damaged.
    """
    with closing(connect(folder, write=False)) as database:
        check_structure(database)
        return set(load(database).damaged) | set(_damaged_texts(database))


def _damaged_texts(database: sqlite3.Connection) -> Iterator[int]:
    """Files with a fragment whose text or detail cannot be read, a block at a time."""
    query = (
        "SELECT fragment.id, file_id, detail, body, terms FROM fragment JOIN content ON content.id=content_id"
        " WHERE fragment.id>? ORDER BY fragment.id LIMIT ?"
    )
    last = 0
    while rows := database.execute(query, (last, _BLOCK)).fetchall():
        last = rows[-1][0]
        for _, file, detail, body, terms in rows:
            try:
                read_detail(detail)
                read_body(body)
                read_terms(terms)
            except StoreError:
                yield file


def damaged_slots(database: sqlite3.Connection, folder: Path, space: Space) -> list[tuple[int, int]]:
    """Slot and content id of the space's vectors that are cut off, altered, or not of the content that claims them."""
    claims = database.execute(
        "SELECT slot, content_id, digest FROM vector LEFT JOIN content ON content.id=content_id WHERE space_id=?",
        (space.id,),
    ).fetchall()
    records = open_records(vector_path(folder, space), space.dimensions, space.slots)
    sound = sound_records(records)
    found = []
    for slot, content, digest in claims:
        if not (0 <= slot < len(records)) or not sound[slot] or records["digest"][slot].tobytes() != digest:
            found.append((slot, content))
    return found


def take_out(database: sqlite3.Connection, folder: Path, files: set[int]) -> list[str]:
    """Deletes damaged files and vectors; returns sentences on what was done."""
    told = []
    with transaction(database):
        for space in spaces(database):
            if bad := damaged_slots(database, folder, space):
                database.executemany("DELETE FROM vector WHERE space_id=? AND slot=?", [(space.id, s) for s, _ in bad])
                told.append(f"{len(bad)} damaged vectors are computed anew.")
        if files:
            _take_out_files(database, files)
            told.append(f"{len(files)} files with damaged entries are read anew.")
        if told:
            next_sequence(database)
    return told


def _take_out_files(database: sqlite3.Connection, files: set[int]) -> None:
    """Forgets files with their fragments and texts, so that everything of them is written again."""
    for file in files:
        contents = "SELECT content_id FROM fragment WHERE file_id=?"
        database.execute(f"DELETE FROM vector WHERE content_id IN ({contents})", (file,))  # noqa: S608
        database.execute(f"UPDATE content SET body=x'' WHERE id IN ({contents})", (file,))  # noqa: S608
        database.execute("DELETE FROM fragment WHERE file_id=?", (file,))
        database.execute("DELETE FROM file WHERE id=?", (file,))
        change = (next_sequence(database), time.time(), file)
        database.execute("INSERT INTO change VALUES(?, ?, ?, x'', NULL, NULL, 1)", change)


def open_sound(folder: Path) -> sqlite3.Connection:
    """The database for writing, with its counters put right; sqlite3.DatabaseError when it is damaged."""
    database = connect(folder, write=True)
    try:
        if inspection_wanted(folder):
            check_structure(database)
        _fix_counts(database)
        sweep(database, folder)
    except BaseException:
        database.close()
        raise
    return database


def check_structure(database: sqlite3.Connection) -> None:
    """Raises sqlite3.DatabaseError unless SQLite finds its own structure whole."""
    found = database.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise sqlite3.DatabaseError(found)


def salvage(folder: Path) -> None:
    """Replaces an unreadable database by a fresh one with the rest of the journal and all sound vectors."""
    journal = _rest_of_journal(folder / DATABASE)
    last = max((row[0] for row in journal), default=0)
    for suffix in ("", "-wal", "-shm"):
        (folder / (DATABASE + suffix)).unlink(missing_ok=True)
    database = connect(folder, write=True)
    with transaction(database):
        database.executemany("INSERT OR IGNORE INTO change VALUES(?, ?, ?, ?, ?, ?, ?)", journal)
        set_meta(database, "seq", last + _LEAP)
        set_meta(database, "journal_from", sequence(database))
        for space, path in recorded_spaces(folder):
            adopt(database, folder, space, path)
    database.close()


def _rest_of_journal(path: Path) -> list[JournalRow]:
    """The rows of the journal that can still be read."""
    rows: list[JournalRow] = []
    try:
        database = sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)
        found = database.execute("SELECT seq, ts, file_id, path, old_hash, new_hash, buffer FROM change")
        rows.extend(row for row in found if isinstance(row[0], int) and isinstance(row[3], bytes))
    except DAMAGE:
        return rows
    database.close()
    return rows


def _fix_counts(database: sqlite3.Connection) -> None:
    """Lifts counters that lie below what they count, so that nothing live is overwritten."""
    with transaction(database):
        last = database.execute("SELECT MAX(seq) FROM change").fetchone()[0] or 0
        if sequence(database) < last:
            set_meta(database, "seq", last)
        database.execute(
            "UPDATE space SET slots=(SELECT MAX(slot)+1 FROM vector WHERE space_id=space.id)"
            " WHERE slots<(SELECT MAX(slot)+1 FROM vector WHERE space_id=space.id)"
        )
