"""`ChunkIndex`: one workspace's index, opened by its one writer or by any reader.

The writer holds a file lock, keeps database, vectors and text index in step, checks them in the background and
repairs damage. Every failure is a StoreError; after one, the last committed state still serves.
"""

import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from codekin.errors import StoreError, describe_store_error
from codekin.protocols import EmbeddingSpace, Vectors
from codekin.storage import files, maintenance
from codekin.storage import vectors as vectors_module
from codekin.storage.database import (
    DAMAGE_ERRORS,
    DATABASE_NAME,
    MOVED_MESSAGE,
    FileState,
    OtherVersionError,
    connect,
    increment_sequence,
    is_damage,
    move_to_current_schema,
    transaction,
)
from codekin.storage.reader import IndexReader, ReaderCache
from codekin.storage.text_index_updates import TextIndexUpdater
from codekin.types import Chunk
from codekin.util.files import HeldLock, LockHeldError, acquire_lock

_LOCK_TIMEOUT = 5.0
_INSPECTION_INTERVAL = 2.0
_DAMAGED_MESSAGE = "The index database was damaged and has been rebuilt."
_OUTDATED_MESSAGE = "The index was written by another version of Codekin and is being rebuilt; its vectors are kept."
_REBUILT_MESSAGES = (_DAMAGED_MESSAGE, _OUTDATED_MESSAGE)


class ChunkIndex(IndexReader):
    """One workspace's index; use `Index.open`."""

    _updater: TextIndexUpdater | None = None
    _lock: HeldLock | None = None
    _repair_messages: list[str]

    @classmethod
    def open(cls, folder: Path, write: bool = False) -> "ChunkIndex":
        """Opens the index in `folder`; writing creates it, repairs it and heals what lags behind the truth."""
        if not write:
            return cls(folder, connect(folder, write=False))
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = _acquire_writer_lock(folder)
        try:
            index = cls._open_writer(folder)
        except BaseException:
            lock.release()
            raise
        index.start_writer(lock)
        return index

    @classmethod
    def _open_writer(cls, folder: Path) -> "ChunkIndex":
        """The database and the words; a damaged database is salvaged first."""
        message = ""
        maintenance.put_folders_away(folder)
        while True:
            database = None
            try:
                if move_to_current_schema(folder):
                    message = MOVED_MESSAGE
                database = maintenance.open_for_writing(folder)
                index = cls(folder, database)
                index._updater = TextIndexUpdater(database, folder)
            except DAMAGE_ERRORS as error:
                if database:
                    database.close()
                if message in _REBUILT_MESSAGES or not is_damage(error):
                    raise StoreError(describe_store_error(f"the index in {folder} cannot be opened", error)) from error
                message = _OUTDATED_MESSAGE if isinstance(error, OtherVersionError) else _DAMAGED_MESSAGE
                maintenance.replace_database(folder)
            else:
                index._repair_messages = [message] if message else []
                return index

    def start_writer(self, lock: HeldLock) -> None:
        """Makes this the writer for as long as it is open, and starts to inspect."""
        self._lock = lock
        self._closing = threading.Event()
        self._inspector = threading.Thread(target=self._inspect_periodically, name="index inspection", daemon=True)
        self._inspector.start()

    def close(self) -> None:
        """Commits what is pending and closes all files."""
        if self._lock is not None:
            self._closing.set()
            self._inspector.join()
        with self._mutex:
            if self._updater is not None:
                self._updater.close()
            super().close()
            if self._lock is not None:
                self._lock.release()
                self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Groups writes into one transaction, which is much faster for many files."""
        with self._writing():
            yield

    def replace_file(
        self,
        path: str,
        state: FileState,
        chunks: Sequence[Chunk],
        vectors: Mapping[str, Vectors] | None = None,
        space: str | None = None,
    ) -> None:
        """Replaces a file's chunks in one transaction; vectors by digest go to `space` (or the serving one)."""
        with self.batch():
            seq = increment_sequence(self._database)
            file = files.replace_file(self._database, seq, path, state, chunks)
            self._text_updater.mark_changed(file)
            if vectors:
                self._store_vectors(vectors, space)

    def touch_file(self, path: str, state: FileState) -> bool:
        """Notes a file's new times when its hash is as known; False when it must be replaced."""
        with self.batch():
            return files.touch_file(self._database, path, state)

    def remove_file(self, path: str) -> bool:
        """Forgets a file; False when it was not known."""
        with self.batch():
            file = files.remove_file(self._database, increment_sequence(self._database), path)
            if file is not None:
                self._text_updater.mark_changed(file)
            return file is not None

    def put_vectors(self, vectors: Mapping[str, Vectors], space: str | None = None) -> int:
        """Stores unit vectors by digest for known contents; returns how many were new."""
        with self.batch():
            stored = self._store_vectors(vectors, space)
            increment_sequence(self._database)
            return stored

    def flush(self, force: bool = False) -> None:
        """Makes words searchable; call it often: it commits when something has waited for long enough."""
        with self._writing(own_transaction=False):
            self._text_updater.flush(force=force)

    def pop_repair_messages(self) -> list[str]:
        """Sentences on what was repaired since the last call; after any, the working tree must be scanned."""
        with self._mutex:
            messages, self._repair_messages = self._repair_messages, []
            return messages

    def ensure_space(self, fingerprint: str, name: str, dimensions: int) -> EmbeddingSpace:
        """The space with this fingerprint; the first one serves at once, a later one is building."""
        with self._writing(own_transaction=False):
            return vectors_module.ensure_space(self._database, self.folder, fingerprint, name, dimensions)

    def promote(self, fingerprint: str, keep_old: bool = False) -> None:
        """Makes a space the serving one, in one step; the old one is kept or dropped."""
        with self._writing(own_transaction=False):
            vectors_module.promote(self._database, fingerprint, keep_old=keep_old)

    def drop_space(self, fingerprint: str) -> None:
        """Gives up a space that does not serve, and its file."""
        with self._writing(own_transaction=False):
            vectors_module.drop_space(self._database, fingerprint)
            vectors_module.delete_unused_files(self._database, self.folder)

    def project_space(self, source: str, target: str, transform: Callable[[Vectors], Vectors]) -> int:
        """Fills the space `target` with the transformed vectors of `source`; returns how many."""
        with self._writing(own_transaction=False):
            return vectors_module.project_space(self._database, self.folder, source, target, transform)

    def inspect(self) -> list[str]:
        """Checks everything stored, removes what is damaged, and returns a description of it."""
        try:
            damaged = maintenance.find_damaged_files(self.folder)
        except (*DAMAGE_ERRORS, StoreError) as error:
            if not is_damage(error):
                raise StoreError(f"the index in {self.folder} cannot be inspected ({error})") from error
            return self._rebuild_database()
        with self._writing():
            messages = maintenance.remove_damaged(self._database, self.folder, damaged)
        with self._writing(own_transaction=False):
            if not self._text_updater.is_valid():
                self._text_updater.rebuild()
                messages.append("The text index was damaged and has been rebuilt.")
            maintenance.clear_inspection_request(self.folder)
            self._repair_messages += messages
            if maintenance.compaction_is_due(self._database):
                maintenance.compact_index(self._database, self.folder)
        return messages

    def _rebuild_database(self) -> list[str]:
        """Puts a fresh database, with what could be saved, in the place of a damaged one."""
        with self._mutex:
            self._text_updater.abandon()
            self._database.close()
            maintenance.replace_database(self.folder)
            self._database = connect(self.folder, write=True)
            self._inode = (self.folder / DATABASE_NAME).stat().st_ino
            self._cache = ReaderCache()
            self._updater = TextIndexUpdater(self._database, self.folder)
            maintenance.clear_inspection_request(self.folder)
            self._repair_messages.append(_DAMAGED_MESSAGE)
        return [_DAMAGED_MESSAGE]

    @property
    def _text_updater(self) -> TextIndexUpdater:
        if self._updater is None:
            raise StoreError(f"the index in {self.folder} is open for reading only")
        return self._updater

    def _store_vectors(self, vectors: Mapping[str, Vectors], space: str | None) -> int:
        serving = vectors_module.find_serving_space(self._database)
        if space is None and serving is None:
            raise StoreError("the index has no embedding space yet: call ensure_space first")
        target = space or (serving.fingerprint if serving else "")
        return vectors_module.store_vectors(self._database, self.folder, target, vectors)

    @contextmanager
    def _writing(self, own_transaction: bool = True) -> Iterator[None]:
        """One write; a full disk and the like become a sentence."""
        if self._updater is None:
            raise StoreError(f"the index in {self.folder} is open for reading only")
        with self._reading_database():
            try:
                if own_transaction:
                    with transaction(self._database):
                        yield
                else:
                    yield
            except sqlite3.OperationalError as error:
                if is_damage(error):
                    raise
                full = "full" in str(error) or "disk I/O" in str(error)
                reason = "the disk is full: free some space" if full else str(error)
                raise StoreError(f"the index in {self.folder} keeps its last state, since {reason}") from error

    def _inspect_periodically(self) -> None:
        """Inspects once after opening, and again whenever a reader met damage."""
        wanted = True
        while not self._closing.wait(_INSPECTION_INTERVAL):
            if wanted or maintenance.inspection_requested(self.folder):
                try:
                    self.inspect()
                except StoreError:
                    maintenance.request_inspection(self.folder)
            wanted = False


def _acquire_writer_lock(folder: Path) -> HeldLock:
    """Holds the writer's lock for life; raises StoreError when another process has it."""
    try:
        return acquire_lock(folder / "writer.lock", _LOCK_TIMEOUT)
    except LockHeldError:
        raise StoreError(f"another process is indexing into {folder}: wait for it or stop it") from None
