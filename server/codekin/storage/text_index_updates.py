"""Keeps the text index up to date with the database and gives readers its newest commit.

The database names the folder in use. It is updated from the journal, and rebuilt beside the old one when it is
damaged or belongs to another database.
"""

import shutil
import sqlite3
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from codekin.errors import StoreError
from codekin.storage.database import (
    decompress_text,
    increment_sequence,
    read_meta_value,
    read_sequence,
    transaction,
    write_meta_value,
)
from codekin.storage.text_index import (
    FORMAT_VERSION,
    STAMP_NAME,
    TextIndexEntry,
    TextIndexReader,
    TextIndexWriter,
    read_stamp,
)

_SELECT_ENTRIES = (
    "SELECT chunk.id, file_id, language, kind, name, body FROM chunk"
    " JOIN content ON content.id=content_id WHERE file_id=? ORDER BY chunk.id"
)
_COMMIT_DELAY = 0.3
_BULK_FILES = 500
_BULK_COMMIT_DELAY = 5.0
_DELETED_ALLOWANCE = 5_000
_FOLDER_PATTERNS = ("text-index-*", "lexical-*")
"""Folders of text indexes, those of 0.1.0 too."""


class TextIndexUpdater:
    """The writer's side: remembers which files wait, and commits them in batches."""

    def __init__(self, database: sqlite3.Connection, folder: Path) -> None:
        self._database = database
        self._folder = folder
        self._pending: set[int] = set()
        self._since = 0.0
        self._writer = _open_writer(database, folder)
        self.flush(force=True)

    def mark_changed(self, file: int) -> None:
        """Remembers that a file's entries must be replaced."""
        if not self._pending:
            self._since = time.monotonic()
        self._pending.add(file)

    def flush(self, *, force: bool = False) -> None:
        """Commits when entries wait: soon for a few, less often in a long run of many."""
        if self._database.in_transaction:
            return
        delay = _COMMIT_DELAY if len(self._pending) < _BULK_FILES else _BULK_COMMIT_DELAY
        if force or (self._pending and time.monotonic() - self._since >= delay):
            self._catch_up()

    def close(self) -> None:
        """Commits what waits and closes the folder."""
        if self._pending:
            self._catch_up()
        self._writer.close()

    def abandon(self) -> None:
        """Closes the folder without committing."""
        self._writer.close()

    def is_valid(self) -> bool:
        """Whether the folder in use can be read by others as it was written."""
        return open_current_reader(self._database, self._folder, None)[0] is not None

    def rebuild(self) -> None:
        """Builds the folder anew from the truth; readers move over once it is whole."""
        self._writer.close()
        self._writer = TextIndexWriter(rebuild(self._database, self._folder))
        self._catch_up()

    def _catch_up(self) -> None:
        """Replaces the entries of all files that changed since the folder's stamp, and commits."""
        seq, done = read_sequence(self._database), self._writer.stamp.seq
        if seq == done:
            self._pending.clear()
            return
        try:
            self._write(done, seq)
        except StoreError:
            self._writer.close()
            self._writer = TextIndexWriter(rebuild(self._database, self._folder))
            self._write(-1, read_sequence(self._database))
        self._pending.clear()

    def _write(self, done: int, seq: int) -> None:
        for file in _changed_files(self._database, done):
            self._writer.replace(file, read_entries(self._database, file))
        self._writer.commit(seq, _instance_id(self._database))


def read_entries(database: sqlite3.Connection, file: int) -> Iterator[TextIndexEntry]:
    """The text index entries of one file."""
    for key, owner, language, kind, name, body in database.execute(_SELECT_ENTRIES, (file,)).fetchall():
        yield TextIndexEntry(key, owner, language, kind, name, decompress_text(body) or "")


def is_behind(database: sqlite3.Connection, folder: Path) -> bool:
    """Whether words of some change cannot be found yet."""
    stamp = read_stamp(_current_folder(database, folder))
    done = stamp.seq
    return database.execute("SELECT 1 FROM change WHERE seq>? LIMIT 1", (done,)).fetchone() is not None


def open_current_reader(
    database: sqlite3.Connection, folder: Path, known: TextIndexReader | None
) -> tuple[TextIndexReader | None, bool]:
    """The reader of the folder in use, reloaded if it moved, and whether damage was met; None while unusable."""
    current = _current_folder(database, folder)
    stamp = read_stamp(current)
    if stamp.instance != _instance_id(database):
        return None, (current / STAMP_NAME).exists()
    try:
        if known is None or known.folder != current:
            known = TextIndexReader(current)
        elif known.stamp != stamp:
            known.reload()
        return (known, False) if known.is_complete() else (None, True)
    except StoreError:
        return None, True


def _changed_files(database: sqlite3.Connection, since: int) -> list[int]:
    """Files that changed after `since`; all of them when the folder is new or the journal is shorter."""
    if since < int(read_meta_value(database, "journal_from") or 0):
        return [file for (file,) in database.execute("SELECT id FROM file ORDER BY id")]
    return [
        file for (file,) in database.execute("SELECT DISTINCT file_id FROM change WHERE seq>? ORDER BY seq", (since,))
    ]


def _open_writer(database: sqlite3.Connection, folder: Path) -> TextIndexWriter:
    """The folder in use, or a fresh one when it is damaged or not of this truth."""
    current = _current_folder(database, folder)
    usable, _ = open_current_reader(database, folder, None)
    if usable is not None and usable.stamp.seq <= read_sequence(database) and not _mostly_deleted(usable):
        return TextIndexWriter(current)
    return TextIndexWriter(rebuild(database, folder))


def _mostly_deleted(reader: TextIndexReader) -> bool:
    """Whether most entries ever added are gone; tantivy counts them in its statistics until it merges them away."""
    return reader.stamp.added > 2 * reader.documents + _DELETED_ALLOWANCE


def rebuild(database: sqlite3.Connection, folder: Path) -> Path:
    """Puts a new, empty folder into use and deletes the old ones."""
    with transaction(database):
        write_meta_value(database, "text_index", f"text-index-{increment_sequence(database)}")
    current = _current_folder(database, folder)
    remove_folders(path for name in _FOLDER_PATTERNS for path in folder.glob(name) if path != current)
    shutil.rmtree(current, ignore_errors=True)
    return current


def remove_folders(paths: Iterable[Path]) -> None:
    """Deletes folders that are no longer in use."""
    for path in paths:
        shutil.rmtree(path, ignore_errors=True)


def _current_folder(database: sqlite3.Connection, folder: Path) -> Path:
    return folder / str(read_meta_value(database, "text_index") or "text-index-0")


def _instance_id(database: sqlite3.Connection) -> str:
    """Which truth a folder must belong to, and by which layout."""
    return f"{read_meta_value(database, 'instance')}/{FORMAT_VERSION}"
