"""Cuts a long run of lines into parts at the borders of the syntax; knows lines and depths only."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import tree_sitter

MOST_LINES = 60
MOST_CHARACTERS = 1600
_DEEPEST = 12
_SMALL = 80


class Line(NamedTuple):
    """A line of a file: its number (1-based) and its text without the line break."""

    number: int
    text: str


def is_long(lines: Sequence[Line]) -> bool:
    """Whether these lines are more than one fragment should hold."""
    return len(lines) > MOST_LINES or sum(len(line.text) + 1 for line in lines) > MOST_CHARACTERS


def split(lines: Sequence[Line], depths: Mapping[int, int]) -> list[Sequence[Line]]:
    """Parts in order, together all lines; a cut stands before the outermost node that begins a line.

    `depths` gives the depth of the node that begins a line, by number; lines without one are cut last.
    """
    parts: list[Sequence[Line]] = []
    start = 0
    while start < len(lines):
        end = _reach(lines, start)
        if end < len(lines):
            least = start + max(1, (end - start) // 3)
            end = min(
                range(end, least - 1, -1),
                key=lambda at: depths.get(lines[at].number, _DEEPEST + 1),
            )
        parts.append(lines[start:end])
        start = end
    return parts


def _reach(lines: Sequence[Line], start: int) -> int:
    """The end of the longest part that begins at `start`, at least one line; a small rest is taken along."""
    characters, end = 0, start
    while end < len(lines) and end - start < MOST_LINES:
        characters += len(lines[end].text) + 1
        if characters > MOST_CHARACTERS and end > start:
            break
        end += 1
    rest = lines[end:]
    if len(rest) <= MOST_LINES // 10 and sum(len(line.text) for line in rest) <= MOST_CHARACTERS // 10:
        return len(lines)
    return end


def depths_of(root: tree_sitter.Node, start: int, end: int) -> dict[int, int]:
    """The offsets at which named nodes begin in an interval of bytes, each with the depth of its outermost node."""
    found: dict[int, int] = {}
    level = [root.descendant_for_byte_range(start, end - 1) or root]
    for depth in range(_DEEPEST):
        following: list[tree_sitter.Node] = []
        for node in level:
            for child in node.named_children:
                if child.end_byte > start and child.start_byte < end:
                    found.setdefault(child.start_byte, depth)
                    if child.end_byte - child.start_byte > _SMALL:
                        following.append(child)
        level = following
        if not level:
            break
    return found
