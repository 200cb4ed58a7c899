"""The ignore rules of one folder: git's, Codekin's own, the settings' and the built-in ones.

`.codekinignore` files have the last word (`!` includes what others ignore), then the globs of
the settings, then git's files (`.gitignore` at every level, `.git/info/exclude`), then the
built-in names of build and dependency folders. Within a kind the deepest file decides, within
a file its last matching line. As in git, nothing below an ignored folder can be included.
Only files inside the workspace are read: a user-wide ignore file of git plays no part.
Knows nothing of file contents and languages.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from codekin.ingest.found import Reason
from codekin.ingest.globs import Pattern, fits, parse_patterns
from codekin.ingest.reading import Root, read_bytes

RULE_FILES: Final = frozenset({".gitignore", ".codekinignore"})

_LARGEST_RULE_FILE: Final = 1 << 20

_BUILT_IN: Final = (
    b"_build/\nnode_modules/\nbower_components/\n.elixir_ls/\n.lexical/\n.expert/\n.venv/\nvenv/\n.tox/\n"
    b"__pycache__/\n.mypy_cache/\n.ruff_cache/\n.pytest_cache/\n.cache/\n.ccls-cache/\n.clangd/\nCMakeFiles/\n"
    b"bazel-*/\n.hg/\n.svn/\n.jj/\n.gradle/\n.idea/\n.terraform/\n"
)
# Only a Mix project's `deps` holds fetched code; elsewhere it is a folder like any other.
_BUILT_IN_FOR_MIX: Final = b"/deps/\n/cover/\n"


@dataclass(frozen=True, slots=True)
class Level:
    """One rule file's patterns and the depth of its folder (segments below the root)."""

    patterns: tuple[Pattern, ...]
    depth: int
    reason: Reason


@dataclass(frozen=True, slots=True)
class IgnoreRules:
    """The rules that hold directly inside one folder; `entering` gives those of a folder below.

    Levels stand deepest first. `in_repository`: the folder belongs to a git working tree, so
    a `.git` further down is another repository.
    """

    own: tuple[Level, ...] = ()
    git: tuple[Level, ...] = ()
    built_in: tuple[Level, ...] = ()
    in_repository: bool = False

    def reason(self, path: str, *, folder: bool) -> Reason | None:
        """Why a file or folder directly inside this folder is ignored, or None."""
        segments = os.fsencode(path).split(b"/")
        for levels in (self.own, self.git, self.built_in):
            decided = _decision(levels, segments, folder=folder)
            if decided is not None:
                level, pattern = decided
                return None if pattern.includes else level.reason
        return None

    def included(self, path: str) -> bool:
        """Whether a folder is included by an explicit `!` line of the user."""
        decided = _decision(self.own, os.fsencode(path).split(b"/"), folder=True)
        return decided is not None and decided[1].includes

    def entering(self, root: Root, folder: str, names: Iterable[str] | None = None) -> "IgnoreRules":
        """The rules inside `folder` ("" for the root); `names`, if known, saves looking for files."""
        present = {name.rstrip("/") for name in names} if names is not None else None
        depth = folder.count("/") + 1 if folder else 0

        def level(name: str, reason: Reason) -> tuple[Level, ...]:
            if present is not None and name.split("/", 1)[0] not in present:
                return ()
            data = read_bytes(root, f"{folder}/{name}" if folder else name, _LARGEST_RULE_FILE)
            patterns = parse_patterns(data) if isinstance(data, bytes) else ()
            return (Level(patterns, depth, reason),) if patterns else ()

        is_mix = "mix.exs" in present if present is not None else root.exists(folder, "mix.exs")
        is_git = ".git" in present if present is not None else root.exists(folder, ".git")
        # An included nested repository starts afresh: its parent's git rules end at its door.
        git = () if is_git and self.in_repository else self.git
        excluded = level(".git/info/exclude", Reason.GITIGNORE) if is_git else ()
        return IgnoreRules(
            own=level(".codekinignore", Reason.CODEKINIGNORE) + self.own,
            git=level(".gitignore", Reason.GITIGNORE) + excluded + git,
            built_in=((Level(parse_patterns(_BUILT_IN_FOR_MIX), depth, Reason.BUILT_IN),) if is_mix else ())
            + self.built_in,
            in_repository=self.in_repository or is_git,
        )


def base_rules(globs: Iterable[str] = ()) -> IgnoreRules:
    """The rules outside any folder: the settings' globs, in gitignore syntax, and the built-in names."""
    wanted = parse_patterns("\n".join(globs).encode("utf-8", "replace"))
    return IgnoreRules(
        own=(Level(wanted, 0, Reason.SETTINGS),) if wanted else (),
        built_in=(Level(parse_patterns(_BUILT_IN), 0, Reason.BUILT_IN),),
    )


def _decision(levels: Iterable[Level], segments: list[bytes], *, folder: bool) -> tuple[Level, Pattern] | None:
    """The deepest level's last pattern that matches."""
    name = segments[-1:]
    for level in levels:
        below = segments[level.depth :]
        for pattern in reversed(level.patterns):
            if pattern.folders_only and not folder:
                continue
            if fits(pattern.segments, name if pattern.name_only else below):
                return level, pattern
    return None
