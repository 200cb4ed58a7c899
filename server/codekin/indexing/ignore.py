"""The ignore rules of a folder: `.codekinignore`, settings, git's files wherever git keeps them, and built-in names.

Within a kind the deepest file decides, within a file its last matching line. As in git, nothing below an ignored
folder can be included again. The files of the folders above the workspace count up to the root of its repository.

Those are the rule files of the folders above, `info/exclude`, and the user's own `core.excludesFile`. A git folder that
lies elsewhere counts only where it points back at the working tree, as that of a worktree or submodule does.
"""

import os
import posixpath
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from codekin.indexing.file_reader import SkipReason, WorkspaceRoot, read_bytes
from codekin.indexing.git_folders import (
    find_git_folder,
    find_repository,
    read_excludes,
    read_tracked_paths,
    read_user_excludes,
)
from codekin.indexing.globs import IgnorePattern, PatternIndex

RULE_FILES: Final = frozenset({".gitignore", ".codekinignore"})

_MAX_RULE_FILE_BYTES: Final = 1 << 20

_BUILT_IN_PATTERNS: Final = (
    b"_build/\nnode_modules/\nbower_components/\n.elixir_ls/\n.lexical/\n.expert/\n.venv/\nvenv/\n.tox/\n"
    b"__pycache__/\n.mypy_cache/\n.ruff_cache/\n.pytest_cache/\n.cache/\n.ccls-cache/\n.clangd/\nCMakeFiles/\n"
    b"bazel-*/\n.hg/\n.svn/\n.jj/\n.gradle/\n.idea/\n.terraform/\n"
)


@dataclass(frozen=True, slots=True)
class IgnoreFile:
    """One rule file's patterns and the depth of its folder (segments below the root).

    For one above the root `prefix` leads from its folder to the root.
    """

    patterns: PatternIndex
    depth: int
    reason: SkipReason
    prefix: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class WorkingTree:
    """The working tree that a folder belongs to: its path, and its depth below the root or the `prefix` to the root."""

    path: Path
    depth: int = 0
    prefix: tuple[bytes, ...] = ()

    def tracks(self, segments: list[bytes], *, folder: bool) -> bool:
        """Whether git tracks a file, or any file below a folder."""
        tracked = read_tracked_paths(self.path)
        path = b"/".join((*self.prefix, *segments[self.depth :]))
        return path in (tracked.folders if folder else tracked.files)


@dataclass(frozen=True, slots=True)
class IgnoreRules:
    """The rules that hold directly inside one folder; `for_folder` gives those of a folder below.

    The deepest level is first. `tree` is the git working tree that the folder belongs to; a `.git` further down is
    another repository. What git tracks is not ignored by git, whatever its patterns say; inside a folder that they
    exclude, `only_tracked` files count.
    """

    own: tuple[IgnoreFile, ...] = ()
    git: tuple[IgnoreFile, ...] = ()
    built_in: tuple[IgnoreFile, ...] = ()
    tree: WorkingTree | None = None
    only_tracked: bool = False

    @property
    def in_repository(self) -> bool:
        """Whether the folder belongs to a git working tree."""
        return self.tree is not None

    def reason(self, path: str, *, folder: bool) -> SkipReason | None:
        """Why a file or folder directly inside this folder is ignored, or None."""
        segments = os.fsencode(path).split(b"/")
        if decided := _deciding_pattern(self.own, segments, folder=folder):
            return _reason_of(decided)
        decided = _deciding_pattern(self.git, segments, folder=folder)
        if self.only_tracked or (decided and not decided[1].includes):
            if self.tree is None or not self.tree.tracks(segments, folder=folder):
                return SkipReason.GITIGNORE
        elif decided:
            return None
        return _reason_of(_deciding_pattern(self.built_in, segments, folder=folder))

    def _inside_is_ignored(self, folder: str) -> bool:
        """Whether git's patterns exclude a folder directly inside this one, which is entered for what git tracks."""
        segments = os.fsencode(folder).split(b"/")
        if not folder or _deciding_pattern(self.own, segments, folder=True):
            return False
        decided = _deciding_pattern(self.git, segments, folder=True)
        return self.only_tracked or (decided is not None and not decided[1].includes)

    def is_included(self, path: str) -> bool:
        """Whether a folder is included by an explicit `!` line of the user."""
        decided = _deciding_pattern(self.own, os.fsencode(path).split(b"/"), folder=True)
        return decided is not None and decided[1].includes

    def for_folder(self, root: WorkspaceRoot, folder: str, names: Iterable[str] | None = None) -> "IgnoreRules":
        """The rules inside `folder` ("" for the root); `names`, if known, saves looking for files."""
        present = {name.rstrip("/") for name in names} if names is not None else None
        depth = folder.count("/") + 1 if folder else 0

        def level(name: str, reason: SkipReason) -> tuple[IgnoreFile, ...]:
            if present is not None and name.split("/", 1)[0] not in present:
                return ()
            data = read_bytes(root, f"{folder}/{name}" if folder else name, _MAX_RULE_FILE_BYTES)
            return _ignore_files(data, depth, reason) if isinstance(data, bytes) else ()

        is_mix = "mix.exs" in present if present is not None else root.exists(folder, "mix.exs")
        mix = _mix_patterns(root, folder) if is_mix or not folder else b""
        is_git = ".git" in present if present is not None else root.exists(folder, ".git")
        is_tree = is_git and not _is_bare(root, folder)
        outside = _outer_rules(root.folder) if not folder and not is_git else IgnoreRules()
        # An included nested repository starts afresh: its parent's git rules end at its door.
        git = () if is_git and self.in_repository else (*self.git, *outside.git)
        excluded = _exclude_levels(root.folder / folder, depth) if is_git else ()
        return IgnoreRules(
            own=level(".codekinignore", SkipReason.CODEKINIGNORE) + outside.own + self.own,
            git=level(".gitignore", SkipReason.GITIGNORE) + excluded + git,
            built_in=_ignore_files(mix, depth, SkipReason.BUILT_IN) + self.built_in,
            tree=WorkingTree(root.folder / folder, depth) if is_tree else self.tree or outside.tree,
            only_tracked=not is_git and self._inside_is_ignored(folder),
        )


def base_rules(globs: Iterable[str] = ()) -> IgnoreRules:
    """The rules outside any folder: the settings' globs, in gitignore syntax, and the built-in names."""
    return IgnoreRules(
        own=_ignore_files("\n".join(globs).encode("utf-8", "replace"), 0, SkipReason.SETTINGS),
        built_in=_ignore_files(_BUILT_IN_PATTERNS, 0, SkipReason.BUILT_IN),
    )


def _ignore_files(
    data: bytes, depth: int, reason: SkipReason, prefix: tuple[bytes, ...] = ()
) -> tuple[IgnoreFile, ...]:
    """The rule file of these lines, if any of them is a pattern."""
    patterns = PatternIndex(data)
    return (IgnoreFile(patterns, depth, reason, prefix),) if patterns else ()


def _exclude_levels(tree: Path, depth: int, prefix: tuple[bytes, ...] = ()) -> tuple[IgnoreFile, ...]:
    """What a working tree's `info/exclude` and the user's own git ignore file say."""
    return tuple(
        level
        for data in (read_excludes(tree), read_user_excludes())
        for level in _ignore_files(data, depth, SkipReason.GITIGNORE, prefix)
    )


def _is_bare(root: WorkspaceRoot, folder: str) -> bool:
    """Whether the `.git` of a folder belongs to a repository without a working tree there."""
    git = find_git_folder(root.folder / folder)
    return git is not None and git.own == git.shared and git.is_bare


def _outer_rules(folder: Path) -> IgnoreRules:
    """The rules that the folders above a workspace have for it, up to the root of its repository."""
    repository = find_repository(folder)
    if repository is None or repository == folder:
        return IgnoreRules()
    own: tuple[IgnoreFile, ...] = ()
    git: tuple[IgnoreFile, ...] = ()
    for above in folder.parents:
        prefix = tuple(os.fsencode(part) for part in folder.relative_to(above).parts)
        for name, reason in ((".codekinignore", SkipReason.CODEKINIGNORE), (".gitignore", SkipReason.GITIGNORE)):
            data = read_bytes(WorkspaceRoot(above), name, _MAX_RULE_FILE_BYTES)
            levels = _ignore_files(data, 0, reason, prefix) if isinstance(data, bytes) else ()
            own, git = (own + levels, git) if reason is SkipReason.CODEKINIGNORE else (own, git + levels)
        if above == repository:
            tree = WorkingTree(repository, 0, prefix)
            return IgnoreRules(own, git + _exclude_levels(repository, 0, prefix), tree=tree)
    return IgnoreRules()


def _reason_of(decided: tuple[IgnoreFile, IgnorePattern] | None) -> SkipReason | None:
    return None if decided is None or decided[1].includes else decided[0].reason


def _deciding_pattern(
    levels: Iterable[IgnoreFile], segments: list[bytes], *, folder: bool
) -> tuple[IgnoreFile, IgnorePattern] | None:
    """The deepest level's last pattern that matches."""
    for level in levels:
        path = [*level.prefix, *segments[level.depth :]]
        if pattern := level.patterns.last_match(path, folder=folder):
            return level, pattern
    return None


# Where Mix projects put fetched dependencies and builds. A project may name other folders than `deps` and `_build`,
# beside it as well (`deps_path: "../shared_deps"`). What its mix.exs says is read as text, never run.
_PROJECT_FILE: Final = "mix.exs"
_MAX_PROJECT_BYTES: Final = 1 << 18
_MAX_FOLDERS: Final = 2000
"""Folders in which projects are looked for, in the root and two levels below it."""

# Only a Mix project's `deps` holds fetched code; elsewhere it is a folder like any other.
_OWN_PATTERNS: Final = b"/deps/\n/cover/\n"
_MIX_VARIABLES: Final = ("MIX_DEPS_PATH", "MIX_BUILD_PATH", "MIX_BUILD_ROOT")
_NAMED_PATH: Final = re.compile(
    rb"\b(?:deps_path|build_path)[\"\']?\s{0,8}(?::|=>)\s{0,80}"
    rb"(?:Path\.(?:join|expand)\(\s{0,80}(?:__DIR__\s{0,8},\s{0,80})?)?\"([^\"#\n]{1,500})\""
)
_COMMENT: Final = re.compile(rb"(?:^|\s)#[^\n]*", re.MULTILINE)
_GLOB_CHARACTERS: Final = re.compile(rb"([*?\[\]\\])")


def _mix_patterns(root: WorkspaceRoot, folder: str) -> bytes:
    """The ignore patterns for what lies below a folder of the workspace ("" for the root), in gitignore syntax.

    For the root they hold what the projects below it put beside them, and what the environment names.
    """
    is_project = root.exists(folder, _PROJECT_FILE)
    named = list(_named_paths(root, folder)) if is_project else []
    if not folder:
        named += [path for project in _projects_below(root) for path in _named_paths(root, project)]
        named += _environment_paths(root.folder)
    inside = [path for path in named if not folder or path.startswith(f"{folder}/")]
    lines = [b"/" + _escape(path[len(folder) :].lstrip("/")) + b"/\n" for path in inside]
    return (_OWN_PATTERNS if is_project else b"") + b"".join(lines)


def _named_paths(root: WorkspaceRoot, project: str) -> Iterator[str]:
    """The folders that a project names, as paths from the root; those outside of it are left out."""
    data = read_bytes(root, f"{project}/{_PROJECT_FILE}".lstrip("/"), _MAX_PROJECT_BYTES)
    for found in _NAMED_PATH.findall(_COMMENT.sub(b"", data)) if isinstance(data, bytes) else ():
        path = posixpath.normpath(posixpath.join(project, os.fsdecode(found)))
        if path != "." and not path.startswith(("../", "/")) and path != "..":
            yield path


def _projects_below(root: WorkspaceRoot) -> list[str]:
    """The folders one and two levels below the root that hold a project."""
    first = _subfolders(root, "")
    folders = (first + [path for parent in first for path in _subfolders(root, parent)])[:_MAX_FOLDERS]
    return [folder for folder in folders if root.exists(folder, _PROJECT_FILE)]


def _subfolders(root: WorkspaceRoot, folder: str) -> list[str]:
    try:
        with root.opened(folder) as descriptor, os.scandir(descriptor) as entries:
            names = sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
    except OSError:
        return []
    return [f"{folder}/{name}".lstrip("/") for name in names[:_MAX_FOLDERS] if not name.startswith(".")]


def _environment_paths(root: Path) -> Iterator[str]:
    """What Mix would take from the environment, where it lies in the workspace."""
    for name in _MIX_VARIABLES:
        path = Path(os.environ.get(name) or "/")
        if path.is_absolute() and path.is_relative_to(root) and path != root:
            yield path.relative_to(root).as_posix()


def _escape(path: str) -> bytes:
    return _GLOB_CHARACTERS.sub(rb"\\\1", os.fsencode(path))
