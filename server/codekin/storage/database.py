"""The SQLite file of one workspace: tables, connections, transactions, and rows with their checksums.

SQLite in WAL mode is the source of truth; everything else in the folder can be rebuilt from it or from the working
tree. Rows carry a checksum, since SQLite does not notice flipped bits in a value. Paths are bytes, since file names
need not be UTF-8.
"""

import json
import sqlite3
import time
import uuid
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from codekin.errors import StoreError
from codekin.types import Chunk, CodeShape

SCHEMA_VERSION = 4
DATABASE_NAME = "index.sqlite"
DAMAGE_ERRORS = (sqlite3.DatabaseError, ValueError, TypeError)
"""What reading a damaged database may raise, beside the checks of this room."""

MOVED_MESSAGE = "The index was written by an older Codekin and has been moved to today's format; its vectors are kept."

_ENVIRONMENT_ERRORS = {
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
  skipped TEXT NOT NULL, buffer INTEGER NOT NULL, saved BLOB, checksum INTEGER NOT NULL);
CREATE TABLE content(
  id INTEGER PRIMARY KEY AUTOINCREMENT, digest BLOB NOT NULL UNIQUE, body BLOB NOT NULL,
  terms BLOB NOT NULL, sketch BLOB NOT NULL, last_used REAL NOT NULL);
CREATE TABLE chunk(
  id INTEGER PRIMARY KEY AUTOINCREMENT, file_id INTEGER NOT NULL, content_id INTEGER NOT NULL,
  language TEXT NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL, start_line INTEGER NOT NULL,
  end_line INTEGER NOT NULL, part INTEGER NOT NULL, sample INTEGER NOT NULL, detail BLOB NOT NULL,
  checksum INTEGER NOT NULL);
CREATE INDEX chunk_by_file ON chunk(file_id);
CREATE INDEX chunk_by_content ON chunk(content_id);
CREATE TABLE space(
  id INTEGER PRIMARY KEY AUTOINCREMENT, fingerprint TEXT NOT NULL UNIQUE, name TEXT NOT NULL,
  dimensions INTEGER NOT NULL, checksum INTEGER NOT NULL, state TEXT NOT NULL, slots INTEGER NOT NULL);
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
_MOVES = {
    3: """
ALTER TABLE fragment RENAME TO chunk;
ALTER TABLE chunk RENAME COLUMN checked TO checksum;
ALTER TABLE file RENAME COLUMN checked TO checksum;
ALTER TABLE space RENAME COLUMN checked TO checksum;
ALTER TABLE content RENAME COLUMN touched TO last_used;
DROP INDEX fragment_by_file;
DROP INDEX fragment_by_content;
CREATE INDEX chunk_by_file ON chunk(file_id);
CREATE INDEX chunk_by_content ON chunk(content_id);
DELETE FROM meta WHERE key='lexical';
""",
}
"""What leads from a schema version to the next; 3 is that of Codekin 0.1.0."""


class OtherVersionError(sqlite3.DatabaseError):
    """The schema is of another version than this program's."""


def connect(folder: Path, *, write: bool) -> sqlite3.Connection:
    """Opens (and when writing, creates) the database.

    Raises StoreError when a reader finds none or a damaged one, DAMAGE when the writer does.
    """
    path = folder / DATABASE_NAME
    if not write and not path.is_file():
        raise StoreError(f"no index in {folder} yet: run `codekin index` in the workspace")
    database = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
    try:
        _configure(database, write=write)
    except BaseException as error:
        database.close()
        if write or not isinstance(error, DAMAGE_ERRORS):
            raise
        if isinstance(error, OtherVersionError):
            raise StoreError(
                f"the index in {folder} was written by another version of Codekin: run `codekin index` to move it"
            ) from error
        raise StoreError(f"the index database {path} cannot be read ({error}): `codekin index` rebuilds it") from error
    return database


def is_damage(error: Exception) -> bool:
    """Whether a failure means damaged data, rather than a lock, a full disk or a missing permission."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
    return code not in _ENVIRONMENT_ERRORS


def _configure(database: sqlite3.Connection, *, write: bool) -> None:
    database.text_factory = _decode_column
    database.execute("PRAGMA busy_timeout=30000")
    if write:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=NORMAL")
        _create_tables(database)
    else:
        database.execute("PRAGMA query_only=1")
    if (version := read_meta_value(database, "version")) != SCHEMA_VERSION:
        raise OtherVersionError(f"its schema has version {version}, this program reads version {SCHEMA_VERSION}")


def _decode_column(text: bytes) -> str:
    """Text of a column; damaged bytes must reach the checksums instead of raising here."""
    return text.decode("utf-8", "replace")


def _create_tables(database: sqlite3.Connection) -> None:
    """Creates the tables in one transaction, so that a crash leaves either none or all."""
    with transaction(database):
        if database.execute("SELECT 1 FROM sqlite_master WHERE name='meta'").fetchone():
            return
        for statement in _TABLES.split(";"):
            database.execute(statement)
        values = {"version": SCHEMA_VERSION, "seq": 0, "instance": uuid.uuid4().hex, "created": time.time()}
        database.executemany("INSERT INTO meta VALUES(?, ?)", values.items())


def move_to_current_schema(folder: Path) -> bool:
    """Moves the database of an older version to today's schema, if it can; False where there is nothing to move.

    Raises sqlite3.DatabaseError when it is damaged, or of a version from which no step leads here.
    """
    path = folder / DATABASE_NAME
    if not path.exists():
        return False
    with closing(sqlite3.connect(path, timeout=30, isolation_level=None)) as database:
        database.text_factory = _decode_column
        if not database.execute("SELECT 1 FROM sqlite_master WHERE name='meta'").fetchone():
            return False
        moved = False
        with transaction(database):
            while (version := read_meta_value(database, "version")) in _MOVES:
                for statement in _MOVES[int(version or 0)].split(";"):
                    database.execute(statement)
                write_meta_value(database, "version", int(version or 0) + 1)
                moved = True
        return moved


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


def read_meta_value(database: sqlite3.Connection, key: str) -> int | str | float | None:
    """One value of the meta table."""
    row = database.execute("SELECT value FROM meta WHERE key=?", (key,)).fetchone()
    value: int | str | float | None = row[0] if row else None
    return value


def write_meta_value(database: sqlite3.Connection, key: str, value: float | str) -> None:
    """Sets one value of the meta table."""
    database.execute("INSERT OR REPLACE INTO meta VALUES(?, ?)", (key, value))


def read_sequence(database: sqlite3.Connection) -> int:
    """The number of the last committed write; readers refresh by it."""
    return int(read_meta_value(database, "seq") or 0)


def increment_sequence(database: sqlite3.Connection) -> int:
    """Counts one more write; call inside a transaction."""
    database.execute("UPDATE meta SET value=value+1 WHERE key='seq'")
    return read_sequence(database)


def row_checksum(*values: object) -> int:
    """Checksum of a row's values, 32 bits."""
    return zlib.crc32(repr(values).encode("utf-8", "surrogatepass"))


@dataclass(frozen=True, slots=True)
class FileState:
    """The state of a file; `skipped` is the reason why it has no chunks, or empty.

    `buffer`: the chunks are of an unsaved buffer that replaces the file.
    """

    size: int
    mtime_ns: int
    inode: int
    hash: str
    language: str = ""
    skipped: str = ""
    buffer: bool = False


def encode_file_row(path: bytes, state: FileState) -> tuple[bytes, int, int, int, str, str, str, int]:
    """The columns of the file table from `path` to `buffer`."""
    skipped = state.skipped.encode("utf-8", "replace").decode()
    return (path, state.size, state.mtime_ns, state.inode, state.hash, state.language or "", skipped, int(state.buffer))


def decode_file_row(row: tuple[bytes, int, int, int, str, str, str, int, int]) -> tuple[str, FileState]:
    """The path and state of a file row with its check; raises StoreError when damaged."""
    *values, check = row
    if row_checksum(*values) != check:
        raise StoreError("a row of the index is damaged")
    path, size, mtime_ns, inode, digest, language, skipped, buffer = row[:8]
    return decode_path(path), FileState(size, mtime_ns, inode, digest, language, skipped, bool(buffer))


def encode_path(path: str) -> bytes:
    """A path as the bytes that are stored."""
    return path.encode("utf-8", "surrogateescape")


def decode_path(path: bytes) -> str:
    """The reverse of `encode_path`."""
    return path.decode("utf-8", "surrogateescape")


def compress_text(text: str) -> bytes:
    """A text, compressed; zlib's own checksum guards it."""
    return zlib.compress(text.encode("utf-8", "surrogatepass"), 1)


def decompress_text(body: bytes | None) -> str | None:
    """The reverse of `compress_text`; raises StoreError when damaged."""
    try:
        return None if body is None else zlib.decompress(body).decode("utf-8", "surrogatepass")
    except (zlib.error, UnicodeDecodeError) as error:
        raise StoreError("a text of the index is damaged") from error


def encode_detail(chunk: Chunk) -> bytes:
    """The documentation and shape of a chunk, compressed."""
    shape = chunk.shape
    parts = [chunk.doc, shape.uses, shape.behaviours, shape.callbacks, shape.calls, shape.control]
    return zlib.compress(json.dumps(parts).encode(), 1)


def decode_detail(detail: bytes) -> tuple[str, CodeShape]:
    """The reverse of `encode_detail`; raises StoreError when damaged."""
    try:
        doc, *names = json.loads(zlib.decompress(detail))
    except (zlib.error, ValueError) as error:
        raise StoreError("a row of the index is damaged") from error
    return doc, CodeShape(*(tuple(part) for part in names))


def replace_surrogates(name: str) -> str:
    """A name as SQLite can store it."""
    return name.encode("utf-8", "replace").decode()


def encode_chunk_row(chunk: Chunk) -> tuple[str, str, str, int, int, int, int, bytes]:
    """The columns of the chunk table from `language` to `detail`."""
    return (
        chunk.language,
        replace_surrogates(chunk.kind),
        replace_surrogates(chunk.name),
        chunk.start_line,
        chunk.end_line,
        chunk.part,
        sample_level(bytes.fromhex(chunk.digest)),
        encode_detail(chunk),
    )


def sample_level(digest: bytes) -> int:
    """How many halvings of all chunks this one stays in, by its content hash (0 to 32).

    Those that stay in after n halvings are a fixed random sample of one in 2^n.
    """
    word = int.from_bytes(digest[:4], "little") | 1 << 32
    return (word & -word).bit_length() - 1


def decode_chunk_row(row: tuple[bytes, str, str, str, int, int, int, bytes, bytes]) -> Chunk:
    """A chunk from its path, columns and body; raises StoreError when damaged."""
    path, language, kind, name, start, end, part, detail, body = row
    doc, shape = decode_detail(detail)
    return Chunk(decode_path(path), language, kind, name, start, end, decompress_text(body) or "", doc, part, shape)
