"""An immutable in-memory snapshot of the live chunks, in columns, and their names.

A name is known by its parts (`Shop.Ledger.close_month/2` has three) and by the key of its last part: lower case without
underscores, so that `close_month`, `closeMonth` and `Close Month` share one. Keys are computed when first needed.

`refresh_snapshot` makes the next one from the journal and reads only the files that changed. Texts stay in SQLite. A
row that fails its checksum is left out and its file is listed as damaged.
"""

import re
import sqlite3
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache, reduce

import numpy as np
from numpy.typing import NDArray

from codekin.errors import StoreError
from codekin.protocols import EmbeddingSpace
from codekin.storage.database import decode_file_row, read_sequence, row_checksum
from codekin.storage.vectors import find_serving_space

_ARITY = re.compile(r"/(\d+)$")
_TEMPLATE_ARGUMENTS = re.compile(r"<[^<>]*>")
_SEPARATOR = re.compile(r" > |::|->|[./#:]")
_NOT_IN_KEY = re.compile(r"[\W_]+")
_OPERATOR = re.compile(r"operator\s*\W")
LetterSets = NDArray[np.uint64]
"""Which letters some texts have, a bit for each."""

_LETTER_BITS = np.uint64(1) << (np.arange(256, dtype=np.uint64) % np.uint64(64))
_LETTER_BITS[ord("\n")] = 0


@lru_cache(maxsize=8192)
def split_name(name: str) -> tuple[str, ...]:
    """The parts of a name without its arity and template arguments: `("Shop", "Ledger", "close_month")`."""
    if _OPERATOR.search(name):
        scope, _, operator = name.rpartition("operator")
        return (*split_name(scope), "operator" + "".join(operator.split())) if scope else (name,)
    bare = _TEMPLATE_ARGUMENTS.sub("", _ARITY.sub("", name))
    return tuple(part for part in _SEPARATOR.split(bare) if part)


def arity_of(name: str) -> int | None:
    """The arity that a name ends with, or None."""
    found = _ARITY.search(name)
    return int(found[1]) if found else None


def name_key(part: str) -> str:
    """What one part of a name is looked up by; the part itself where it has no letter or digit."""
    return _NOT_IN_KEY.sub("", part).lower() or part


class NameTable:
    """Names by number, and numbers by key. Grows, never changes; thread-safe."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._names: list[str] = []
        self._by_key: dict[str, list[int]] = defaultdict(list)
        self._keyed = 0
        self._letters: _KeyLetters | None = None
        self._mutex = threading.Lock()

    def number(self, name: str) -> int:
        """The name's number, a new one for a new name."""
        known = self._numbers.get(name)
        if known is None:
            known = self._numbers[name] = len(self._names)
            self._names.append(name)
        return known

    def name(self, number: int) -> str:
        """The name of a number."""
        return self._names[number]

    def with_key(self, key: str) -> list[int]:
        """The numbers of the names whose last part has this key."""
        self._extend_keys()
        return self._by_key.get(key, [])

    def keys_containing(self, part: str) -> Iterator[str]:
        """The keys that hold a text."""
        yield from self._key_letters().containing(part)

    def keys_one_letter_off(self, key: str) -> Iterator[str]:
        """The keys that one letter added, left out, replaced or exchanged with its neighbour makes into `key`."""
        yield from self._key_letters().one_letter_off(key)

    def _extend_keys(self) -> None:
        with self._mutex:
            for number in range(self._keyed, len(self._names)):
                parts = split_name.__wrapped__(self._names[number])
                self._by_key[name_key(parts[-1]) if parts else ""].append(number)
            self._keyed = max(self._keyed, len(self._names))

    def _key_letters(self) -> "_KeyLetters":
        self._extend_keys()
        with self._mutex:
            if self._letters is None or self._letters.count != len(self._by_key):
                self._letters = _KeyLetters(list(self._by_key))
            return self._letters


class _KeyLetters:
    """All keys in one text, and which letters each has: for keys that are nearly or partly given."""

    def __init__(self, keys: list[str]) -> None:
        self.count = len(keys)
        self._keys = keys
        self._joined = "\n".join(keys) + "\n"
        lengths = np.fromiter(map(len, keys), np.int64, len(keys))
        self._lengths = lengths
        self._starts = np.concatenate([[0], np.cumsum(lengths + 1)[:-1]]) if keys else lengths
        letters = np.frombuffer(self._joined.encode("latin-1", "replace"), np.uint8)
        self._letters: LetterSets = (
            np.bitwise_or.reduceat(_LETTER_BITS[letters], self._starts) if keys else np.zeros(0, np.uint64)
        )

    def containing(self, part: str) -> Iterator[str]:
        """The keys that hold a text."""
        places = [found.start() for found in re.finditer(re.escape(part), self._joined)]
        for place in np.unique(np.searchsorted(self._starts, places, side="right") - 1).tolist():
            yield self._keys[place]

    def one_letter_off(self, key: str) -> Iterator[str]:
        """The keys at a distance of one letter."""
        own = np.bitwise_or.reduce(_LETTER_BITS[np.frombuffer(key.encode("latin-1", "replace"), np.uint8)])
        near = (np.abs(self._lengths - len(key)) <= 1) & (np.bitwise_count(self._letters ^ own) <= 2)
        for place in np.flatnonzero(near).tolist():
            if _is_one_letter_off(self._keys[place], key):
                yield self._keys[place]


def _is_one_letter_off(one: str, other: str) -> bool:
    """Whether the texts differ by one letter, or by two neighbours exchanged."""
    if one == other:
        return False
    start = next((at for at, (left, right) in enumerate(zip(one, other, strict=False)) if left != right), None)
    if start is None:
        return abs(len(one) - len(other)) == 1
    left, right = one[start:], other[start:]
    exchanged = left[1::-1] + left[2:]
    return left[1:] == right or left == right[1:] or left[1:] == right[1:] or exchanged == right


_SELECT_CHUNKS = (
    "SELECT id, file_id, content_id, language, kind, name, start_line, end_line, part, sample, checksum FROM chunk"
)
_MAX_CHANGED_FILES = 500


@dataclass(frozen=True, slots=True)
class ChunkColumns:
    """One entry for each live chunk, ordered by id; `slot` is -1 without a vector."""

    id: NDArray[np.int64]
    file: NDArray[np.int64]
    content: NDArray[np.int64]
    language: NDArray[np.int32]
    kind: NDArray[np.int32]
    name: NDArray[np.int32]
    start: NDArray[np.int32]
    end: NDArray[np.int32]
    part: NDArray[np.int32]
    sample: NDArray[np.int32]
    slot: NDArray[np.int32]

    def select(self, rows: NDArray[np.bool_]) -> "ChunkColumns":
        """The columns of some rows."""
        return ChunkColumns(*(getattr(self, column.name)[rows] for column in fields(self)))

    def join(self, other: "ChunkColumns") -> "ChunkColumns":
        """These rows followed by the others."""
        pairs = ((getattr(self, c.name), getattr(other, c.name)) for c in fields(self))
        return ChunkColumns(*(np.concatenate(pair) for pair in pairs))


@dataclass(frozen=True, slots=True)
class LabelEncoder:
    """Numbers for the words of a column; grows, never changes."""

    numbers: dict[str, int] = field(default_factory=dict)

    def number(self, word: str) -> int:
        """The word's number, a new one for a new word."""
        return self.numbers.setdefault(word, len(self.numbers))

    def words(self) -> list[str]:
        """The words by number."""
        return list(self.numbers)


@dataclass(frozen=True, slots=True)
class IndexSnapshot:
    """All live chunks at one write number, with the serving space and the files' paths.

    `samples` keeps the rows by language number that ranking has drawn, about so many.
    """

    seq: int
    columns: ChunkColumns
    paths: Mapping[int, str]
    space: EmbeddingSpace | None
    languages: LabelEncoder
    kinds: LabelEncoder
    names: NameTable
    damaged: frozenset[int] = frozenset()
    samples: dict[tuple[int, int], NDArray[np.int64]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.columns.id)


def load_snapshot(database: sqlite3.Connection) -> IndexSnapshot:
    """Reads everything in one consistent view."""
    with _ReadTransaction(database):
        seq, space = read_sequence(database), find_serving_space(database)
        languages, kinds, names = LabelEncoder(), LabelEncoder(), NameTable()
        paths, lost = _read_paths(database.execute(_SELECT_FILES))
        columns, damaged = _read_columns(database.execute(_SELECT_CHUNKS + " ORDER BY id"), languages, kinds, names)
        columns = replace(columns, slot=read_slots(database, space, columns.content))
    unknown = frozenset(np.unique(columns.file[~np.isin(columns.file, list(paths))]).tolist())
    return IndexSnapshot(seq, columns, paths, space, languages, kinds, names, damaged | lost | unknown)


def refresh_snapshot(database: sqlite3.Connection, old: IndexSnapshot) -> IndexSnapshot:
    """The newest snapshot; `old` itself when nothing was written since."""
    if read_sequence(database) == old.seq:
        return old
    with _ReadTransaction(database):
        seq, space = read_sequence(database), find_serving_space(database)
        changed = [f for (f,) in database.execute("SELECT DISTINCT file_id FROM change WHERE seq>?", (old.seq,))]
        if len(changed) <= _MAX_CHANGED_FILES and _journal_covers(database, old.seq):
            return _apply_changes(database, old, changed, seq, space)
    return load_snapshot(database)


def _apply_changes(
    database: sqlite3.Connection, old: IndexSnapshot, changed: list[int], seq: int, space: EmbeddingSpace | None
) -> IndexSnapshot:
    """The old snapshot with the changed files read anew and new vectors noted."""
    kept = old.columns.select(~np.isin(old.columns.file, changed))
    paths = {key: path for key, path in old.paths.items() if key not in set(changed)} if changed else dict(old.paths)
    damaged: frozenset[int] = old.damaged - set(changed)
    parts = [kept]
    for file in changed:
        found, lost = _read_paths(database.execute(_SELECT_FILES + " WHERE id=?", (file,)))
        rows = database.execute(_SELECT_CHUNKS + " WHERE file_id=? ORDER BY id", (file,))
        columns, broken = _read_columns(rows, old.languages, old.kinds, old.names)
        paths |= found
        damaged |= lost | broken
        parts.append(columns)
    columns = reduce(ChunkColumns.join, parts)
    if np.any(np.diff(columns.id) < 0):
        columns = _sort_by_id(columns)
    columns = _with_slots(database, old, columns, len(kept.id), space)
    return IndexSnapshot(seq, columns, paths, space, old.languages, old.kinds, old.names, damaged)


def _sort_by_id(columns: ChunkColumns) -> ChunkColumns:
    order = np.argsort(columns.id)
    return ChunkColumns(*(getattr(columns, column.name)[order] for column in fields(columns)))


def _with_slots(
    database: sqlite3.Connection, old: IndexSnapshot, columns: ChunkColumns, kept: int, space: EmbeddingSpace | None
) -> ChunkColumns:
    """Slots for new rows and for rows whose vector has come since."""
    if space is None or old.space is None or space.id != old.space.id:
        return replace(columns, slot=read_slots(database, space, columns.content))
    slot = columns.slot.copy()
    fresh = database.execute(
        "SELECT content_id, slot FROM vector WHERE space_id=? AND slot>=?", (space.id, old.space.slots)
    ).fetchall()
    if fresh:
        _assign_slots(slot, columns.content, fresh)
    query = "SELECT slot FROM vector WHERE space_id=? AND content_id=?"
    for row in np.flatnonzero((slot < 0) & (np.arange(len(slot)) >= kept)).tolist():
        if found := database.execute(query, (space.id, int(columns.content[row]))).fetchone():
            slot[row] = found[0]
    return replace(columns, slot=slot)


def read_slots(
    database: sqlite3.Connection, space: EmbeddingSpace | None, content: NDArray[np.int64]
) -> NDArray[np.int32]:
    """The slot of each content's vector in a space, -1 where it has none."""
    slot = np.full(len(content), -1, np.int32)
    if space is not None:
        _assign_slots(
            slot,
            content,
            database.execute("SELECT content_id, slot FROM vector WHERE space_id=?", (space.id,)).fetchall(),
        )
    return slot


def _assign_slots(slot: NDArray[np.int32], content: NDArray[np.int64], pairs: list[tuple[int, int]]) -> None:
    """Sets the slot of each row whose content is among the pairs (content, slot)."""
    if not pairs:
        return
    table = np.array(sorted(pairs), np.int64)
    place = np.minimum(np.searchsorted(table[:, 0], content), len(table) - 1)
    hit = table[place, 0] == content
    slot[hit] = table[place[hit], 1]


_SELECT_FILES = "SELECT id, path, size, mtime_ns, inode, hash, language, skipped, buffer, checksum FROM file"


def _read_paths(
    rows: Iterable[tuple[int, bytes, int, int, int, str, str, str, int, int]],
) -> tuple[dict[int, str], frozenset[int]]:
    """Paths by file id, and the ids of damaged rows."""
    paths: dict[int, str] = {}
    damaged = set()
    for row in rows:
        try:
            paths[row[0]] = decode_file_row(row[1:])[0]
        except StoreError:
            damaged.add(row[0])
    return paths, frozenset(damaged)


def _read_columns(
    rows: Iterable[tuple[int, int, int, str, str, str, int, int, int, int, int]],
    languages: LabelEncoder,
    kinds: LabelEncoder,
    names: NameTable,
) -> tuple[ChunkColumns, frozenset[int]]:
    """Columns of the sound rows (slots not yet known), and the files of damaged ones."""
    numbers: list[tuple[int, ...]] = []
    damaged = set()
    for row in rows:
        if row_checksum(*row[1:-1]) != row[-1]:
            damaged.add(row[1])
            continue
        key, file, content, language, kind, name, *rest, _ = row
        labels = languages.number(language), kinds.number(kind), names.number(name)
        numbers.append((key, file, content, *labels, *rest, -1))
    table = np.array(numbers, np.int64).reshape(-1, 11).T
    wide, narrow = table[:3], table[3:].astype(np.int32)
    return ChunkColumns(*(np.ascontiguousarray(column) for column in (*wide, *narrow))), frozenset(damaged)


def _journal_covers(database: sqlite3.Connection, seq: int) -> bool:
    """Whether the journal still holds every change since `seq`."""
    row = database.execute("SELECT value FROM meta WHERE key='journal_from'").fetchone()
    return row is None or int(row[0]) <= seq


class _ReadTransaction:
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
