"""From a place in a text to the fragment that is asked about: cursor, selection or pasted snippet.

Texts come from the request, else from an unsaved buffer, else from the file. Knows nothing
of vectors or HTTP.
"""

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from codekin.errors import UsageError
from codekin.records import Fragment

BYTES_LIMIT = 4_000_000
AROUND = 10
"""Lines before and after a cursor that stands in no fragment."""


@dataclass(frozen=True, slots=True)
class Source:
    """A file of a workspace; `text` is None where the file itself counts."""

    root: Path
    path: str
    text: str | None = None

    def read(self) -> str:
        """The text. Raises UsageError where the file is missing, not regular, too large or unreadable."""
        return self.text if self.text is not None else read_text(self.root / self.path)


def read_text(path: Path) -> str:
    """A regular file's text as the index reads it; never waits on a pipe or device."""
    from codekin.ingest.contents import decode  # noqa: PLC0415 - asked for by the first request

    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from error
    with os.fdopen(handle, "rb") as file:
        state = os.fstat(handle)
        if not stat.S_ISREG(state.st_mode):
            raise UsageError(f"{path} is not a file.")
        if state.st_size > BYTES_LIMIT:
            raise UsageError(f"{path} is larger than {BYTES_LIMIT} bytes: ask with a selection or a snippet of it.")
        text = decode(file.read(BYTES_LIMIT))
    if text is None:
        raise UsageError(f"{path} is a binary file: ask about a text.")
    return text


def fragments_of(source: Source) -> list[Fragment]:
    """All fragments of a text, in order. Raises UsageError where it cannot be read."""
    from codekin import syntax  # noqa: PLC0415 - brings tree-sitter

    return syntax.fragments(source.path, source.read())[0]


def fragment_of_cursor(source: Source, line: int) -> Fragment:
    """The innermost fragment at a line, else the lines around it. Raises UsageError past the text's end."""
    from codekin import syntax  # noqa: PLC0415 - brings tree-sitter

    text = source.read()
    lines = _lines(text)
    _check_line(source, line, lines)
    fragments, _ = syntax.fragments(source.path, text)
    found = syntax.fragment_at(fragments, line)
    if found is not None:
        return found
    first, last = max(1, line - AROUND), min(len(lines), line + AROUND)
    return _cut(source, text, lines, first, last)


def fragment_of_selection(source: Source, line: int, end_line: int) -> Fragment:
    """The selected lines; the fragment itself where they are just its own."""
    from codekin import syntax  # noqa: PLC0415 - brings tree-sitter

    text = source.read()
    lines = _lines(text)
    _check_line(source, line, lines)
    end_line = min(end_line, len(lines))
    fragments, _ = syntax.fragments(source.path, text)
    exact = next((found for found in fragments if (found.start_line, found.end_line) == (line, end_line)), None)
    return exact or _cut(source, text, lines, line, end_line)


def fragment_of_snippet(snippet: str, language: str, path: str = "") -> Fragment:
    """Pasted code: its own first fragment where it is one, else the text as it stands.

    `language` may be empty; then the path decides, and without one the text counts as words.
    """
    from codekin import syntax  # noqa: PLC0415 - brings tree-sitter

    language = language or (syntax.language_of(path, snippet) if path else None) or ""
    count = len(_lines(snippet))
    if language and language not in syntax.LANGUAGES:
        raise UsageError(f"There is no language {language!r}; there are {', '.join(sorted(syntax.LANGUAGES))}.")
    fragments = syntax.fragments(path or "snippet", snippet, language)[0] if language else []
    whole = [found for found in fragments if found.end_line - found.start_line + 1 >= count - 1]
    return whole[0] if whole else Fragment(path, language, "snippet", "", 1, count, snippet)


def _cut(source: Source, text: str, lines: list[str], first: int, last: int) -> Fragment:
    from codekin import syntax  # noqa: PLC0415 - brings tree-sitter

    language = syntax.language_of(source.path, text) or ""
    return Fragment(source.path, language, "selection", "", first, last, "\n".join(lines[first - 1 : last]))


def _check_line(source: Source, line: int, lines: list[str]) -> None:
    if line > len(lines):
        raise UsageError(f"{source.path} has {len(lines)} lines; there is no line {line}.")


def _lines(text: str) -> list[str]:
    """Lines as editors count them: form feeds and Unicode separators do not break one."""
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
