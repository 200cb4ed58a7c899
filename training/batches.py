"""Draws training batches: pairs of one kind and one pair of languages, each from another group.

Every other pair of a batch serves as a negative, so a batch never holds one group twice.
"""

import json
import random
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from views import halves, random_view

Group = dict[str, Any]
Pair = tuple[str, str]

MIXTURE = {
    "docstring": 0.13, "name": 0.05, "role": 0.10, "task": 0.44, "title": 0.08, "across": 0.02, "twin": 0.09,
    "generated": 0.06, "halves": 0.03,
}  # fmt: skip
"""How often a batch is of each kind. `halves` takes the texts of `role`."""

WEIGHTS = {
    ("cpp", "elixir"): 4.0,
    ("cpp", "erlang"): 1.5,
    ("elixir", "erlang"): 1.0,
    ("elixir", "elixir"): 1.5,
    ("cpp", "cpp"): 2.0,
}
"""How often a batch is of each pair of languages, where its kind has enough groups; others 0.5."""


class Drawer:
    """Groups by kind and by pair of sides, from which batches are drawn without end."""

    def __init__(self, groups: Iterable[Group], size: int, seed: int, mixture: dict[str, float] = MIXTURE) -> None:
        self.size, self.chance = size, random.Random(seed)
        self.slots: dict[str, dict[tuple[str, str], list[Group]]] = defaultdict(lambda: defaultdict(list))
        for group in groups:
            for pair in _pairs(group["sides"]):
                self.slots[group["kind"]][pair].append(group)
        self.mixture = {kind: share for kind, share in mixture.items() if kind == "halves" or kind in self.slots}

    def __iter__(self) -> Iterator[tuple[str, list[Pair]]]:
        while True:
            yield self.draw()

    def draw(self) -> tuple[str, list[Pair]]:
        """A batch's label and its pairs."""
        kind = self.chance.choices(list(self.mixture), list(self.mixture.values()))[0]
        slots = self.slots["role" if kind == "halves" else kind]
        if kind == "halves":
            slots = {pair: groups for pair, groups in slots.items() if pair[0] == pair[1]}
        usable = {pair: groups for pair, groups in slots.items() if len(groups) >= min(self.size // 3, 24)}
        shares = [WEIGHTS.get(pair, 0.5) for pair in usable]
        if not usable:
            return self.draw()
        pair = self.chance.choices(list(usable), shares)[0]
        groups = self.chance.sample(usable[pair], min(self.size, len(usable[pair])))
        groups = list({group["key"]: group for group in groups}.values())
        return f"{kind} {'-'.join(pair)}", [self._pair(kind, pair, group) for group in groups]

    def _pair(self, kind: str, sides: tuple[str, str], group: Group) -> Pair:
        chance = self.chance
        if kind == "halves":
            first, second = halves(chance.choice(group["sides"][sides[0]]))
            return first, second
        if sides[0] == sides[1]:
            texts = chance.sample(group["sides"][sides[0]], 2)
        else:
            texts = [chance.choice(group["sides"][side]) for side in sides]
        left, right = (t if s == "words" else random_view(t, s, chance) for t, s in zip(texts, sides, strict=True))
        return left, right


def _pairs(sides: dict[str, list[str]]) -> Iterator[tuple[str, str]]:
    names = sorted(sides)
    for at, left in enumerate(names):
        if len(sides[left]) > 1:
            yield left, left
        for right in names[at + 1 :]:
            yield left, right


def read_groups(path: Path) -> Iterator[Group]:
    """The rows that mine.py wrote."""
    with path.open(encoding="utf-8") as rows:
        for row in rows:
            yield json.loads(row)
