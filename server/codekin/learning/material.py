"""What a run learns from: reads the index and the journal, and sorts functions into learned and held out.

Knows nothing of training.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from codekin.errors import StoreError
from codekin.index import Index
from codekin.learning.pieces import Piece, pieces_of, split
from codekin.learning.triplets import Mix, analyze_triplets, mine_triplets, require_enough, spelled_out
from codekin.records import Fragment
from codekin.seams import Vectors

HELD_OUT = 0.2
"""The share of files that no triplet uses."""

Embed = Callable[[Sequence[str]], Vectors]


@dataclass(frozen=True, slots=True)
class Material:
    """What a run learns from and is judged by, with vectors of the base; changed names, earlier texts by name.

    `span` is the range of the journal, from the last write number that was used to the last one seen.
    """

    learned: list[Piece]
    vectors: Vectors
    held: list[Piece]
    held_vectors: Vectors
    changed: frozenset[str]
    earlier: Mapping[str, str]
    span: tuple[int, int]


def gather(index: Index, space: str, embed: Embed, used: int) -> Material:
    """Reads the workspace's functions with their vectors in the base's `space`; `embed` gives those it lacks.

    Raises LearningError where there is too little code.
    """
    changes = index.changes(used)
    pieces = pieces_of(_fragments(index))
    require_enough(pieces)
    learned, held = split(pieces, HELD_OUT)
    stored = _stored(index, space)
    vectors, held_vectors = (_vectors(part, stored, embed) for part in (learned, held))
    changed = frozenset(edit.name for change in changes for edit in change.edits if edit.new_text)
    edits = [edit for change in index.changes(0) for edit in change.edits]
    earlier = {edit.name: edit.old_text for edit in edits if edit.old_text and edit.new_text}
    span = (used, changes[-1].seq if changes else used)
    return Material(learned, vectors, held, held_vectors, changed, earlier, span)


def mined_now(material: Material, mix: Mix) -> dict[str, Any]:
    """What a run would learn from: triplets with texts and places, what they are like, a note."""
    mined = mine_triplets(material.learned, material.vectors, mix, material.changed)
    found = spelled_out(material.learned, material.vectors, mined)
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
    missing = [piece for piece in pieces if piece.fragment.digest not in stored]
    fresh = dict(zip([p.fragment.digest for p in missing], embed([p.fragment.text for p in missing]), strict=True))
    rows = [stored[p.fragment.digest] if p.fragment.digest in stored else fresh[p.fragment.digest] for p in pieces]
    return np.asarray(rows, np.float32).reshape(len(pieces), -1)


def _fragments(index: Index) -> list[Fragment]:
    return [
        fragment for path, state in index.files().items() if not state.skipped for fragment in index.fragments(path)
    ]
