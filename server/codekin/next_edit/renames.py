"""A renamed word in its other spellings, and as part of longer names: `in_cents` in `test_in_cents` and `InCents`."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from codekin.next_edit.edits import TokenChange, is_word
from codekin.next_edit.patterns import NEAR_WINDOW, Site, Spot, neighbours
from codekin.types import to_pascal_case, to_snake_case

MIN_LENGTH = 5
"""Shorter words are parts of too many names."""


@dataclass(frozen=True, slots=True)
class PartOfName:
    """Looks for a spelling of the old word between the borders of words within a name."""

    change: TokenChange
    anchor: str
    new: str
    kind: str = "part"
    window: int = NEAR_WINDOW

    def regex(self) -> str:
        """Matches a whole name that holds the word."""
        return rf"(?<!\w)\w*?{self._part()}\w*"

    def fit(self, spot: Spot) -> Site | None:
        """The name with the new word."""
        word, start = spot.words.texts[spot.at], spot.words.starts[spot.at]
        renamed = re.sub(self._part(), lambda _: self.new, word)
        if renamed == word or word == self.change.deleted[0]:
            return None
        left, right = neighbours(self.change, spot.words, spot.at, spot.at + 1)
        return Site(spot.path, start, start + len(word), renamed, self.kind, left, right, self.change)

    def _part(self) -> str:
        if self.anchor[0].isupper() and not self.anchor.isupper():
            return rf"{re.escape(self.anchor)}(?![a-z])"
        return rf"(?<![^\W_]){re.escape(self.anchor)}(?![^\W_])"


def read_part_names(change: TokenChange) -> Iterator[PartOfName]:
    """The spellings of a renamed word."""
    if not len(change.deleted) == len(change.inserted) == 1:
        return
    old, new = change.deleted[0], change.inserted[0]
    if not (is_word(old) and is_word(new)) or old[0].isdigit() or len(old) < MIN_LENGTH:
        return
    snake_old, snake_new = to_snake_case(old).lower(), to_snake_case(new).lower()
    spelled = {
        old: new,
        snake_old: snake_new,
        to_pascal_case(snake_old): to_pascal_case(snake_new),
        snake_old.upper(): snake_new.upper(),
        snake_old.replace("_", "-"): snake_new.replace("_", "-"),
    }
    for one, other in spelled.items():
        if one != other and re.fullmatch(r"\w+", one):
            yield PartOfName(change, one, other)
