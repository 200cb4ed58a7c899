"""How likely a generator finds given continuations of a prompt: the prompt read once, all of them in one pass.

Knows nothing of what the texts mean.
"""

from collections.abc import Iterator, Sequence

import torch

from codekin.models.generation import PREFILL_SLICE, Generator

Scores = list[list[float]]
"""The natural log-probability of each token of each continuation."""


def log_probabilities(
    generator: Generator, ids: Sequence[int], continuations: Sequence[Sequence[int]]
) -> Iterator[Scores]:
    """The scores of continuations, which share what they begin with; yields nothing known until the last value."""
    cache, reused = generator.cache_for(ids)
    for start in range(reused, len(ids) - 1, PREFILL_SLICE):
        generator.decoder.forward(ids[start : min(start + PREFILL_SLICE, len(ids) - 1)], cache)
        yield []
    cache.cut(len(ids) - 1)
    tree = _Tree(ids[-1])
    places = [tree.add(continuation) for continuation in continuations]
    rows = torch.log_softmax(generator.decoder.branches(tree.tokens, tree.parents, cache), -1)
    yield [
        rows[[before for before, _ in steps], [token for _, token in steps]].tolist() if steps else []
        for steps in places
    ]


class _Tree:
    """Tokens that each follow an earlier one; equal beginnings stand in it once."""

    def __init__(self, first: int) -> None:
        self.tokens = [first]
        self.parents = [-1]
        self._numbers: dict[tuple[int, int], int] = {}

    def add(self, continuation: Sequence[int]) -> list[tuple[int, int]]:
        """For each token the place in the tree of the one before it, and the token; the last is not put into it."""
        steps, at = [], 0
        for number, token in enumerate(continuation):
            steps.append((at, token))
            if number + 1 < len(continuation):
                at = self._place(at, token)
        return steps

    def _place(self, parent: int, token: int) -> int:
        found = self._numbers.setdefault((parent, token), len(self.tokens))
        if found == len(self.tokens):
            self.tokens.append(token)
            self.parents.append(parent)
        return found
