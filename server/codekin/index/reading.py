"""What any process may ask of a workspace's index: files, fragments, the journal, and views to search in.

Each call is safe from any thread. Damage that is met is left out of the answer and told to
the writer, who repairs it; a database that was replaced meanwhile is opened anew.
"""

import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from codekin.errors import StoreError
from codekin.index import journal, lexicon, spaces
from codekin.index.dense import Dense, open_dense, refresh_dense
from codekin.index.health import ask_for_inspection
from codekin.index.lexis import Lexis, fetch, open_lexis, refresh_lexis
from codekin.index.rows import FileState, read_body, read_file_row, read_fragment, write_path
from codekin.index.schema import DATABASE, connect, is_damage, sequence
from codekin.index.search import View
from codekin.index.sketch import WIDTH
from codekin.index.snapshot import Snapshot, load, refresh
from codekin.index.spaces import Space
from codekin.index.vectors import disk_error
from codekin.records import Fragment
from codekin.seams import Vectors

if TYPE_CHECKING:
    from codekin.index.lexical import LexicalReader

_STATES = "SELECT path, size, mtime_ns, inode, hash, language, skipped, buffer, checked FROM file "
_FRAGMENTS = (
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
    size_bytes: int


class Reader:
    """One process's look at an index."""

    def __init__(self, folder: Path, database: sqlite3.Connection) -> None:
        self.folder = folder
        self._database = database
        self._inode = (folder / DATABASE).stat().st_ino
        self._guard = threading.RLock()
        self._snapshot: Snapshot | None = None
        self._dense: Dense | None = None
        self._lexis: Lexis | None = None
        self._counted: Snapshot | None = None
        self._lexical: LexicalReader | None = None

    def close(self) -> None:
        """Lets go of the files."""
        with self._guard:
            self._database.close()

    def files(self) -> dict[str, FileState]:
        """All known files by path, skipped ones with their reason."""
        return dict(self.files_after("", -1, first=True))

    def files_after(self, path: str, limit: int, first: bool = False) -> list[tuple[str, FileState]]:
        """Up to `limit` files (-1: all) after `path` in path order; `first` takes in `path` itself."""
        order = ">=" if first else ">"
        query = f"{_STATES} WHERE path{order}? ORDER BY path LIMIT ?"
        with self._reading() as database:
            rows = database.execute(query, (write_path(path), limit)).fetchall()
        return [found for row in rows if (found := self._sound_state(row))]

    def file(self, path: str) -> FileState | None:
        """What is known of one file."""
        with self._reading() as database:
            row = database.execute(_STATES + "WHERE path=?", (write_path(path),)).fetchone()
        found = self._sound_state(row) if row else None
        return found[1] if found else None

    def _sound_state(self, row: tuple[bytes, int, int, int, str, str, str, int, int]) -> tuple[str, FileState] | None:
        try:
            return read_file_row(row)
        except StoreError:
            ask_for_inspection(self.folder)
            return None

    def fragments(self, path: str) -> list[Fragment]:
        """The fragments of one file, in order of their lines."""
        with self._reading() as database:
            query = _FRAGMENTS + "file.path=? ORDER BY start_line, fragment.id"
            rows = database.execute(query, (write_path(path),)).fetchall()
        return list(self._sound_fragments(rows))

    def fragments_by_id(self, ids: Sequence[int]) -> dict[int, Fragment]:
        """Fragments by id; those that are gone or damaged are left out."""
        with self._reading() as database:
            rows = [(key, database.execute(_FRAGMENTS + "fragment.id=?", (key,)).fetchall()) for key in ids]
        return {key: fragment for key, row in rows for fragment in self._sound_fragments(row)}

    def _sound_fragments(
        self, rows: Iterable[tuple[bytes, str, str, str, int, int, int, bytes, bytes]]
    ) -> Iterator[Fragment]:
        for row in rows:
            try:
                yield read_fragment(row)
            except StoreError:
                ask_for_inspection(self.folder)

    def changes(self, since: int = 0, buffers: bool = False) -> list[journal.Change]:
        """The journal after the write number `since`, oldest first."""
        with self._reading() as database:
            return list(journal.changes(database, since, buffers=buffers))

    def seq(self) -> int:
        """The number of the last committed write."""
        with self._reading() as database:
            return sequence(database)

    def serving_space(self) -> Space | None:
        """The space that answers queries."""
        with self._reading() as database:
            return spaces.serving_space(database)

    def missing_digests(self, space: str, digests: Iterable[str]) -> list[str]:
        """Those digests, in order and once each, that have no vector in the space."""
        with self._reading() as database:
            return spaces.missing_digests(database, spaces.find_space(database, space), digests)

    def unembedded(self, space: str, limit: int = 256) -> list[tuple[str, str]]:
        """Up to `limit` live texts without a vector in the space, after their digests."""
        with self._reading() as database:
            found = spaces.find_space(database, space)
            rows = spaces.unembedded(database, found, limit) if found else []
        return [(digest, read_body(body) or "") for digest, _, body in rows]

    def vectors(self, fingerprint: str) -> Iterator[tuple[list[str], Vectors]]:
        """All vectors of a space in blocks: digests and float32 rows."""
        return spaces.read_vectors(self._database, self.folder, fingerprint)

    def vector(self, digest: str, view: View | None = None) -> Vectors | None:
        """The stored vector (dimensions,) of a content hash in the space of a view, else in the one that serves now."""
        dense = (view or self.view()).dense
        if dense is None:
            return None
        with self._reading() as database:
            row = database.execute(
                "SELECT slot FROM vector JOIN content ON content.id=content_id WHERE digest=? AND space_id=?",
                (bytes.fromhex(digest), dense.space.id),
            ).fetchone()
        slots = np.array(row or (), np.int32)
        found: Vectors | None = dense.vectors(slots)[0] if row and dense.usable(slots)[0] else None
        return found

    def sketches(self, contents: NDArray[np.int64]) -> NDArray[np.uint32]:
        """The sketches (n, WIDTH) of some contents; zeros where one is damaged."""
        with self._reading() as database:
            known = dict(database.execute("SELECT id, sketch FROM content").fetchall())
        blank = b"\0" * 4 * WIDTH
        parts = [found if len(found := known.get(key, blank)) == len(blank) else blank for key in contents.tolist()]
        return np.frombuffer(b"".join(parts), np.uint32).reshape(-1, WIDTH)

    def view(self) -> View:
        """The newest state to search in; cheap when nothing was written since the last call."""
        with self._reading() as database:
            snapshot = refresh(database, self._snapshot) if self._snapshot else load(database)
            if snapshot is not self._snapshot or (self._dense and not self._dense.whole()):
                self._dense = self._dense_view(database, snapshot)
                self._snapshot = snapshot
                if snapshot.damaged or (self._dense and not self._dense.all_usable(snapshot)):
                    ask_for_inspection(self.folder)
            if self._lexis is None or self._counted is None:
                self._lexis = open_lexis(database, snapshot)
            elif self._counted is not snapshot:
                self._lexis = refresh_lexis(database, self._lexis, self._counted, snapshot)
            self._counted = snapshot
            self._lexical, trouble = lexicon.current_reader(database, self.folder, self._lexical)
            if trouble:
                ask_for_inspection(self.folder)
            return View(snapshot, self._dense, self._lexis, self._lexical, self._fetch_terms)

    def _fetch_terms(self, lexis: Lexis, contents: NDArray[np.int64]) -> None:
        """Reads terms that a search wants to compare and that are not in memory."""
        with self._reading() as database:
            if not fetch(database, lexis, contents):
                ask_for_inspection(self.folder)

    def _dense_view(self, database: sqlite3.Connection, snapshot: Snapshot) -> Dense | None:
        """The old view brought forward where that is possible, else a fresh one."""
        known, old = self._dense, self._snapshot
        if known and old and (view := refresh_dense(known, old, snapshot)):
            return view
        digests = dict(database.execute("SELECT id, digest FROM content").fetchall())
        return open_dense(self.folder, snapshot, digests)

    def status(self) -> Status:
        """Counts, spaces and size."""
        with self._reading() as database:
            serving = spaces.serving_space(database)
            covered = (
                "SELECT COUNT(*) FROM fragment JOIN vector ON vector.content_id=fragment.content_id WHERE space_id=?"
            )
            return Status(
                seq=sequence(database),
                files=_count(database, "SELECT COUNT(*) FROM file WHERE skipped=''"),
                skipped=_count(database, "SELECT COUNT(*) FROM file WHERE skipped<>''"),
                fragments=_count(database, "SELECT COUNT(*) FROM fragment"),
                vectors=_count(database, covered, serving.id) if serving else 0,
                space=serving.fingerprint if serving else "",
                spaces=tuple(spaces.spaces(database)),
                lexical_behind=lexicon.behind(database, self.folder),
                size_bytes=_size(self.folder),
            )

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """The database for one call; damage becomes a sentence, and is told to the writer."""
        with self._guard:
            try:
                self._follow()
                yield self._database
            except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
                if is_damage(error):
                    ask_for_inspection(self.folder)
                raise StoreError(
                    f"the index in {self.folder} cannot be read ({error}): `codekin index` repairs it"
                ) from error
            except OSError as error:
                raise disk_error(self.folder, error) from error

    def _follow(self) -> None:
        """Opens the database anew when another file has taken its place."""
        try:
            inode = os.stat(self.folder / DATABASE).st_ino  # noqa: PTH116 - on every query
        except FileNotFoundError:
            inode = -1
        if inode != self._inode and not self._database.in_transaction:
            fresh = connect(self.folder, write=False)
            self._database.close()
            self._database, self._inode = fresh, inode
            self._snapshot = self._dense = self._lexis = self._counted = self._lexical = None


def _count(database: sqlite3.Connection, query: str, *values: object) -> int:
    return int(database.execute(query, values).fetchone()[0])


def _size(folder: Path) -> int:
    """Bytes of all files in the folder; those that vanish meanwhile do not count."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size
        except FileNotFoundError:
            continue
    return total
