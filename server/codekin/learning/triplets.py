"""Mines triplets: an anchor, a piece with the same pattern, and one that only looks alike.

Whether two pieces share a pattern is read from their shapes and names, never from their vectors: the same callback
of a behaviour, the same role in another module, the same calls and control structure, the same vocabulary in the
other language. The vectors of the current index only say where to look: negatives are its near misses.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from codekin.errors import LearningError
from codekin.learning.pieces import Piece
from codekin.seams import Vectors

NEIGHBOURS = 96
NEAR_DUPLICATE = 0.97
LEAST_PIECES = 3
LEAST_LINES = 500
BEAM = "elixir"


@dataclass(frozen=True, slots=True)
class Mix:
    """How many triplets, which share of those within a language is Elixir, which share of all crosses languages."""

    count: int = 1000
    beam_ratio: float = 0.7
    cross_language_ratio: float = 0.3
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Triplet:
    """Three texts and where they come from; `hardness` is cos(anchor, negative) - cos(anchor, positive)."""

    kind: str
    anchor: str
    positive: str
    negative: str
    anchor_place: str
    positive_place: str
    negative_place: str
    anchor_language: str
    positive_language: str
    hardness: float

    @property
    def crosses(self) -> bool:
        """Whether anchor and positive are written in two languages."""
        return self.anchor_language != self.positive_language


@dataclass(frozen=True, slots=True)
class Mined:
    """Triplets as positions: rows of the pieces that they were mined from; `note` is a sentence, or empty."""

    rows: tuple[tuple[str, int, int, int], ...]
    note: str = ""


def require_enough(pieces: Sequence[Piece]) -> None:
    """Raises LearningError where there is too little Elixir to learn from."""
    beam = [piece for piece in pieces if piece.fragment.language == BEAM]
    lines = sum(piece.code.count("\n") + 1 for piece in beam)
    if len(beam) < LEAST_PIECES or lines < LEAST_LINES:
        raise LearningError(
            f"Not enough BEAM code: {len(beam)} Elixir functions with {lines} lines, and learning needs at least"
            f" {LEAST_PIECES} with {LEAST_LINES} lines; nothing was trained."
        )


def mine_triplets(pieces: Sequence[Piece], vectors: Vectors, mix: Mix, first: frozenset[str] = frozenset()) -> Mined:
    """Up to `mix.count` triplets of (kind, anchor, positive, negative) rows.

    `vectors` are the unit rows of the pieces in the current index; pieces whose names are in `first` are asked first,
    the rest is the replay. Raises LearningError when there is not enough code.
    """
    require_enough(pieces)
    return mine_some(pieces, vectors, mix, first)


def mine_some(pieces: Sequence[Piece], vectors: Vectors, mix: Mix, first: frozenset[str] = frozenset()) -> Mined:
    """The same from however little code there is: perhaps none."""
    generator = np.random.default_rng(mix.seed)
    wanted, note = _wanted(pieces, mix)
    order = sorted(generator.permutation(len(pieces)).tolist(), key=lambda at: pieces[at].fragment.name not in first)
    rows: list[tuple[str, int, int, int]] = []
    for group, count in wanted.items():
        rows += _mined_group(
            pieces, vectors, [at for at in order if pieces[at].fragment.language == group[0]], group, count
        )
    return Mined(tuple(rows[at] for at in generator.permutation(len(rows))), note)


def _wanted(pieces: Sequence[Piece], mix: Mix) -> tuple[dict[tuple[str, str], int], str]:
    """How many triplets for each pair of languages."""
    counts = Counter(piece.fragment.language for piece in pieces)
    if counts["cpp"] < LEAST_PIECES:
        note = f"Only {counts['cpp']} C++ functions: the triplets are of BEAM code alone."
        return {(BEAM, BEAM): mix.count}, note
    across = round(mix.count * mix.cross_language_ratio)
    beam = round((mix.count - across) * mix.beam_ratio)
    wanted = {(BEAM, BEAM): beam, ("cpp", "cpp"): mix.count - across - beam}
    return {**wanted, (BEAM, "cpp"): across - across // 2, ("cpp", BEAM): across // 2}, ""


def _mined_group(
    pieces: Sequence[Piece], vectors: Vectors, anchors: Sequence[int], group: tuple[str, str], count: int
) -> list[tuple[str, int, int, int]]:
    """Triplets whose anchors are of the first and positives of the second language, over and over up to `count`."""
    pool = np.array([at for at, piece in enumerate(pieces) if piece.fragment.language == group[1]], np.int64)
    roles = _roles(pieces, pool.tolist())
    found: list[tuple[str, int, int, int]] = []
    for at in anchors:
        if len(found) >= count or not len(pool):
            break
        near = pool[np.argsort(-(vectors[pool] @ vectors[at]))[:NEIGHBOURS]].tolist()
        found += _of_anchor(pieces, vectors, at, (near, roles.get(pieces[at].role, [])))
    return found[:count]


def _of_anchor(
    pieces: Sequence[Piece], vectors: Vectors, at: int, places: tuple[list[int], list[int]]
) -> Iterator[tuple[str, int, int, int]]:
    """At most two triplets: the farthest kin are the ones to learn, the nearest strangers the ones to tell apart."""
    near, same_role = places
    kin = [
        (kind, other) for other in dict.fromkeys([*same_role, *near]) if (kind := kinship(pieces[at], pieces[other]))
    ]
    strangers = [other for other in near if _stranger(pieces[at], pieces[other], float(vectors[at] @ vectors[other]))]
    kin.sort(key=lambda pair: float(vectors[at] @ vectors[pair[1]]))
    for (kind, positive), negative in zip(kin[:2], strangers, strict=False):
        yield kind, at, positive, negative


def _roles(pieces: Sequence[Piece], rows: Sequence[int]) -> Mapping[str, list[int]]:
    found: dict[str, list[int]] = {}
    for at in rows:
        found.setdefault(pieces[at].role, []).append(at)
    return {role: rows for role, rows in found.items() if len(rows) <= NEIGHBOURS}


def kinship(one: Piece, other: Piece) -> str:
    """Why two pieces share a pattern: callback, role, structure, uses or vocabulary; empty when they do not."""
    a, b = one.fragment, other.fragment
    if one is other or a.path == b.path:
        return ""
    if a.language != b.language:
        return "vocabulary" if _same_vocabulary(one, other) else ""
    if set(a.shape.callbacks) & set(b.shape.callbacks) and one.role == other.role:
        return "callback"
    if one.role == other.role and len(_words(one.role)) > 0:
        return "role"
    calls = _overlap(a.shape.calls, b.shape.calls)
    if len(a.shape.control) >= 2 and a.shape.control == b.shape.control and calls >= 0.3:
        return "structure"
    return "uses" if set(a.shape.uses) & set(b.shape.uses) and calls >= 0.5 else ""


def _stranger(one: Piece, other: Piece, cosine: float) -> bool:
    """Whether a near piece shares no pattern: another role, other calls, no common word in the name, no near-copy."""
    if one is other or cosine >= NEAR_DUPLICATE or kinship(one, other) or one.fragment.path == other.fragment.path:
        return False
    if _words(one.role) & _words(other.role):
        return False
    return _overlap(one.fragment.shape.calls, other.fragment.shape.calls) < 0.2


def _same_vocabulary(one: Piece, other: Piece) -> bool:
    """Across languages: the same words in the name, or a word of the name and several of the calls."""
    names = _words(one.role) & _words(other.role)
    if not names:
        return False
    if len(names) >= 2 or _words(one.role) == _words(other.role):
        return True
    return len(_call_words(one) & _call_words(other)) >= 3


def _call_words(piece: Piece) -> set[str]:
    return set().union(*map(_words, piece.fragment.shape.calls)) if piece.fragment.shape.calls else set()


def _words(name: str) -> set[str]:
    """The words of a name that say something."""
    return {word.lower() for word in re.findall(r"[A-Z]?[a-z]{2,}|[A-Z]{2,}", name)} - {
        "get",
        "set",
        "do",
        "is",
        "to",
        "of",
    }


def _overlap(one: Sequence[str], other: Sequence[str]) -> float:
    """Jaccard similarity of two sets of names."""
    a, b = set(one), set(other)
    return len(a & b) / len(a | b) if a | b else 0.0


def spelled_out(pieces: Sequence[Piece], vectors: Vectors, mined: Mined) -> list[Triplet]:
    """The triplets with their texts and places."""
    return [_spelled(pieces, vectors, row) for row in mined.rows]


def _spelled(pieces: Sequence[Piece], vectors: Vectors, row: tuple[str, int, int, int]) -> Triplet:
    kind, *rows = row
    anchor, positive, negative = (pieces[at] for at in rows)
    a, p, n = (vectors[at] for at in rows)
    return Triplet(
        kind,
        anchor.code,
        positive.code,
        negative.code,
        anchor.place,
        positive.place,
        negative.place,
        anchor.fragment.language,
        positive.fragment.language,
        float(a @ n - a @ p),
    )


def analyze_triplets(triplets: Sequence[Triplet], sample: int = 3) -> dict[str, Any]:
    """Totals, ratios, hardness and a sample to read."""
    total = max(1, len(triplets))
    inside = [triplet for triplet in triplets if not triplet.crosses]
    hardness = np.array([triplet.hardness for triplet in triplets] or [0.0])
    return {
        "total": len(triplets),
        "beam_ratio": sum(triplet.anchor_language == BEAM for triplet in inside) / max(1, len(inside)),
        "cpp_ratio": sum(triplet.anchor_language == "cpp" for triplet in inside) / max(1, len(inside)),
        "cross_language_ratio": sum(triplet.crosses for triplet in triplets) / total,
        "kinds": dict(Counter(triplet.kind for triplet in triplets)),
        "hardness": {"mean": float(hardness.mean()), "hard": float((hardness > 0).mean())},
        "sample": [asdict(triplet) for triplet in triplets[:sample]],
    }
