"""The same change once more: the same tokens between the same neighbours."""

from collections.abc import Iterator
from dataclasses import dataclass

from codekin.next_edit.edits import TokenChange, Words, is_word
from codekin.next_edit.patterns import NEAR_WINDOW, Site, Spot, neighbours, whole_tokens

NEAR = 4
"""How many tokens away the word may be by which the place of an insertion is found."""

MIN_NEIGHBOURS = 3
"""Equal tokens around an insertion, or around deleted signs without a word."""

MIN_ANCHOR = 3


@dataclass(frozen=True, slots=True)
class Repetition:
    """Looks for `tokens`; the change begins `offset` tokens behind the first of them."""

    kind: str
    change: TokenChange
    anchor: str
    tokens: tuple[str, ...]
    offset: int = 0
    window: int = NEAR_WINDOW

    def regex(self) -> str:
        """Matches the tokens."""
        return whole_tokens(self.tokens)

    def fit(self, spot: Spot) -> Site | None:
        """The place, where the deleted tokens stand there between enough of the same neighbours."""
        change, words, start = self.change, spot.words, spot.at + self.offset
        end = start + len(change.deleted)
        if end > len(words.texts) or tuple(words.texts[start:end]) != change.deleted:
            return None
        left, right = neighbours(change, words, start, end)
        if not any(map(is_word, change.deleted)) and left + right < MIN_NEIGHBOURS:
            return None
        if not change.deleted and _is_there(change.inserted, words, start):
            return None
        first, last, text = _replacement(change, spot, start, end)
        return Site(spot.path, first, last, text, self.kind, left, right, change)


def read_repetitions(change: TokenChange) -> Iterator[Repetition]:
    """By the longest deleted word, else by the nearer of the words around the change."""
    kind = "replace" if change.deleted and change.inserted else "delete" if change.deleted else "insert"
    words = [word for word in change.deleted if is_word(word) and len(word) > 1]
    if words:
        yield Repetition(kind, change, max(words, key=len), change.deleted)
        return
    left, right = change.left[-NEAR:], change.right[:NEAR]
    found = []
    if (at := next((at for at in reversed(range(len(left))) if _is_rare(left[at])), None)) is not None:
        found.append(Repetition(kind, change, left[at], (*left[at:], *change.deleted), len(left) - at))
    if (at := next((at for at in range(len(right)) if _is_rare(right[at])), None)) is not None:
        found.append(Repetition(kind, change, right[at], (*change.deleted, *right[: at + 1])))
    yield from sorted(found, key=lambda pattern: -len(pattern.anchor))[:1]


def _is_rare(word: str) -> bool:
    return is_word(word) and len(word) >= MIN_ANCHOR


def _is_there(inserted: tuple[str, ...], words: Words, at: int) -> bool:
    """Whether the tokens stand at a place already, before or behind it."""
    size = len(inserted)
    return inserted in {tuple(words.texts[at : at + size]), tuple(words.texts[max(0, at - size) : at])}


def _replacement(change: TokenChange, spot: Spot, first: int, last: int) -> tuple[int, int, str]:
    """Offsets between two tokens, and the text there; blanks that the edit left as they were stay as they are here."""
    words = spot.words
    start = words.ends[first - 1] if first else words.starts[first]
    end = words.starts[last] if last < len(words.starts) else words.ends[-1]
    old = spot.text[start:end]
    inner = old.strip()
    before = old[: len(old) - len(old.lstrip())] if inner else old
    after = old[len(old.rstrip()) :] if inner else ""
    if change.deleted and change.inserted:
        new_before = before if change.gaps[2] == change.gaps[0] else change.gaps[2]
        new_after = after if change.gaps[3] == change.gaps[1] else change.gaps[3]
    else:
        new_before, new_after = _blanks_of_one_side(change, old, before, after)
    return start, end, new_before + change.text + new_after


def _blanks_of_one_side(change: TokenChange, old: str, before: str, after: str) -> tuple[str, str]:
    """The blanks around text that is inserted, or those that are left where text is deleted."""
    if change.inserted:
        new_before, new_after = change.gaps[2:]
        if new_before == change.gaps[0]:
            return old, new_after
        return new_before, old if new_after == change.gaps[0] else new_after
    if change.gaps[2] == change.gaps[0]:
        return before, ""
    return (after if change.gaps[2] == change.gaps[1] else change.gaps[2]), ""
