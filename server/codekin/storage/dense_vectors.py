"""The vectors of an embedding space as one consistent state: memory-mapped records, sign codes and means by language.

Codes and means are computed on opening. Records with a wrong checksum or content hash are ignored.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from codekin.protocols import EmbeddingSpace
from codekin.storage.snapshot import IndexSnapshot
from codekin.storage.vectors import VectorRecords, open_records, valid_records, vector_path

_RECORDS_PER_BLOCK = 8192


SignCodes = NDArray[np.uint64]


Floats = NDArray[np.float32]


Sums = Mapping[int, tuple[NDArray[np.float64], int]]


@dataclass(frozen=True, slots=True)
class DenseVectors:
    """The vectors of a space at one write number.

    `sums` and `references` are by language number: the sum and count of the live vectors,
    and the point from which signs are taken. `codes` has shape (words, slots). `neighbour_similarities`
    fills as it is needed: how near each slot of one language is to its nearest of another.
    """

    space: EmbeddingSpace
    path: Path
    records: VectorRecords
    valid: NDArray[np.bool_]
    sums: Sums
    references: Mapping[int, Floats]
    codes: SignCodes
    neighbour_similarities: dict[tuple[int, int], Floats] = field(default_factory=dict)

    def is_complete(self) -> bool:
        """Whether the file still holds all records; a cut one must not be touched."""
        try:
            return self.path.stat().st_size >= len(self.records) * self.records.dtype.itemsize
        except FileNotFoundError:
            return False

    def mean(self, language: int) -> Floats:
        """The mean vector of a language, zero when it has no vectors."""
        none = (np.zeros(self.space.dimensions, np.float64), 0)
        return shrunk_mean(*self.sums.get(language, none))

    def has_all_vectors(self, snapshot: IndexSnapshot) -> bool:
        """Whether every vector that the truth claims is there and sound."""
        claimed = snapshot.columns.slot[snapshot.columns.slot >= 0]
        return bool(self.has_vectors(claimed).all())

    def has_vectors(self, slots: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Whether each slot has a sound vector; -1 has none."""
        present: NDArray[np.bool_] = (slots >= 0) & (slots < len(self.records))
        present[present] = self.valid[slots[present]]
        return present

    def vectors(self, slots: NDArray[np.int32]) -> Floats:
        """The stored vectors of some slots, float32."""
        return widen(np.asarray(self.records)["vector"][slots])


_HALF_SIGN_AND_VALUE, _SCALE = np.int32(-0x70002000), np.float32(2.0**112)


def widen(halves: NDArray[np.float16]) -> Floats:
    """Finite numbers of 16 bits in 32, six times as fast as numpy converts them.

    Their bits, shifted to the places that a float32 has for them, differ from it in the bias of the exponent alone.
    """
    bits = halves.view(np.int16).astype(np.int32)
    bits <<= 13
    bits &= _HALF_SIGN_AND_VALUE
    wide: Floats = bits.view(np.float32)
    wide *= _SCALE
    return wide


def open_dense(folder: Path, snapshot: IndexSnapshot, digests: Mapping[int, bytes]) -> DenseVectors | None:
    """Reads and checks all vectors of the serving space; `digests` by content id."""
    space = snapshot.space
    if space is None:
        return None
    path = vector_path(folder, space)
    records = open_records(path, space.dimensions, space.slots)
    valid = valid_records(records) & _matches_digest(records, snapshot, digests)
    blank = np.zeros((-(-space.dimensions // 64), 0), np.uint64)
    view = DenseVectors(space, path, records, valid, {}, {}, blank)
    view = replace(view, sums=_sum_by_language(view, snapshot, view.has_vectors(snapshot.columns.slot)))
    view = replace(view, references={number: view.mean(number) for number in view.sums})
    return _with_codes(view, snapshot)


def refresh_dense(view: DenseVectors, old: IndexSnapshot, new: IndexSnapshot) -> DenseVectors | None:
    """The view for a newer snapshot of the same space; None when it must be opened anew.

    It is opened anew when the space has doubled or gained a language, since the reference
    points of the codes are then far from the means.
    """
    space = new.space
    if space is None or space.id != view.space.id or not view.is_complete():
        return None
    count, records = len(view.records), view.records
    if space.slots > count:
        records = open_records(view.path, space.dimensions, space.slots)
    if len(records) < space.slots or len(records) > 2 * count:
        return None
    valid = np.concatenate([view.valid, valid_records(records[count:])])
    view = _update_sums(replace(view, space=space, records=records, valid=valid), old, new)
    if set(view.sums) - set(view.references):
        return None
    return _with_codes(view, new)


def _matches_digest(records: VectorRecords, snapshot: IndexSnapshot, digests: Mapping[int, bytes]) -> NDArray[np.bool_]:
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


def _sum_by_language(
    view: DenseVectors, snapshot: IndexSnapshot, rows: NDArray[np.bool_]
) -> dict[int, tuple[NDArray[np.float64], int]]:
    """Sum of vectors and count by language; float64 sums of float16 values are exact."""
    sums: dict[int, tuple[NDArray[np.float64], int]] = {}
    for number in np.flatnonzero(np.bincount(snapshot.columns.language[rows])).tolist():
        slots = snapshot.columns.slot[rows & (snapshot.columns.language == number)]
        total = np.zeros(view.space.dimensions, np.float64)
        for start in range(0, len(slots), _RECORDS_PER_BLOCK):
            total += view.records["vector"][slots[start : start + _RECORDS_PER_BLOCK]].sum(axis=0, dtype=np.float64)
        sums[number] = (total, len(slots))
    return sums


def _update_sums(view: DenseVectors, old: IndexSnapshot, new: IndexSnapshot) -> DenseVectors:
    """Subtracts removed rows from the sums and adds new ones."""
    removed = view.has_vectors(old.columns.slot) & ~_unchanged_rows(old, new)
    added = view.has_vectors(new.columns.slot) & ~_unchanged_rows(new, old)
    sums = dict(view.sums)
    for sign, snapshot, rows in ((-1, old, removed), (1, new, added)):
        for number, (total, count) in _sum_by_language(view, snapshot, rows).items():
            before, known = sums.get(number, (np.zeros(view.space.dimensions), 0))
            sums[number] = (before + sign * total, known + sign * count)
    return replace(view, sums=sums)


def _unchanged_rows(one: IndexSnapshot, other: IndexSnapshot) -> NDArray[np.bool_]:
    """Rows of `one` that are in `other` with the same slot."""
    if len(other) == 0:
        return np.zeros(len(one), bool)
    place = np.minimum(np.searchsorted(other.columns.id, one.columns.id), len(other) - 1)
    same: NDArray[np.bool_] = other.columns.id[place] == one.columns.id
    same &= other.columns.slot[place] == one.columns.slot
    return same


def _with_codes(view: DenseVectors, snapshot: IndexSnapshot) -> DenseVectors:
    """Adds the codes of the records that have none yet."""
    done = view.codes.shape[1]
    if done == len(view.records):
        return view
    language = _slot_languages(snapshot, len(view.records))
    parts = [view.codes]
    for start in range(done, len(view.records), _RECORDS_PER_BLOCK):
        block = view.records["vector"][start : start + _RECORDS_PER_BLOCK].astype(np.float32)
        owners = language[start : start + _RECORDS_PER_BLOCK]
        for number, reference in view.references.items():
            block[owners == number] -= reference
        parts.append(sign_codes(block))
    return replace(view, codes=np.concatenate(parts, axis=1), neighbour_similarities={})


def _slot_languages(snapshot: IndexSnapshot, slots: int) -> NDArray[np.int32]:
    """The language number of each slot in use, -1 for the others."""
    language = np.full(slots, -1, np.int32)
    used = (snapshot.columns.slot >= 0) & (snapshot.columns.slot < slots)
    language[snapshot.columns.slot[used]] = snapshot.columns.language[used]
    return language


def sign_codes(block: Floats) -> SignCodes:
    """One bit for each component of each vector, shape (words, vectors)."""
    bits = np.packbits(block > 0, axis=1, bitorder="little")
    padded = np.pad(bits, ((0, 0), (0, -bits.shape[1] % 8)))
    return np.ascontiguousarray(padded.view(np.uint64).T)


_SHRINKAGE = 5.0


def shrunk_mean(total: NDArray[np.float64], count: int) -> NDArray[np.float32]:
    """The mean vector of a language from its sum, drawn to zero while there are few."""
    return (total / (count + _SHRINKAGE)).astype(np.float32)
