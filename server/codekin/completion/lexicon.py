"""Tokens of the repository model: numbers for words, signs and relative indentation.

A token carries the blank before it, so joined tokens are the text again. A line break is one of six tokens:
the next line stands further out, level or further in, with or without an empty line between. Lines are cut
by patterns alone and in every language alike; it knows nothing of grammars.
"""

import re
import threading
from bisect import bisect_left
from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

Tokens = NDArray[np.uint32]
"""Token numbers, shape (n,)."""

BOUNDARY = 6
"""The token between two files; smaller numbers are line breaks."""

_PIECE = re.compile(
    r"\n[ \t\n]*"
    r"| ?(?:[^\W\d]\w*(?:[?!](?![=?!]))?|\d\w*(?:\.\d\w*)?"
    r"|\|>|->|<-|=>|<>|\+\+|--|&&|\|\||==|!=|<=|>=|::|\.\.\.?|<<|>>|=~|\"\"\"|[^\w\s])"
    r"|[ \t]+|[^\S\n]"
)
_KEYWORD_LIST = """
def defp defmacro defmodule do end fn case cond if else with when unless import alias use require nil true false
and or not in rescue after raise test describe assert quote unquote for int const auto return void static class
struct template typename public private virtual bool char size_t std namespace using enum new delete while
switch break continue default inline constexpr explicit unsigned override
"""
_KEYWORDS = frozenset(_KEYWORD_LIST.split())
_OPENING, _CLOSING = frozenset("([{"), frozenset(")]}")
_BLOCK_OPENERS = frozenset({"do", "{", "(", "[", "->", "fn"})
_CONTINUED = frozenset({"do", "{", "(", "[", "->", ",", "=", "|>", "&&", "||", "+", ":", "<<"})
_TRAITS = np.dtype(
    [
        ("width", np.int32),  # of a line break: twice the indentation, plus one if an empty line stands before
        ("shape", np.uint32),  # equal for all names, all types, all numbers
        ("word", np.uint32),  # the token without its blank
        ("is_name", bool),
        ("depth", np.int8),  # 1 for an opening bracket, -1 for a closing one
        ("opens_block", bool),
        ("is_continued", bool),
    ]
)


def pieces(text: str) -> list[str]:
    """The tokens of a text as strings; a line break holds the indentation of the line behind it."""
    return _PIECE.findall(text)


def is_name(piece: str) -> bool:
    """Whether a token is an identifier and no keyword."""
    word = piece.removeprefix(" ")
    return bool(word) and (word[0].isalpha() or word[0] == "_") and word not in _KEYWORDS


class _Numbers(dict[str, int]):
    """Numbers by text; asks for a new one where none is known."""

    def __init__(self, add: Callable[[str], int]) -> None:
        super().__init__()
        self._add = add

    def __missing__(self, piece: str) -> int:
        return self._add(piece)


class Vocabulary:
    """Numbers tokens in the order of their first sight; grows, never forgets. Safe for threads."""

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self._lock = threading.RLock()
        self._numbers = _Numbers(self._add)
        self._shape_numbers: dict[str, int] = {}
        self.traits = np.zeros(1 << 12, _TRAITS)
        self.texts: list[str] = []
        for special in range(BOUNDARY + 1):
            self._add(f"\0{special}")
        for text in texts:
            self.number(text)
        self._sort()

    def __len__(self) -> int:
        return len(self.texts)

    def number(self, piece: str) -> int:
        """The number of a token."""
        return self._numbers[piece]

    def known(self, piece: str) -> int | None:
        """The number of a token, None if it was never seen."""
        return self._numbers.get(piece)

    def encode(self, text: str, indentation: int = 0) -> tuple[Tokens, int]:
        """The tokens of a text and the last line's indentation; `indentation` is that of the line before the text."""
        found = np.array(list(map(self._numbers.__getitem__, pieces(text))), np.uint32)
        widths = self.traits["width"][found]
        breaks = np.flatnonzero(widths >= 0)
        if not len(breaks):
            return found, indentation
        width, is_apart = widths[breaks] >> 1, widths[breaks] & 1
        before = np.concatenate([[indentation], width[:-1]])
        found[breaks] = 1 + np.sign(width - before) + 3 * is_apart
        return found, int(width[-1])

    def join(self, tokens: Iterable[int]) -> str:
        """The text of tokens of one line."""
        texts = self.texts
        return "".join([texts[token] for token in tokens])

    def shapes(self, tokens: Tokens) -> Tokens:
        """Tokens with names, types and numbers made equal; same shape as `tokens`."""
        return self.traits["shape"][tokens]

    def beginning_with(self, typed: str) -> NDArray[np.bool_]:
        """Which tokens begin with a text; shape (len(self),)."""
        allowed = np.zeros(len(self.texts), bool)
        low, high = bisect_left(self._sorted, typed), bisect_left(self._sorted, typed + "\U0010ffff")
        allowed[self._order[low:high]] = True
        for token in range(len(self._sorted), len(allowed)):
            allowed[token] = self.texts[token].startswith(typed)
        return allowed

    def _sort(self) -> None:
        self._order = np.array(sorted(range(len(self.texts)), key=self.texts.__getitem__), np.int64)
        self._sorted = [self.texts[token] for token in self._order.tolist()]

    def _add(self, piece: str) -> int:
        with self._lock:
            if piece in self._numbers:
                return self._numbers[piece]
            if len(piece) > 1 and piece[0] == " " and piece[1] != " ":
                self.number(piece[1:])  # its traits name the word
            token = len(self.texts)
            if token == len(self.traits):
                self.traits = np.concatenate([self.traits, np.zeros(token, _TRAITS)])
            self.traits[token] = self._traits_of(piece, token)
            self.texts.append(piece)
            self._numbers[piece] = token
            return token

    def _traits_of(self, piece: str, token: int) -> tuple[int, int, int, bool, int, bool, bool]:
        width = -1
        if piece.startswith("\n"):
            width = (len(piece) - piece.rfind("\n") - 1) << 1 | (piece.rfind("\n") > 0)
        word = piece.removeprefix(" ")
        shape = self._shape_numbers.setdefault(_shape(piece), len(self._shape_numbers))
        depth = (word in _OPENING) - (word in _CLOSING)
        word_number = self._numbers[word] if word and word != piece else token
        return width, shape, word_number, is_name(piece), depth, word in _BLOCK_OPENERS, word in _CONTINUED


def _shape(piece: str) -> str:
    blank, word = (" ", piece[1:]) if piece.startswith(" ") else ("", piece)
    if is_name(word):
        return blank + ("A" if word[0].isupper() else "a")
    return blank + "0" if word[:1].isdigit() else piece


def unfinished(prefix: str) -> tuple[str, str]:
    """Splits a prefix before the token at the cursor that may still grow: the text before it, and it."""
    line = prefix[prefix.rfind("\n") + 1 :]
    if not line.strip():
        return prefix, ""
    last = _PIECE.findall(line)[-1]
    if last.isspace() or last[-1].isalnum() or (last[-1] in "_?!" and len(last.strip()) > 1):
        return prefix[: len(prefix) - len(last)], last
    return prefix, ""
