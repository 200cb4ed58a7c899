r"""Open documents, positions in the client's units and in code points, and the workspace folders that files lie in.

Only \\n, \\r\\n and \\r end a line. Documents change on the event loop only; other code gets an immutable
`DocumentSnapshot`. Stands in for `pygls.workspace`, whose documents drift where a line holds a form feed or U+2028.

Paths are relative to the folder's root, with forward slashes. A URI sent to the client starts with the folder URI
that the client itself uses, because editors compare URIs as text.
"""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any
from urllib.parse import quote_from_bytes, unquote_to_bytes


class Encoding(StrEnum):
    """What the client counts in `Position.character`."""

    UTF8 = "utf-8"
    UTF16 = "utf-16"
    UTF32 = "utf-32"


_UNIT_BYTES = {Encoding.UTF8: 1, Encoding.UTF16: 2, Encoding.UTF32: 4}
_CODECS = {Encoding.UTF8: "utf-8", Encoding.UTF16: "utf-16-le", Encoding.UTF32: "utf-32-le"}


def choose_encoding(offered: list[str] | None) -> Encoding:
    """The first encoding of the client's list that we know; UTF-16 as the protocol's default."""
    known = {encoding.value: encoding for encoding in Encoding}
    return next((known[name] for name in offered or () if name in known), Encoding.UTF16)


def to_code_points(line: str, column: int, encoding: Encoding) -> int:
    """How many code points of `line` precede `column` client units."""
    if column <= 0:
        return 0
    if encoding is Encoding.UTF32 or line.isascii():
        return min(column, len(line))
    # A code point takes one unit or more, so the first `column` code points are enough.
    units = line[:column].encode(_CODECS[encoding], "surrogatepass")
    whole = units[: _character_start(units, column, encoding)]
    return len(whole.decode(_CODECS[encoding], "surrogatepass"))


def to_client_units(line: str, code_points: int, encoding: Encoding) -> int:
    """How many client units the first `code_points` of `line` take."""
    before = line[: max(code_points, 0)]
    if encoding is Encoding.UTF32 or before.isascii():
        return len(before)
    return len(before.encode(_CODECS[encoding], "surrogatepass")) // _UNIT_BYTES[encoding]


def _character_start(units: bytes, column: int, encoding: Encoding) -> int:
    """The byte offset of `column`, moved back to the start of the character it falls into."""
    if encoding is Encoding.UTF8:
        while column < len(units) and units[column] & 0xC0 == 0x80:
            column -= 1
        return column
    at = 2 * column
    inside_pair = at < len(units) and 0xD8 <= units[at - 1] <= 0xDB and 0xDC <= units[at + 1] <= 0xDF
    return at - 2 if inside_pair else at


_LINE = re.compile(r"[^\r\n]*+(?:\r\n?|\n)|[^\r\n]++\Z")
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class DocumentSnapshot:
    """One version of a document, which a request may use outside the event loop.

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
        return _to_offsets(self.lines, position, self.encoding)

    def offset(self, position: Mapping[str, Any]) -> int:
        """Code points before `position` in the whole text."""
        line, column = self.place(position)
        return sum(map(len, self.lines[:line])) + column

    def position(self, offset: int) -> tuple[int, int]:
        """Line and column in the client's units of an offset in code points."""
        for number, line in enumerate(self.lines):
            if offset < len(line) or number == len(self.lines) - 1:
                return number, to_client_units(line, min(offset, _line_length(line)), self.encoding)
            offset -= len(line)
        return 0, 0

    def line_length(self, line: int) -> int:
        """Client units in a line, without its break; 0 for a line that does not exist."""
        if not 0 <= line < len(self.lines):
            return 0
        text = self.lines[line]
        return to_client_units(text, _line_length(text), self.encoding)


class Documents:
    """The open documents by URI."""

    def __init__(self, encoding: Encoding = Encoding.UTF16) -> None:
        self.encoding = encoding
        self._open: dict[str, DocumentSnapshot] = {}

    def get(self, uri: str) -> DocumentSnapshot | None:
        """The document's current version, or None when it is not open."""
        return self._open.get(uri)

    def __iter__(self) -> Iterator[DocumentSnapshot]:
        return iter(tuple(self._open.values()))

    def open(self, uri: str, language_id: str, version: int, text: str) -> DocumentSnapshot:
        """Opens a document; one that is already open is replaced."""
        document = DocumentSnapshot(uri, language_id, version, split_lines(text), self.encoding)
        self._open[uri] = document
        return document

    def change(self, uri: str, version: int | None, changes: Sequence[Mapping[str, Any]]) -> DocumentSnapshot | None:
        """Apply the changes in order; None when they do not fit the current text, which is then left as it is.

        Whole texts always fit, and so do edits under the current version: messages arrive in order, and some clients
        never count up. An edit does not fit a document that is not open, nor one whose version is above the edit's.
        """
        changes, before = _from_last_full(changes), self._open.get(uri)
        is_whole = bool(changes) and changes[0].get("range") is None
        if not is_whole and (before is None or (version is not None and version < before.version)):
            return None
        before = before or DocumentSnapshot(uri, "", -1, [""], self.encoding)
        lines = apply_changes(before.lines, changes, self.encoding)
        newest = before.version + 1 if version is None else version
        self._open[uri] = DocumentSnapshot(uri, before.language_id, newest, lines, self.encoding)
        return self._open[uri]

    def close(self, uri: str) -> None:
        """Closes the document; closing one that is not open is no error."""
        self._open.pop(uri, None)

    def is_current(self, document: DocumentSnapshot) -> bool:
        """Whether no newer version of the document has come in."""
        return self._open.get(document.uri) is document


def split_lines(text: str) -> list[str]:
    """Lines with their breaks; the last has none, so that a text of n breaks has n + 1 lines."""
    if "\r" not in text:
        *whole, rest = text.split("\n")
        return [*(line + "\n" for line in whole), rest]
    lines = _LINE.findall(text)
    return lines if lines[-1][-1] not in "\r\n" else [*lines, ""]


def apply_changes(lines: Sequence[str], changes: Sequence[Mapping[str, Any]], encoding: Encoding) -> list[str]:
    """The lines after the changes, each of which sees the text that the one before it left."""
    result = list(lines)
    for change in _from_last_full(changes):
        text = _join_surrogates(str(change.get("text", "")))
        span = change.get("range")
        if span is None:
            result = split_lines(text)
        else:
            _replace(
                result, _to_offsets(result, span["start"], encoding), _to_offsets(result, span["end"], encoding), text
            )
    return result


def _replace(lines: list[str], start: tuple[int, int], end: tuple[int, int], text: str) -> None:
    """Put `text` in place of start..end, touching only the lines that change."""
    start, end = min(start, end), max(start, end)
    first, last = start[0], end[0]
    piece = lines[first][: start[1]] + text + lines[last][end[1] :]
    if first and lines[first - 1][-1] == "\r" and piece[:1] == "\n":
        first -= 1  # the break before grows to \r\n
        piece = lines[first] + piece
    replacement = split_lines(_join_surrogates(piece) if _SURROGATE.search(text) else piece)
    if last < len(lines) - 1:
        replacement.pop()  # the piece kept its own break, so the next line is still there
    lines[first : last + 1] = replacement


def _to_offsets(lines: Sequence[str], position: Mapping[str, Any], encoding: Encoding) -> tuple[int, int]:
    line, column = int(position["line"]), int(position["character"])
    if line < 0:
        return 0, 0
    if line >= len(lines):
        return len(lines) - 1, len(lines[-1])
    text = lines[line]
    return line, min(to_code_points(text, column, encoding), _line_length(text))


def _line_length(line: str) -> int:
    """Code points without the line break."""
    if line[-2:] == "\r\n":
        return len(line) - 2
    return len(line) - (line[-1:] in {"\r", "\n"})


def _from_last_full(changes: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    """Drops all changes before the last replacement of the whole text."""
    full = [number for number, change in enumerate(changes) if change.get("range") is None]
    return changes[full[-1] :] if full else changes


def _join_surrogates(text: str) -> str:
    """Join surrogate halves that arrived as two code points; a half alone stays as it is."""
    if not _SURROGATE.search(text):
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


MAX_READ_BYTES = 4 * 2**20
"""Bytes of a file that the window reads itself."""

MAX_CACHED_LOCATIONS = 10_000
"""URIs whose place is kept, since following links costs system calls."""


@dataclass(frozen=True, slots=True)
class WorkspaceFolder:
    """A folder of the workspace; `real` is its root with all links followed."""

    uri: str
    root: Path
    name: str = ""
    real: Path = field(default=Path(), compare=False)

    def uri_of(self, path: str) -> str:
        """The URI of a file in the folder; one of another repository on the team's server is a URI by itself."""
        if path.startswith("codekin://"):
            return quote_from_bytes(os.fsencode(path), safe="/-._~:")
        return f"{self.uri.rstrip('/')}/{quote_from_bytes(os.fsencode(path), safe='/-._~')}"


@dataclass(frozen=True, slots=True)
class FileLocation:
    """A file of a workspace folder."""

    folder: WorkspaceFolder
    path: str

    @property
    def root(self) -> str:
        """The folder's root as requests to the daemon name it."""
        return str(self.folder.root)


class WorkspaceFolders:
    """The workspace's folders, which the client may add to and take from at any time."""

    def __init__(self) -> None:
        self._folders: dict[Path, WorkspaceFolder] = {}
        self._located: dict[str, FileLocation | None] = {}

    def __iter__(self) -> Iterator[WorkspaceFolder]:
        return iter(tuple(self._folders.values()))

    def add(self, uri: str, name: str = "") -> WorkspaceFolder | None:
        """Adds a folder; None when it is not a folder on this machine, or known already."""
        root = path_from_uri(uri)
        if root is None or root in self._folders or not root.is_dir():
            return None
        self._located.clear()
        self._folders[root] = WorkspaceFolder(uri, root, name or root.name, root.resolve())
        return self._folders[root]

    def missing(self, uri: str) -> str:
        """Why a folder that cannot be added yet may be later, as a sentence; empty if it never will."""
        root = path_from_uri(uri)
        if root is None or root in self._folders:
            return ""
        if root.exists():
            return f"{root} is a file: open its folder instead."
        return f"There is no folder {root}: Codekin waits for it."

    def remove(self, uri: str) -> WorkspaceFolder | None:
        """Removes a folder; None when there is none."""
        root = path_from_uri(uri)
        self._located.clear()
        return None if root is None else self._folders.pop(root, None)

    def locate(self, uri: str) -> FileLocation | None:
        """The innermost folder that holds the file, by the path as given or with links followed."""
        if uri not in self._located:
            if len(self._located) > MAX_CACHED_LOCATIONS:
                self._located.clear()
            self._located[uri] = self._locate(uri)
        return self._located[uri]

    def _locate(self, uri: str) -> FileLocation | None:
        path = path_from_uri(uri)
        if path is None:
            return None
        real = path.parent.resolve() / path.name
        deepest = sorted(self, key=lambda folder: len(folder.real.parts), reverse=True)
        for folder in deepest:
            for root, candidate in ((folder.root, path), (folder.real, real)):
                if candidate != root and candidate.is_relative_to(root):
                    return FileLocation(folder, candidate.relative_to(root).as_posix())
        return None


def read_initial_folders(params: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """URI and name of each folder that `initialize` names, in any of the protocol's three ways."""
    given = read_folders(params.get("workspaceFolders"))
    if given:
        yield from given
    elif isinstance(root := params.get("rootUri"), str):
        yield root, ""
    elif isinstance(path := params.get("rootPath"), str):
        yield uri_from_path(Path(path)), ""


def read_folders(given: Any) -> list[tuple[str, str]]:
    """URI and name of each folder in a list of the protocol's; anything else is left out."""
    folders = [folder for folder in given if isinstance(folder, dict)] if isinstance(given, list) else []
    return [(str(folder.get("uri", "")), str(folder.get("name", ""))) for folder in folders]


def path_from_uri(uri: str) -> Path | None:
    """The absolute path of a file URI, names that are not UTF-8 included; None for other schemes."""
    scheme, colon, rest = uri.partition(":")
    if not colon or scheme.lower() != "file":
        return None
    if rest.startswith("//"):
        authority, slash, tail = rest[2:].partition("/")
        if authority not in {"", "localhost"}:
            return None
        rest = slash + tail
    path = os.fsdecode(unquote_to_bytes(rest))
    return Path(os.path.normpath(path)) if path.startswith("/") and "\0" not in path else None


def read_saved_text(path: Path) -> str | None:
    """The first `MAX_READ_BYTES` of a regular file, undecodable bytes replaced; None for anything else."""
    try:
        if not path.is_file():
            return None
        with path.open("rb") as file:
            return file.read(MAX_READ_BYTES).decode("utf-8", "replace")
    except OSError:
        return None


def uri_from_path(path: Path) -> str:
    """The file URI of an absolute path."""
    return f"file://{quote_from_bytes(os.fsencode(path), safe='/-._~')}"
