"""How likely a generator finds given continuations of a prompt: one wide step each, the prompt read once.

Knows nothing of what the texts mean.
"""

from collections.abc import Iterator, Sequence

import torch

from codekin.models.generation import PREFILL_SLICE, Generator


def log_probabilities(
    generator: Generator, ids: Sequence[int], continuations: Sequence[Sequence[int]]
) -> Iterator[list[list[float]]]:
    """The natural log-probability of each token of each continuation; yields what there is after each step."""
    cache, reused = generator.cache_for(ids)
    scores: list[list[float]] = []
    for start in range(reused, len(ids) - 1, PREFILL_SLICE):
        generator.decoder.forward(ids[start : min(start + PREFILL_SLICE, len(ids) - 1)], cache)
        yield scores
    for continuation in continuations:
        cache.cut(len(ids) - 1)
        logits = generator.decoder.forward([ids[-1], *continuation[:-1]], cache, every=True)
        chosen = torch.tensor(list(continuation), device=logits.device)
        rows = torch.log_softmax(logits[: len(continuation)], -1)
        scores.append(rows.gather(1, chosen[:, None])[:, 0].tolist() if continuation else [])
        yield scores
    cache.cut(len(ids) - 1)
