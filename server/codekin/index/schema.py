"""The SQLite file of one workspace: its tables, its opening and its health.

SQLite in WAL mode is the only truth; everything else in the folder is rebuilt from it or
from the working tree. Rows carry a checksum, since SQLite does not notice flipped bits in
a value. Paths are bytes, since file names need not be UTF-8.
"""

import sqlite3
import time
import uuid
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from codekin.errors import StoreError

VERSION = 3
DATABASE = "index.sqlite"
DAMAGE = (sqlite3.DatabaseError, ValueError, TypeError)
"""What reading a damaged database may raise, beside the checks of this room."""

_CIRCUMSTANCES = {
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_INTERRUPT,
}

_TABLES = """
CREATE TABLE meta(key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE file(
  id INTEGER PRIMARY KEY AUTOINCREMENT, path BLOB NOT NULL UNIQUE, size INTEGER NOT NULL,
  mtime_ns INTEGER NOT NULL, inode INTEGER NOT NULL, hash TEXT NOT NULL, language TEXT NOT NULL,
  skipped TEXT NOT NULL, buffer INTEGER NOT NULL, saved BLOB, checked INTEGER NOT NULL);
CREATE TABLE content(
  id INTEGER PRIMARY KEY AUTOINCREMENT, digest BLOB NOT NULL UNIQUE, body BLOB NOT NULL,
  terms BLOB NOT NULL, sketch BLOB NOT NULL, touched REAL NOT NULL);
CREATE TABLE fragment(
  id INTEGER PRIMARY KEY AUTOINCREMENT, file_id INTEGER NOT NULL, content_id INTEGER NOT NULL,
  language TEXT NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL, start_line INTEGER NOT NULL,
  end_line INTEGER NOT NULL, part INTEGER NOT NULL, sample INTEGER NOT NULL, detail BLOB NOT NULL,
  checked INTEGER NOT NULL);
CREATE INDEX fragment_by_file ON fragment(file_id);
CREATE INDEX fragment_by_content ON fragment(content_id);
CREATE TABLE space(
  id INTEGER PRIMARY KEY AUTOINCREMENT, fingerprint TEXT NOT NULL UNIQUE, name TEXT NOT NULL,
  dimensions INTEGER NOT NULL, checked INTEGER NOT NULL, state TEXT NOT NULL, slots INTEGER NOT NULL);
CREATE TABLE vector(
  space_id INTEGER NOT NULL, content_id INTEGER NOT NULL, slot INTEGER NOT NULL,
  PRIMARY KEY(space_id, content_id)) WITHOUT ROWID;
CREATE UNIQUE INDEX vector_by_slot ON vector(space_id, slot);
CREATE TABLE change(
  seq INTEGER PRIMARY KEY, ts REAL NOT NULL, file_id INTEGER NOT NULL, path BLOB NOT NULL,
  old_hash TEXT, new_hash TEXT, buffer INTEGER NOT NULL);
CREATE TABLE edit(
  seq INTEGER NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL,
  old_content INTEGER, new_content INTEGER);
CREATE INDEX edit_by_seq ON edit(seq);
"""


def connect(folder: Path, *, write: bool) -> sqlite3.Connection:
    """Opens (and when writing, creates) the database.

    Raises StoreError when a reader finds none or a damaged one, DAMAGE when the writer does.
    """
    path = folder / DATABASE
    if not write and not path.exists():
        raise StoreError(f"no index in {folder} yet: run `codekin index` in the workspace")
    database = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
    try:
        _prepare(database, write=write)
    except BaseException as error:
        database.close()
        if write or not isinstance(error, DAMAGE):
            raise
        raise StoreError(f"the index database {path} cannot be read ({error}): `codekin index` rebuilds it") from error
    return database


def is_damage(error: Exception) -> bool:
    """Whether a failure means damaged data, rather than a lock, a full disk or a missing permission."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
    return code not in _CIRCUMSTANCES


def _prepare(database: sqlite3.Connection, *, write: bool) -> None:
    database.text_factory = _decode
    database.execute("PRAGMA busy_timeout=30000")
    if write:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=NORMAL")
        _create(database)
    else:
        database.execute("PRAGMA query_only=1")
    if (version := meta(database, "version")) != VERSION:
        raise sqlite3.DatabaseError(f"its layout is version {version}, this program's is {VERSION}")


def _decode(text: bytes) -> str:
    """Text of a column; damaged bytes must reach the checksums instead of raising here."""
    return text.decode("utf-8", "replace")


def _create(database: sqlite3.Connection) -> None:
    """Creates the tables in one transaction, so that a crash leaves either none or all."""
    with transaction(database):
        if database.execute("SELECT 1 FROM sqlite_master WHERE name='meta'").fetchone():
            return
        for statement in _TABLES.split(";"):
            database.execute(statement)
        values = {"version": VERSION, "seq": 0, "instance": uuid.uuid4().hex, "created": time.time()}
        database.executemany("INSERT INTO meta VALUES(?, ?)", values.items())


@contextmanager
def transaction(database: sqlite3.Connection) -> Iterator[None]:
    """A write transaction; nested ones join the outer one."""
    if database.in_transaction:
        yield
        return
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
        database.execute("COMMIT")
    except BaseException:
        if database.in_transaction:
            database.execute("ROLLBACK")
        raise


def meta(database: sqlite3.Connection, key: str) -> int | str | float | None:
    """One value of the meta table."""
    row = database.execute("SELECT value FROM meta WHERE key=?", (key,)).fetchone()
    value: int | str | float | None = row[0] if row else None
    return value


def set_meta(database: sqlite3.Connection, key: str, value: float | str) -> None:
    """Sets one value of the meta table."""
    database.execute("INSERT OR REPLACE INTO meta VALUES(?, ?)", (key, value))


def sequence(database: sqlite3.Connection) -> int:
    """The number of the last committed write; readers refresh by it."""
    return int(meta(database, "seq") or 0)


def next_sequence(database: sqlite3.Connection) -> int:
    """Counts one more write; call inside a transaction."""
    database.execute("UPDATE meta SET value=value+1 WHERE key='seq'")
    return sequence(database)


def row_check(*values: object) -> int:
    """Checksum of a row's values, 32 bits."""
    return zlib.crc32(repr(values).encode("utf-8", "surrogatepass"))
