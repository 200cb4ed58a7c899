"""Which files change co_change, from git's history."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from codekin.finetune.dataset import git_history

MAX_COMMITS = 2000
MAX_FILES_OF_COMMIT = 30
"""A commit of more files says little about any two of them."""

MAX_COMMITS_OF_FILE = 60
"""The latest commits of a file that count."""

MIN_TOGETHER: Final = 2


class CoChange:
    """The files of each commit, the latest first; answers without reading the history again."""

    def __init__(self, commits: Iterable[Sequence[str]]) -> None:
        self._commits: list[Sequence[str]] = []
        self._of_file: defaultdict[str, list[int]] = defaultdict(list)
        for files in commits:
            for path in files:
                self._of_file[path].append(len(self._commits))
            self._commits.append(files)

    def co_change(self, path: str, after: int = -1) -> Mapping[str, float]:
        """The share of a file's latest commits in which each other file changed; the commits up to `after` aside."""
        own = [number for number in self._of_file.get(path, ()) if number > after][:MAX_COMMITS_OF_FILE]
        counts: Counter[str] = Counter()
        for number in own:
            if len(self._commits[number]) <= MAX_FILES_OF_COMMIT:
                counts.update(self._commits[number])
        return {file: count / len(own) for file, count in counts.items() if count >= MIN_TOGETHER and file != path}


def read_co_change(root: Path) -> tuple[str, CoChange]:
    """The commit of HEAD and which files changed together up to it; an empty text and nothing without a history."""
    commit = git_history.resolve_commit(root)
    return commit, CoChange(git_history.list_changed_files(root, commit, MAX_COMMITS) if commit else ())
