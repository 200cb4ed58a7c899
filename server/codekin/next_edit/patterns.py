"""What an edit may mean elsewhere: a pattern finds a word in a text and says what the code around it becomes."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from codekin.next_edit.edits import TokenChange, Words, is_word, split_words

NEAR_WINDOW = 160
"""Characters on each side of a word that are read as tokens."""

MAX_SITES_OF_FILE = 60


@dataclass(frozen=True, slots=True)
class Site:
    """A place where a change fits: characters `start` to `end` of a text become `text`.

    `left` and `right` count the neighbouring tokens that are the same, at most `MAX_CONTEXT` each.
    """

    path: str
    start: int
    end: int
    text: str
    kind: str
    left: int
    right: int
    change: TokenChange
    is_required: bool = False
    """Whether the code there no longer fits what it uses."""


@dataclass(frozen=True, slots=True)
class Spot:
    """A token of a text where a pattern may fit: the tokens around it, and its index among them."""

    path: str
    language: str
    text: str
    words: Words
    at: int


class Pattern(Protocol):
    """One reading of a change; `anchor` is a word that every file with a place for it holds."""

    @property
    def kind(self) -> str:
        """How the place is found."""
        ...

    @property
    def anchor(self) -> str:
        """The word to look for."""
        ...

    @property
    def window(self) -> int:
        """Characters behind the anchor that are read as tokens."""
        ...

    def regex(self) -> str:
        """Matches where the change may fit, at the start of a token."""
        ...

    def fit(self, spot: Spot) -> Site | None:
        """The place and what it becomes; None where the change does not fit."""
        ...


def find_sites(pattern: Pattern, path: str, language: str, text: str) -> Iterator[Site]:
    """The places of a text where a pattern fits."""
    matches = re.finditer(pattern.regex(), text)
    for _, match in zip(range(MAX_SITES_OF_FILE), matches, strict=False):
        words = split_words(language, text, max(0, match.start() - NEAR_WINDOW), match.end() + pattern.window)
        at = words.index_at(match.start())
        if at < len(words.texts) and (site := pattern.fit(Spot(path, language, text, words, at))):
            yield site


def whole_tokens(tokens: tuple[str, ...]) -> str:
    """Matches these tokens with any blanks between them, not as parts of longer words."""
    before = r"(?<!\w)" if is_word(tokens[0]) else ""
    after = r"(?!\w)" if is_word(tokens[-1]) else ""
    return before + r"\s*".join(map(re.escape, tokens)) + after


def count_equal(some: Iterable[str], others: Iterable[str]) -> int:
    """How many tokens at the start of both are the same."""
    count = 0
    for one, other in zip(some, others, strict=False):
        if one != other:
            break
        count += 1
    return count


def neighbours(change: TokenChange, words: Words, start: int, end: int) -> tuple[int, int]:
    """How many tokens before `start` and from `end` on are those around the change itself."""
    left = count_equal(reversed(change.left), reversed(words.texts[max(0, start - len(change.left)) : start]))
    return left, count_equal(change.right, words.texts[end : end + len(change.right)])
