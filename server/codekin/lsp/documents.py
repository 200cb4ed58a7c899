r"""The text of the open documents, kept equal to the client's through any sequence of edits.

Knows the protocol's three line breaks (\n, \r\n, \r) and no other, versions, and how to
apply ranges. Knows nothing of files, folders or what the text means. A document is changed
on the event loop alone; others get the immutable `Snapshot`.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from codekin.lsp.positions import Encoding, to_client_units, to_code_points

_LINE = re.compile(r"[^\r\n]*+(?:\r\n?|\n)|[^\r\n]++\Z")
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One version of a document: what a request may carry away from the event loop.

    `lines` keep their breaks; the last one has none and may be empty.
    """

    uri: str
    language_id: str
    version: int
    lines: Sequence[str]
    encoding: Encoding

    @property
    def text(self) -> str:
        """The whole text; unpaired surrogates, which no encoding can carry, are replaced."""
        text = "".join(self.lines)
        try:
            text.encode()  # far quicker than the search, and nearly always enough
        except UnicodeEncodeError:
            return _SURROGATE.sub("\ufffd", text)
        return text

    def place(self, position: Mapping[str, Any]) -> tuple[int, int]:
        """Line and column in code points, both from 0, clamped into the text."""
        return _place(self.lines, position, self.encoding)

    def offset(self, position: Mapping[str, Any]) -> int:
        """Code points before `position` in the whole text."""
        line, column = self.place(position)
        return sum(map(len, self.lines[:line])) + column

    def position(self, offset: int) -> tuple[int, int]:
        """Line and column in the client's units of an offset in code points."""
        for number, line in enumerate(self.lines):
            if offset < len(line) or number == len(self.lines) - 1:
                return number, to_client_units(line, min(offset, _length(line)), self.encoding)
            offset -= len(line)
        return 0, 0

    def line_length(self, line: int) -> int:
        """Client units in a line, without its break; 0 for a line that does not exist."""
        if not 0 <= line < len(self.lines):
            return 0
        text = self.lines[line]
        return to_client_units(text, _length(text), self.encoding)


class Documents:
    """The open documents by URI."""

    def __init__(self, encoding: Encoding = Encoding.UTF16) -> None:
        self.encoding = encoding
        self._open: dict[str, Snapshot] = {}

    def get(self, uri: str) -> Snapshot | None:
        """The document's current version, or None when it is not open."""
        return self._open.get(uri)

    def __iter__(self) -> Iterator[Snapshot]:
        return iter(tuple(self._open.values()))

    def open(self, uri: str, language_id: str, version: int, text: str) -> Snapshot:
        """Take a document in; one that was open already is replaced."""
        document = Snapshot(uri, language_id, version, split_lines(text), self.encoding)
        self._open[uri] = document
        return document

    def change(self, uri: str, version: int | None, changes: Sequence[Mapping[str, Any]]) -> Snapshot | None:
        """Apply the changes in order; None when they cannot be applied.

        A change to a document that is not open has no text to change, unless it brings the
        whole text with it. A version that is not above ours was applied before or comes from
        a past life of the document, so it is left out.
        """
        before = self._open.get(uri)
        if before is None:
            changes = _from_last_full(changes)
            if not changes or "range" in changes[0]:
                return None
            before = Snapshot(uri, "", -1, [""], self.encoding)
        if version is not None and version <= before.version:
            return None
        lines = apply(before.lines, changes, self.encoding)
        newest = before.version + 1 if version is None else version
        self._open[uri] = Snapshot(uri, before.language_id, newest, lines, self.encoding)
        return self._open[uri]

    def close(self, uri: str) -> None:
        """Forget the document; one that is not open is no error."""
        self._open.pop(uri, None)

    def is_current(self, document: Snapshot) -> bool:
        """Whether no newer version of the document has come in."""
        return self._open.get(document.uri) is document


def split_lines(text: str) -> list[str]:
    """Lines with their breaks; the last has none, so that a text of n breaks has n + 1 lines."""
    if "\r" not in text:
        *whole, rest = text.split("\n")
        return [*(line + "\n" for line in whole), rest]
    lines = _LINE.findall(text)
    return lines if lines[-1][-1] not in "\r\n" else [*lines, ""]


def apply(lines: Sequence[str], changes: Sequence[Mapping[str, Any]], encoding: Encoding) -> list[str]:
    """The lines after the changes, each of which sees the text that the one before it left."""
    result = list(lines)
    for change in _from_last_full(changes):
        text = _repair(str(change.get("text", "")))
        span = change.get("range")
        if span is None:
            result = split_lines(text)
        else:
            _replace(result, _place(result, span["start"], encoding), _place(result, span["end"], encoding), text)
    return result


def _replace(lines: list[str], start: tuple[int, int], end: tuple[int, int], text: str) -> None:
    """Put `text` in place of start..end, touching only the lines that change."""
    start, end = min(start, end), max(start, end)
    first, last = start[0], end[0]
    piece = lines[first][: start[1]] + text + lines[last][end[1] :]
    if first and lines[first - 1][-1] == "\r" and piece[:1] == "\n":
        first -= 1  # the break before grows to \r\n
        piece = lines[first] + piece
    replacement = split_lines(_repair(piece) if _SURROGATE.search(text) else piece)
    if last < len(lines) - 1:
        replacement.pop()  # the piece kept its own break, so the next line is still there
    lines[first : last + 1] = replacement


def _place(lines: Sequence[str], position: Mapping[str, Any], encoding: Encoding) -> tuple[int, int]:
    line, column = int(position["line"]), int(position["character"])
    if line < 0:
        return 0, 0
    if line >= len(lines):
        return len(lines) - 1, len(lines[-1])
    text = lines[line]
    return line, min(to_code_points(text, column, encoding), _length(text))


def _length(line: str) -> int:
    """Code points without the line break."""
    if line[-2:] == "\r\n":
        return len(line) - 2
    return len(line) - (line[-1:] in {"\r", "\n"})


def _from_last_full(changes: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    """Without what comes before the last change of the whole text."""
    full = [number for number, change in enumerate(changes) if change.get("range") is None]
    return changes[full[-1] :] if full else changes


def _repair(text: str) -> str:
    """Join surrogate halves that arrived as two code points; a half alone stays as it is."""
    if not _SURROGATE.search(text):
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
