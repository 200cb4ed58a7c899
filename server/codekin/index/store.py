"""The face of the room: one workspace's index, opened by its one writer or by any reader.

The writer (one at a time, guarded by a file lock) keeps the truth, the vectors and the
lexical folder, inspects them in the background and repairs what is damaged. All failures
are StoreError with a sentence; after one, the last committed state still serves.
"""

import fcntl
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from codekin.errors import StoreError
from codekin.index import compaction, files, health, spaces
from codekin.index.lexicon import Lexicon
from codekin.index.reading import Reader
from codekin.index.rows import FileState
from codekin.index.schema import DAMAGE, DATABASE, connect, is_damage, next_sequence, transaction
from codekin.index.spaces import Space
from codekin.records import Fragment
from codekin.seams import Vectors

_PATIENCE_FOR_LOCK = 5.0
_INSPECTION_PAUSE = 2.0
_REBUILT = "The index database was damaged and is built anew."


class Index(Reader):
    """One workspace's index; use `Index.open`."""

    _words: Lexicon | None = None
    _lock: int | None = None
    _told: list[str]

    @classmethod
    def open(cls, folder: Path, write: bool = False) -> "Index":
        """Opens the index in `folder`; writing creates it, repairs it and heals what lags behind the truth."""
        if not write:
            return cls(folder, connect(folder, write=False))
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = _take_lock(folder)
        try:
            index = cls._open_writer(folder)
        except BaseException:
            os.close(lock)
            raise
        index.begin(lock)
        return index

    @classmethod
    def _open_writer(cls, folder: Path) -> "Index":
        """The database and the words; a damaged database is salvaged first."""
        for last in (False, True):
            database = None
            try:
                database = health.open_sound(folder)
                index = cls(folder, database)
                index._words = Lexicon(database, folder)
            except DAMAGE as error:
                if database:
                    database.close()
                if last or not is_damage(error):
                    raise StoreError(f"the index in {folder} cannot be opened ({error})") from error
                health.salvage(folder)
            else:
                index._told = [_REBUILT] if last else []
                return index
        raise AssertionError

    def begin(self, lock: int) -> None:
        """Makes this the writer for as long as it is open, and starts to inspect."""
        self._lock = lock
        self._closing = threading.Event()
        self._inspector = threading.Thread(target=self._inspect_now_and_then, name="index inspection", daemon=True)
        self._inspector.start()

    def close(self) -> None:
        """Commits what is pending and lets go of all files."""
        if self._lock is not None:
            self._closing.set()
            self._inspector.join()
        with self._guard:
            if self._words is not None:
                self._words.close()
            super().close()
            if self._lock is not None:
                os.close(self._lock)
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
        fragments: Sequence[Fragment],
        vectors: Mapping[str, Vectors] | None = None,
        space: str | None = None,
    ) -> None:
        """Replaces a file's fragments in one transaction; vectors by digest go to `space` (or the serving one)."""
        with self.batch():
            seq = next_sequence(self._database)
            file = files.replace_file(self._database, seq, path, state, fragments)
            self._lexicon.note(file)
            if vectors:
                self._put(vectors, space)

    def touch_file(self, path: str, state: FileState) -> bool:
        """Notes a file's new times when its hash is as known; False when it must be replaced."""
        with self.batch():
            return files.touch_file(self._database, path, state)

    def remove_file(self, path: str) -> bool:
        """Forgets a file; False when it was not known."""
        with self.batch():
            file = files.remove_file(self._database, next_sequence(self._database), path)
            if file is not None:
                self._lexicon.note(file)
            return file is not None

    def put_vectors(self, vectors: Mapping[str, Vectors], space: str | None = None) -> int:
        """Stores unit vectors by digest for known contents; returns how many were new."""
        with self.batch():
            stored = self._put(vectors, space)
            next_sequence(self._database)
            return stored

    def flush(self, force: bool = False) -> None:
        """Makes words searchable; call it often: it commits when something has waited for long enough."""
        with self._writing(own_transaction=False):
            self._lexicon.flush(force=force)

    def take_repairs(self) -> list[str]:
        """Sentences on what was repaired since the last call; after any, the working tree must be scanned."""
        with self._guard:
            told, self._told = self._told, []
            return told

    def ensure_space(self, fingerprint: str, name: str, dimensions: int) -> Space:
        """The space with this fingerprint; the first one serves at once, a later one is building."""
        with self._writing(own_transaction=False):
            return spaces.ensure_space(self._database, self.folder, fingerprint, name, dimensions)

    def promote(self, fingerprint: str, keep_old: bool = False) -> None:
        """Makes a space the serving one, in one step; the old one is kept or dropped."""
        with self._writing(own_transaction=False):
            spaces.promote(self._database, fingerprint, keep_old=keep_old)

    def drop_space(self, fingerprint: str) -> None:
        """Gives up a space that does not serve, and its file."""
        with self._writing(own_transaction=False):
            spaces.drop(self._database, fingerprint)
            spaces.sweep(self._database, self.folder)

    def project_space(self, source: str, target: str, transform: Callable[[Vectors], Vectors]) -> int:
        """Fills the space `target` with the transformed vectors of `source`; returns how many."""
        with self._writing(own_transaction=False):
            return spaces.project(self._database, self.folder, source, target, transform)

    def inspect(self) -> list[str]:
        """Checks everything stored, takes out what is damaged, and says what it was."""
        try:
            damaged = health.look_for_damage(self.folder)
        except (*DAMAGE, StoreError) as error:
            if not is_damage(error):
                raise StoreError(f"the index in {self.folder} cannot be inspected ({error})") from error
            return self._start_anew()
        with self._writing():
            told = health.take_out(self._database, self.folder, damaged)
        with self._writing(own_transaction=False):
            if not self._lexicon.is_sound():
                self._lexicon.renew()
                told.append("The lexical index was damaged and is built anew.")
            health.inspected(self.folder)
            self._told += told
            if compaction.is_due(self._database):
                compaction.compact(self._database, self.folder)
        return told

    def _start_anew(self) -> list[str]:
        """Puts a fresh database, with what could be saved, in the place of a damaged one."""
        with self._guard:
            self._lexicon.abandon()
            self._database.close()
            health.salvage(self.folder)
            self._database = connect(self.folder, write=True)
            self._inode = (self.folder / DATABASE).stat().st_ino
            self._snapshot = self._dense = self._lexis = self._counted = self._lexical = None
            self._words = Lexicon(self._database, self.folder)
            health.inspected(self.folder)
            self._told.append(_REBUILT)
        return [_REBUILT]

    @property
    def _lexicon(self) -> Lexicon:
        if self._words is None:
            raise StoreError(f"the index in {self.folder} is open for reading only")
        return self._words

    def _put(self, vectors: Mapping[str, Vectors], space: str | None) -> int:
        serving = spaces.serving_space(self._database)
        if space is None and serving is None:
            raise StoreError("the index has no embedding space yet: call ensure_space first")
        target = space or (serving.fingerprint if serving else "")
        return spaces.put_vectors(self._database, self.folder, target, vectors)

    @contextmanager
    def _writing(self, own_transaction: bool = True) -> Iterator[None]:
        """One write; a full disk and the like become a sentence."""
        if self._words is None:
            raise StoreError(f"the index in {self.folder} is open for reading only")
        with self._reading():
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
                said = "the disk is full: free some space" if full else str(error)
                raise StoreError(f"the index in {self.folder} keeps its last state, since {said}") from error

    def _inspect_now_and_then(self) -> None:
        """Inspects once after opening, and again whenever a reader met damage."""
        wanted = True
        while not self._closing.wait(_INSPECTION_PAUSE):
            if wanted or health.inspection_wanted(self.folder):
                try:
                    self.inspect()
                except StoreError:
                    health.ask_for_inspection(self.folder)
            wanted = False


def _take_lock(folder: Path) -> int:
    """Holds the writer's lock for life; raises StoreError when another process has it."""
    descriptor = os.open(folder / "writer.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + _PATIENCE_FOR_LOCK
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(descriptor)
                raise StoreError(f"another process is indexing into {folder}: wait for it or stop it") from None
            time.sleep(0.05)
        else:
            return descriptor
