"""Next edits of workspaces: the files as the corpus knows them, what changed co_change, and one search per window.

Called in worker threads; a newer search of a window cancels the one before.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from codekin.completion.corpus_snapshot import Corpus
from codekin.next_edit.cochange import CoChange, read_co_change
from codekin.next_edit.edits import read_edit
from codekin.next_edit.finder import EditSearch, NextEdit
from codekin.parsing import detect_language

MAX_CHARACTERS = 1_000_000
"""A longer text is not compared."""

ReadText = Callable[[str], str | None]
"""Reads a file by its path; None for one that cannot be read or must not be shown."""


@dataclass(frozen=True, slots=True)
class NextEditRequest:
    """An edit: `before` became `after`, both with line feeds alone, on behalf of a window."""

    root: Path
    path: str
    language: str
    before: str
    after: str
    window: str = ""
    limit: int = 5


@dataclass(frozen=True, slots=True)
class CorpusSources:
    """The files of a corpus; what it holds of a file may be older than the text that `read` gives."""

    corpus: Corpus
    read: ReadText

    def files_with(self, word: str) -> Sequence[str]:
        """Paths of files in which a word stands."""
        spelled = (self.corpus.vocabulary.known(text) for text in (word, f" {word}"))
        tokens = np.array([number for number in spelled if number is not None], np.uint32)
        if not len(tokens):
            return []
        base = self.corpus.base
        places = np.flatnonzero(np.isin(base.tokens, tokens))
        numbers = np.unique(np.searchsorted(base.starts, places, side="right") - 1).tolist()
        unchanged = [base.paths[number] for number in numbers if base.paths[number] not in self.corpus.changed]
        return unchanged + [path for path, own in self.corpus.changed.items() if np.isin(own, tokens).any()]

    def text(self, path: str) -> str | None:
        """The text of a file with line feeds alone."""
        text = self.read(path)
        return None if text is None else text.replace("\r\n", "\n")

    def language(self, path: str) -> str:
        """The language that a path names."""
        return detect_language(path, "") or ""


@dataclass(slots=True)
class NextEditFinder:
    """What is kept of all workspaces between two searches."""

    _lock: threading.Lock = field(default_factory=threading.Lock)
    _newest: dict[str, NextEditRequest] = field(default_factory=dict)
    _histories: dict[Path, tuple[str, CoChange]] = field(default_factory=dict)

    def find(self, request: NextEditRequest, corpus: Corpus, read: ReadText) -> list[NextEdit]:
        """The next edits, the likeliest first; none once a newer request of the window has come."""
        self._newest[request.window] = request
        if max(len(request.before), len(request.after)) > MAX_CHARACTERS:
            return []
        edit = read_edit(request.path, request.language, request.before, request.after)
        if edit is None:
            return []
        co_change = self._co_change(request.root, request.path)
        search = EditSearch(edit, CorpusSources(corpus, read), co_change, lambda: self._is_old(request))
        found = search.run(request.limit)
        return [] if self._is_old(request) else found

    def read_history(self, root: Path) -> None:
        """Reads what changed co_change, in the background and once for each commit."""
        with self._lock:
            self._histories[root] = read_co_change(root)

    def has_history(self, root: Path) -> bool:
        """Whether the history of a workspace has been read."""
        return root in self._histories

    def _co_change(self, root: Path, path: str) -> Mapping[str, float]:
        known = self._histories.get(root)
        return known[1].co_change(path) if known else {}

    def _is_old(self, request: NextEditRequest) -> bool:
        return self._newest.get(request.window) is not request
