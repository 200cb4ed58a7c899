"""Mines triplets: an anchor, a positive that shares its pattern, and a hard negative.

Vectors of the current index only select candidates: positives are the most distant functions that share a pattern,
negatives the nearest that share none.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain, cycle, islice, zip_longest
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codekin.errors import NothingToTrainError
from codekin.finetune.dataset.functions import (
    BEAM,
    CPP,
    LANGUAGE_FAMILIES,
    FunctionSample,
    is_dissimilar,
    is_near_duplicate,
    is_negative,
    language_family,
    shared_pattern,
)
from codekin.protocols import Vectors

NEIGHBOUR_COUNT = 96
ANCHOR_BLOCK = 256
MAX_TRIPLETS_PER_ANCHOR = 8
MAX_VERSION_SHARE = 0.2
"""The greatest share of triplets of a function and its own past: they are easy, and nearly every function has one."""

MIN_FUNCTIONS = 3
MIN_LINES = 500

TripletRow = tuple[str, int, int, int]
"""The kind, and the positions of anchor, positive and negative among the samples."""


@dataclass(frozen=True, slots=True)
class TripletMix:
    """How many triplets, which share of those within a family is BEAM, which share of all crosses families.

    `sources` name what else is trained on, as `dataset.sources` lists it.
    """

    count: int = 1000
    beam_ratio: float = 0.7
    cross_language_ratio: float = 0.3
    seed: int = 0
    sources: tuple[str, ...] = ()


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
    negative_language: str
    hardness: float

    @property
    def crosses(self) -> bool:
        """Whether anchor and positive are of two families of languages."""
        return is_beam(self.anchor_language) != is_beam(self.positive_language)


def is_beam(language: str) -> bool:
    """Whether a language runs on the BEAM."""
    return LANGUAGE_FAMILIES.get(language) == BEAM


@dataclass(frozen=True, slots=True)
class MinedTriplets:
    """Triplets as positions: rows of the samples that they were mined from; `note` is a sentence or some, or empty."""

    rows: tuple[TripletRow, ...]
    note: str = ""


def require_enough(samples: Sequence[FunctionSample]) -> None:
    """Raises NothingToTrainError where there is too little Elixir and Erlang to train on."""
    beam = [sample for sample in samples if language_family(sample) == BEAM]
    lines = sum(sample.code.count("\n") + 1 for sample in beam)
    functions = "Elixir or Erlang function" if len(beam) == 1 else "Elixir or Erlang functions"
    if len(beam) < MIN_FUNCTIONS or lines < MIN_LINES:
        raise NothingToTrainError(
            f"Not enough BEAM code: {len(beam)} {functions} with {lines} lines, and fine-tuning needs at least"
            f" {MIN_FUNCTIONS} with {MIN_LINES} lines; nothing was trained."
        )


def mine_triplets(
    samples: Sequence[FunctionSample], vectors: Vectors, mix: TripletMix, first: frozenset[str] = frozenset()
) -> MinedTriplets:
    """`mix.count` triplets of (kind, anchor, positive, negative) rows, in the shares of `mix`.

    `vectors` are the unit rows of the samples in the current index; those whose names are in `first` are anchors first,
    in turns with the rest, the replay. Raises NothingToTrainError when there is not enough code.
    """
    require_enough([sample for sample in samples if not sample.earlier])
    return mine_available_triplets(samples, vectors, mix, first)


@dataclass(frozen=True, slots=True)
class _SearchSpace:
    """Where triplets are looked for: samples, their unit vectors, and the roles in each file."""

    samples: Sequence[FunctionSample]
    vectors: Vectors
    files: Mapping[str, frozenset[str]]

    def cosine(self, one: int, other: int) -> float:
        return float(self.vectors[one] @ self.vectors[other])

    def is_fork(self, one: int, other: int) -> bool:
        """Whether the files share half of their roles: one is a copy of the other."""
        a, b = (self.files[self.samples[at].chunk.path] for at in (one, other))
        return len(a & b) >= 2 and 2 * len(a & b) >= min(len(a), len(b))


def mine_available_triplets(
    samples: Sequence[FunctionSample], vectors: Vectors, mix: TripletMix, first: frozenset[str] = frozenset()
) -> MinedTriplets:
    """The same from however little code there is: perhaps none."""
    field = _SearchSpace(samples, vectors, _roles_of_files(samples))
    order = _anchor_order(samples, mix.seed, first)
    mined = {group: _mine_group(field, order, group, count) for group, count in _group_limits(samples, mix).items()}
    wanted, notes = _group_counts(samples, mined, mix)
    rows = [row for group, count in wanted.items() for row in islice(cycle(mined[group]), count)]
    shuffled = np.random.default_rng(mix.seed).permutation(len(rows)).tolist()
    return MinedTriplets(tuple(rows[at] for at in shuffled), " ".join(notes))


def _anchor_order(samples: Sequence[FunctionSample], seed: int, first: frozenset[str]) -> list[int]:
    """The anchors: what changed in turns with a replay of the rest, so that neither crowds out the other."""
    shuffled = np.random.default_rng(seed).permutation(len(samples)).tolist()
    changed = [at for at in shuffled if samples[at].chunk.name in first]
    rest = [at for at in shuffled if samples[at].chunk.name not in first]
    turns = chain.from_iterable(zip_longest(changed, rest))
    return [at for at in turns if at is not None and not samples[at].earlier]


def _group_limits(samples: Sequence[FunctionSample], mix: TripletMix) -> dict[tuple[str, str], int]:
    """How many triplets at most each pair of languages of anchor and positive may have to give."""
    if _cpp_count(samples) < MIN_FUNCTIONS:
        return {(BEAM, BEAM): mix.count}
    across = ceil(mix.count * mix.cross_language_ratio)
    beam = ceil(mix.count * mix.beam_ratio)
    return {(BEAM, BEAM): beam, (CPP, CPP): mix.count - beam, (BEAM, CPP): across, (CPP, BEAM): across}


def _cpp_count(samples: Sequence[FunctionSample]) -> int:
    return sum(language_family(sample) == CPP and not sample.earlier for sample in samples)


def _group_counts(
    samples: Sequence[FunctionSample], mined: Mapping[tuple[str, str], Sequence[TripletRow]], mix: TripletMix
) -> tuple[dict[tuple[str, str], int], list[str]]:
    """How many triplets for each pair of languages, and notes about them."""
    if (CPP, CPP) not in mined:
        wanted = {(BEAM, BEAM): mix.count if mined[BEAM, BEAM] else 0}
        note = f"Too little C++ ({_cpp_count(samples)} functions): the triplets are of BEAM code alone."
        return wanted, [note, *_repetition_notes(wanted, mined)]
    across = round(mix.count * mix.cross_language_ratio) if mined[BEAM, CPP] or mined[CPP, BEAM] else 0
    beam = round((mix.count - across) * _available_share(mix.beam_ratio, mined, ((BEAM, BEAM), (CPP, CPP))))
    out = round(across * _available_share(0.5, mined, ((BEAM, CPP), (CPP, BEAM))))
    inside = mix.count - across if mined[BEAM, BEAM] or mined[CPP, CPP] else 0
    wanted = {(BEAM, BEAM): min(beam, inside), (CPP, CPP): max(0, inside - beam)}
    wanted |= {(BEAM, CPP): out, (CPP, BEAM): across - out}
    return wanted, [*_missing_group_notes(mined, mix), *_repetition_notes(wanted, mined)]


def _available_share(
    wanted: float, mined: Mapping[tuple[str, str], Sequence[TripletRow]], pair: tuple[tuple[str, str], tuple[str, str]]
) -> float:
    """The share of the first of a pair of groups: the configured one, unless one of them has none."""
    one, other = (bool(mined[group]) for group in pair)
    return wanted if one == other else float(one)


def _missing_group_notes(mined: Mapping[tuple[str, str], Sequence[TripletRow]], mix: TripletMix) -> Iterator[str]:
    if mix.cross_language_ratio > 0 and not mined[BEAM, CPP] and not mined[CPP, BEAM]:
        yield "No Elixir or Erlang function shares a role with a C++ one: no triplet crosses languages."
    for group, name in (((BEAM, BEAM), "BEAM"), ((CPP, CPP), "C++")):
        if not mined[group]:
            yield f"No two {name} functions share a pattern: the triplets within a language lack them."


def _repetition_notes(
    wanted: Mapping[tuple[str, str], int], mined: Mapping[tuple[str, str], Sequence[TripletRow]]
) -> Iterator[str]:
    names = {BEAM: "BEAM", CPP: "C++"}
    for group, count in wanted.items():
        if mined[group] and len(mined[group]) < count:
            places = " to ".join(dict.fromkeys(names[each] for each in group))
            yield f"Only {len(mined[group])} different triplets of {places}: some repeat, to keep the shares."


def _roles_of_files(samples: Sequence[FunctionSample]) -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for sample in samples:
        found.setdefault(sample.chunk.path, set()).add(sample.role)
    return {path: frozenset(roles) for path, roles in found.items()}


def _mine_group(field: _SearchSpace, order: Sequence[int], group: tuple[str, str], count: int) -> list[TripletRow]:
    """Up to `count` different triplets whose anchors are of the first and positives of the second language."""
    samples = field.samples
    pool = np.array([at for at, sample in enumerate(samples) if language_family(sample) == group[1]], np.int64)
    roles = _rows_by_role(samples, pool.tolist())
    found: list[TripletRow] = []
    spare: list[TripletRow] = []
    versions: list[TripletRow] = []
    max_versions = round(count * MAX_VERSION_SHARE)
    for at, near in _nearest_candidates(field, [at for at in order if language_family(samples[at]) == group[0]], pool):
        rows = _triplets_of_anchor(field, at, [*roles.get(samples[at].role, []), *near])
        mine = [row for row in rows if row[0] != "version"]
        versions += [row for row in rows if row[0] == "version"]
        found += mine[:2]
        spare += mine[2:]
        if len(found) + min(len(versions), max_versions) >= count:
            break
    return [*versions[:max_versions], *found, *spare][:count]


def _nearest_candidates(
    field: _SearchSpace, anchors: Sequence[int], pool: NDArray[np.int64]
) -> Iterator[tuple[int, list[int]]]:
    """Each anchor with the nearest of the pool, nearest first; one product for many anchors."""
    places = field.vectors[pool]
    for start in range(0, len(anchors) if len(pool) else 0, ANCHOR_BLOCK):
        block = anchors[start : start + ANCHOR_BLOCK]
        for at, cosines in zip(block, field.vectors[list(block)] @ places.T, strict=True):
            yield at, pool[np.argsort(-cosines)[:NEIGHBOUR_COUNT]].tolist()


def _triplets_of_anchor(field: _SearchSpace, at: int, near: Sequence[int]) -> list[TripletRow]:
    """Triplets of one anchor: positives of each kind by turns, farthest first, with the nearest negatives of both."""
    positives = _positives(field, at, near)[:MAX_TRIPLETS_PER_ANCHOR]
    if not positives:
        return []
    negatives = _hard_negatives(field, at, near)
    rows: list[TripletRow] = []
    for kind, positive in positives:
        negative = next(
            (other for other in negatives if is_dissimilar(field.samples[positive], field.samples[other])), None
        )
        if negative is not None:
            rows.append((kind, at, positive, negative))
            negatives.remove(negative)
    return rows


def _hard_negatives(field: _SearchSpace, at: int, near: Sequence[int]) -> list[int]:
    """The nearest negatives, none from a fork of the anchor's file."""
    candidates = sorted(dict.fromkeys(near), key=lambda other: -field.cosine(at, other))
    found = (other for other in candidates if is_negative(field.samples[at], field.samples[other]))
    return list(islice((other for other in found if not field.is_fork(at, other)), MAX_TRIPLETS_PER_ANCHOR))


def _positives(field: _SearchSpace, at: int, near: Sequence[int]) -> list[tuple[str, int]]:
    """Kinds and positions of positives; near-copies are left out, for there is nothing to train on them."""
    samples = field.samples
    by_kind: dict[str, list[int]] = {}
    for other in dict.fromkeys(near):
        kind = shared_pattern(samples[at], samples[other])
        if kind and (kind == "version" or not is_near_duplicate(samples[at], samples[other])):
            by_kind.setdefault(kind, []).append(other)
    for others in by_kind.values():
        others.sort(key=lambda other: field.cosine(at, other))
    turns = zip_longest(*([(kind, other) for other in others] for kind, others in by_kind.items()))
    return [pair for turn in turns for pair in turn if pair is not None]


def _rows_by_role(samples: Sequence[FunctionSample], rows: Sequence[int]) -> Mapping[str, list[int]]:
    found: dict[str, list[int]] = {}
    for at in rows:
        found.setdefault(samples[at].role, []).append(at)
    return {role: rows for role, rows in found.items() if len(rows) <= NEIGHBOUR_COUNT}


def triplets_with_text(samples: Sequence[FunctionSample], vectors: Vectors, mined: MinedTriplets) -> list[Triplet]:
    """The triplets with their texts and places."""
    return [_triplet_with_text(samples, vectors, row) for row in mined.rows]


def _triplet_with_text(samples: Sequence[FunctionSample], vectors: Vectors, row: TripletRow) -> Triplet:
    kind, *rows = row
    anchor, positive, negative = (samples[at] for at in rows)
    a, p, n = (vectors[at] for at in rows)
    return Triplet(
        kind,
        anchor.code,
        positive.code,
        negative.code,
        anchor.place,
        positive.place,
        negative.place,
        anchor.chunk.name,
        positive.chunk.name,
        negative.chunk.name,
        anchor.chunk.language,
        positive.chunk.language,
        negative.chunk.language,
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
        "beam_ratio": sum(is_beam(triplet.anchor_language) for triplet in inside) / max(1, len(inside)),
        "cpp_ratio": sum(not is_beam(triplet.anchor_language) for triplet in inside) / max(1, len(inside)),
        "cross_language_ratio": sum(triplet.crosses for triplet in triplets) / total,
        "kinds": dict(Counter(triplet.kind for triplet in triplets)),
        "hardness": {"mean": float(hardness.mean()), "hard": float((hardness > 0).mean())},
        "sample": [asdict(triplet) for triplet in triplets[:sample]],
    }
