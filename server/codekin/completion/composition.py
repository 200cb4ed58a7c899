"""New lines from remembered ones, and from those beside the cursor.

The head of one with the tail of another, local names in the place of others, and the next numbers of a series.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import islice

import numpy as np

from codekin.completion.counting import Line, counted_on
from codekin.completion.lexicon import Tokens, Vocabulary
from codekin.completion.situation import Situation

SPLICED_FROM, RENAMED_FROM = 16, 8
NAMES_FOR_A_PLACE = 3
_REACH = 250


class Way(IntEnum):
    """How a line was made."""

    SPLICED = 0
    RENAMED = 1
    COUNTED = 2


MOST = {Way.SPLICED: 14, Way.RENAMED: 14, Way.COUNTED: 8}
"""The most new lines of each way."""

COMPOSED = sum(MOST.values())

Made = Iterator[tuple[Line, int | None]]
"""Lines, each with the number of the remembered line that it was made from, if any."""


@dataclass(frozen=True, slots=True)
class Composed:
    """A line made from the remembered one with number `source`, or from one beside the cursor where that is None."""

    line: Line
    source: int | None
    way: Way


def composed(vocabulary: Vocabulary, situation: Situation, lines: Sequence[Tokens]) -> list[Composed]:
    """New lines, at most COMPOSED, from lines that are ordered best first; none equals one of them."""
    rows: list[Line] = [tuple(line.tolist()) for line in lines]
    makers: Mapping[Way, Made] = {
        Way.SPLICED: _spliced(rows[:SPLICED_FROM], situation),
        Way.RENAMED: _renamed(vocabulary, rows[:RENAMED_FROM], situation),
        Way.COUNTED: ((line, None) for line in counted_on(vocabulary, situation)),
    }
    known = set(rows)
    return [
        Composed(line, source, way)
        for way, made in makers.items()
        for line, source in islice(_new(made, known, vocabulary, situation.typed), MOST[way])
    ]


def _new(made: Made, known: set[Line], vocabulary: Vocabulary, typed: str) -> Made:
    """What was not known before, and begins with what is being typed."""
    for line, source in made:
        if line not in known and vocabulary.texts[line[0]].startswith(typed):
            known.add(line)
            yield line, source


def _spliced(rows: Sequence[Line], situation: Situation) -> Made:
    """Where two lines share a pair of tokens, the first goes on as the second."""
    ahead = int(situation.before[-1])
    at_pair: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for number, row in enumerate(rows):
        for place, pair in enumerate(zip((ahead, *row), row[:-1], strict=False)):
            at_pair.setdefault(pair, []).append((number, place))
    for number, row in enumerate(rows):
        for place, pair in enumerate(zip((ahead, *row), row[:-1], strict=False)):
            for other, there in at_pair[pair]:
                if other != number and rows[other][there + 1] != row[place + 1]:
                    yield row[: place + 1] + rows[other][there + 1 :], number


def _renamed(vocabulary: Vocabulary, rows: Sequence[Line], situation: Situation) -> Made:
    """A name gives way to one used nearby that stands beside the same neighbour elsewhere in the document."""
    names = _names_nearby(vocabulary, situation)
    pairs = _pairs(situation)
    ahead = int(situation.before[-1])
    is_name = vocabulary.traits["is_name"]
    for number, row in enumerate(rows):
        for place in np.flatnonzero(is_name[list(row)]).tolist():
            left = row[place - 1] if place else ahead
            right = row[place + 1] if place + 1 < len(row) else None
            fitting = _fitting(vocabulary, names, pairs, row[place], (left, right))
            for token in fitting:
                yield (*row[:place], token, *row[place + 1 :]), number


def _fitting(
    vocabulary: Vocabulary, names: Sequence[str], pairs: set[int], old: int, neighbours: tuple[int, int | None]
) -> list[int]:
    """The first few names of the same kind that stand beside one of the neighbours somewhere."""
    text = vocabulary.texts[old]
    blank, word = (" ", text[1:]) if text.startswith(" ") else ("", text)
    left, right = neighbours
    found: list[int] = []
    for name in names:
        token = vocabulary.known(blank + name)
        if token is None or name == word or name[0].isupper() != word[0].isupper():
            continue
        if left << 32 | token in pairs or (right is not None and token << 32 | right in pairs):
            found.append(token)
            if len(found) == NAMES_FOR_A_PLACE:
                break
    return found


def _names_nearby(vocabulary: Vocabulary, situation: Situation) -> list[str]:
    """Names before the cursor, nearest first."""
    recent = situation.before[-_REACH:][::-1]
    tokens = recent[vocabulary.traits["is_name"][recent]].tolist()
    return list(dict.fromkeys(vocabulary.texts[token].removeprefix(" ") for token in tokens))


def _pairs(situation: Situation) -> set[int]:
    """All pairs of neighbouring tokens of the document, packed into one number each."""
    tokens = situation.document.tokens.astype(np.uint64)
    return set(((tokens[:-1] << np.uint64(32)) | tokens[1:]).tolist())
