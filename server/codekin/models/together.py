"""Generates several texts side by side: a step reads the weights once for all of them.

Texts come and go one by one, each with its own prompt, cache, draft, limits and end; nothing is
padded, so that each is the text that it would be alone (up to the rounding of wider products).
"""

from collections.abc import Iterator, Sequence

from codekin.models.drafting import Draft
from codekin.models.generation import Generated, Generator, Run, Step
from codekin.models.linears import FEW_ROWS
from codekin.models.sampling import Sampling

MOST_TOGETHER = FEW_ROWS
"""Texts at a time: beyond so many rows the 8-bit product is not the faster one."""

Request = tuple[Sequence[int], Sampling, Draft | None]
"""The prompt's ids, how to go on, and who drafts."""


def generate_together(generator: Generator, requests: Sequence[Request]) -> Iterator[Step | list[Generated]]:
    """Empty steps, between which it can be left; the last value is the texts, in the order of the requests."""
    found: dict[int, Generated] = {}
    runs: dict[int, Run] = {}
    waiting = list(range(len(requests)))
    while waiting or runs:
        while waiting and len(runs) < MOST_TOGETHER:
            number = waiting.pop(0)
            run = generator.begin(*requests[number], busy=[other.cache for other in runs.values()])
            yield from run.prefill()
            runs[number] = run
        asked = [(run.offer(), run.cache) for run in runs.values()]
        for run, logits in zip(runs.values(), generator.decoder.forward_many(asked), strict=True):
            run.take(logits)
        found |= {number: run.result() for number, run in runs.items() if run.finish}
        runs = {number: run for number, run in runs.items() if not run.finish}
        yield Step()
    yield [found[number] for number in range(len(requests))]
