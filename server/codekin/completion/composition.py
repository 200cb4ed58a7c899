"""New lines from remembered ones: the head of one with the tail of another, and local names in the place of others."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from codekin.completion.lexicon import Tokens, Vocabulary
from codekin.completion.situation import Situation

SPLICED_FROM, RENAMED_FROM = 16, 8
NAMES_FOR_A_PLACE = 3
_REACH = 250


@dataclass(frozen=True, slots=True)
class Composed:
    """A line made from the line with number `source`."""

    line: tuple[int, ...]
    source: int
    is_renamed: bool


def composed(vocabulary: Vocabulary, situation: Situation, lines: Sequence[Tokens], most: int) -> list[Composed]:
    """At most so many new lines, made from lines that are ordered best first; none equals one of them."""
    rows = [tuple(line.tolist()) for line in lines]
    known = set(rows)
    found: list[Composed] = []
    makers = [_spliced(rows[:SPLICED_FROM], situation), _renamed(vocabulary, rows[:RENAMED_FROM], situation)]
    for maker, share in zip(makers, (most // 2, most), strict=True):
        for one in maker:
            if len(found) >= share:
                break
            if one.line not in known:
                known.add(one.line)
                found.append(one)
    return found


def _spliced(rows: Sequence[tuple[int, ...]], situation: Situation) -> Iterator[Composed]:
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
                    yield Composed(row[: place + 1] + rows[other][there + 1 :], number, is_renamed=False)


def _renamed(vocabulary: Vocabulary, rows: Sequence[tuple[int, ...]], situation: Situation) -> Iterator[Composed]:
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
                yield Composed((*row[:place], token, *row[place + 1 :]), number, is_renamed=True)


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
