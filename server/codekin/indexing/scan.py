"""Walks the working tree lazily, in path order, and yields each indexable file and each skipped path's reason."""

import os
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from codekin.errors import UsageError
from codekin.indexing.file_reader import (
    ScannedFile,
    SkippedPath,
    SkipReason,
    WorkspaceRoot,
    escape_unprintable,
    is_printable,
    skip_reason_for_error,
)
from codekin.indexing.git_folders import is_further_worktree
from codekin.indexing.ignore import IgnoreRules, base_rules
from codekin.parsing import detect_language
from codekin.parsing.secrets import is_secret_name
from codekin.settings import IndexSettings

ScanEntry = ScannedFile | SkippedPath
FolderRules = IgnoreRules | SkippedPath | None
"""What holds inside a folder: its rules, or why it (or one above it) is left out, or None if it is gone."""

MAX_DEPTH: Final = 100
"""Folders inside each other; each is opened from the root down, so the cost of a level grows with its depth."""

_STAT_BATCH: Final = 512
"""Entries looked at while a folder is held open."""


@dataclass(frozen=True, slots=True)
class IndexScope:
    """What may be indexed: the rules outside the root, the languages known by a path, the largest size (bytes).

    `extensions` maps the user's own file extensions to languages.
    """

    rules: IgnoreRules
    known_language: Callable[[str], bool]
    largest_file: int = 1 << 20
    extensions: Mapping[str, str] = field(default_factory=dict)


def scope_of_settings(settings: IndexSettings) -> IndexScope:
    """What the settings let into the index."""
    largest = settings.max_file_kb * 1024
    return IndexScope(base_rules(settings.ignore), _known_language(settings), largest, settings.extensions)


def _known_language(settings: IndexSettings) -> Callable[[str], bool]:
    """Whether a file may be in a wanted language, by its name alone: a header can be of two."""
    wanted, headers = settings.languages, frozenset({"c", "cpp"})

    def known(path: str) -> bool:
        language = detect_language(path, "", settings.extensions)
        if language is None:
            return False
        return not wanted or language in wanted or (path.endswith((".h", ".H")) and bool(headers.intersection(wanted)))

    return known


def scan_tree(root: WorkspaceRoot, scope: IndexScope, below: str = "") -> Iterator[ScanEntry]:
    """All entries below a folder ("" for the root), in path order; none if that folder is missing.

    Raises UsageError if the root itself cannot be read, since that would look like a deletion of everything.
    """
    if not below:
        yield from _walk(root, scope, "", scope.rules)
        return
    outside = read_folder_rules(root, scope, below.rpartition("/")[0], {})
    found = inspect_path(root, scope, below, outside) if isinstance(outside, IgnoreRules) else outside
    if isinstance(found, str) and isinstance(outside, IgnoreRules):
        yield from _walk(root, scope, below, outside)
    elif isinstance(found, SkippedPath | ScannedFile):
        yield found


def inspect_path(root: WorkspaceRoot, scope: IndexScope, path: str, rules: IgnoreRules) -> ScanEntry | str | None:
    """The entry at one path, under the rules inside its folder: a str is a folder to enter, None is nothing."""
    folder, _, name = path.rpartition("/")
    try:
        with root.opened(folder) as descriptor:
            status = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
    except OSError:
        return None
    return _classify(root, scope, path, status, rules)


def read_folder_rules(
    root: WorkspaceRoot, scope: IndexScope, folder: str, known: dict[str, FolderRules]
) -> FolderRules:
    """What holds inside a folder; `known` remembers it for the other paths of a batch."""
    path = ""
    if path not in known:
        known[path] = scope.rules.for_folder(root, "")
    for name in filter(None, folder.split("/")):
        outside = known[path]
        if not isinstance(outside, IgnoreRules):
            return outside
        path = f"{path}/{name}" if path else name
        if path not in known:
            known[path] = _rules_of_folder(root, scope, path, outside)
    return known[path]


def skip_reason_by_name(
    root: WorkspaceRoot, scope: IndexScope, path: str, known: dict[str, FolderRules]
) -> SkipReason | None:
    """Why a file of this path is left out, whether it exists or not; `known` as for `read_folder_rules`."""
    rules = scope.rules
    for folder in _parent_folders(path):
        inside = read_folder_rules(root, scope, folder, known)
        if isinstance(inside, SkippedPath):
            return inside.reason
        if inside is not None:
            rules = inside
        elif reason := rules.reason(folder, folder=True):
            return reason
    name = path.rpartition("/")[2]
    if not is_printable(name):
        return SkipReason.NAME
    return rules.reason(path, folder=False) or _file_skip_reason(scope, path, name, 0)


def _parent_folders(path: str) -> list[str]:
    """The folders above a path, the root ("") first."""
    parts = path.split("/")
    return ["/".join(parts[:depth]) for depth in range(len(parts))]


def _rules_of_folder(root: WorkspaceRoot, scope: IndexScope, folder: str, outside: IgnoreRules) -> FolderRules:
    found = inspect_path(root, scope, folder, outside)
    if isinstance(found, str):
        return outside.for_folder(root, folder)
    return found if isinstance(found, SkippedPath) else None


def _walk(root: WorkspaceRoot, scope: IndexScope, below: str, outside: IgnoreRules) -> Iterator[ScanEntry]:
    """Depth first with a stack of its own: a tree may be nested deeper than Python's calls may."""
    stack: list[tuple[IgnoreRules, Iterator[ScanEntry | str]]] = [(outside, iter([below]))]
    while stack:
        rules, entries = stack[-1]
        found = next(entries, None)
        if found is None:
            stack.pop()
        elif isinstance(found, str):
            names = _list_folder(root, found)
            if isinstance(names, list):
                inside = rules.for_folder(root, found, names)
                stack.append((inside, _scan_folder(root, scope, found, names, inside)))
            elif names is not None:
                yield names
        else:
            yield found


def _list_folder(root: WorkspaceRoot, folder: str) -> list[str] | SkippedPath | None:
    """The names in a folder, sub-folders with a slash, in path order; or why there are none; None if it is gone."""
    try:
        with root.opened(folder) as descriptor, os.scandir(descriptor) as entries:
            names = [f"{entry.name}/" if entry.is_dir(follow_symlinks=False) else entry.name for entry in entries]
    except OSError as error:
        if not folder:
            raise UsageError(f"Cannot read the workspace {root.folder}: {error.strerror}.") from error
        reason = skip_reason_for_error(error)
        return SkippedPath(f"{folder}/", reason) if reason is not None else None
    return sorted(names, key=escape_unprintable)


def _scan_folder(
    root: WorkspaceRoot, scope: IndexScope, folder: str, names: list[str], rules: IgnoreRules
) -> Iterator[ScanEntry | str]:
    """The entries directly in a folder, in path order; a str is a folder to enter. Git's own folder is skipped."""
    wanted = [name for name in names if name not in (".git", ".git/")]
    for start in range(0, len(wanted), _STAT_BATCH):
        try:
            found = _scan_batch(root, scope, folder, wanted[start : start + _STAT_BATCH], rules)
        except OSError:
            return  # the folder went away meanwhile: so did the rest of it
        yield from found


def _scan_batch(
    root: WorkspaceRoot, scope: IndexScope, folder: str, names: list[str], rules: IgnoreRules
) -> list[ScanEntry | str]:
    found: list[ScanEntry | str] = []
    with root.opened(folder) as descriptor:
        for name in names:
            try:
                status = os.stat(name.rstrip("/"), dir_fd=descriptor, follow_symlinks=False)
            except FileNotFoundError:
                continue
            path = f"{folder}/{name}" if folder else name
            found.append(_classify(root, scope, path.rstrip("/"), status, rules))
    return found


def _classify(
    root: WorkspaceRoot, scope: IndexScope, path: str, status: os.stat_result, rules: IgnoreRules
) -> ScanEntry | str:
    """Whether a path is a file to index, a folder to enter (its path), or left out."""
    name = path.rpartition("/")[2]
    folder = stat.S_ISDIR(status.st_mode)
    if not is_printable(name):
        return SkippedPath(escape_unprintable(path) + "/" * folder, SkipReason.NAME)
    reason = rules.reason(path, folder=folder)
    if folder:
        if reason is None and not rules.is_included(path) and _is_foreign(root, path, rules):
            reason = SkipReason.NESTED_REPOSITORY
        if reason is None and path.count("/") >= MAX_DEPTH:
            reason = SkipReason.TOO_DEEP
        return SkippedPath(f"{path}/", reason) if reason is not None else path
    if not stat.S_ISREG(status.st_mode) and reason is None:
        reason = SkipReason.SYMLINK if stat.S_ISLNK(status.st_mode) else SkipReason.SPECIAL
    reason = reason or _file_skip_reason(scope, path, name, status.st_size)
    if reason is not None:
        return SkippedPath(path, reason)
    return ScannedFile(path, status.st_size, status.st_mtime_ns, status.st_ino)


def _is_foreign(root: WorkspaceRoot, path: str, rules: IgnoreRules) -> bool:
    """Whether a folder is a repository inside another, a further working tree of one, or git's own."""
    if root.exists(path, ".git"):
        return rules.in_repository or is_further_worktree(root.folder / path, root.folder)
    return not rules.in_repository and all(root.exists(path, name) for name in ("HEAD", "objects", "refs"))


def _file_skip_reason(scope: IndexScope, path: str, name: str, size: int) -> SkipReason | None:
    """Why a regular file that no rule ignores is left out all the same, decided without reading it."""
    if is_secret_name(name):
        return SkipReason.SECRET
    if not scope.known_language(path):
        return SkipReason.LANGUAGE
    return SkipReason.TOO_LARGE if size > scope.largest_file else None
