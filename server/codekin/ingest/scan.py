"""Walks the working tree: every file that may be indexed, every path left out with its reason.

The walk is lazy and in the order of the paths' bytes, a folder ending with a slash, so that
its result can be compared with a sorted list of what is known without holding either. Only
the names in the folders down to the current one are in memory. File contents are not read,
except the rule files. A symlink is never followed.
"""

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from codekin.errors import UsageError
from codekin.ingest.found import Reason, ScannedFile, Skipped, printable, shown
from codekin.ingest.ignore import IgnoreRules
from codekin.ingest.reading import Root, reason_for
from codekin.syntax.secrets import secret_name

Found = ScannedFile | Skipped
Inside = IgnoreRules | Skipped | None
"""What holds inside a folder: its rules, or why it (or one above it) is left out, or None if it is gone."""

DEEPEST: Final = 100
"""Folders inside each other; each is opened from the root down, so the cost of a level grows with its depth."""

_BATCH: Final = 512
"""Entries looked at while a folder is held open."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What may be indexed: the rules outside the root, the languages known by a path, the largest size (bytes)."""

    rules: IgnoreRules
    known_language: Callable[[str], bool]
    largest_file: int = 1 << 20


def scan(root: Root, scope: Scope, below: str = "") -> Iterator[Found]:
    """All that stands below a folder ("" for the root), in path order; nothing if that folder is gone.

    Raises UsageError if the root itself cannot be read, since that would look like a deletion of everything.
    """
    if not below:
        yield from _walk(root, scope, "", scope.rules)
        return
    outside = rules_inside(root, scope, below.rpartition("/")[0], {})
    found = look(root, scope, below, outside) if isinstance(outside, IgnoreRules) else outside
    if isinstance(found, str) and isinstance(outside, IgnoreRules):
        yield from _walk(root, scope, below, outside)
    elif isinstance(found, Skipped | ScannedFile):
        yield found


def look(root: Root, scope: Scope, path: str, rules: IgnoreRules) -> Found | str | None:
    """What stands at one path, under the rules inside its folder: a str is a folder to enter, None is nothing."""
    folder, _, name = path.rpartition("/")
    try:
        with root.opened(folder) as descriptor:
            status = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
    except OSError:
        return None
    return _judged(root, scope, path, status, rules)


def rules_inside(root: Root, scope: Scope, folder: str, known: dict[str, Inside]) -> Inside:
    """What holds inside a folder; `known` remembers it for the other paths of a batch."""
    path = ""
    if path not in known:
        known[path] = scope.rules.entering(root, "")
    for name in filter(None, folder.split("/")):
        outside = known[path]
        if not isinstance(outside, IgnoreRules):
            return outside
        path = f"{path}/{name}" if path else name
        if path not in known:
            known[path] = _inside(root, scope, path, outside)
    return known[path]


def reason_by_name(root: Root, scope: Scope, path: str, known: dict[str, Inside]) -> Reason | None:
    """Why a file of this path is left out, whether it exists or not; `known` as for `rules_inside`."""
    rules = scope.rules
    for folder in _folders(path):
        inside = rules_inside(root, scope, folder, known)
        if isinstance(inside, Skipped):
            return inside.reason
        if inside is not None:
            rules = inside
        elif reason := rules.reason(folder, folder=True):
            return reason
    name = path.rpartition("/")[2]
    if not printable(name):
        return Reason.NAME
    return rules.reason(path, folder=False) or _file_reason(scope, path, name, 0)


def _folders(path: str) -> list[str]:
    """The folders above a path, the root ("") first."""
    parts = path.split("/")
    return ["/".join(parts[:depth]) for depth in range(len(parts))]


def _inside(root: Root, scope: Scope, folder: str, outside: IgnoreRules) -> Inside:
    found = look(root, scope, folder, outside)
    if isinstance(found, str):
        return outside.entering(root, folder)
    return found if isinstance(found, Skipped) else None


def _walk(root: Root, scope: Scope, below: str, outside: IgnoreRules) -> Iterator[Found]:
    """Depth first with a stack of its own: a tree may be nested deeper than Python's calls may."""
    stack: list[tuple[IgnoreRules, Iterator[Found | str]]] = [(outside, iter([below]))]
    while stack:
        rules, entries = stack[-1]
        found = next(entries, None)
        if found is None:
            stack.pop()
        elif isinstance(found, str):
            names = _names(root, found)
            if isinstance(names, list):
                inside = rules.entering(root, found, names)
                stack.append((inside, _entries(root, scope, found, names, inside)))
            elif names is not None:
                yield names
        else:
            yield found


def _names(root: Root, folder: str) -> list[str] | Skipped | None:
    """The names in a folder, sub-folders with a slash, in path order; or why there are none; None if it is gone."""
    try:
        with root.opened(folder) as descriptor, os.scandir(descriptor) as entries:
            names = [f"{entry.name}/" if entry.is_dir(follow_symlinks=False) else entry.name for entry in entries]
    except OSError as error:
        if not folder:
            raise UsageError(f"Cannot read the workspace {root.folder}: {error.strerror}.") from error
        reason = reason_for(error)
        return Skipped(f"{folder}/", reason) if reason is not None else None
    return sorted(names, key=shown)


def _entries(root: Root, scope: Scope, folder: str, names: list[str], rules: IgnoreRules) -> Iterator[Found | str]:
    """What stands directly in a folder, in path order; a str is a folder to enter. Git's own folder is passed over."""
    wanted = [name for name in names if name not in (".git", ".git/")]
    for start in range(0, len(wanted), _BATCH):
        try:
            found = _batch(root, scope, folder, wanted[start : start + _BATCH], rules)
        except OSError:
            return  # the folder went away meanwhile: so did the rest of it
        yield from found


def _batch(root: Root, scope: Scope, folder: str, names: list[str], rules: IgnoreRules) -> list[Found | str]:
    found: list[Found | str] = []
    with root.opened(folder) as descriptor:
        for name in names:
            try:
                status = os.stat(name.rstrip("/"), dir_fd=descriptor, follow_symlinks=False)
            except FileNotFoundError:
                continue
            path = f"{folder}/{name}" if folder else name
            found.append(_judged(root, scope, path.rstrip("/"), status, rules))
    return found


def _judged(root: Root, scope: Scope, path: str, status: os.stat_result, rules: IgnoreRules) -> Found | str:
    """Whether a path is a file to index, a folder to enter (its path), or left out."""
    name = path.rpartition("/")[2]
    folder = stat.S_ISDIR(status.st_mode)
    if not printable(name):
        return Skipped(shown(path) + "/" * folder, Reason.NAME)
    reason = rules.reason(path, folder=folder)
    if folder:
        if reason is None and rules.in_repository and root.exists(path, ".git") and not rules.included(path):
            reason = Reason.NESTED_REPOSITORY
        if reason is None and path.count("/") >= DEEPEST:
            reason = Reason.TOO_DEEP
        return Skipped(f"{path}/", reason) if reason is not None else path
    if not stat.S_ISREG(status.st_mode) and reason is None:
        reason = Reason.SYMLINK if stat.S_ISLNK(status.st_mode) else Reason.SPECIAL
    reason = reason or _file_reason(scope, path, name, status.st_size)
    if reason is not None:
        return Skipped(path, reason)
    return ScannedFile(path, status.st_size, status.st_mtime_ns, status.st_ino)


def _file_reason(scope: Scope, path: str, name: str, size: int) -> Reason | None:
    """Why a regular file that no rule ignores is left out all the same, told without reading it."""
    if secret_name(name):
        return Reason.SECRET
    if not scope.known_language(path):
        return Reason.LANGUAGE
    return Reason.TOO_LARGE if size > scope.largest_file else None
