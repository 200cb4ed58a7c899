"""A further element beside its sibling: the field of a struct also in the changeset, the schema and the form."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from codekin.next_edit.edits import TokenChange, is_word
from codekin.next_edit.patterns import NEAR_WINDOW, Site, Spot, neighbours, whole_tokens

MIN_LENGTH = 3
MAX_TOKENS = 24
_LEADS = frozenset({":", ".", "@", "&", "*"})


@dataclass(frozen=True, slots=True)
class Sibling:
    """Looks for the name of the element beside which another one, `new`, was added."""

    change: TokenChange
    anchor: str
    new: str
    kind: str = "sibling"
    window: int = NEAR_WINDOW

    def regex(self) -> str:
        """Matches the sibling's name."""
        return whole_tokens((self.anchor,))

    def fit(self, spot: Spot) -> Site | None:
        """A copy with the new name: behind the element of a list, or below the line of the sibling."""
        start, end = spot.words.starts[spot.at], spot.words.ends[spot.at]
        line_start = spot.text.rfind("\n", 0, start) + 1
        line_end = spot.text.find("\n", end)
        line_end = len(spot.text) if line_end < 0 else line_end
        above = spot.text.rfind("\n", 0, max(0, line_start - 1)) + 1
        below = spot.text.find("\n", line_end + 1)
        near = spot.text[above : len(spot.text) if below < 0 else below]
        if re.search(whole_tokens((self.new,)), near):
            return None  # it stands there already
        line = spot.text[line_start:line_end]
        lead = _lead(spot)
        if _is_element(spot, lead) and line.count(self.anchor) == 1:
            left, _ = neighbours(self.change, spot.words, spot.at + 1, spot.at + 1)
            return Site(spot.path, end, end, f", {lead}{self.new}", self.kind, left, 0, self.change)
        copied = re.sub(whole_tokens((self.anchor,)), lambda _: self.new, line)
        return Site(spot.path, line_end, line_end, f"\n{copied}", self.kind, 0, 0, self.change)


def read_siblings(change: TokenChange) -> Iterator[Sibling]:
    """The element beside what was inserted, where the two differ in one name."""
    inserted = list(change.inserted)
    if change.deleted or not 1 <= len(inserted) <= MAX_TOKENS:
        return
    for beside in (change.left[-len(inserted) :], change.right[: len(inserted)]):
        for shifted in (inserted, inserted[1:] + inserted[:1], inserted[-1:] + inserted[:-1]):
            pairs = {(old, new) for old, new in zip(beside, shifted, strict=False) if old != new}
            if len(beside) == len(inserted) and len(pairs) == 1:
                old, new = pairs.pop()
                if all(is_word(name) and len(name) >= MIN_LENGTH and not name[0].isdigit() for name in (old, new)):
                    yield Sibling(change, old, new)
                    return


def _lead(spot: Spot) -> str:
    """The sign that belongs to a name, such as the colon of an atom."""
    before = spot.words.texts[spot.at - 1] if spot.at else ""
    return before if before in _LEADS and spot.words.ends[spot.at - 1] == spot.words.starts[spot.at] else ""


def _is_element(spot: Spot, lead: str) -> bool:
    """Whether a name stands alone between commas or brackets."""
    texts, first = spot.words.texts, spot.at - len(lead)
    before = texts[first - 1] if first else ""
    after = texts[spot.at + 1] if spot.at + 1 < len(texts) else ""
    return before in {",", "[", "("} and after in {",", "]", ")"}
