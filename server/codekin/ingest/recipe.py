"""Notices that this program would cut or choose files differently from the one that wrote the index.

The recipe is a hash of the code that decides it, kept beside the index; where it differs,
every file is read again. Knows nothing of what that code does.
"""

from functools import cache
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Final

from codekin.errors import StoreError

_FILE: Final = "recipe"
_GRAMMARS: Final = ("tree-sitter", "tree-sitter-elixir", "tree-sitter-cpp", "tree-sitter-c", "tree-sitter-python")
_DECIDING: Final = "contents.py"
"""What decides beside all of the room that cuts."""


@cache
def recipe() -> str:
    """A hash (hex) of the code that cuts and chooses, and of the grammars' versions."""
    digest = sha256()
    for source in (*_sources(files("codekin.syntax")), files("codekin.ingest") / _DECIDING):
        digest.update(source.read_bytes())
    for name in _GRAMMARS:
        digest.update(f"{name} {_version(name)}".encode())
    return digest.hexdigest()


def is_current(folder: Path) -> bool:
    """Whether the index in `folder` was written by this recipe, to its end."""
    try:
        return (folder / _FILE).read_text("ascii", "replace") == recipe()
    except OSError:
        return False


def note(folder: Path) -> None:
    """Notes that all of the index in `folder` is by this recipe."""
    fresh = folder / f"{_FILE}.new"
    try:
        fresh.write_text(recipe(), "ascii")
        fresh.replace(folder / _FILE)
    except OSError as error:
        raise StoreError(f"Cannot write into {folder}: {error.strerror}; free some space or permit it.") from error


def _sources(folder: Traversable) -> list[Traversable]:
    """All files below a package, in a steady order, without compiled ones."""
    found: list[Traversable] = []
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.is_dir():
            found += [] if entry.name.startswith("__") else _sources(entry)
        elif entry.name.endswith((".py", ".scm")):
            found.append(entry)
    return found


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
