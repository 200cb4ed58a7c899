"""Plans batches of token sequences: sorted by length, under a budget of padded tokens.

Knows nothing of models or text. Sorting makes the padding nearly vanish; the budget keeps
a batch in the cache, which on a CPU is worth a factor of two to three over fixed counts.
"""

from collections.abc import Sequence

TOKEN_BUDGET = 1024


def plan_batches(lengths: Sequence[int], budget: int = TOKEN_BUDGET) -> list[list[int]]:
    """Positions grouped into batches, longest first, each at most `budget` padded tokens.

    A sequence longer than the budget gets a batch of its own. Every position appears once.
    """
    batches: list[list[int]] = []
    room = 0
    for position in sorted(range(len(lengths)), key=lambda at: -lengths[at]):
        if room == 0:
            batches.append([])
            room = max(1, budget // max(1, lengths[position]))
        batches[-1].append(position)
        room -= 1
    return batches
