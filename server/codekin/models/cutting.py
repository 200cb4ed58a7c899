"""Cuts a text that is longer than a model reads: where a fragment, at least a line or a word, ends.

A fragment ends where the next line stands further left, in every language with blocks, so no
grammar is asked. Knows nothing of models; the caller counts the tokens.
"""

import re
from collections.abc import Callable, Sequence

SCHEME = "fragments-2"
"""Part of an embedding space's fingerprint: where texts are cut decides their vectors."""

LEAST_KEPT = 0.94
"""The part of the room that is filled at least: a better place to cut is not looked for before that."""

LONGEST_TOKEN = 40
"""Characters of a text looked at for each token of room."""

_BEFORE_TEXT = re.compile(r"^[ \t]*(?=\S)", re.MULTILINE)
_CLOSING = re.compile(r"end\b|[)\]}]")
_WORD = re.compile(r"\S+\s*")
TAB = 8

Measure = Callable[[str, Sequence[int]], Sequence[int]]
"""From a text and ascending places in it to the tokens before each place."""


def cut_text(text: str, room: int, measure: Measure) -> str:
    """The beginning of a text that fits into `room` tokens and ends with a fragment, a line or a word.

    One endless word comes back whole: its tokens have to be cut.
    """
    text = text[: room * LONGEST_TOKEN]
    lines = [at + 1 for at, letter in enumerate(text) if letter == "\n"]
    counts = measure(text, lines)
    fitting = [place for place, count in zip(lines, counts, strict=True) if count <= room]
    late = [place for place, count in zip(lines, counts, strict=True) if LEAST_KEPT * room <= count <= room]
    if late:
        return text[: min(late, key=lambda place: (_depth_behind(text, place), -place))]
    start = fitting[-1] if fitting else 0
    words = [match.end() for match in _WORD.finditer(text, start)][: room + 1]
    whole = [place for place, count in zip(words, measure(text, words), strict=True) if count <= room]
    return text[: whole[-1]] if whole else text[:start] or text


def _depth_behind(text: str, place: int) -> float:
    """How far right the next line with something in it begins; one that closes a block belongs to what is above."""
    blank = _BEFORE_TEXT.search(text, place)
    if blank is None:
        return 0
    return len(blank[0].expandtabs(TAB)) + (0.5 if _CLOSING.match(text, blank.end()) else 0)
