"""Reads an edit: which lines it changed, and which tokens it replaced in which surroundings.

Tokens are words and single signs, the same way in every language, in comments and strings as well: names are changed
there too. Offsets count characters of a text, lines count from 0.
"""

import re
from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from functools import cache
from typing import NamedTuple

MAX_CONTEXT = 8
"""Tokens on each side of a change that are compared."""

MAX_EDIT_LINES = 60
MAX_EDIT_TOKENS = 600
"""A larger edit is a new text rather than a change that is carried on."""

MAX_CHANGES = 10


class Words(NamedTuple):
    """The tokens of a text with their offsets, relative to the whole text."""

    texts: list[str]
    starts: list[int]
    ends: list[int]

    def index_at(self, offset: int) -> int:
        """The first token that starts at an offset or behind it."""
        return bisect_left(self.starts, offset)


@cache
def _token_pattern(language: str) -> re.Pattern[str]:
    suffix = "(?:[?!](?![=?!]))?" if language == "elixir" else ""
    return re.compile(rf"[^\W\d]\w*+{suffix}|\d[\w.]*+|\S")


def split_words(language: str, text: str, start: int = 0, end: int | None = None) -> Words:
    """The tokens between two offsets of a text."""
    found = [
        (match[0], *match.span())
        for match in _token_pattern(language).finditer(text, start, len(text) if end is None else end)
    ]
    return Words([row[0] for row in found], [row[1] for row in found], [row[2] for row in found])


def is_word(token: str) -> bool:
    """Whether a token is a name, a keyword or a number."""
    return token[0].isalnum() or token[0] == "_"


@dataclass(frozen=True, slots=True)
class Edit:
    """Lines `start` to `old_end` of `before` became lines `start` to `new_end` of `after`; ends are exclusive."""

    path: str
    language: str
    before: str
    after: str
    start: int
    old_end: int
    new_end: int

    @property
    def new_lines(self) -> list[str]:
        """The lines that the edit left."""
        return self.after.split("\n")[self.start : self.new_end]


def read_edit(path: str, language: str, before: str, after: str) -> Edit | None:
    """The span of lines in which two texts differ; None where they are equal or differ too much."""
    old, new = before.split("\n"), after.split("\n")
    shared = min(len(old), len(new))
    start = next((at for at in range(shared) if old[at] != new[at]), shared)
    tail = next((at for at in range(shared - start) if old[-1 - at] != new[-1 - at]), shared - start)
    edit = Edit(path, language, before, after, start, len(old) - tail, len(new) - tail)
    height = max(edit.old_end, edit.new_end) - start
    return edit if before != after and height <= MAX_EDIT_LINES else None


@dataclass(frozen=True, slots=True)
class TokenChange:
    """One run of tokens that an edit replaced by another; either may be empty.

    `left` and `right` are the tokens around it, the nearest ones last and first. `gaps` are the blanks before and
    behind the old run, and before and behind the new one. `old_start` is the offset of the change in the text before.
    """

    deleted: tuple[str, ...]
    inserted: tuple[str, ...]
    text: str
    left: tuple[str, ...]
    right: tuple[str, ...]
    gaps: tuple[str, str, str, str]
    old_start: int
    new_start: int
    times: int = 1

    @property
    def key(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """What was replaced by what."""
        return self.deleted, self.inserted


def read_changes(edit: Edit) -> list[TokenChange]:
    """The changes of an edit in their order, equal ones once; none of an edit that is too large."""
    old, new = _words_around(edit, edit.before, edit.old_end), _words_around(edit, edit.after, edit.new_end)
    if max(len(old.texts), len(new.texts)) > MAX_EDIT_TOKENS:
        return []
    matcher = SequenceMatcher(None, old.texts, new.texts, autojunk=False)
    found = [
        _change(edit, old, new, (old_from, old_to, new_from, new_to))
        for tag, old_from, old_to, new_from, new_to in matcher.get_opcodes()
        if tag != "equal"
    ]
    times = Counter(change.key for change in found)
    first = {change.key: change for change in reversed(found)}
    distinct = [first[key] for key in dict.fromkeys(change.key for change in found)]
    return [replace(change, times=times[change.key]) for change in distinct] if len(distinct) <= MAX_CHANGES else []


CONTEXT_LINES = 4


def _words_around(edit: Edit, text: str, end: int) -> Words:
    """The tokens of the changed lines and of some lines around them."""
    lines = text.split("\n")
    first, last = max(0, edit.start - CONTEXT_LINES), min(len(lines), end + CONTEXT_LINES)
    start = sum(map(len, lines[:first])) + first
    return split_words(edit.language, text, start, start + len("\n".join(lines[first:last])))


def _change(edit: Edit, old: Words, new: Words, span: tuple[int, int, int, int]) -> TokenChange:
    old_from, old_to, new_from, new_to = span
    old_start, old_end = _bounds(old, old_from, old_to, len(edit.before))
    new_start, new_end = _bounds(new, new_from, new_to, len(edit.after))
    between_old, between_new = edit.before[old_start:old_end], edit.after[new_start:new_end]
    return TokenChange(
        deleted=tuple(old.texts[old_from:old_to]),
        inserted=tuple(new.texts[new_from:new_to]),
        text=between_new.strip(),
        left=tuple(old.texts[max(0, old_from - MAX_CONTEXT) : old_from]),
        right=tuple(old.texts[old_to : old_to + MAX_CONTEXT]),
        gaps=(*_gaps(between_old), *_gaps(between_new)),
        old_start=old_start,
        new_start=new_start,
    )


def _bounds(words: Words, first: int, last: int, length: int) -> tuple[int, int]:
    """From the end of the token before a run to the start of the one behind it."""
    end = words.starts[last] if last < len(words.starts) else words.ends[-1] if words.ends else length
    start = words.ends[first - 1] if first else words.starts[0] if words.starts else 0
    return start, max(start, end)


def _gaps(text: str) -> tuple[str, str]:
    """The blanks at both ends of a text; of one that is blank, all of it is at its start."""
    inner = text.strip()
    if not inner:
        return text, ""
    return text[: len(text) - len(text.lstrip())], text[len(text.rstrip()) :]
