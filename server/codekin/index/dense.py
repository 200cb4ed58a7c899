"""The vectors of one embedding space as a reader compares them.

Vectors are compared after their language's mean has been taken off. A prefilter keeps the
sign of each centred component and finds the nearest by Hamming distance; the exact
comparison reads the float16 file. Codes and means are derived on opening, nothing here is
stored. Records that fail their checksum, or that carry another content's hash than the one
that claims them, are left out.
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

_BLOCK = 8192
_NEAREST = 5
_OF_SO_MANY = 10
"""In a crowd of less than 50 not five are near, but one in so many."""

Codes = NDArray[np.uint64]
Floats = NDArray[np.float32]
Sums = Mapping[int, tuple[NDArray[np.float64], int]]


@dataclass(frozen=True, slots=True)
class Dense:
    """The vectors of a space at one write number.

    `sums` and `references` are by language number: the sum and count of the live vectors,
    and the point from which signs are taken. `codes` has shape (words, slots). `crowds` fills as
    it is needed: how near each slot of one language is to its nearest of another.
    """

    space: Space
    path: Path
    records: Records
    sound: NDArray[np.bool_]
    sums: Sums
    references: Mapping[int, Floats]
    codes: Codes
    crowds: dict[tuple[int, int], Floats] = field(default_factory=dict)

    def whole(self) -> bool:
        """Whether the file still holds all records; a cut one must not be touched."""
        try:
            return self.path.stat().st_size >= len(self.records) * self.records.dtype.itemsize
        except FileNotFoundError:
            return False

    def mean(self, language: int) -> Floats:
        """The mean vector of a language, zero when it has no vectors."""
        none = (np.zeros(self.space.dimensions, np.float64), 0)
        return centre(*self.sums.get(language, none))

    def all_usable(self, snapshot: Snapshot) -> bool:
        """Whether every vector that the truth claims is there and sound."""
        claimed = snapshot.columns.slot[snapshot.columns.slot >= 0]
        return bool(self.usable(claimed).all())

    def usable(self, slots: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Whether each slot has a sound vector; -1 has none."""
        present: NDArray[np.bool_] = (slots >= 0) & (slots < len(self.records))
        present[present] = self.sound[slots[present]]
        return present

    def vectors(self, slots: NDArray[np.int32]) -> Floats:
        """The stored vectors of some slots, float32."""
        return np.asarray(self.records["vector"][slots], np.float32)


def open_dense(folder: Path, snapshot: Snapshot, digests: Mapping[int, bytes]) -> Dense | None:
    """Reads and checks all vectors of the serving space; `digests` by content id."""
    space = snapshot.space
    if space is None:
        return None
    path = vector_path(folder, space)
    records = open_records(path, space.dimensions, space.slots)
    sound = sound_records(records) & _owned(records, snapshot, digests)
    blank = np.zeros((-(-space.dimensions // 64), 0), np.uint64)
    view = Dense(space, path, records, sound, {}, {}, blank)
    view = replace(view, sums=_sums(view, snapshot, view.usable(snapshot.columns.slot)))
    view = replace(view, references={number: view.mean(number) for number in view.sums})
    return _with_codes(view, snapshot)


def refresh_dense(view: Dense, old: Snapshot, new: Snapshot) -> Dense | None:
    """The view for a newer snapshot of the same space; None when it must be opened anew.

    It is opened anew when the space has doubled or gained a language, since the reference
    points of the codes are then far from the means.
    """
    space = new.space
    if space is None or space.id != view.space.id or not view.whole():
        return None
    count, records = len(view.records), view.records
    if space.slots > count:
        records = open_records(view.path, space.dimensions, space.slots)
    if len(records) < space.slots or len(records) > 2 * count:
        return None
    sound = np.concatenate([view.sound, sound_records(records[count:])])
    view = _shift_sums(replace(view, space=space, records=records, sound=sound), old, new)
    if set(view.sums) - set(view.references):
        return None
    return _with_codes(view, new)


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


def _sums(view: Dense, snapshot: Snapshot, rows: NDArray[np.bool_]) -> dict[int, tuple[NDArray[np.float64], int]]:
    """Sum of vectors and count by language; float64 sums of float16 values are exact."""
    sums: dict[int, tuple[NDArray[np.float64], int]] = {}
    for number in np.flatnonzero(np.bincount(snapshot.columns.language[rows])).tolist():
        slots = snapshot.columns.slot[rows & (snapshot.columns.language == number)]
        total = np.zeros(view.space.dimensions, np.float64)
        for start in range(0, len(slots), _BLOCK):
            total += view.records["vector"][slots[start : start + _BLOCK]].sum(axis=0, dtype=np.float64)
        sums[number] = (total, len(slots))
    return sums


def _shift_sums(view: Dense, old: Snapshot, new: Snapshot) -> Dense:
    """Takes off the rows that went and adds those that came."""
    gone = view.usable(old.columns.slot) & ~_held(old, new)
    come = view.usable(new.columns.slot) & ~_held(new, old)
    sums = dict(view.sums)
    for sign, snapshot, rows in ((-1, old, gone), (1, new, come)):
        for number, (total, count) in _sums(view, snapshot, rows).items():
            before, known = sums.get(number, (np.zeros(view.space.dimensions), 0))
            sums[number] = (before + sign * total, known + sign * count)
    return replace(view, sums=sums)


def _held(one: Snapshot, other: Snapshot) -> NDArray[np.bool_]:
    """Rows of `one` that stand in `other` with the same slot."""
    if len(other) == 0:
        return np.zeros(len(one), bool)
    place = np.minimum(np.searchsorted(other.columns.id, one.columns.id), len(other) - 1)
    same: NDArray[np.bool_] = other.columns.id[place] == one.columns.id
    same &= other.columns.slot[place] == one.columns.slot
    return same


def _with_codes(view: Dense, snapshot: Snapshot) -> Dense:
    """Adds the codes of the records that have none yet."""
    done = view.codes.shape[1]
    if done == len(view.records):
        return view
    language = _slot_languages(snapshot, len(view.records))
    parts = [view.codes]
    for start in range(done, len(view.records), _BLOCK):
        block = view.records["vector"][start : start + _BLOCK].astype(np.float32)
        owners = language[start : start + _BLOCK]
        for number, reference in view.references.items():
            block[owners == number] -= reference
        parts.append(sign_codes(block))
    return replace(view, codes=np.concatenate(parts, axis=1), crowds={})


def _slot_languages(snapshot: Snapshot, slots: int) -> NDArray[np.int32]:
    """The language number of each slot in use, -1 for the others."""
    language = np.full(slots, -1, np.int32)
    used = (snapshot.columns.slot >= 0) & (snapshot.columns.slot < slots)
    language[snapshot.columns.slot[used]] = snapshot.columns.language[used]
    return language


def sign_codes(block: Floats) -> Codes:
    """One bit for each component of each vector, shape (words, vectors)."""
    bits = np.packbits(block > 0, axis=1, bitorder="little")
    padded = np.pad(bits, ((0, 0), (0, -bits.shape[1] % 8)))
    return np.ascontiguousarray(padded.view(np.uint64).T)


def hamming(view: Dense, query: Floats, slots: NDArray[np.int32]) -> NDArray[np.uint16]:
    """Differing signs between the centred query and each slot's vector; slots of -1 come last."""
    distance = np.zeros(view.codes.shape[1], np.uint16)
    for word, bits in zip(view.codes, sign_codes(query[None, :])[:, 0], strict=True):
        distance += np.bitwise_count(word ^ bits)
    present = view.usable(slots)
    near = np.full(len(slots), np.iinfo(np.uint16).max, np.uint16)
    near[present] = distance[slots[present]]
    return near


def cosines(view: Dense, query: Floats, language: int, slots: NDArray[np.int32]) -> Scores:
    """Cosine of the centred query with the centred vectors of `slots`, NaN where there is none."""
    if query.dtype != np.float32:
        raise TypeError("a query vector is float32: a wider one would slow the scan tenfold")
    cosine = np.full(len(slots), np.nan, np.float32)
    present = view.usable(slots)
    if present.any():
        centred = view.vectors(slots[present]) - view.mean(language)
        norms = np.sqrt(np.einsum("ij,ij->i", centred, centred)) * np.linalg.norm(query)
        cosine[present] = (centred @ query) / np.maximum(norms, np.float32(1e-9))
    return cosine


def crowding(view: Dense, home: int, crowd: NDArray[np.int32], language: int, slots: NDArray[np.int32]) -> Scores:
    """The mean cosine of each of a language's `slots` with its nearest in the crowd, which is of the language `home`.

    Zero in a crowd too small to tell, NaN where there is no vector. A view remembers what it once worked out.
    """
    known = view.crowds.setdefault((home, language), np.full(len(view.records), np.nan, np.float32))
    present = view.usable(slots)
    missing = np.unique(slots[present][np.isnan(known[slots[present]])])
    if len(missing):
        known[missing] = _nearness(_unit(view, language, missing) @ _unit(view, home, crowd[view.usable(crowd)]).T)
    near = np.full(len(slots), np.nan, np.float32)
    near[present] = known[slots[present]]
    return near


def _nearness(cosines: Floats) -> Floats:
    """The mean of the few largest of each row."""
    count = cosines.shape[1]
    few = min(_NEAREST, count // _OF_SO_MANY)
    if few == 0:
        return np.zeros(len(cosines), np.float32)
    return np.asarray(np.partition(cosines, count - few, axis=1)[:, count - few :].mean(axis=1), np.float32)


def _unit(view: Dense, language: int, slots: NDArray[np.int32]) -> Floats:
    """Centred vectors of unit length."""
    centred = view.vectors(slots) - view.mean(language)
    return np.asarray(centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-9), np.float32)
