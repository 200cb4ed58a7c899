"""Updates one path of the index at a time; keeps the index version and the crash guard beside the index.

A changed index version makes every file be read again. A file that was being read during several crashes in a row
is postponed until all others are indexed.
"""

import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Final

from codekin import parsing
from codekin.errors import StoreError
from codekin.indexing.file_reader import (
    FileContent,
    ScannedFile,
    SkippedPath,
    SkipReason,
    WorkspaceRoot,
    find_skip_reason,
    read_content,
)
from codekin.indexing.scan import IndexScope, ScanEntry
from codekin.storage import ChunkIndex, FileState
from codekin.types import Chunk
from codekin.util.files import write_atomically

_VERSION_FILE: Final = "index_version"
_GRAMMARS: Final = (
    *("tree-sitter", "tree-sitter-elixir", "tree-sitter-cpp", "tree-sitter-c", "tree-sitter-python"),
    *("tree-sitter-language-pack", "tree-sitter-c-sharp", "tree-sitter-yaml"),
)
_SELECTING_SOURCES: Final = ("file_reader.py", "git_folders.py", "globs.py", "ignore.py", "scan.py")
"""What decides which files are indexed, beside the package that cuts them."""


@cache
def index_version() -> str:
    """A hash (hex) of the code that cuts and chooses, and of the grammars' versions."""
    digest = sha256()
    selecting = (files("codekin.indexing") / name for name in _SELECTING_SOURCES)
    for source in (*_source_files(files("codekin.parsing")), *selecting):
        digest.update(source.read_bytes())
    for name in _GRAMMARS:
        digest.update(f"{name} {_package_version(name)}".encode())
    return digest.hexdigest()


def is_current_version(folder: Path, extensions: Mapping[str, str]) -> bool:
    """Whether the index in `folder` was written by this code, with these extensions' languages, to its end."""
    try:
        return (folder / _VERSION_FILE).read_text("utf-8", "replace") == _version_with(extensions)
    except OSError:
        return False


def record_version(folder: Path, extensions: Mapping[str, str]) -> None:
    """Notes that all of the index in `folder` is by this code. Raises StoreError."""
    try:
        write_atomically(folder / _VERSION_FILE, _version_with(extensions))
    except OSError as error:
        raise StoreError(f"Cannot write into {folder}: {error.strerror}; free some space or permit it.") from error


def _version_with(extensions: Mapping[str, str]) -> str:
    """The index version, with the extensions of the settings if there are any."""
    return index_version() + (f" {json.dumps(extensions, sort_keys=True)}" if extensions else "")


def _source_files(folder: Traversable) -> list[Traversable]:
    """All files below a package, in a steady order, without compiled ones."""
    found: list[Traversable] = []
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.is_dir():
            found += [] if entry.name.startswith("__") else _source_files(entry)
        elif entry.name.endswith((".py", ".scm", ".toml")):
            found.append(entry)
    return found


def _package_version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


_CRASH_GUARD_FILE: Final = "reading.json"
_MAX_CRASHES: Final = 3


class CrashGuard:
    """The file in progress, recorded beside the index; `path` is the one to postpone, or empty."""

    def __init__(self, folder: Path) -> None:
        self._last, self._crashes = _read_crash_guard(folder / _CRASH_GUARD_FILE)
        self._crashes += bool(self._last)
        self._descriptor = os.open(folder / _CRASH_GUARD_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self.path = self._last if self._crashes >= _MAX_CRASHES else ""

    def enter(self, path: str) -> None:
        """Notes that a file is about to be read; only deaths in a row at the same one count."""
        self._write(json.dumps({"path": path, "crashes": self._crashes if path == self._last else 0}))

    def leave(self) -> None:
        """Notes that no file is being read."""
        self._write("")

    def close(self) -> None:
        """Closes the note."""
        os.close(self._descriptor)

    def _write(self, text: str) -> None:
        with suppress(OSError):  # a full disk must not stop the reading
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, text.encode(), 0)


def _read_crash_guard(file: Path) -> tuple[str, int]:
    try:
        found = json.loads(file.read_bytes())
        return str(found["path"]), int(found["crashes"])
    except (OSError, ValueError, TypeError, KeyError):
        return "", 0


_YIELD_EVERY: Final = 100
"""Unchanged paths after which the caller may look at the clock."""


@dataclass(frozen=True, slots=True)
class FileChange:
    """A path whose `known` state is not what was `found`; None where there is nothing."""

    path: str
    found: ScanEntry | None
    known: FileState | None


def diff_tree(
    found: Iterator[ScanEntry],
    known: Iterator[tuple[str, FileState]],
    same: Callable[[ScanEntry, FileState], bool],
) -> Iterator[FileChange | None]:
    """Every path that is new, gone, or not the `same` any more; None now and then while there is nothing to report."""
    here, there = next(found, None), next(known, None)
    compared = 0
    while here is not None or there is not None:
        if there is None or (here is not None and here.path < there[0]):
            assert here is not None  # noqa: S101  (the loop's condition)
            yield FileChange(here.path, here, None)
            here = _next_entry(found, here.path)
        elif here is None or there[0] < here.path:
            yield FileChange(there[0], None, there[1])
            there = next(known, None)
        else:
            compared += 1
            if not same(here, there[1]):
                yield FileChange(here.path, here, there[1])
            elif compared % _YIELD_EVERY == 0:
                yield None
            here, there = _next_entry(found, here.path), next(known, None)


def is_unchanged(found: ScanEntry, known: FileState) -> bool:
    """Whether the cheap signs agree; a buffer's text, and a file that was written as it was read, never do."""
    if known.buffer:
        return False
    if isinstance(found, ScannedFile):
        return known.mtime_ns != 0 and (found.size, found.mtime_ns, found.inode) == (
            known.size,
            known.mtime_ns,
            known.inode,
        )
    return known.skipped == found.reason and not known.hash


def _next_entry(found: Iterator[ScanEntry], path: str) -> ScanEntry | None:
    """The next path found; two names that are shown alike count as one."""
    return next((entry for entry in found if entry.path != path), None)


log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class IndexedWorkspace:
    """A working tree, what of it may be indexed (`languages` empty means all), and its index."""

    root: WorkspaceRoot
    scope: IndexScope
    index: ChunkIndex
    languages: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class FileUpdate:
    """What became of one path: `texts` by digest are its chunks' now, `problem` is a sentence or empty.

    `written`: the index was written to; `changed`: so that other chunks are found.
    """

    path: str
    written: bool = False
    changed: bool = False
    texts: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""


def update_file(workspace: IndexedWorkspace, change: FileChange, *, reread_all: bool = False) -> FileUpdate:
    """Makes the index equal to the file on disk; `reread_all` cuts it even if its content is unchanged."""
    if change.found is None:
        return _remove_path(workspace, change)
    if isinstance(change.found, SkippedPath):
        return _record_skipped(workspace, change.path, FileState(0, 0, 0, ""), change.found.reason, change.known)
    content = read_content(workspace.root, change.path, workspace.scope.largest_file)
    if content is None:
        return _remove_path(workspace, change)
    state = FileState(content.state.size, content.state.mtime_ns, content.state.inode, content.digest)
    if not reread_all and _has_same_content(content, change.known) and workspace.index.touch_file(change.path, state):
        return FileUpdate(change.path)
    if content.reason is not None:
        return _record_skipped(workspace, change.path, state, content.reason, change.known)
    return _index_text(workspace, change, content.text, state)


def update_buffer(workspace: IndexedWorkspace, change: FileChange, text: str) -> FileUpdate:
    """Makes the index equal to an unsaved text; `change.found` has the reason if a file of this name is left out."""
    path, known = change.path, change.known
    reason = change.found.reason if isinstance(change.found, SkippedPath) else None
    content = read_content(workspace.root, path, workspace.scope.largest_file)
    if reason is None and content is not None and content.reason is None and content.text == text:
        return update_file(workspace, FileChange(path, content.state, known))
    data = text.encode("utf-8", "surrogatepass")
    state = FileState(len(data), 0, 0, sha256(data).hexdigest(), buffer=True)
    if reason is None:
        reason = SkipReason.TOO_LARGE if len(data) > workspace.scope.largest_file else find_skip_reason(text)
    if reason is not None:
        return _record_skipped(workspace, path, state, reason, known)
    if known is not None and known.buffer and known.hash == state.hash and not known.skipped:
        return FileUpdate(path)
    return _index_text(workspace, change, text, state)


def _has_same_content(content: FileContent, known: FileState | None) -> bool:
    if known is None or known.buffer or not content.digest:
        return False
    return (known.hash, known.skipped) == (content.digest, content.reason or "")


def _remove_path(workspace: IndexedWorkspace, change: FileChange) -> FileUpdate:
    removed = change.known is not None and workspace.index.remove_file(change.path)
    return FileUpdate(change.path, removed, removed and _had_chunks(change.known))


def _record_skipped(
    workspace: IndexedWorkspace, path: str, state: FileState, reason: SkipReason, known: FileState | None
) -> FileUpdate:
    """Notes why a path is left out; whatever was known of it goes."""
    state = replace(state, skipped=str(reason))
    if known == state:
        return FileUpdate(path)
    workspace.index.replace_file(path, state, [])
    return FileUpdate(path, written=True, changed=_had_chunks(known))


def _had_chunks(known: FileState | None) -> bool:
    return known is not None and not known.skipped


def _index_text(workspace: IndexedWorkspace, change: FileChange, text: str, state: FileState) -> FileUpdate:
    """Replaces a path's chunks by those of a text, or by the reason why it has none."""
    path = change.path
    language = parsing.detect_language(path, text, workspace.scope.extensions)
    if language is None or (workspace.languages and language not in workspace.languages):
        return _record_skipped(workspace, path, state, SkipReason.LANGUAGE, change.known)
    found, problems = _cut_text(path, text, language)
    if found is None:
        update = _record_skipped(workspace, path, state, SkipReason.FAILED, change.known)
        return replace(update, problem=problems[0])
    workspace.index.replace_file(path, replace(state, language=language), found)
    return FileUpdate(path, written=True, changed=True, texts={chunk.digest: chunk.text for chunk in found})


def _cut_text(path: str, text: str, language: str) -> tuple[list[Chunk] | None, list[str]]:
    """The chunks, or None and a sentence where the file as a whole could not be cut."""
    try:
        found, problems = parsing.cut_chunks(path, text, language)
    except Exception:
        # One file that no one foresaw must not end the indexing of all others.
        log.exception("Cutting a file failed.")
        return None, [f"{path} could not be cut into chunks: add it to .codekinignore, and please report it."]
    return (found, problems) if found or not problems else (None, problems)
