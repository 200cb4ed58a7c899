"""Where git keeps what belongs to a working tree: its folders, its ignore files, and the paths that it tracks.

Git itself is asked for the user's own ignore file alone; what a repository holds is read, never run.
"""

import os
import subprocess
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

from codekin.indexing.file_reader import WorkspaceRoot, read_bytes

_MAX_POINTER_BYTES: Final = 4096
_MAX_CONFIG_BYTES: Final = 1 << 16
_GIT_SECONDS: Final = 5.0
_CONFIGURATION_SECONDS: Final = 600.0


@dataclass(frozen=True, slots=True)
class GitFolder:
    """Where git keeps what belongs to one working tree, and what all working trees of the repository share."""

    own: Path
    shared: Path

    @property
    def is_bare(self) -> bool:
        """Whether the repository itself has no working tree."""
        return _config_value(self.shared, "bare") == "true"


def find_git_folder(tree: Path) -> GitFolder | None:
    """The git folder of a working tree, or None where there is none that belongs to it."""
    pointer = tree / ".git"
    if pointer.is_dir():
        return None if pointer.is_symlink() else GitFolder(pointer, pointer)
    text = _read_line(tree, ".git")
    if not text.startswith("gitdir:"):
        return None
    own = _resolve(tree, text.removeprefix("gitdir:").strip())
    shared = _read_line(own, "commondir")
    found = GitFolder(own, _resolve(own, shared) if shared else own)
    return found if _belongs_to(found, tree) else None


def find_repository(folder: Path) -> Path | None:
    """The nearest folder, this one or one above it, that has a `.git`."""
    return next((place for place in (folder, *folder.parents) if (place / ".git").exists()), None)


def is_further_worktree(tree: Path, root: Path) -> bool:
    """Whether another working tree of the same repository below `root` is indexed in place of this one."""
    git = find_git_folder(tree)
    if git is None:
        return False
    inside = [other.resolve() for other in list_worktrees(git) if other.resolve().is_relative_to(root)]
    return bool(inside) and inside[0] != tree.resolve()


def list_worktrees(git: GitFolder) -> list[Path]:
    """The working trees of a repository: its main one, one of the same branch as it, then by name."""
    main = [] if git.is_bare or git.shared.name != ".git" else [git.shared.parent]
    try:
        owns = sorted((git.shared / "worktrees").iterdir())
    except OSError:
        owns = []
    head = _read_line(git.shared, "HEAD")
    linked = sorted((_read_line(own, "HEAD") != head, Path(_read_line(own, "gitdir") or "/").parent) for own in owns)
    return [*main, *(tree for _, tree in linked if (tree / ".git").exists())]


def read_excludes(tree: Path) -> bytes:
    """The patterns of `info/exclude` of the repository a working tree belongs to."""
    git = find_git_folder(tree)
    return _read(git.shared / "info", "exclude", 1 << 20) if git is not None else b""


def read_user_excludes() -> bytes:
    """The patterns of the user's `core.excludesFile`, by default git's `ignore` in the configuration folder."""
    path = _user_excludes_path(_configuration_stamp())
    try:
        return path.read_bytes()[: 1 << 20] if path is not None and path.is_file() else b""
    except OSError:
        return b""


def user_excludes_paths() -> list[Path]:
    """The user's own ignore file, and the configuration that names it; there or not."""
    path = _user_excludes_path(_configuration_stamp())
    return [*_configuration_paths(), *([path] if path is not None else [])]


def _configuration_paths() -> list[Path]:
    folder = Path(os.environ.get("XDG_CONFIG_HOME") or Path("~/.config").expanduser())
    named = os.environ.get("GIT_CONFIG_GLOBAL")
    return [
        Path(os.environ.get("GIT_CONFIG_SYSTEM") or "/etc/gitconfig"),
        Path("~/.gitconfig").expanduser(),
        folder / "git" / "config",
        *map(Path, filter(None, [named])),
    ]


def _configuration_stamp() -> tuple[int, ...]:
    """Changes with git's configuration; every ten minutes too, since a configuration may include other files."""
    return (int(time.monotonic() / _CONFIGURATION_SECONDS), *map(_modified_at, _configuration_paths()))


def _modified_at(path: Path) -> int:
    try:
        return os.stat(path).st_mtime_ns  # noqa: PTH116 - called often
    except OSError:
        return 0


@lru_cache(maxsize=1)
def _user_excludes_path(_stamp: tuple[int, ...]) -> Path | None:
    """From the user's and the system's configuration; a repository's own is not read, since it may name any file."""
    environment = {name: value for name, value in os.environ.items() if name not in {"GIT_DIR", "GIT_CONFIG"}}
    command = ["git", "config", "--type=path", "--get", "core.excludesFile"]
    try:
        done = subprocess.run(
            command, cwd="/", env=environment, capture_output=True, text=True, check=False, timeout=_GIT_SECONDS
        )
    except (OSError, subprocess.SubprocessError):
        return None
    if path := done.stdout.strip():
        return Path(path)
    folder = os.environ.get("XDG_CONFIG_HOME") or Path("~/.config").expanduser()
    return Path(folder) / "git" / "ignore"


def _belongs_to(git: GitFolder, tree: Path) -> bool:
    """Whether a git folder is inside its working tree, or names it."""
    here = tree.resolve()
    if git.own.is_relative_to(here):
        return True
    pointer = _read_line(git.own, "gitdir")
    if pointer:
        return _resolve(git.own, pointer) == here / ".git"
    worktree = _config_value(git.own, "worktree")
    return bool(worktree) and _resolve(git.own, worktree) == here


def _config_value(folder: Path, wanted: str) -> str:
    """A value of the `core` section of a git folder's configuration, which names it there alone."""
    for line in _read(folder, "config", _MAX_CONFIG_BYTES).decode("utf-8", "replace").splitlines():
        name, sign, value = line.partition("=")
        if sign and name.strip().lower() == wanted:
            return value.strip().strip('"')
    return ""


def _resolve(folder: Path, path: str) -> Path:
    return Path(os.path.realpath(folder / path))


def _read_line(folder: Path, name: str) -> str:
    return _read(folder, name, _MAX_POINTER_BYTES).decode("utf-8", "surrogateescape").strip()


def _read(folder: Path, name: str, limit: int) -> bytes:
    data = read_bytes(WorkspaceRoot(folder), name, limit)
    return data if isinstance(data, bytes) and b"\0" not in data else b""


_MAX_INDEX_BYTES: Final = 1 << 27
_ENTRY_HEAD: Final = 62
"""Bytes of an index entry before its name, without the extended flags of version 3."""


@dataclass(frozen=True, slots=True)
class TrackedPaths:
    """What git's index of a working tree holds: its files, and the folders they lie in, as paths from the tree."""

    files: frozenset[bytes]
    folders: frozenset[bytes]


def read_tracked_paths(tree: Path) -> TrackedPaths:
    """The tracked paths of a working tree; none where its index cannot be read."""
    git = find_git_folder(tree)
    try:
        state = os.lstat(git.own / "index") if git is not None else None
    except OSError:
        state = None
    if git is None or state is None:
        return TrackedPaths(frozenset(), frozenset())
    return _read_tracked(git.own, (state.st_mtime_ns, state.st_size, state.st_ino))


@lru_cache(maxsize=8)
def _read_tracked(own: Path, _stamp: tuple[int, ...]) -> TrackedPaths:
    data = read_bytes(WorkspaceRoot(own), "index", _MAX_INDEX_BYTES)
    files = frozenset(_parse_index(data)) if isinstance(data, bytes) else frozenset()
    folders: set[bytes] = set()
    for path in files:
        folder = path.rpartition(b"/")[0]
        while folder and folder not in folders:
            folders.add(folder)
            folder = folder.rpartition(b"/")[0]
    return TrackedPaths(files, frozenset(folders))


def _parse_index(data: bytes) -> list[bytes]:
    """The paths of an index of version 2, 3 or 4 (gitformat-index(5)); those before damage, if there is any."""
    if data[:4] != b"DIRC":
        return []
    version, count = int.from_bytes(data[4:8], "big"), int.from_bytes(data[8:12], "big")
    paths: list[bytes] = []
    at, path = 12, b""
    while version in (2, 3, 4) and len(paths) < count and at + _ENTRY_HEAD < len(data):
        start = at
        at += _ENTRY_HEAD + 2 * (data[at + 60] >> 6 & 1)  # extended flags
        kept = 0
        if version == 4:
            removed, at = _read_offset(data, at)
            kept = max(0, len(path) - removed)
        end = data.find(b"\0", at)
        if end < 0:
            break
        path = path[:kept] + data[at:end]
        at = end + 1 if version == 4 else start + ((end - start + 8) & ~7)
        paths.append(path)
    return paths


def _read_offset(data: bytes, at: int) -> tuple[int, int]:
    """A number of git's variable width that begins at an offset, and where it ends."""
    value = -1
    while at < len(data):
        byte = data[at]
        at += 1
        value = (value + 1 << 7) | (byte & 127)
        if byte < 128:
            break
    return max(value, 0), at
