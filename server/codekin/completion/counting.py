"""Series: how a line would go on as one beside it, with its numbers counted on.

A series is written down from its first line, so that lines above count up, and those below count down.
"""

import re
from collections.abc import Iterator, Mapping
from itertools import pairwise

import numpy as np

from codekin.completion.lexicon import BOUNDARY, Tokens, Vocabulary
from codekin.completion.situation import Situation

ABOVE, BELOW = 8, 3
"""Lines that count as beside the cursor."""

_READ = 400
_NUMBER = re.compile(r"\d{1,6}")

Line = tuple[int, ...]


def counted_on(vocabulary: Vocabulary, situation: Situation) -> Iterator[Line]:
    """The rests of lines that begin as the cursor's does but for their numbers, with these counted on."""
    here = [vocabulary.texts[token] for token in situation.before[situation.line_start + 1 :].tolist()]
    for line, step in _lines(situation):
        texts = [vocabulary.texts[token] for token in line]
        changed = _numbers_changed(texts[: len(here)], here)
        if changed is not None and len(texts) > len(here):
            for numbers in _series(texts[len(here) :], changed, step):
                yield tuple(vocabulary.number(_counted(text, numbers)) for text in texts[len(here) :])


def _series(rest: list[str], changed: Mapping[str, str], step: int) -> Iterator[Mapping[str, str]]:
    """What numbers may become: those that changed before the cursor, then each of the others, then all of them."""
    values = list(dict.fromkeys(number for text in rest for number in _NUMBER.findall(text)))
    next_ones = {value: _next(value, step) for value in values}
    if changed.keys() & values:
        yield changed
    for value in values:
        if value not in changed:
            yield {**changed, value: next_ones[value]}
    if len(values) > 1:
        yield {**next_ones, **changed}


def _next(number: str, step: int) -> str:
    return str(max(0, int(number) + step)).zfill(len(number))


def _numbers_changed(there: list[str], here: list[str]) -> Mapping[str, str] | None:
    """How numbers differ in two beginnings of a line; None if anything else does."""
    changed: dict[str, str] = {}
    if len(there) != len(here):
        return None
    for old, new in zip(there, here, strict=True):
        if old != new:
            if _NUMBER.sub("0", old) != _NUMBER.sub("0", new):
                return None
            changed.update(zip(_NUMBER.findall(old), _NUMBER.findall(new), strict=True))
    return changed


def _counted(text: str, numbers: Mapping[str, str]) -> str:
    return _NUMBER.sub(lambda found: numbers.get(found[0], found[0]), text)


def _lines(situation: Situation) -> Iterator[tuple[Line, int]]:
    """The lines above, nearest first, each with 1, and those below with -1; the first below comes second."""
    above = _split(situation.before[: situation.line_start + 1][-_READ:])[::-1][:ABOVE]
    below = _split(situation.behind[:_READ])[:BELOW]
    yield from ((line, 1) for line in above[:1])
    yield from ((line, -1) for line in below[:1])
    yield from ((line, 1) for line in above[1:])
    yield from ((line, -1) for line in below[1:])


def _split(tokens: Tokens) -> list[Line]:
    """The lines between two breaks each."""
    breaks = np.flatnonzero(tokens <= BOUNDARY).tolist()
    return [tuple(tokens[start + 1 : end].tolist()) for start, end in pairwise(breaks) if end > start + 1]
