"""Keeps the lexical folder equal to the truth, and hands readers its newest commit.

The folder in use is named in the database. It is caught up from the journal when it lags,
and built anew, beside the old one, when it is damaged or belongs to another database.
"""

import shutil
import sqlite3
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from codekin.errors import StoreError
from codekin.index.lexical import LAYOUT, STAMP, Entry, LexicalReader, LexicalWriter, read_stamp
from codekin.index.rows import read_body
from codekin.index.schema import meta, next_sequence, sequence, set_meta, transaction

_ENTRIES = (
    "SELECT fragment.id, file_id, language, kind, name, body FROM fragment"
    " JOIN content ON content.id=content_id WHERE file_id=? ORDER BY fragment.id"
)
_SOON = 0.3
_MANY = 500
_SETTLED = 5.0
_WORN_BEYOND = 5_000


class Lexicon:
    """The writer's side: remembers which files wait, and commits them in batches."""

    def __init__(self, database: sqlite3.Connection, folder: Path) -> None:
        self._database = database
        self._folder = folder
        self._waiting: set[int] = set()
        self._since = 0.0
        self._writer = _open_writer(database, folder)
        self.flush(force=True)

    def note(self, file: int) -> None:
        """Remembers that a file's entries must be replaced."""
        if not self._waiting:
            self._since = time.monotonic()
        self._waiting.add(file)

    def flush(self, *, force: bool = False) -> None:
        """Commits when entries wait: soon for a few, less often in a long run of many."""
        if self._database.in_transaction:
            return
        patience = _SOON if len(self._waiting) < _MANY else _SETTLED
        if force or (self._waiting and time.monotonic() - self._since >= patience):
            self._catch_up()

    def close(self) -> None:
        """Commits what waits and lets go of the folder."""
        if self._waiting:
            self._catch_up()
        self._writer.close()

    def abandon(self) -> None:
        """Lets go of the folder without committing."""
        self._writer.close()

    def is_sound(self) -> bool:
        """Whether the folder in use can be read by others as it was written."""
        return current_reader(self._database, self._folder, None)[0] is not None

    def renew(self) -> None:
        """Builds the folder anew from the truth; readers move over once it is whole."""
        self._writer.close()
        self._writer = LexicalWriter(renew(self._database, self._folder))
        self._catch_up()

    def _catch_up(self) -> None:
        """Replaces the entries of all files that changed since the folder's stamp, and commits."""
        seq, done = sequence(self._database), int(self._writer.stamp.get("seq", -1))
        if seq == done:
            self._waiting.clear()
            return
        try:
            self._write(done, seq)
        except StoreError:
            self._writer.close()
            self._writer = LexicalWriter(renew(self._database, self._folder))
            self._write(-1, sequence(self._database))
        self._waiting.clear()

    def _write(self, done: int, seq: int) -> None:
        for file in _changed(self._database, done):
            self._writer.replace(file, entries(self._database, file))
        self._writer.commit(seq, _instance(self._database))


def entries(database: sqlite3.Connection, file: int) -> Iterator[Entry]:
    """The lexical entries of one file."""
    for key, owner, language, kind, name, body in database.execute(_ENTRIES, (file,)).fetchall():
        yield Entry(key, owner, language, kind, name, read_body(body) or "")


def behind(database: sqlite3.Connection, folder: Path) -> bool:
    """Whether words of some change cannot be found yet."""
    stamp = read_stamp(_current(database, folder))
    done = int(stamp.get("seq", -1))
    return database.execute("SELECT 1 FROM change WHERE seq>? LIMIT 1", (done,)).fetchone() is not None


def current_reader(
    database: sqlite3.Connection, folder: Path, known: LexicalReader | None
) -> tuple[LexicalReader | None, bool]:
    """The reader of the folder in use, reloaded if it moved, and whether damage was met; None while unusable."""
    place = _current(database, folder)
    stamp = read_stamp(place)
    if not stamp or stamp.get("instance") != _instance(database):
        return None, (place / STAMP).exists()
    try:
        if known is None or known.folder != place:
            known = LexicalReader(place)
        elif known.stamp != stamp:
            known.reload()
        return (known, False) if known.whole() else (None, True)
    except StoreError:
        return None, True


def _changed(database: sqlite3.Connection, since: int) -> list[int]:
    """Files that changed after `since`; all of them when the folder is new or the journal is shorter."""
    if since < int(meta(database, "journal_from") or 0):
        return [file for (file,) in database.execute("SELECT id FROM file ORDER BY id")]
    return [
        file for (file,) in database.execute("SELECT DISTINCT file_id FROM change WHERE seq>? ORDER BY seq", (since,))
    ]


def _open_writer(database: sqlite3.Connection, folder: Path) -> LexicalWriter:
    """The folder in use, or a fresh one when it is damaged or not of this truth."""
    place = _current(database, folder)
    usable, _ = current_reader(database, folder, None)
    if usable is not None and int(usable.stamp.get("seq", -1)) <= sequence(database) and not _worn(usable):
        return LexicalWriter(place)
    return LexicalWriter(renew(database, folder))


def _worn(reader: LexicalReader) -> bool:
    """Whether most entries ever added are gone; tantivy counts them in its statistics until it merges them away."""
    return reader.added > 2 * reader.documents + _WORN_BEYOND


def renew(database: sqlite3.Connection, folder: Path) -> Path:
    """Puts a new, empty folder into use and deletes the old ones."""
    with transaction(database):
        set_meta(database, "lexical", f"lexical-{next_sequence(database)}")
    place = _current(database, folder)
    remove_folders(path for path in folder.glob("lexical-*") if path != place)
    shutil.rmtree(place, ignore_errors=True)
    return place


def remove_folders(paths: Iterable[Path]) -> None:
    """Deletes folders that are no longer in use."""
    for path in paths:
        shutil.rmtree(path, ignore_errors=True)


def _current(database: sqlite3.Connection, folder: Path) -> Path:
    return folder / str(meta(database, "lexical") or "lexical-0")


def _instance(database: sqlite3.Connection) -> str:
    """Which truth a folder must belong to, and by which layout."""
    return f"{meta(database, 'instance')}/{LAYOUT}"
