"""Notices changes of what decides about files but lies where no event comes from, by looking at it now and then.

Those are git's index and `info/exclude` wherever git keeps them, rule files above the workspace, and the user's own
ignore file with the configuration that names it.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from codekin.indexing.git_folders import find_git_folder, find_repository, read_tracked_paths, user_excludes_paths

OUTER_RULE_FILES: Final = (".gitignore", ".codekinignore")
LOOK_SECONDS: Final = 5.0
MAX_TRACKED_HINTS: Final = 500
"""Files that git begins or ceases to track at once, beyond which everything is compared."""

Stamp = tuple[tuple[int, int, int], ...]
"""Time of change, size and inode of files; zeros for those that are missing."""


class RuleWatch:
    """What the rules outside the watched folder were at the last look; called by one thread."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._looked = 0.0
        self._is_known = False
        self._rules: Stamp = ()
        self._index: Stamp = ()
        self._tracked: frozenset[bytes] = frozenset()

    def expire(self) -> None:
        """The next look is due at once."""
        self._looked = 0.0

    def changes(self, now: float) -> list[str | None]:
        """Paths that git tracks or tracks no more since the last look; None where any file may be concerned."""
        if self._looked and now - self._looked < LOOK_SECONDS:
            return []
        self._looked = now
        rules = stamp_files(outer_rule_paths(self._root))
        found: list[str | None] = [None] if self._is_known and rules != self._rules else []
        found += self._tracked_changes()
        self._is_known, self._rules = True, rules
        return found

    def _tracked_changes(self) -> list[str | None]:
        tree = find_repository(self._root)
        index = stamp_files(index_paths(tree)) if tree else ()
        if index == self._index and self._is_known:
            return []
        tracked = read_tracked_paths(tree).files if tree else frozenset()
        changed, self._index, self._tracked = tracked ^ self._tracked, index, tracked
        if not self._is_known or tree is None:
            return []
        prefix = os.fsencode(self._root.relative_to(tree).as_posix() + "/") if self._root != tree else b""
        inside = [os.fsdecode(path.removeprefix(prefix)) for path in changed if path.startswith(prefix)]
        return [*inside] if len(inside) <= MAX_TRACKED_HINTS else [None]


def outer_rule_paths(root: Path) -> list[Path]:
    """The rule files that count for a workspace and lie outside it, there or not, without git's index."""
    tree = find_repository(root)
    paths = list(user_excludes_paths())
    if tree is None:
        return paths
    if (git := find_git_folder(tree)) is not None:
        paths.append(git.shared / "info" / "exclude")
    above = [folder for folder in root.parents if folder.is_relative_to(tree)]
    return paths + [folder / name for folder in above for name in OUTER_RULE_FILES]


def index_paths(tree: Path) -> list[Path]:
    """Where git keeps the index of a working tree."""
    git = find_git_folder(tree)
    return [git.own / "index"] if git is not None else []


def stamp_files(paths: Iterable[Path]) -> Stamp:
    """What changes with the files."""
    return tuple(map(_stamp_file, paths))


def _stamp_file(path: Path) -> tuple[int, int, int]:
    try:
        state = os.stat(path)  # noqa: PTH116 - called often
    except OSError:
        return 0, 0, 0
    return state.st_mtime_ns, state.st_size, state.st_ino
