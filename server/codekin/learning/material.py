"""What a run learns from: reads the index and its journal, and sorts functions into learned and held out.

Knows nothing of training.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from codekin.errors import StoreError
from codekin.index import Index
from codekin.learning.kinship import near_copies
from codekin.learning.pieces import TESTS, Known, Piece, other_code, pieces_of, split
from codekin.learning.triplets import Mined, Mix, analyze_triplets, mine_triplets, require_enough, spelled_out
from codekin.records import Fragment
from codekin.seams import Vectors

HELD_OUT = 0.2
"""The share of files that no triplet uses."""

WORTH_COMPARING = 0.85
"""Texts whose vectors are less alike than this are no near-copies."""

MOST_VERSIONS = 2000
"""So many earlier texts are learned from; each is embedded once."""

Embed = Callable[[Sequence[str]], Vectors]
Past = Callable[[Sequence[Piece]], Mapping[Known, str]]
"""Gives an earlier text of each piece that had another one."""


@dataclass(frozen=True, slots=True)
class Material:
    """What a run learns from and is judged by, with vectors of the base; changed names, earlier texts.

    `versions` are earlier texts of what is learned from, with `version_vectors`; `tests` stand in files like its own.
    `span` is the range of the journal, from the last write number that was used to the last one seen.
    """

    learned: list[Piece]
    vectors: Vectors
    versions: list[Piece]
    version_vectors: Vectors
    held: list[Piece]
    held_vectors: Vectors
    changed: frozenset[str]
    earlier: Mapping[Known, str]
    span: tuple[int, int]
    tests: list[Piece] = field(default_factory=list)

    def mined(self, mix: Mix) -> tuple[list[Piece], Vectors, Mined]:
        """What triplets are mined from, its vectors, and the triplets. Raises LearningError where code is short."""
        pieces = [*self.learned, *self.versions]
        vectors = np.concatenate([self.vectors, self.version_vectors])
        return pieces, vectors, mine_triplets(pieces, vectors, mix, self.changed)

    def without(self, share: float) -> tuple["Material", list[Piece]]:
        """What is left without the files below a share, and the pieces of those: they validate."""
        rest, apart = split(self.learned, share)
        rows = [at for at, piece in enumerate(self.learned) if piece.share >= share]
        old = [at for at, piece in enumerate(self.versions) if piece.share >= share]
        versions = [self.versions[at] for at in old]
        tests, _ = split(self.tests, share)
        left = replace(self, learned=rest, vectors=self.vectors[rows], versions=versions, tests=tests)
        return replace(left, version_vectors=self.version_vectors[old]), apart


def gather(index: Index, space: str, embed: Embed, used: int, past: Past = lambda _: {}) -> Material:
    """Reads the workspace's functions with their vectors in the base's `space`; `embed` gives those it lacks.

    What `past` does not know of earlier texts, the journal may. Raises LearningError where there is too little code.
    """
    changes = index.changes(used)
    fragments = _fragments(index)
    pieces, tests = pieces_of(fragments), pieces_of(fragments, TESTS)
    require_enough(pieces)
    learned, held = split(pieces, HELD_OUT)
    stored = _stored(index, space)
    held_vectors = _vectors(held, stored, embed)
    learned, vectors = _without_copies(learned, _vectors(learned, stored, embed), held, held_vectors)
    changed = frozenset(edit.name for change in changes for edit in change.edits if edit.new_text)
    earlier = {**_journalled(index), **past(pieces)}
    versions = _versions(learned, earlier)
    known = _without_copies(versions, _vectors(versions, stored, embed), held, held_vectors)
    span = (used, changes[-1].seq if changes else used)
    return Material(learned, vectors, *known, held, held_vectors, changed, earlier, span, split(tests, HELD_OUT)[0])


def _journalled(index: Index) -> dict[Known, str]:
    """The texts before the latest edits since the workspace was first indexed."""
    edits = [(change.path, edit) for change in index.changes(0) for edit in change.edits]
    return {(path, edit.name): edit.old_text for path, edit in edits if edit.old_text and edit.new_text}


def _without_copies(
    learned: Sequence[Piece], vectors: Vectors, held: Sequence[Piece], held_vectors: Vectors
) -> tuple[list[Piece], Vectors]:
    """What is learned from without near-copies of what is held out; only near vectors are compared as texts."""
    kept = []
    for start in range(0, len(learned), 1024):
        for row, cosines in enumerate(vectors[start : start + 1024] @ held_vectors.T, start):
            near = np.flatnonzero(cosines >= WORTH_COMPARING).tolist()
            if not any(near_copies(learned[row], held[at]) for at in near):
                kept.append(row)
    return [learned[row] for row in kept], vectors[kept]


def _versions(learned: Sequence[Piece], earlier: Mapping[Known, str]) -> list[Piece]:
    """Earlier texts of these pieces, where they say something else than today's; of too many a fixed choice."""
    found = []
    for piece in sorted((one for one in learned if one.known in earlier), key=lambda one: one.fragment.digest):
        text = earlier[piece.known]
        if code := other_code(piece, text):
            found.append(Piece(replace(piece.fragment, text=text), code, earlier=True))
    return found[:MOST_VERSIONS]


def mined_now(material: Material, mix: Mix) -> dict[str, Any]:
    """What a run would learn from: triplets with texts and places, what they are like, a note."""
    pieces, vectors, mined = material.mined(mix)
    found = spelled_out(pieces, vectors, mined)
    return {"triplets": [asdict(one) for one in found], "analysis": analyze_triplets(found), "note": mined.note}


def _stored(index: Index, space: str) -> dict[str, Vectors]:
    """Vectors by digest; none where the base's space was given up for a trained encoder's."""
    try:
        return {
            digest: row for digests, rows in index.vectors(space) for digest, row in zip(digests, rows, strict=True)
        }
    except StoreError:
        return {}


def _vectors(pieces: Sequence[Piece], stored: Mapping[str, Vectors], embed: Embed) -> Vectors:
    """One row for each piece; of no pieces, embedding nothing gives the right shape."""
    if not pieces:
        return embed([])
    missing = [piece for piece in pieces if piece.fragment.digest not in stored]
    fresh = dict(zip([p.fragment.digest for p in missing], embed([p.fragment.text for p in missing]), strict=True))
    rows = [stored[p.fragment.digest] if p.fragment.digest in stored else fresh[p.fragment.digest] for p in pieces]
    return np.asarray(rows, np.float32)


def _fragments(index: Index) -> list[Fragment]:
    return [
        fragment for path, state in index.files().items() if not state.skipped for fragment in index.fragments(path)
    ]
