"""The place to be filled: a document cut in two at the cursor."""

import re
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Gap:
    """A path relative to the workspace, its language, and the text before and behind the cursor.

    `kin` are paths of files that are akin to this place by meaning, as far as anybody knows.
    """

    path: str
    language: str
    prefix: str
    suffix: str
    kin: frozenset[str] = frozenset()

    @property
    def line_before(self) -> str:
        """What stands on the cursor's line before it."""
        return self.prefix[self.prefix.rfind("\n") + 1 :]

    @property
    def line_behind(self) -> str:
        """What stands on the cursor's line behind it."""
        return self.suffix.partition("\n")[0]

    @property
    def around_line(self) -> "Gap":
        """The gap that the cursor's whole line leaves: what is chosen for it stays while the line is typed."""
        return replace(self, prefix=self.prefix[: len(self.prefix) - len(self.line_before)])

    @property
    def indentation(self) -> str:
        """The white space that begins the cursor's line."""
        line = self.line_before
        return line[: len(line) - len(line.lstrip())]


def gap_at(path: str, language: str, text: str, line: int, column: int) -> Gap:
    """The gap at a place: `line` counts from 1 and ends as in the language server protocol, `column` counts characters.

    A place outside is brought to the nearest one inside.
    """
    starts = [0, *(match.end() for match in _LINE_END.finditer(text))]
    start = starts[min(max(line, 1), len(starts)) - 1]
    end = _LINE_END.search(text, start)
    offset = min(start + max(column, 0), end.start() if end else len(text))
    if line > len(starts):
        offset = len(text)
    return Gap(path, language, text[:offset], text[offset:])


_LINE_END = re.compile(r"\r\n|\n|\r")
