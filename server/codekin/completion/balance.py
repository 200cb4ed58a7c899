"""Blocks and brackets of a text: what it opens, what it closes beyond its own, and where it goes astray.

Read from tokens alone, so that broken text is no trouble; words in strings and comments do not count.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from codekin.syntax import LANGUAGES, tokens

_BRACKETS = {"(": ")", "[": "]", "{": "}"}
_UNCOUNTED = frozenset({"space", "newline", "comment", "string", "atom"})


@dataclass(frozen=True, slots=True)
class Balance:
    """`opened` are the closers that the text still owes, outermost first; `closed` those it has too many, in order.

    `strays` are the offsets of the closers in `closed`.
    """

    opened: tuple[str, ...] = ()
    closed: tuple[str, ...] = ()
    strays: tuple[int, ...] = ()


def balance(language: str, text: str) -> Balance:
    """The balance of a text."""
    opened: list[str] = []
    closed: list[str] = []
    strays: list[int] = []
    for word, offset, is_closer in _marks(language, text):
        if not is_closer:
            opened.append(word)
        elif opened:
            # A foreign closer ends the nearest block that it fits, as a reader would have it.
            if word in opened:
                while opened.pop() != word:
                    pass
        else:
            closed.append(word)
            strays.append(offset)
    return Balance(tuple(opened), tuple(closed), tuple(strays))


def _marks(language: str, text: str) -> Iterator[tuple[str, int, bool]]:
    """The closing word that each opening or closing token stands for, its offset, and whether it closes."""
    row = LANGUAGES.get(language)
    blocks = row.blocks if row and row.blocks else _BRACKETS
    closers = frozenset(blocks.values())
    for token in tokens(language, text):
        if token.kind in _UNCOUNTED:
            continue
        if token.text in blocks:
            yield blocks[token.text], token.start, False
        elif token.text in closers:
            yield token.text, token.start, True


def owed(language: str, prefix: str, suffix: str) -> tuple[str, ...]:
    """The closers that the text before the cursor needs and the text behind it lacks, innermost first."""
    before, behind = balance(language, prefix), balance(language, suffix)
    needed = list(reversed(before.opened))
    missing = len(needed) - len(behind.closed)
    return tuple(needed[:missing]) if missing > 0 else ()
