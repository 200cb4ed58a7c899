"""The token vocabulary of the repository model, and hashed n-gram tables over its token ids.

A token carries the blank before it, so joined tokens give the text back. A line break is one of six tokens:
the next line is less, equally or more indented, with or without an empty line between. Text is tokenized by
patterns alone, the same way in every language.

Hashes have 32 bits and are not verified: with a million n-grams, one query in four thousand gets a false match.
"""

import re
import threading
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import NDArray

TokenIds = NDArray[np.uint32]
"""Token numbers, shape (n,)."""

FILE_BOUNDARY = 6
"""The token between two files; smaller numbers are line breaks."""

_TOKEN = re.compile(
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
        ("width", np.int32),  # of a line break: twice the indentation, plus one after an empty line
        ("shape", np.uint32),  # equal for all names, all types, all numbers
        ("word", np.uint32),  # the token without its blank
        ("is_name", bool),
        ("depth", np.int8),  # 1 for an opening bracket, -1 for a closing one
        ("opens_block", bool),
        ("is_continued", bool),
    ]
)


def split_tokens(text: str) -> list[str]:
    """The tokens of a text as strings; a line break holds the indentation of the line behind it."""
    return _TOKEN.findall(text)


def is_identifier(token_text: str) -> bool:
    """Whether a token is an identifier and no keyword."""
    word = token_text.removeprefix(" ")
    return bool(word) and (word[0].isalpha() or word[0] == "_") and word not in _KEYWORDS


class _TokenNumbers(dict[str, int]):
    """Ids by text; a text without one gets a new one."""

    def __init__(self, add: Callable[[str], int]) -> None:
        super().__init__()
        self._add = add

    def __missing__(self, token_text: str) -> int:
        return self._add(token_text)


class TokenVocabulary:
    """Numbers tokens in the order of their first sight; grows, never forgets. Safe for threads."""

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self._lock = threading.RLock()
        self._numbers = _TokenNumbers(self._add)
        self._shape_numbers: dict[str, int] = {}
        self.traits = np.zeros(1 << 12, _TRAITS)
        self.texts: list[str] = []
        for special in range(FILE_BOUNDARY + 1):
            self._add(f"\0{special}")
        for text in texts:
            self.number(text)
        self._sort()

    def __len__(self) -> int:
        return len(self.texts)

    def number(self, token_text: str) -> int:
        """The number of a token."""
        return self._numbers[token_text]

    def known(self, token_text: str) -> int | None:
        """The number of a token, None if it was never seen."""
        return self._numbers.get(token_text)

    def encode(self, text: str, indentation: int = 0) -> tuple[TokenIds, int]:
        """The tokens of a text and the last line's indentation; `indentation` is that of the line before the text."""
        found = np.array(list(map(self._numbers.__getitem__, split_tokens(text))), np.uint32)
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

    def shapes(self, tokens: TokenIds) -> TokenIds:
        """Tokens with names, types and numbers made equal; same shape as `tokens`."""
        return self.traits["shape"][tokens]

    def tokens_with_prefix(self, typed: str) -> NDArray[np.bool_]:
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

    def _add(self, token_text: str) -> int:
        with self._lock:
            if token_text in self._numbers:
                return self._numbers[token_text]
            if len(token_text) > 1 and token_text[0] == " " and token_text[1] != " ":
                self.number(token_text[1:])  # its traits name the word
            token = len(self.texts)
            if token == len(self.traits):
                self.traits = np.concatenate([self.traits, np.zeros(token, _TRAITS)])
            self.traits[token] = self._traits_of(token_text, token)
            self.texts.append(token_text)
            self._numbers[token_text] = token
            return token

    def _traits_of(self, token_text: str, token: int) -> tuple[int, int, int, bool, int, bool, bool]:
        width = -1
        if token_text.startswith("\n"):
            width = (len(token_text) - token_text.rfind("\n") - 1) << 1 | (token_text.rfind("\n") > 0)
        word = token_text.removeprefix(" ")
        shape = self._shape_numbers.setdefault(_shape(token_text), len(self._shape_numbers))
        depth = (word in _OPENING) - (word in _CLOSING)
        word_number = self._numbers[word] if word and word != token_text else token
        return width, shape, word_number, is_identifier(token_text), depth, word in _BLOCK_OPENERS, word in _CONTINUED


def _shape(token_text: str) -> str:
    blank, word = (" ", token_text[1:]) if token_text.startswith(" ") else ("", token_text)
    if is_identifier(word):
        return blank + ("A" if word[0].isupper() else "a")
    return blank + "0" if word[:1].isdigit() else token_text


def split_partial_token(prefix: str) -> tuple[str, str]:
    """Splits a prefix before the token at the cursor that may still grow: the text before it, and it."""
    line = prefix[prefix.rfind("\n") + 1 :]
    if not line.strip():
        return prefix, ""
    last = _TOKEN.findall(line)[-1]
    if last.isspace() or last[-1].isalnum() or (last[-1] in "_?!" and len(last.strip()) > 1):
        return prefix[: len(prefix) - len(last)], last
    return prefix, ""


Hashes = NDArray[np.uint32]
Positions = NDArray[np.int64]

_STEP = np.uint64(0x9E3779B97F4A7C15)
_MIX = np.uint64(0xD6E8FEB86659FD93)
_HALF = np.uint64(32)
_FOLD = np.uint64(29)


def ngram_hashes(tokens: TokenIds, longest: int) -> list[Hashes]:
    """For every length from 1 to `longest`: hashes of the runs that end at each place, along the last axis.

    Entries with fewer tokens before them than the length hash those there are.
    """
    mixed = (tokens.astype(np.uint64) + np.uint64(1)) * _MIX
    runs = [mixed]
    for _ in range(longest - 1):
        longer = mixed.copy()
        longer[..., 1:] += runs[-1][..., :-1] * _STEP
        runs.append(longer)
    return [_finish_hash(run) for run in runs]


def ngram_hash(tokens: TokenIds) -> int:
    """The hash of one run as a whole."""
    mixed = ((tokens.astype(np.uint64) + np.uint64(1)) * _MIX).tolist()
    total = reduce(lambda sum_, one: (sum_ * int(_STEP) + one) & 0xFFFFFFFFFFFFFFFF, mixed, 0)
    total = (total ^ (total >> 29)) * int(_MIX) & 0xFFFFFFFFFFFFFFFF
    return total >> 32


def _finish_hash(run: NDArray[np.uint64]) -> Hashes:
    return (((run ^ (run >> _FOLD)) * _MIX) >> _HALF).astype(np.uint32)


@dataclass(frozen=True, slots=True)
class NgramTable:
    """Runs of one length: `places[starts[k]:starts[k + 1]]` are the ends of the runs with hash `keys[k]`, ascending."""

    keys: Hashes
    starts: NDArray[np.uint32]
    positions: NDArray[np.uint32]

    def find(self, key: int) -> Positions:
        """Where a run ends."""
        at = int(np.searchsorted(self.keys, np.uint32(key)))
        if at == len(self.keys) or self.keys[at] != key:
            return np.zeros(0, np.int64)
        return self.positions[self.starts[at] : self.starts[at + 1]].astype(np.int64)

    def counts(self, keys: Hashes) -> NDArray[np.float64]:
        """How often each run occurs; same shape as `keys`."""
        at = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        sizes = (self.starts[at + 1] - self.starts[at]).astype(np.float64)
        return np.where(self.keys[at] == keys, sizes, 0.0)


def build_table(hashes: Hashes) -> NgramTable:
    """Sorts the hashes of a text's runs into a table."""
    packed = hashes.astype(np.uint64) << _HALF
    packed |= np.arange(len(hashes), dtype=np.uint64)
    packed.sort()  # far faster than a stable argsort
    ordered = (packed >> _HALF).astype(np.uint32)
    is_new = np.empty(len(ordered), bool)
    is_new[:1] = True
    np.not_equal(ordered[1:], ordered[:-1], out=is_new[1:])
    starts = np.flatnonzero(is_new)
    return NgramTable(ordered[starts], np.append(starts, len(ordered)).astype(np.uint32), packed.astype(np.uint32))


MAX_NGRAM = 6
SHAPE_NGRAMS = (5, 8)


@dataclass(frozen=True, slots=True)
class CorpusSegment:
    """Files one behind the other, each behind a boundary token; file k begins at `starts[k]`.

    `tables[n - 1]` holds the runs of n tokens, `shape_tables` those of SHAPE_RUNS tokens with names made equal;
    `breaks` are the places of line breaks and boundaries, ascending. About 70 bytes a token.
    """

    paths: tuple[str, ...]
    starts: NDArray[np.int64]
    tokens: TokenIds
    breaks: Positions
    tables: tuple[NgramTable, ...]
    shape_tables: tuple[NgramTable, ...] = ()

    def files_at(self, positions: Positions) -> NDArray[np.int64]:
        """Numbers of the files that hold places; same shape."""
        return np.searchsorted(self.starts, positions, "right") - 1

    def line_ends(self, positions: Positions) -> Positions:
        """The line break behind each place."""
        return self.breaks[np.searchsorted(self.breaks, positions + 1)]

    def line_starts(self, positions: Positions) -> Positions:
        """The line break before each place that is itself a line break."""
        return self.breaks[np.maximum(np.searchsorted(self.breaks, positions) - 1, 0)]


def build_segment(
    files: Sequence[tuple[str, TokenIds]], vocabulary: TokenVocabulary, *, longest: int = MAX_NGRAM, shapes: bool = True
) -> CorpusSegment:
    """Builds a segment from paths and their tokens, in the order given."""
    tokens = np.concatenate(
        [*_with_boundaries(tokens for _, tokens in files), np.array([FILE_BOUNDARY] * 2, np.uint32)]
    )
    shaped = vocabulary.shapes(tokens)
    runs = ngram_hashes(shaped, max(SHAPE_NGRAMS)) if shapes else []
    return CorpusSegment(
        paths=tuple(path for path, _ in files),
        starts=np.cumsum([0, *(len(tokens) + 1 for _, tokens in files)]),
        tokens=tokens,
        breaks=np.flatnonzero(tokens <= FILE_BOUNDARY),
        tables=tuple(build_table(hashes) for hashes in ngram_hashes(tokens, longest)),
        shape_tables=tuple(build_table(runs[length - 1]) for length in SHAPE_NGRAMS) if shapes else (),
    )


def _with_boundaries(parts: Iterable[TokenIds]) -> Iterable[TokenIds]:
    boundary = np.array([FILE_BOUNDARY], np.uint32)
    for part in parts:
        yield boundary
        yield part
