"""Other texts of the same function or test, by which a model learns, beside its triplets, what belongs together.

None of them is a kind of question that decides whether the model takes over: no sentence of a documentation, no half,
no changed name.
"""

import re
from collections.abc import Callable, Sequence
from itertools import pairwise
from random import Random

from codekin.learning.pieces import Piece
from codekin.syntax import tokens

LEAST_WORDS = 16
LEAST_LINES = 4
LEAST_NAMES = 6
QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
WORD = re.compile(r"\w{2,}")

Pair = tuple[str, str]


def cut_out(piece: Piece, chance: Random) -> Pair | None:
    """A run of its words from within, a fifth to a half of them, and what is left around it; None of a short one."""
    words = re.findall(r"\S+\s*", piece.code)
    count = len(words)
    if count < LEAST_WORDS:
        return None
    length = chance.randint(count // 5, count // 2)
    start = chance.randint(1, count - length - 1)
    return "".join(words[start : start + length]), "".join([*words[:start], *words[start + length :]])


def dealt_out(piece: Piece, chance: Random) -> Pair | None:
    """Its lines in two hands, each line to one of them by chance; None of a short one, or if the hands are halves."""
    lines = piece.code.split("\n")
    hands = [chance.random() < 0.5 for _ in lines]
    if len(lines) < LEAST_LINES or sum(one != other for one, other in pairwise(hands)) < 2:
        return None
    one, other = (
        "\n".join(line for line, hand in zip(lines, hands, strict=True) if hand == side) for side in (True, False)
    )
    return one, other


def named(piece: Piece, chance: Random) -> Pair | None:  # noqa: ARG001 - as the others
    """The words of its name, and its code without that name; None of a name that says little."""
    return (piece.words, piece.nameless) if len(piece.words.split()) > 1 else None


def parted(piece: Piece, chance: Random) -> Pair | None:
    """The code twice, each name in one of the two alone, wherever it stands; None of a piece with few names."""
    found = tokens(piece.fragment.language, piece.code)
    names = sorted(set(WORD.findall(piece.code)) - {token.text for token in found if token.kind == "keyword"})
    if len(names) < LEAST_NAMES:
        return None
    chance.shuffle(names)
    return _without(piece.code, set(names[::2])), _without(piece.code, set(names[1::2]))


def described(piece: Piece, chance: Random) -> Pair | None:  # noqa: ARG001 - as the others
    """What a test says that it checks, and its body; None of one that says little."""
    head, _, body = piece.code.partition("\n")
    quoted = QUOTED.search(head)
    said = quoted[1] if quoted else piece.words
    return (said, body) if len(said.split()) > 2 else None


def _without(code: str, names: set[str]) -> str:
    return WORD.sub(lambda word: " " if word[0] in names else word[0], code)


VIEWS = (named, dealt_out, cut_out)
"""What a head learns by."""

HARD_VIEWS = (parted, dealt_out)
"""What an encoder learns by: parts that have names in common would teach it to trust those."""

View = Callable[[Piece, Random], Pair | None]


def view_pairs(
    pieces: Sequence[Piece], count: int, chance: Random, views: Sequence[View] = VIEWS
) -> list[tuple[int, str, str]]:
    """`count` pairs at most, the views by turns: the position of the view, and two texts of a piece."""
    order = list(range(len(pieces))) * -(-count * 2 // max(1, len(pieces)))
    chance.shuffle(order)
    found: list[tuple[int, str, str]] = []
    for at in order:
        view = len(found) % len(views)
        pair = views[view](pieces[at], chance)
        if pair is not None:
            found.append((view, *pair))
        if len(found) == count:
            break
    return found
