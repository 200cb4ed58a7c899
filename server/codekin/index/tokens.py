"""Splits code and words into the lowercase pieces that the lexical index counts.

`camelCase`, `snake_case` and digits are split; operators count as tokens. It knows no
grammar: comments and strings are tokens like the rest.
"""

import re
from functools import lru_cache

_TOKEN = re.compile(r"[^\W\d]\w*|\d+|[-+*/%<>=!&|^~@?:.\\]+")
_PIECE = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_A-Za-z]+")
_LONGEST = 64


def tokens(text: str) -> list[str]:
    """All pieces of `text` in order, lowercase; a compound name also counts as a whole."""
    found: list[str] = []
    for token in _TOKEN.findall(text):
        found.extend(_split(token))
    return found


def pieces(text: str) -> list[str]:
    """All pieces of `text` in order, lowercase, without the compound names that they make up."""
    found: list[str] = []
    for token in _TOKEN.findall(text):
        split = _split(token)
        found.extend(split[:-1] if len(split) > 1 else split)
    return found


def shingles(text: str, width: int = 4) -> frozenset[tuple[str, ...]]:
    """All runs of `width` raw tokens, so that equal sets mean equal code up to layout."""
    raw = _TOKEN.findall(text)
    return frozenset(tuple(raw[i : i + width]) for i in range(max(1, len(raw) - width + 1)))


@lru_cache(maxsize=65536)
def _split(token: str) -> tuple[str, ...]:
    """The pieces of one identifier, number or operator."""
    if not (token[0].isalpha() or token[0] == "_"):
        return (token[:_LONGEST],)
    pieces = tuple(piece.lower()[:_LONGEST] for piece in _PIECE.findall(token))
    return (*pieces, "_".join(pieces)[:_LONGEST]) if len(pieces) > 1 else pieces
