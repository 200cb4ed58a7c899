"""Notices changes of what decides about files but lies where no event comes from, by looking at it now and then.

Those are git's index and `info/exclude` wherever git keeps them, rule files above the workspace, and the user's own
ignore file with the configuration that names it.
"""

import os
from collections.abc import Iterable
from itertools import chain, islice
from pathlib import Path
from typing import Final

from codekin.indexing.git_folders import find_git_folder, find_repository, read_tracked_paths, user_excludes_paths

OUTER_RULE_FILES: Final = (".gitignore", ".codekinignore")
LOOK_SECONDS: Final = 5.0
MAX_TRACKED_HINTS: Final = 500
"""Files that git begins or ceases to track at once, beyond which everything is compared."""

MAX_TREES: Final = 100

Stamp = tuple[tuple[int, int, int], ...]
"""Time of change, size and inode of files; zeros for those that are missing."""


class RuleWatch:
    """What the rules outside the watched folder were at the last look; called by one thread."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._looked = 0.0
        self._is_known = False
        self._rules: Stamp = ()
        self._trees: dict[Path, tuple[Stamp, frozenset[bytes]]] = {}

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
        found: list[str] = []
        known, self._trees = self._trees, {}
        for tree in repository_trees(self._root):
            stamp = stamp_files(index_paths(tree))
            before = known.get(tree, _UNREAD)
            tracked = before[1] if stamp == before[0] else read_tracked_paths(tree).files
            self._trees[tree] = (stamp, tracked)
            found += _paths_inside(self._root, tree, tracked ^ before[1])
        if not self._is_known:
            return []
        return [*found] if len(found) <= MAX_TRACKED_HINTS else [None]


_UNREAD: tuple[Stamp, frozenset[bytes]] = ((), frozenset())


def _paths_inside(root: Path, tree: Path, paths: Iterable[bytes]) -> list[str]:
    """Paths of a working tree as paths from the workspace's folder, without those outside it."""
    if tree.is_relative_to(root):
        return [(tree.relative_to(root) / os.fsdecode(path)).as_posix() for path in paths]
    prefix = os.fsencode(root.relative_to(tree).as_posix() + "/")
    return [os.fsdecode(path.removeprefix(prefix)) for path in paths if path.startswith(prefix)]


def repository_trees(root: Path) -> list[Path]:
    """The working tree around a workspace; of a folder in none, or in a bare one, those up to two folders below it."""
    tree = find_repository(root)
    git = find_git_folder(tree) if tree else None
    if tree is not None and (git is None or not git.is_bare):
        return [tree]
    below = chain.from_iterable(islice(root.glob(pattern), MAX_TREES) for pattern in ("*/.git", "*/*/.git"))
    return [pointer.parent for pointer in below]


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
