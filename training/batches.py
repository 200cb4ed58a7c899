"""Draws training batches: pairs of one kind and one pair of languages, each from another group.

Every other pair of a batch serves as a negative, so a batch never holds one group twice. Half the batches of
functions and words come from one repository: its other functions are the negatives that a search there meets.
"""

import gzip
import json
import random
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from natives import BEAM
from views import halves, random_view

Group = dict[str, Any]
Pair = tuple[str, str]

MIXTURE = {
    "docstring": 0.21, "name": 0.06, "commit": 0.06, "role": 0.10, "task": 0.28, "title": 0.09, "native": 0.05,
    "across": 0.04, "parallel": 0.06, "generated": 0.02, "halves": 0.03,
}  # fmt: skip
"""How often a batch is of each kind. `halves` takes the texts of `role`."""

WEIGHTS = {
    ("cpp", "elixir"): 4.0,
    ("cpp", "erlang"): 1.5,
    ("elixir", "erlang"): 1.0,
    ("elixir", "elixir"): 1.5,
    ("cpp", "cpp"): 2.0,
    ("c", "elixir"): 1.0,
    ("elixir", "python"): 1.0,
    ("elixir", "words"): 3.0,
    ("erlang", "words"): 1.0,
    ("cpp", "words"): 1.0,
}
"""How often a batch is of each pair of languages, where its kind has enough groups; others RARE."""
RARE = 0.2

SHARES = {"task": 0.5, "title": 0.6, "role": 0.7, "native": 0.7, "across": 0.7, "halves": 0.7}
"""The size of a kind's batches, as a share: long texts make small batches."""

GUESSED = frozenset({"docstring", "name", "commit", "role", "across"})
"""Kinds whose pairs were guessed by names or prose, so that some are none."""

ONE_PLACE = 0.5


@dataclass(frozen=True, slots=True)
class Batch:
    """Pairs of one kind; `keys` name their groups, `sides` the languages of left and right."""

    kind: str
    sides: tuple[str, str]
    keys: tuple[str, ...]
    pairs: tuple[Pair, ...]


class BatchSampler:
    """Groups by kind and by pair of sides, from which batches are drawn without end."""

    def __init__(self, groups: Iterable[Group], size: int, seed: int, mixture: dict[str, float] = MIXTURE) -> None:
        self.size, self.rng = size, random.Random(seed)
        self.slots: dict[str, dict[tuple[str, str], list[Group]]] = defaultdict(lambda: defaultdict(list))
        for group in groups:
            for pair in _pairs(group["sides"]):
                self.slots[group["kind"]][pair].append(group)
        self.mixture = {kind: share for kind, share in mixture.items() if kind == "halves" or kind in self.slots}

    def __iter__(self) -> "Iterator[Batch]":
        while True:
            yield self.draw()

    def draw(self) -> "Batch":
        """A batch of the kind and languages that chance names."""
        kind = self.rng.choices(list(self.mixture), list(self.mixture.values()))[0]
        slots = self.slots["role" if kind == "halves" else kind]
        if kind == "halves":
            slots = {pair: groups for pair, groups in slots.items() if pair[0] == pair[1]}
        if kind == "native":
            slots = {pair: groups for pair, groups in slots.items() if pair[0] != pair[1]}
        usable = {pair: groups for pair, groups in slots.items() if len(groups) >= min(self.size // 3, 16)}
        shares = [WEIGHTS.get(pair, RARE) for pair in usable]
        if not usable:
            return self.draw()
        pair = self.rng.choices(list(usable), shares)[0]
        groups = self._groups(usable[pair], int(self.size * SHARES.get(kind, 1.0)))
        return Batch(kind, pair, tuple(g["key"] for g in groups), tuple(self._pair(kind, pair, g) for g in groups))

    def _groups(self, groups: list[Group], size: int) -> list[Group]:
        """Groups of different keys; by chance first of all those of one repository."""
        drawn = self.rng.sample(groups, min(size, len(groups)))
        place = drawn[0].get("place")
        if place and self.rng.random() < ONE_PLACE:
            near = [group for group in groups if group["place"] == place]
            drawn = [*self.rng.sample(near, min(size, len(near))), *drawn]
        return list({group["key"]: group for group in drawn}.values())[:size]

    def _pair(self, kind: str, sides: tuple[str, str], group: Group) -> Pair:
        rng = self.rng
        if kind == "halves":
            first, second = halves(rng.choice(group["sides"][sides[0]]))
            return first, second
        if sides[0] == sides[1]:
            texts = rng.sample(group["sides"][sides[0]], 2)
        else:
            texts = [rng.choice(group["sides"][side]) for side in sides]
        left, right = (_look(kind, t, s, rng) for t, s in zip(texts, sides, strict=True))
        return left, right


def _look(kind: str, text: str, side: str, rng: random.Random) -> str:
    """A view of the text; words stay, and so does a stub, whose documentation is most of it."""
    return text if side == "words" or (kind == "native" and side in BEAM) else random_view(text, side, rng)


def _pairs(sides: dict[str, list[str]]) -> Iterator[tuple[str, str]]:
    names = sorted(sides)
    for at, left in enumerate(names):
        if len(sides[left]) > 1:
            yield left, left
        for right in names[at + 1 :]:
            yield left, right


def read_groups(path: Path) -> Iterator[Group]:
    """The rows that mine_groups.py wrote, packed or not."""
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as rows:
        for row in rows:
            yield json.loads(row)
