"""What a reader holds in memory of the truth: the numbers of each live fragment, in columns.

A snapshot is immutable; `refresh` makes the next one from the journal, reading only the
files that changed since. Texts and names stay in SQLite. A row that fails its checksum is
left out and its file is listed as damaged.
"""

import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from codekin.errors import StoreError
from codekin.index.rows import read_file_row
from codekin.index.schema import row_check, sequence
from codekin.index.spaces import Space, serving_space

_FRAGMENTS = (
    "SELECT id, file_id, content_id, language, kind, name, start_line, end_line, part, sample, checked FROM fragment"
)
_MOST_FILES = 500


@dataclass(frozen=True, slots=True)
class Columns:
    """One entry for each live fragment, ordered by id; `slot` is -1 without a vector."""

    id: NDArray[np.int64]
    file: NDArray[np.int64]
    content: NDArray[np.int64]
    language: NDArray[np.int32]
    kind: NDArray[np.int32]
    start: NDArray[np.int32]
    end: NDArray[np.int32]
    part: NDArray[np.int32]
    sample: NDArray[np.int32]
    slot: NDArray[np.int32]

    def take(self, rows: NDArray[np.bool_]) -> "Columns":
        """The columns of some rows."""
        return Columns(*(getattr(self, column.name)[rows] for column in fields(self)))

    def join(self, other: "Columns") -> "Columns":
        """These rows, then those."""
        pairs = ((getattr(self, c.name), getattr(other, c.name)) for c in fields(self))
        return Columns(*(np.concatenate(pair) for pair in pairs))


@dataclass(frozen=True, slots=True)
class Names:
    """Numbers for the words of a column; grows, never changes."""

    numbers: dict[str, int] = field(default_factory=dict)

    def number(self, word: str) -> int:
        """The word's number, a new one for a new word."""
        return self.numbers.setdefault(word, len(self.numbers))

    def words(self) -> list[str]:
        """The words by number."""
        return list(self.numbers)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All live fragments at one write number, with the serving space and the files' paths."""

    seq: int
    columns: Columns
    paths: Mapping[int, str]
    space: Space | None
    languages: Names
    kinds: Names
    damaged: frozenset[int] = frozenset()

    def __len__(self) -> int:
        return len(self.columns.id)


def load(database: sqlite3.Connection) -> Snapshot:
    """Reads everything in one consistent view."""
    with _view(database):
        seq, space = sequence(database), serving_space(database)
        languages, kinds = Names(), Names()
        paths, lost = _paths(database.execute(_FILES))
        columns, damaged = _columns(database.execute(_FRAGMENTS + " ORDER BY id"), languages, kinds)
        columns = replace(columns, slot=_slots(database, space, columns.content))
    unknown = frozenset(np.unique(columns.file[~np.isin(columns.file, list(paths))]).tolist())
    return Snapshot(seq, columns, paths, space, languages, kinds, damaged | lost | unknown)


def refresh(database: sqlite3.Connection, old: Snapshot) -> Snapshot:
    """The snapshot of now; `old` itself when nothing was written since."""
    if sequence(database) == old.seq:
        return old
    with _view(database):
        seq, space = sequence(database), serving_space(database)
        changed = [f for (f,) in database.execute("SELECT DISTINCT file_id FROM change WHERE seq>?", (old.seq,))]
        if len(changed) <= _MOST_FILES and _continuous(database, old.seq):
            return _patched(database, old, changed, seq, space)
    return load(database)


def _patched(
    database: sqlite3.Connection, old: Snapshot, changed: list[int], seq: int, space: Space | None
) -> Snapshot:
    """The old snapshot with the changed files read anew and new vectors noted."""
    kept = old.columns.take(~np.isin(old.columns.file, changed))
    paths = {key: path for key, path in old.paths.items() if key not in set(changed)} if changed else dict(old.paths)
    damaged: frozenset[int] = old.damaged - set(changed)
    parts = [kept]
    for file in changed:
        found, lost = _paths(database.execute(_FILES + " WHERE id=?", (file,)))
        rows = database.execute(_FRAGMENTS + " WHERE file_id=? ORDER BY id", (file,))
        columns, broken = _columns(rows, old.languages, old.kinds)
        paths |= found
        damaged |= lost | broken
        parts.append(columns)
    columns = reduce(Columns.join, parts)
    if np.any(np.diff(columns.id) < 0):
        columns = _ordered(columns)
    columns = _with_slots(database, old, columns, len(kept.id), space)
    return Snapshot(seq, columns, paths, space, old.languages, old.kinds, damaged)


def _ordered(columns: Columns) -> Columns:
    order = np.argsort(columns.id)
    return Columns(*(getattr(columns, column.name)[order] for column in fields(columns)))


def _with_slots(
    database: sqlite3.Connection, old: Snapshot, columns: Columns, kept: int, space: Space | None
) -> Columns:
    """Slots for new rows and for rows whose vector has come since."""
    if space is None or old.space is None or space.id != old.space.id:
        return replace(columns, slot=_slots(database, space, columns.content))
    slot = columns.slot.copy()
    fresh = database.execute(
        "SELECT content_id, slot FROM vector WHERE space_id=? AND slot>=?", (space.id, old.space.slots)
    ).fetchall()
    if fresh:
        _fill(slot, columns.content, fresh)
    query = "SELECT slot FROM vector WHERE space_id=? AND content_id=?"
    for row in np.flatnonzero((slot < 0) & (np.arange(len(slot)) >= kept)).tolist():
        if found := database.execute(query, (space.id, int(columns.content[row]))).fetchone():
            slot[row] = found[0]
    return replace(columns, slot=slot)


def _slots(database: sqlite3.Connection, space: Space | None, content: NDArray[np.int64]) -> NDArray[np.int32]:
    slot = np.full(len(content), -1, np.int32)
    if space is not None:
        _fill(
            slot,
            content,
            database.execute("SELECT content_id, slot FROM vector WHERE space_id=?", (space.id,)).fetchall(),
        )
    return slot


def _fill(slot: NDArray[np.int32], content: NDArray[np.int64], pairs: list[tuple[int, int]]) -> None:
    """Sets the slot of each row whose content is among the pairs (content, slot)."""
    if not pairs:
        return
    table = np.array(sorted(pairs), np.int64)
    place = np.minimum(np.searchsorted(table[:, 0], content), len(table) - 1)
    hit = table[place, 0] == content
    slot[hit] = table[place[hit], 1]


_FILES = "SELECT id, path, size, mtime_ns, inode, hash, language, skipped, buffer, checked FROM file"


def _paths(
    rows: Iterable[tuple[int, bytes, int, int, int, str, str, str, int, int]],
) -> tuple[dict[int, str], frozenset[int]]:
    """Paths by file id, and the ids of damaged rows."""
    paths: dict[int, str] = {}
    damaged = set()
    for row in rows:
        try:
            paths[row[0]] = read_file_row(row[1:])[0]
        except StoreError:
            damaged.add(row[0])
    return paths, frozenset(damaged)


def _columns(
    rows: Iterable[tuple[int, int, int, str, str, str, int, int, int, int, int]], languages: Names, kinds: Names
) -> tuple[Columns, frozenset[int]]:
    """Columns of the sound rows (slots not yet known), and the files of damaged ones."""
    numbers: list[tuple[int, ...]] = []
    damaged = set()
    for row in rows:
        if row_check(*row[1:-1]) != row[-1]:
            damaged.add(row[1])
            continue
        key, file, content, language, kind, _, *rest, _ = row
        numbers.append((key, file, content, languages.number(language), kinds.number(kind), *rest, -1))
    table = np.array(numbers, np.int64).reshape(-1, 10).T
    wide, narrow = table[:3], table[3:].astype(np.int32)
    return Columns(*(np.ascontiguousarray(column) for column in (*wide, *narrow))), frozenset(damaged)


def _continuous(database: sqlite3.Connection, seq: int) -> bool:
    """Whether the journal still holds every change since `seq`."""
    row = database.execute("SELECT value FROM meta WHERE key='journal_from'").fetchone()
    return row is None or int(row[0]) <= seq


class _view:  # noqa: N801 - reads like a statement
    """A read transaction, so that all queries within see the same state."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        self._outer = database.in_transaction

    def __enter__(self) -> None:
        if not self._outer:
            self._database.execute("BEGIN")

    def __exit__(self, *_: object) -> None:
        if not self._outer:
            self._database.execute("COMMIT")
