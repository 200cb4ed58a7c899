"""Scans of one embedding space: exact while it is small, above that a 1-bit prefilter.

Vectors are compared after their language's mean has been taken off. The prefilter keeps the
sign of each centred component, finds the nearest by Hamming distance and leaves the rest to
the exact comparison from the float16 file. Codes are derived on opening; nothing here is
stored. Records that fail their checksum are left out and listed as damaged.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from codekin.index.fusion import Scores, centre
from codekin.index.snapshot import Snapshot
from codekin.index.spaces import Space, vector_path
from codekin.index.vectors import Records, open_records, sound_records

EXACT_BYTES = 32 << 20
_BLOCK = 8192
_REFERENCE = 2048

Codes = NDArray[np.uint64]
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Dense:
    """The vectors of a space as a reader sees them, at one write number.

    `matrix` holds all vectors as float32 while they fit in EXACT_BYTES, otherwise `codes`
    (slots, words) holds their signs. `means` are by language number.
    """

    space: Space
    path: Path
    records: Records
    language: NDArray[np.int32]
    sound: NDArray[np.bool_]
    sums: Mapping[int, tuple[NDArray[np.float64], int]]
    references: Mapping[int, Floats]
    matrix: Floats | None
    codes: Codes | None
    means: Mapping[int, Floats] = field(default_factory=dict)

    def whole(self) -> bool:
        """Whether the file still holds all records; a cut one must not be touched."""
        try:
            return self.path.stat().st_size >= len(self.records) * self.records.dtype.itemsize
        except FileNotFoundError:
            return False

    def mean(self, language: int) -> Floats:
        """The mean vector of a language, zero when it has no vectors."""
        return self.means.get(language, np.zeros(self.space.dimensions, np.float32))

    def vectors(self, slots: NDArray[np.int32]) -> Floats:
        """The stored vectors of some slots, float32."""
        if self.matrix is not None:
            return self.matrix[slots]
        return np.asarray(self.records["vector"][slots], np.float32)


def open_dense(folder: Path, snapshot: Snapshot, digests: Mapping[int, bytes]) -> Dense | None:
    """Reads and checks all vectors of the serving space; `digests` by content id."""
    space = snapshot.space
    if space is None:
        return None
    path = vector_path(folder, space)
    records = open_records(path, space.dimensions, space.slots)
    sound = sound_records(records) & _owned(records, snapshot, digests)
    language = _slot_languages(snapshot, len(records))
    view = Dense(space, path, records, language, sound, {}, {}, None, None)
    view = _with_sums(view, snapshot)
    references = {number: _reference(view, number) for number in view.sums}
    view = replace(view, references=references)
    return _with_scan(view)


def refresh_dense(view: Dense, old: Snapshot, new: Snapshot) -> Dense | None:
    """The view for a newer snapshot of the same space; None when it must be opened anew."""
    space = new.space
    if space is None or space.id != view.space.id:
        return None
    records = view.records
    if space.slots > len(records):
        records = open_records(view.path, space.dimensions, space.slots)
    if len(records) < space.slots or len(records) > 2 * len(view.records):
        return None
    fresh = records[len(view.records) :]
    view = replace(
        view,
        space=space,
        records=records,
        language=_slot_languages(new, len(records)),
        sound=np.concatenate([view.sound, sound_records(fresh)]),
    )
    view = _shift_sums(view, old, new)
    if set(view.sums) - set(view.references):
        return None
    return _extend_scan(view, fresh)


def _owned(records: Records, snapshot: Snapshot, digests: Mapping[int, bytes]) -> NDArray[np.bool_]:
    """Whether each record in use carries the digest of the content that claims its slot."""
    owned = np.ones(len(records), bool)
    columns = snapshot.columns
    used = (columns.slot >= 0) & (columns.slot < len(records))
    claims = [digests.get(content, b"\0" * 32) for content in columns.content[used].tolist()]
    if claims:
        slots = columns.slot[used]
        table = np.frombuffer(b"".join(claims), "<u8").reshape(-1, 4)
        owned[slots[(records["digest"][slots] != table).any(axis=1)]] = False
    return owned


def _slot_languages(snapshot: Snapshot, slots: int) -> NDArray[np.int32]:
    """The language number of each slot in use, -1 for the others."""
    language = np.full(slots, -1, np.int32)
    used = (snapshot.columns.slot >= 0) & (snapshot.columns.slot < slots)
    language[snapshot.columns.slot[used]] = snapshot.columns.language[used]
    return language


def _usable(view: Dense, snapshot: Snapshot) -> NDArray[np.bool_]:
    """Rows with a sound vector."""
    slot = snapshot.columns.slot
    present = (slot >= 0) & (slot < len(view.records))
    present[present] = view.sound[slot[present]]
    return present


def _with_sums(view: Dense, snapshot: Snapshot) -> Dense:
    sums = _sums(view, snapshot, _usable(view, snapshot))
    return replace(view, sums=sums, means={n: centre(*pair) for n, pair in sums.items()})


def _sums(view: Dense, snapshot: Snapshot, rows: NDArray[np.bool_]) -> dict[int, tuple[NDArray[np.float64], int]]:
    """Sum of vectors and count by language; float64 sums of float16 values are exact."""
    sums: dict[int, tuple[NDArray[np.float64], int]] = {}
    for number in np.unique(snapshot.columns.language[rows]).tolist():
        slots = snapshot.columns.slot[rows & (snapshot.columns.language == number)]
        total = np.zeros(view.space.dimensions, np.float64)
        for start in range(0, len(slots), _BLOCK):
            total += view.records["vector"][slots[start : start + _BLOCK]].sum(axis=0, dtype=np.float64)
        sums[number] = (total, len(slots))
    return sums


def _shift_sums(view: Dense, old: Snapshot, new: Snapshot) -> Dense:
    """Takes off the rows that went and adds those that came."""
    gone, come = _usable(view, old), _usable(view, new)
    gone &= ~_held(old, new)
    come &= ~_held(new, old)
    sums = dict(view.sums)
    for sign, snapshot, rows in ((-1, old, gone), (1, new, come)):
        for number, (total, count) in _sums(view, snapshot, rows).items():
            before, known = sums.get(number, (np.zeros(view.space.dimensions), 0))
            sums[number] = (before + sign * total, known + sign * count)
    return replace(view, sums=sums, means={n: centre(*pair) for n, pair in sums.items()})


def _held(one: Snapshot, other: Snapshot) -> NDArray[np.bool_]:
    """Rows of `one` that stand in `other` with the same slot."""
    if len(other) == 0:
        return np.zeros(len(one), bool)
    place = np.minimum(np.searchsorted(other.columns.id, one.columns.id), len(other) - 1)
    same: NDArray[np.bool_] = other.columns.id[place] == one.columns.id
    return same & (other.columns.slot[place] == one.columns.slot)


def _reference(view: Dense, language: int) -> Floats:
    """The point from which a language's signs are taken; it stays while the mean moves."""
    return view.mean(language)


def _with_scan(view: Dense) -> Dense:
    """Adds the float32 matrix or the codes of all records."""
    if len(view.records) * view.space.dimensions * 4 <= EXACT_BYTES:
        return replace(view, matrix=np.asarray(view.records["vector"], np.float32))
    codes = [_codes(view, start, min(start + _BLOCK, len(view.records))) for start in range(0, len(view.records), _BLOCK)]
    return replace(view, codes=np.concatenate(codes))


def _extend_scan(view: Dense, fresh: Records) -> Dense | None:
    """Adds the newest records to the matrix or the codes."""
    if len(fresh) == 0:
        return view
    if view.matrix is not None:
        if len(view.records) * view.space.dimensions * 4 > EXACT_BYTES:
            return None
        return replace(view, matrix=np.concatenate([view.matrix, fresh["vector"].astype(np.float32)]))
    assert view.codes is not None  # noqa: S101 - a view has one or the other
    added = _codes(view, len(view.codes), len(view.records))
    return replace(view, codes=np.concatenate([view.codes, added]))


def _codes(view: Dense, start: int, stop: int) -> Codes:
    """The signs of the centred records from `start` to `stop`, 64 to a word."""
    block = view.records["vector"][start:stop].astype(np.float32)
    for number in np.unique(view.language[start:stop]).tolist():
        if number in view.references:
            block[view.language[start:stop] == number] -= view.references[number]
    return sign_codes(block)


def sign_codes(block: Floats) -> Codes:
    """One bit for each component, shape (n, words)."""
    bits = np.packbits(block > 0, axis=1, bitorder="little")
    padded = np.pad(bits, ((0, 0), (0, -bits.shape[1] % 8)))
    return padded.view(np.uint64)


def nearest(view: Dense, query: Floats, language: int, slots: NDArray[np.int32], count: int) -> NDArray[np.int32]:
    """At least the `count` slots nearest to the centred query, among `slots` of one language.

    With the matrix at hand all slots are returned, since comparing them is cheap.
    """
    if view.codes is None or len(slots) <= count:
        return slots
    code = sign_codes(query[None, :])[0]
    distance = np.bitwise_count(view.codes[slots] ^ code).sum(axis=1, dtype=np.uint16)
    return slots[np.argpartition(distance, count)[:count]]


def cosines(view: Dense, query: Floats, language: int, slots: NDArray[np.int32]) -> Scores:
    """Cosine of the centred query with the centred vectors of `slots`, NaN where there is none."""
    if query.dtype != np.float32:
        raise TypeError("a query vector is float32: a wider one would slow the scan tenfold")
    cosine = np.full(len(slots), np.nan, np.float32)
    present = (slots >= 0) & (slots < len(view.records))
    present[present] = view.sound[slots[present]]
    if present.any():
        centred = view.vectors(slots[present]) - view.mean(language)
        norms = np.sqrt(np.einsum("ij,ij->i", centred, centred)) * np.float32(max(np.linalg.norm(query), 1e-9))
        cosine[present] = (centred @ query) / np.maximum(norms, 1e-9)
    return cosine
