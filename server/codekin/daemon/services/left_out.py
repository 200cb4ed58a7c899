"""Which files of a workspace are left out: secrets, and what git's, the user's or the built-in rules ignore.

The index applies the same rules to what it reads. Here they are applied to a path and a text, so that they hold for
unsaved buffers, prompts, the completion corpus, the suggestion log and texts for a server as well.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Final

from codekin.indexing.file_reader import SkipReason, WorkspaceRoot
from codekin.indexing.git_folders import find_repository
from codekin.indexing.ignore import RULE_FILES
from codekin.indexing.rule_watch import Stamp, index_paths, outer_rule_paths, stamp_files
from codekin.indexing.scan import FolderRules, scope_of_settings, skip_reason_by_name
from codekin.parsing.secrets import contains_secret
from codekin.settings import IndexSettings

_PUBLIC_REASONS: Final = frozenset(
    {SkipReason.LANGUAGE, SkipReason.TOO_LARGE, SkipReason.BINARY, SkipReason.MINIFIED, SkipReason.GENERATED}
)
"""Reasons that are about usefulness: such a file is not indexed, but hides nothing."""

_RULE_PATHS: Final = (*sorted(RULE_FILES), "mix.exs", ".git/info/exclude")

LOOK_SECONDS: Final = 0.5
"""Seconds for which the rule files of a folder are taken to be as they were: a request asks about many paths."""

_MAX_KNOWN_PATHS: Final = 10_000
_MAX_KNOWN_FOLDERS: Final = 1_000


class LeftOutRules:
    """The rules of one workspace under its present settings; called in any thread."""

    def __init__(self, root: Path, settings: IndexSettings) -> None:
        self.settings = settings
        self._root = WorkspaceRoot(root)
        self._scope = scope_of_settings(settings)
        self._folders: dict[str, _KnownFolder] = {}

    def leaves_out(self, path: str, text: str) -> bool:
        """Whether a file of this path (relative to the root) with this text must stay where it is."""
        return self._is_ignored(path) or holds_secret(text)

    def without_left_out(self, buffers: Mapping[str, str]) -> dict[str, str]:
        """The unsaved texts that other files and prompts may show."""
        return {path: text for path, text in buffers.items() if not self.leaves_out(path, text)}

    def _is_ignored(self, path: str) -> bool:
        known = self._folder(path)
        if path not in known.reasons:
            known.reasons[path] = skip_reason_by_name(self._root, self._scope, path, known.rules)
        reason = known.reasons[path]
        return reason is not None and reason not in _PUBLIC_REASONS

    def _folder(self, path: str) -> "_KnownFolder":
        """What is known of the folder of a path, which is looked at again after a while."""
        folder, now = path.rpartition("/")[0], time.monotonic()
        known = self._folders.get(folder)
        if known is not None and now - known.looked <= LOOK_SECONDS:
            return known
        stamp = self._stamp(path)
        if known is not None and known.stamp == stamp and len(known.reasons) < _MAX_KNOWN_PATHS:
            known = replace(known, looked=now)
        else:
            known = _KnownFolder(now, stamp, {}, {})
        kept = self._folders if len(self._folders) < _MAX_KNOWN_FOLDERS else {}
        self._folders = {**kept, folder: known}  # another thread goes on with the one that it has
        return known

    def _stamp(self, path: str) -> Stamp:
        """Changes with the rule files that may decide about a path."""
        folders = [self._root.folder / folder for folder in PurePosixPath(path).parents]
        outer = find_repository(self._root.folder)
        trees = [folder for folder in folders if (folder / ".git").exists()] or ([outer] if outer else [])
        indexes = [index for tree in trees for index in index_paths(tree)]
        inside = [folder / name for folder in folders for name in _RULE_PATHS]
        return stamp_files([*folders, *inside, *indexes, *outer_rule_paths(self._root.folder)])


@dataclass(frozen=True, slots=True)
class _KnownFolder:
    """When the rule files of a folder were looked at, how they were then, and what they say."""

    looked: float
    stamp: Stamp
    rules: dict[str, FolderRules]
    reasons: dict[str, SkipReason | None]


@lru_cache(maxsize=256)
def holds_secret(text: str) -> bool:
    """Whether a text holds a secret; cached, since every request checks the same buffers."""
    return contains_secret(text)
