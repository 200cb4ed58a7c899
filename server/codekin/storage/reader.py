"""Reads an index from any process: files, chunks, the journal, and views to search in.

Every call is thread-safe. Damaged entries are left out of the result and reported to the writer, who repairs them; a
replaced database is reopened.
"""

import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from codekin.errors import StoreError
from codekin.protocols import EmbeddingSpace, IndexStatus, Vectors
from codekin.storage import files as files_module
from codekin.storage import text_index_updates
from codekin.storage import vectors as vectors_module
from codekin.storage.database import (
    DATABASE_NAME,
    FileState,
    connect,
    decode_chunk_row,
    decode_file_row,
    decompress_text,
    encode_path,
    is_damage,
    read_sequence,
)
from codekin.storage.dense_vectors import DenseVectors, open_dense, refresh_dense
from codekin.storage.maintenance import request_inspection
from codekin.storage.snapshot import IndexSnapshot, load_snapshot, read_slots, refresh_snapshot
from codekin.storage.terms import SKETCH_SIZE, TermStatistics, load_terms, open_term_statistics, refresh_term_statistics
from codekin.storage.text_index import TextIndexReader
from codekin.storage.vectors import disk_error
from codekin.types import Chunk

_SELECT_FILE_STATES = "SELECT path, size, mtime_ns, inode, hash, language, skipped, buffer, checksum FROM file "
_SELECT_CHUNKS = (
    "SELECT file.path, chunk.language, kind, name, start_line, end_line, part, detail, content.body FROM chunk"
    " JOIN file ON file.id=file_id JOIN content ON content.id=content_id WHERE "
)


@dataclass(frozen=True, slots=True)
class IndexView:
    """One consistent state to search in; each signal may be missing.

    `load_terms` reads terms that are not in memory yet into the statistics.
    """

    snapshot: IndexSnapshot
    dense: DenseVectors | None
    term_statistics: TermStatistics | None
    text_index: TextIndexReader | None
    load_terms: Callable[[TermStatistics, NDArray[np.int64]], None]


@dataclass(frozen=True, slots=True)
class ReaderCache:
    """What a reader has in memory: the parts of the last view; the next one is made from them and the journal."""

    snapshot: IndexSnapshot | None = None
    dense: DenseVectors | None = None
    term_statistics: TermStatistics | None = None
    text_index: TextIndexReader | None = None


class IndexReader:
    """Read access to an index for one process."""

    def __init__(self, folder: Path, database: sqlite3.Connection) -> None:
        self.folder = folder
        self._database = database
        self._inode = (folder / DATABASE_NAME).stat().st_ino
        self._mutex = threading.RLock()
        self._cache = ReaderCache()

    def close(self) -> None:
        """Closes the files."""
        with self._mutex:
            self._database.close()

    def files(self) -> dict[str, FileState]:
        """All known files by path, skipped ones with their reason."""
        return dict(self.files_after("", -1, first=True))

    def files_after(self, path: str, limit: int, first: bool = False) -> list[tuple[str, FileState]]:
        """Up to `limit` files (-1: all) after `path` in path order; `first` takes in `path` itself."""
        order = ">=" if first else ">"
        query = f"{_SELECT_FILE_STATES} WHERE path{order}? ORDER BY path LIMIT ?"
        with self._reading_database() as database:
            rows = database.execute(query, (encode_path(path), limit)).fetchall()
        return [found for row in rows if (found := self._decode_state(row))]

    def file(self, path: str) -> FileState | None:
        """What is known of one file."""
        with self._reading_database() as database:
            row = database.execute(_SELECT_FILE_STATES + "WHERE path=?", (encode_path(path),)).fetchone()
        found = self._decode_state(row) if row else None
        return found[1] if found else None

    def _decode_state(self, row: tuple[bytes, int, int, int, str, str, str, int, int]) -> tuple[str, FileState] | None:
        try:
            return decode_file_row(row)
        except StoreError:
            request_inspection(self.folder)
            return None

    def chunks(self, path: str) -> list[Chunk]:
        """The chunks of one file, in order of their lines."""
        with self._reading_database() as database:
            query = _SELECT_CHUNKS + "file.path=? ORDER BY start_line, chunk.id"
            rows = database.execute(query, (encode_path(path),)).fetchall()
        return list(self._decode_chunks(rows))

    def chunks_by_id(self, ids: Sequence[int]) -> dict[int, Chunk]:
        """Chunks by id; those that are gone or damaged are left out."""
        with self._reading_database() as database:
            rows = [(key, database.execute(_SELECT_CHUNKS + "chunk.id=?", (key,)).fetchall()) for key in ids]
        return {key: chunk for key, row in rows for chunk in self._decode_chunks(row)}

    def _decode_chunks(
        self, rows: Iterable[tuple[bytes, str, str, str, int, int, int, bytes, bytes]]
    ) -> Iterator[Chunk]:
        for row in rows:
            try:
                yield decode_chunk_row(row)
            except StoreError:
                request_inspection(self.folder)

    def changes(self, since: int = 0, buffers: bool = False) -> list[files_module.JournalEntry]:
        """The journal after the write number `since`, oldest first."""
        with self._reading_database() as database:
            return list(files_module.read_changes(database, since, buffers=buffers))

    def seq(self) -> int:
        """The number of the last committed write."""
        with self._reading_database() as database:
            return read_sequence(database)

    def serving_space(self) -> EmbeddingSpace | None:
        """The space that answers queries."""
        with self._reading_database() as database:
            return vectors_module.find_serving_space(database)

    def has_content(self, digest: str) -> bool:
        """Whether a live chunk has this content hash."""
        query = "SELECT 1 FROM content JOIN chunk ON content_id=content.id WHERE digest=? LIMIT 1"
        with self._reading_database() as database:
            return database.execute(query, (bytes.fromhex(digest),)).fetchone() is not None

    def missing_digests(self, space: str, digests: Iterable[str]) -> list[str]:
        """Those digests, in order and once each, that have no vector in the space."""
        with self._reading_database() as database:
            return vectors_module.find_missing_digests(database, vectors_module.find_space(database, space), digests)

    def unembedded_texts(self, space: str, limit: int = 256) -> list[tuple[str, str]]:
        """Up to `limit` live texts without a vector in the space, after their digests."""
        with self._reading_database() as database:
            found = vectors_module.find_space(database, space)
            rows = vectors_module.find_unembedded(database, found, limit) if found else []
        return [(digest, decompress_text(body) or "") for digest, _, body in rows]

    def vectors(self, fingerprint: str) -> Iterator[tuple[list[str], Vectors]]:
        """All vectors of a space in blocks: digests and float32 rows."""
        return vectors_module.read_vectors(self._database, self.folder, fingerprint)

    def vector(self, digest: str, view: IndexView | None = None) -> Vectors | None:
        """The stored vector (dimensions,) of a content hash in the space of a view, else in the one that serves now."""
        dense = (view or self.view()).dense
        if dense is None:
            return None
        with self._reading_database() as database:
            row = database.execute(
                "SELECT slot FROM vector JOIN content ON content.id=content_id WHERE digest=? AND space_id=?",
                (bytes.fromhex(digest), dense.space.id),
            ).fetchone()
        slots = np.array(row or (), np.int32)
        found: Vectors | None = dense.vectors(slots)[0] if row and dense.has_vectors(slots)[0] else None
        return found

    def sketches(self, contents: NDArray[np.int64]) -> NDArray[np.uint32]:
        """The sketches (n, WIDTH) of some contents; zeros where one is damaged."""
        with self._reading_database() as database:
            known = dict(database.execute("SELECT id, sketch FROM content").fetchall())
        blank = b"\0" * 4 * SKETCH_SIZE
        parts = [found if len(found := known.get(key, blank)) == len(blank) else blank for key in contents.tolist()]
        return np.frombuffer(b"".join(parts), np.uint32).reshape(-1, SKETCH_SIZE)

    def view(self) -> IndexView:
        """The newest state to search in; cheap when nothing was written since the last call."""
        with self._reading_database() as database:
            old = self._cache
            snapshot = refresh_snapshot(database, old.snapshot) if old.snapshot else load_snapshot(database)
            dense = self._refresh_dense(database, snapshot)
            statistics = _refresh_terms(database, old, snapshot)
            text_index, is_damaged = text_index_updates.open_current_reader(database, self.folder, old.text_index)
            lacks_vectors = dense is not None and dense is not old.dense and not dense.has_all_vectors(snapshot)
            if is_damaged or lacks_vectors or (snapshot is not old.snapshot and snapshot.damaged):
                request_inspection(self.folder)
            self._cache = ReaderCache(snapshot, dense, statistics, text_index)
            return IndexView(snapshot, dense, statistics, text_index, self._load_terms)

    def view_in_space(self, fingerprint: str) -> IndexView | None:
        """A view over the vectors of a space that is kept without serving, read anew; None where it is not kept."""
        view = self.view()
        with self._reading_database() as database:
            if (space := vectors_module.find_space(database, fingerprint)) is None:
                return None
            columns = replace(view.snapshot.columns, slot=read_slots(database, space, view.snapshot.columns.content))
            snapshot = replace(view.snapshot, space=space, columns=columns)
            digests = dict(database.execute("SELECT id, digest FROM content").fetchall())
            return replace(view, snapshot=snapshot, dense=open_dense(self.folder, snapshot, digests))

    def _load_terms(self, term_statistics: TermStatistics, contents: NDArray[np.int64]) -> None:
        """Reads terms that a search wants to compare and that are not in memory."""
        with self._reading_database() as database:
            if not load_terms(database, term_statistics, contents):
                request_inspection(self.folder)

    def _refresh_dense(self, database: sqlite3.Connection, snapshot: IndexSnapshot) -> DenseVectors | None:
        """The vectors of a snapshot: those in memory, brought forward where that is possible, else read anew."""
        known, old = self._cache.dense, self._cache.snapshot
        if snapshot is old and (known is None or known.is_complete()):
            return known
        if known and old and (view := refresh_dense(known, old, snapshot)):
            return view
        digests = dict(database.execute("SELECT id, digest FROM content").fetchall())
        return open_dense(self.folder, snapshot, digests)

    def status(self) -> IndexStatus:
        """Counts, spaces and size."""
        with self._reading_database() as database:
            serving = vectors_module.find_serving_space(database)
            covered = "SELECT COUNT(*) FROM chunk JOIN vector ON vector.content_id=chunk.content_id WHERE space_id=?"
            return IndexStatus(
                seq=read_sequence(database),
                files=_count(database, "SELECT COUNT(*) FROM file WHERE skipped=''"),
                skipped=_count(database, "SELECT COUNT(*) FROM file WHERE skipped<>''"),
                chunks=_count(database, "SELECT COUNT(*) FROM chunk"),
                vectors=_count(database, covered, serving.id) if serving else 0,
                space=serving.fingerprint if serving else "",
                spaces=tuple(vectors_module.read_spaces(database)),
                text_index_behind=text_index_updates.is_behind(database, self.folder),
                size_bytes=_folder_size(self.folder),
            )

    @contextmanager
    def _reading_database(self) -> Iterator[sqlite3.Connection]:
        """The database for one call; damage becomes an error of one sentence, and is reported to the writer."""
        with self._mutex:
            try:
                self._reopen_if_replaced()
                yield self._database
            except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
                if is_damage(error):
                    request_inspection(self.folder)
                raise StoreError(
                    f"the index in {self.folder} cannot be read ({error}): `codekin index` repairs it"
                ) from error
            except OSError as error:
                raise disk_error(self.folder, error) from error

    def _reopen_if_replaced(self) -> None:
        """Opens the database anew when another file has taken its place."""
        try:
            inode = os.stat(self.folder / DATABASE_NAME).st_ino  # noqa: PTH116 - on every query
        except FileNotFoundError:
            inode = -1
        if inode != self._inode and not self._database.in_transaction:
            fresh = connect(self.folder, write=False)
            self._database.close()
            self._database, self._inode = fresh, inode
            self._cache = ReaderCache()


def _refresh_terms(database: sqlite3.Connection, old: ReaderCache, snapshot: IndexSnapshot) -> TermStatistics:
    """The term statistics of a snapshot, from those in memory where there are any."""
    if old.term_statistics is None or old.snapshot is None:
        return open_term_statistics(database, snapshot)
    if old.snapshot is snapshot:
        return old.term_statistics
    return refresh_term_statistics(database, old.term_statistics, old.snapshot, snapshot)


def _count(database: sqlite3.Connection, query: str, *values: object) -> int:
    return int(database.execute(query, values).fetchone()[0])


def _folder_size(folder: Path) -> int:
    """Bytes of all files in the folder; those that vanish meanwhile do not count."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size
        except FileNotFoundError:
            continue
    return total
