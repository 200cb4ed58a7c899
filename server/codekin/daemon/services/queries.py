"""Requests about code and their results: plain values that import nothing heavy."""

from collections.abc import Sequence
from dataclasses import dataclass

from codekin.types import Hit


@dataclass(frozen=True, slots=True)
class CodeQuery:
    """What code is looked for: a place in a file (`line`, up to `end_line`), or a `snippet` in a language.

    `text` is None where the unsaved or saved text counts; `end_line` is 0 for the chunk at the line.
    """

    path: str = ""
    text: str | None = None
    line: int = 0
    end_line: int = 0
    snippet: str = ""
    language: str = ""


@dataclass(frozen=True, slots=True)
class QueryResult:
    """Hits, the space of the vectors that had a part in it, and if none had, why."""

    hits: Sequence[Hit]
    space: str
    degraded: str


@dataclass(frozen=True, slots=True)
class Lens:
    """A chunk that an editor writes a lens over; `similar` is None where it was not counted."""

    name: str
    kind: str
    start_line: int
    end_line: int
    code_line: int
    similar: int | None


@dataclass(frozen=True, slots=True)
class GhostTextQuery:
    """What a client requests: `line` counts from 1, `column` code points of the line from 0.

    `text` is None where the unsaved or saved text counts, `model` empty where the settings choose. With
    `waits_for_index` the answer comes once the repository has been read.
    """

    path: str
    text: str | None
    line: int
    column: int
    window: str = ""
    is_invoked: bool = False
    alternatives: int = 1
    model: str = ""
    waits_for_index: bool = False


@dataclass(frozen=True, slots=True)
class NextEditQuery:
    """The text of a file before and after the last edit, and how many next edits are wanted."""

    path: str
    before: str
    text: str
    window: str = ""
    limit: int = 5


@dataclass(frozen=True, slots=True)
class Place:
    """Lines of a file, both counted from 1 and included; `path` is relative to the root."""

    path: str
    start_line: int
    end_line: int
    language: str = ""


@dataclass(frozen=True, slots=True)
class CodeAtPlace:
    """The text of a place, empty where it no longer exists, and the head of what it defines as one line."""

    text: str
    signature: str


@dataclass(frozen=True, slots=True)
class OutlineRow:
    """A chunk of a file: its lines count from 1, its code begins at `code_line`; `depth` counts what it lies in."""

    name: str
    kind: str
    language: str
    start_line: int
    end_line: int
    code_line: int
    depth: int
    signature: str
    doc: str
