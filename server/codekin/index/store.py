"""The face of the room: one workspace's index, opened by its one writer or by readers.

A writer (one at a time, guarded by a file lock) keeps the truth and the lexical folder; any
number of readers, in any process, take snapshots and search. Errors are StoreError.
"""

import fcntl
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from codekin.errors import StoreError
from codekin.index import files, journal, lexicon, spaces
from codekin.index.dense import Dense, open_dense, refresh_dense
from codekin.index.lexical import LexicalReader
from codekin.index.rows import FileState, read_body, read_file_row, read_fragment
from codekin.index.schema import connect, next_sequence, sequence, transaction
from codekin.index.search import View
from codekin.index.sketch import WIDTH
from codekin.index.snapshot import Snapshot, load, refresh
from codekin.index.spaces import Space
from codekin.records import Fragment
from codekin.seams import Vectors

_FILES = "SELECT path, size, mtime_ns, inode, hash, language, skipped, buffer, checked FROM file ORDER BY path"
_FRAGMENT = (
    "SELECT file.path, fragment.language, kind, name, start_line, end_line, part, detail, content.body FROM fragment"
    " JOIN file ON file.id=file_id JOIN content ON content.id=content_id WHERE "
)


@dataclass(frozen=True, slots=True)
class Status:
    """Counts of the index; `vectors` are live fragments that the serving space covers."""

    seq: int
    files: int
    skipped: int
    fragments: int
    vectors: int
    space: str
    spaces: tuple[Space, ...]
    lexical_behind: bool
    problems: tuple[str, ...]
    size_bytes: int


class Index:
    """One workspace's index; use `Index.open`."""

    def __init__(self, folder: Path, database: sqlite3.Connection, lock: int | None) -> None:
        self.folder = folder
        self._database = database
        self._lock = lock
        self._guard = threading.RLock()
        self._words = lexicon.Lexicon(database, folder) if lock is not None else None
        self._snapshot: Snapshot | None = None
        self._dense: Dense | None = None
        self._lexical: LexicalReader | None = None

    @classmethod
    def open(cls, folder: Path, write: bool = False) -> "Index":
        """Opens the index in `folder`; writing creates it and heals what lags behind the truth."""
        if not write:
            return cls(folder, connect(folder, write=False), None)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = _take_lock(folder)
        return cls(folder, connect(folder, write=True), lock)

    def close(self) -> None:
        """Commits what is pending and lets go of all files."""
        with self._guard:
            if self._words is not None:
                self._words.close()
            self._database.close()
            if self._lock is not None:
                os.close(self._lock)
                self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    # Writing

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Groups writes into one transaction, which is much faster for many files."""
        with self._guard, _full_disk(self.folder), transaction(self._database):
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
            self._writer.note(file)
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
                self._writer.note(file)
            return file is not None

    def put_vectors(self, vectors: Mapping[str, Vectors], space: str | None = None) -> int:
        """Stores unit vectors by digest for known contents; returns how many were new."""
        with self.batch():
            stored = self._put(vectors, space)
            next_sequence(self._database)
            return stored

    def flush(self, force: bool = False) -> None:
        """Makes words searchable; call it often: it commits when something waits for long enough."""
        with self._guard, _full_disk(self.folder):
            self._writer.flush(force=force)

    @property
    def _writer(self) -> "lexicon.Lexicon":
        if self._words is None:
            raise StoreError(f"the index in {self.folder} is open for reading only")
        return self._words

    def _put(self, vectors: Mapping[str, Vectors], space: str | None) -> int:
        target = space or self._serving().fingerprint
        return spaces.put_vectors(self._database, self.folder, target, vectors)

    def _serving(self) -> Space:
        if found := spaces.serving_space(self._database):
            return found
        raise StoreError("the index has no embedding space yet: call ensure_space first")

    # Spaces

    def ensure_space(self, fingerprint: str, name: str, dimensions: int) -> Space:
        """The space with this fingerprint; the first one serves at once, a later one is building."""
        with self._guard:
            return spaces.ensure_space(self._database, fingerprint, name, dimensions)

    def serving_space(self) -> Space | None:
        """The space that answers queries."""
        with self._guard:
            return spaces.serving_space(self._database)

    def promote(self, fingerprint: str, keep_old: bool = False) -> None:
        """Makes a space the serving one, in one step; the old one is kept or dropped."""
        with self._guard:
            spaces.promote(self._database, fingerprint, keep_old=keep_old)

    def drop_space(self, fingerprint: str) -> None:
        """Gives up a space that does not serve, and its file."""
        with self._guard:
            spaces.drop(self._database, fingerprint)
            spaces.sweep(self._database, self.folder)

    def project_space(self, source: str, target: str, transform: Callable[[Vectors], Vectors]) -> int:
        """Fills the space `target` with the transformed vectors of `source`; returns how many."""
        with self._guard, _full_disk(self.folder):
            return spaces.project(self._database, self.folder, source, target, transform)

    def vectors(self, fingerprint: str) -> Iterator[tuple[list[str], Vectors]]:
        """All vectors of a space in blocks: digests and float32 rows."""
        return spaces.read_vectors(self._database, self.folder, fingerprint)

    def missing_digests(self, space: str, digests: Iterable[str]) -> list[str]:
        """Those digests, in order and once each, that have no vector in the space."""
        with self._guard:
            return spaces.missing_digests(self._database, spaces.find_space(self._database, space), digests)

    def unembedded(self, space: str, limit: int = 256) -> list[tuple[str, str]]:
        """Up to `limit` live texts without a vector in the space, with their digests."""
        with self._guard:
            found = spaces.find_space(self._database, space)
            rows = spaces.unembedded(self._database, found, limit) if found else []
            return [(digest, read_body(body) or "") for digest, _, body in rows]

    # Reading

    def files(self) -> dict[str, FileState]:
        """All known files by path, skipped ones with their reason."""
        with self._guard:
            return dict(read_file_row(row) for row in self._database.execute(_FILES).fetchall())

    def fragments(self, path: str) -> list[Fragment]:
        """The fragments of one file, in order of their lines."""
        with self._guard:
            rows = self._database.execute(_FRAGMENT + "file.path=? ORDER BY start_line, fragment.id", (path.encode("utf-8", "surrogateescape"),))
            return [read_fragment(row) for row in rows.fetchall()]

    def fragments_by_id(self, ids: Sequence[int]) -> dict[int, Fragment]:
        """Fragments by id; those that are gone are left out."""
        with self._guard:
            rows = ((key, self._database.execute(_FRAGMENT + "fragment.id=?", (key,)).fetchone()) for key in ids)
            return {key: read_fragment(row) for key, row in rows if row}

    def vector(self, digest: str) -> Vectors | None:
        """The stored vector (dimensions,) of a content hash in the serving space."""
        view = self.view()
        if view.dense is None:
            return None
        with self._guard:
            row = self._database.execute(
                "SELECT slot FROM vector JOIN content ON content.id=content_id WHERE digest=? AND space_id=?",
                (bytes.fromhex(digest), view.dense.space.id),
            ).fetchone()
        if row is None or row[0] >= len(view.dense.records) or not view.dense.sound[row[0]]:
            return None
        return view.dense.vectors(np.array(row, np.int32))[0]

    def sketches(self, contents: Sequence[int]) -> NDArray[np.uint32]:
        """The sketches (n, WIDTH) of some contents."""
        with self._guard:
            known = dict(self._database.execute("SELECT id, sketch FROM content").fetchall())
        joined = b"".join(known[int(content)] for content in contents)
        return np.frombuffer(joined, np.uint32).reshape(-1, WIDTH)

    def changes(self, since: int = 0, buffers: bool = False) -> list[journal.Change]:
        """The journal after the write number `since`, oldest first."""
        with self._guard:
            return list(journal.changes(self._database, since, buffers=buffers))

    def seq(self) -> int:
        """The number of the last committed write."""
        with self._guard:
            return sequence(self._database)

    def view(self) -> View:
        """The newest state to search in; cheap when nothing was written since the last call."""
        with self._guard:
            snapshot = refresh(self._database, self._snapshot) if self._snapshot else load(self._database)
            if snapshot is not self._snapshot or self._dense is None:
                self._dense = self._dense_view(snapshot)
                self._snapshot = snapshot
            self._lexical = lexicon.current_reader(self._database, self.folder, self._lexical)
            return View(snapshot, self._dense, self._lexical)

    def _dense_view(self, snapshot: Snapshot) -> Dense | None:
        if self._dense is not None and self._snapshot is not None:
            if view := refresh_dense(self._dense, self._snapshot, snapshot):
                return view
        digests = dict(self._database.execute("SELECT id, digest FROM content").fetchall())
        return open_dense(self.folder, snapshot, digests)

    def status(self) -> Status:
        """Counts, spaces and problems."""
        with self._guard:
            count = lambda query: int(self._database.execute(query).fetchone()[0])  # noqa: E731
            serving = spaces.serving_space(self._database)
            covered = "SELECT COUNT(*) FROM fragment JOIN vector ON vector.content_id=fragment.content_id WHERE space_id="
            return Status(
                seq=sequence(self._database),
                files=count("SELECT COUNT(*) FROM file WHERE skipped=''"),
                skipped=count("SELECT COUNT(*) FROM file WHERE skipped<>''"),
                fragments=count("SELECT COUNT(*) FROM fragment"),
                vectors=count(covered + str(serving.id)) if serving else 0,
                space=serving.fingerprint if serving else "",
                spaces=tuple(spaces.spaces(self._database)),
                lexical_behind=lexicon.behind(self._database, self.folder),
                problems=(),
                size_bytes=sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file()),
            )


def _take_lock(folder: Path) -> int:
    """Holds the writer's lock for life; raises StoreError when another process has it."""
    descriptor = os.open(folder / "writer.lock", os.O_RDWR | os.O_CREAT, 0o600)
    deadline = time.monotonic() + 5
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


@contextmanager
def _full_disk(folder: Path) -> Iterator[None]:
    """Turns SQLite's errors of writing into the sentence for the user."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if "full" in str(error):
            raise StoreError(f"the disk is full, so the index in {folder} keeps its last state: free some space") from error
        raise StoreError(f"the index in {folder} cannot be written ({error})") from error
