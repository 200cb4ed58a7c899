"""Mines triplets: an anchor, a piece with the same pattern, and one that only looks alike.

Whether two pieces share a pattern is `kinship`'s to say. The vectors of the current index only say where to look:
positives are the farthest kin, negatives its near misses.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain, cycle, islice, zip_longest
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codekin.errors import NothingToLearnError
from codekin.learning.kinship import family, kinship, near_copies, strangers, unlike
from codekin.learning.pieces import Piece
from codekin.seams import Vectors

NEIGHBOURS = 96
BLOCK = 256
MOST_OF_ANCHOR = 8
PAST = 0.2
"""The greatest share of triplets of a function and its own past: they are easy, and nearly every function has one."""

LEAST_PIECES = 3
LEAST_LINES = 500
BEAM = "elixir"
CPP = "cpp"

Row = tuple[str, int, int, int]
"""The kind, and the positions of anchor, positive and negative among the pieces."""


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
    anchor_name: str
    positive_name: str
    negative_name: str
    anchor_language: str
    positive_language: str
    hardness: float

    @property
    def crosses(self) -> bool:
        """Whether anchor and positive are written in two languages."""
        return (self.anchor_language == BEAM) != (self.positive_language == BEAM)


@dataclass(frozen=True, slots=True)
class Mined:
    """Triplets as positions: rows of the pieces that they were mined from; `note` is a sentence or some, or empty."""

    rows: tuple[Row, ...]
    note: str = ""


def require_enough(pieces: Sequence[Piece]) -> None:
    """Raises NothingToLearnError where there is too little Elixir to learn from."""
    beam = [piece for piece in pieces if piece.fragment.language == BEAM]
    lines = sum(piece.code.count("\n") + 1 for piece in beam)
    functions = "function" if len(beam) == 1 else "functions"
    if len(beam) < LEAST_PIECES or lines < LEAST_LINES:
        raise NothingToLearnError(
            f"Not enough BEAM code: {len(beam)} Elixir {functions} with {lines} lines, and learning needs at least"
            f" {LEAST_PIECES} with {LEAST_LINES} lines; nothing was trained."
        )


def mine_triplets(pieces: Sequence[Piece], vectors: Vectors, mix: Mix, first: frozenset[str] = frozenset()) -> Mined:
    """`mix.count` triplets of (kind, anchor, positive, negative) rows, in the shares that `mix` asks for.

    `vectors` are the unit rows of the pieces in the current index; pieces whose names are in `first` are asked first,
    in turns with the rest, the replay. Raises NothingToLearnError when there is not enough code.
    """
    require_enough([piece for piece in pieces if not piece.earlier])
    return mine_some(pieces, vectors, mix, first)


@dataclass(frozen=True, slots=True)
class _Field:
    """Where triplets are looked for: pieces, their unit vectors, and the roles that stand in each file."""

    pieces: Sequence[Piece]
    vectors: Vectors
    files: Mapping[str, frozenset[str]]

    def cosine(self, one: int, other: int) -> float:
        return float(self.vectors[one] @ self.vectors[other])

    def forked(self, one: int, other: int) -> bool:
        """Whether half of the roles of one's file stand in the other's: one was made from the other."""
        a, b = (self.files[self.pieces[at].fragment.path] for at in (one, other))
        return len(a & b) >= 2 and 2 * len(a & b) >= min(len(a), len(b))


def mine_some(pieces: Sequence[Piece], vectors: Vectors, mix: Mix, first: frozenset[str] = frozenset()) -> Mined:
    """The same from however little code there is: perhaps none."""
    field = _Field(pieces, vectors, _roles_of_files(pieces))
    order = _order(pieces, mix.seed, first)
    mined = {group: _mined_group(field, order, group, count) for group, count in _shares(pieces, mix).items()}
    wanted, notes = _wanted(pieces, mined, mix)
    rows = [row for group, count in wanted.items() for row in islice(cycle(mined[group]), count)]
    shuffled = np.random.default_rng(mix.seed).permutation(len(rows)).tolist()
    return Mined(tuple(rows[at] for at in shuffled), " ".join(notes))


def _order(pieces: Sequence[Piece], seed: int, first: frozenset[str]) -> list[int]:
    """The anchors: what changed in turns with a replay of the rest, so that neither crowds out the other."""
    shuffled = np.random.default_rng(seed).permutation(len(pieces)).tolist()
    changed = [at for at in shuffled if pieces[at].fragment.name in first]
    rest = [at for at in shuffled if pieces[at].fragment.name not in first]
    turns = chain.from_iterable(zip_longest(changed, rest))
    return [at for at in turns if at is not None and not pieces[at].earlier]


def _shares(pieces: Sequence[Piece], mix: Mix) -> dict[tuple[str, str], int]:
    """How many triplets at most each pair of languages of anchor and positive may have to give."""
    if _cpp_count(pieces) < LEAST_PIECES:
        return {(BEAM, BEAM): mix.count}
    across = ceil(mix.count * mix.cross_language_ratio)
    beam = ceil(mix.count * mix.beam_ratio)
    return {(BEAM, BEAM): beam, (CPP, CPP): mix.count - beam, (BEAM, CPP): across, (CPP, BEAM): across}


def _cpp_count(pieces: Sequence[Piece]) -> int:
    return sum(family(piece) == CPP and not piece.earlier for piece in pieces)


def _wanted(
    pieces: Sequence[Piece], mined: Mapping[tuple[str, str], Sequence[Row]], mix: Mix
) -> tuple[dict[tuple[str, str], int], list[str]]:
    """How many triplets for each pair of languages, and what there is to say about them."""
    if (CPP, CPP) not in mined:
        wanted = {(BEAM, BEAM): mix.count if mined[BEAM, BEAM] else 0}
        note = f"Too little C++ ({_cpp_count(pieces)} functions): the triplets are of BEAM code alone."
        return wanted, [note, *_repeats(wanted, mined)]
    across = round(mix.count * mix.cross_language_ratio) if mined[BEAM, CPP] or mined[CPP, BEAM] else 0
    beam = round((mix.count - across) * _share(mix.beam_ratio, mined, ((BEAM, BEAM), (CPP, CPP))))
    out = round(across * _share(0.5, mined, ((BEAM, CPP), (CPP, BEAM))))
    inside = mix.count - across if mined[BEAM, BEAM] or mined[CPP, CPP] else 0
    wanted = {(BEAM, BEAM): min(beam, inside), (CPP, CPP): max(0, inside - beam)}
    wanted |= {(BEAM, CPP): out, (CPP, BEAM): across - out}
    return wanted, [*_missing(mined, mix), *_repeats(wanted, mined)]


def _share(
    wanted: float, mined: Mapping[tuple[str, str], Sequence[Row]], pair: tuple[tuple[str, str], tuple[str, str]]
) -> float:
    """The share of the first of a pair of groups: what is asked for, unless one of them has none."""
    one, other = (bool(mined[group]) for group in pair)
    return wanted if one == other else float(one)


def _missing(mined: Mapping[tuple[str, str], Sequence[Row]], mix: Mix) -> Iterator[str]:
    if mix.cross_language_ratio > 0 and not mined[BEAM, CPP] and not mined[CPP, BEAM]:
        yield "No Elixir function shares a role with a C++ one: no triplet crosses languages."
    for group, name in (((BEAM, BEAM), "Elixir"), ((CPP, CPP), "C++")):
        if not mined[group]:
            yield f"No two {name} functions share a pattern: the triplets within a language lack them."


def _repeats(wanted: Mapping[tuple[str, str], int], mined: Mapping[tuple[str, str], Sequence[Row]]) -> Iterator[str]:
    names = {BEAM: "Elixir", CPP: "C++"}
    for group, count in wanted.items():
        if mined[group] and len(mined[group]) < count:
            places = " to ".join(dict.fromkeys(names[each] for each in group))
            yield f"Only {len(mined[group])} different triplets of {places}: some repeat, to keep the shares."


def _roles_of_files(pieces: Sequence[Piece]) -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for piece in pieces:
        found.setdefault(piece.fragment.path, set()).add(piece.role)
    return {path: frozenset(roles) for path, roles in found.items()}


def _mined_group(field: _Field, order: Sequence[int], group: tuple[str, str], count: int) -> list[Row]:
    """Up to `count` different triplets whose anchors are of the first and positives of the second language."""
    pieces = field.pieces
    pool = np.array([at for at, piece in enumerate(pieces) if family(piece) == group[1]], np.int64)
    roles = _roles(pieces, pool.tolist())
    found: list[Row] = []
    spare: list[Row] = []
    past: list[Row] = []
    most_past = round(count * PAST)
    for at, near in _nearest(field, [at for at in order if family(pieces[at]) == group[0]], pool):
        rows = _of_anchor(field, at, [*roles.get(pieces[at].role, []), *near])
        mine = [row for row in rows if row[0] != "version"]
        past += [row for row in rows if row[0] == "version"]
        found += mine[:2]
        spare += mine[2:]
        if len(found) + min(len(past), most_past) >= count:
            break
    return [*past[:most_past], *found, *spare][:count]


def _nearest(field: _Field, anchors: Sequence[int], pool: NDArray[np.int64]) -> Iterator[tuple[int, list[int]]]:
    """Each anchor with the nearest of the pool, nearest first; one product for many anchors."""
    places = field.vectors[pool]
    for start in range(0, len(anchors) if len(pool) else 0, BLOCK):
        block = anchors[start : start + BLOCK]
        for at, cosines in zip(block, field.vectors[list(block)] @ places.T, strict=True):
            yield at, pool[np.argsort(-cosines)[:NEIGHBOURS]].tolist()


def _of_anchor(field: _Field, at: int, near: Sequence[int]) -> list[Row]:
    """Triplets of one anchor: kin of each kind by turns, the farthest first, beside the nearest strangers of both."""
    kin = _kin(field, at, near)[:MOST_OF_ANCHOR]
    if not kin:
        return []
    apart = _apart(field, at, near)
    rows: list[Row] = []
    for kind, positive in kin:
        negative = next((other for other in apart if unlike(field.pieces[positive], field.pieces[other])), None)
        if negative is not None:
            rows.append((kind, at, positive, negative))
            apart.remove(negative)
    return rows


def _apart(field: _Field, at: int, near: Sequence[int]) -> list[int]:
    """The nearest strangers, none from a fork of the anchor's file."""
    alike = sorted(dict.fromkeys(near), key=lambda other: -field.cosine(at, other))
    found = (other for other in alike if strangers(field.pieces[at], field.pieces[other]))
    return list(islice((other for other in found if not field.forked(at, other)), MOST_OF_ANCHOR))


def _kin(field: _Field, at: int, near: Sequence[int]) -> list[tuple[str, int]]:
    """Kinds and positions of kin; near-copies are left out, for there is nothing to learn from them."""
    pieces = field.pieces
    by_kind: dict[str, list[int]] = {}
    for other in dict.fromkeys(near):
        kind = kinship(pieces[at], pieces[other])
        if kind and (kind == "version" or not near_copies(pieces[at], pieces[other])):
            by_kind.setdefault(kind, []).append(other)
    for others in by_kind.values():
        others.sort(key=lambda other: field.cosine(at, other))
    turns = zip_longest(*([(kind, other) for other in others] for kind, others in by_kind.items()))
    return [pair for turn in turns for pair in turn if pair is not None]


def _roles(pieces: Sequence[Piece], rows: Sequence[int]) -> Mapping[str, list[int]]:
    found: dict[str, list[int]] = {}
    for at in rows:
        found.setdefault(pieces[at].role, []).append(at)
    return {role: rows for role, rows in found.items() if len(rows) <= NEIGHBOURS}


def spelled_out(pieces: Sequence[Piece], vectors: Vectors, mined: Mined) -> list[Triplet]:
    """The triplets with their texts and places."""
    return [_spelled(pieces, vectors, row) for row in mined.rows]


def _spelled(pieces: Sequence[Piece], vectors: Vectors, row: Row) -> Triplet:
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
        anchor.fragment.name,
        positive.fragment.name,
        negative.fragment.name,
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
        "different": len(set(triplets)),
        "beam_ratio": sum(triplet.anchor_language == BEAM for triplet in inside) / max(1, len(inside)),
        "cpp_ratio": sum(triplet.anchor_language != BEAM for triplet in inside) / max(1, len(inside)),
        "cross_language_ratio": sum(triplet.crosses for triplet in triplets) / total,
        "kinds": dict(Counter(triplet.kind for triplet in triplets)),
        "hardness": {"mean": float(hardness.mean()), "hard": float((hardness > 0).mean())},
        "sample": [asdict(triplet) for triplet in triplets[:sample]],
    }
