"""URIs to places in the workspace folders, and back.

Knows file URIs, links and nested folders; nothing of documents. Paths are relative to their
folder's root, with forward slashes. A URI that goes back to the client begins with the very
text that the client uses for the folder, since editors tell documents apart by that text.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote_from_bytes, unquote_to_bytes

MOST_LOCATED = 10_000
"""URIs whose place is kept, since following links costs system calls."""


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder of the workspace; `real` is its root with all links followed."""

    uri: str
    root: Path
    name: str = ""
    real: Path = field(default=Path(), compare=False)

    def uri_of(self, path: str) -> str:
        """The URI of a file in the folder."""
        return f"{self.uri.rstrip('/')}/{quote_from_bytes(os.fsencode(path), safe='/-._~')}"


@dataclass(frozen=True, slots=True)
class Place:
    """A file of a workspace folder."""

    folder: Folder
    path: str

    @property
    def root(self) -> str:
        """The folder's root as the daemon is told it."""
        return str(self.folder.root)


class Folders:
    """The workspace's folders, which the client may add to and take from at any time."""

    def __init__(self) -> None:
        self._folders: dict[Path, Folder] = {}
        self._located: dict[str, Place | None] = {}

    def __iter__(self) -> Iterator[Folder]:
        return iter(tuple(self._folders.values()))

    def add(self, uri: str, name: str = "") -> Folder | None:
        """Take a folder in; None when it is no folder on this machine or is known already."""
        root = path_of(uri)
        if root is None or root in self._folders or not root.is_dir():
            return None
        self._located.clear()
        self._folders[root] = Folder(uri, root, name or root.name, root.resolve())
        return self._folders[root]

    def remove(self, uri: str) -> Folder | None:
        """Let a folder go; None when it was not there."""
        root = path_of(uri)
        self._located.clear()
        return None if root is None else self._folders.pop(root, None)

    def locate(self, uri: str) -> Place | None:
        """The innermost folder that holds the file, by the path as given or with links followed."""
        if uri not in self._located:
            if len(self._located) > MOST_LOCATED:
                self._located.clear()
            self._located[uri] = self._locate(uri)
        return self._located[uri]

    def _locate(self, uri: str) -> Place | None:
        path = path_of(uri)
        if path is None:
            return None
        real = path.parent.resolve() / path.name
        deepest = sorted(self, key=lambda folder: len(folder.real.parts), reverse=True)
        for folder in deepest:
            for root, candidate in ((folder.root, path), (folder.real, real)):
                if candidate != root and candidate.is_relative_to(root):
                    return Place(folder, candidate.relative_to(root).as_posix())
        return None


def initial_folders(params: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """URI and name of each folder that `initialize` names, in any of the protocol's three ways."""
    given = named_folders(params.get("workspaceFolders"))
    if given:
        yield from given
    elif isinstance(root := params.get("rootUri"), str):
        yield root, ""
    elif isinstance(path := params.get("rootPath"), str):
        yield uri_of_path(Path(path)), ""


def named_folders(given: Any) -> list[tuple[str, str]]:
    """URI and name of each folder in a list of the protocol's; what is none is left out."""
    folders = [folder for folder in given if isinstance(folder, dict)] if isinstance(given, list) else []
    return [(str(folder.get("uri", "")), str(folder.get("name", ""))) for folder in folders]


def path_of(uri: str) -> Path | None:
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


def uri_of_path(path: Path) -> str:
    """The file URI of an absolute path."""
    return f"file://{quote_from_bytes(os.fsencode(path), safe='/-._~')}"
