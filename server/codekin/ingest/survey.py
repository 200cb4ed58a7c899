"""Comparisons of the working tree with the index: which are wanted, and what they find, bit by bit.

A comparison covers the whole tree or what lies below one folder. Knows nothing of what is
done about a difference.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import Final

from codekin.index import FileState, Index
from codekin.ingest.differences import Change, differences, unchanged
from codekin.ingest.pending import EVERYTHING
from codekin.ingest.scan import Found, scan
from codekin.ingest.update import Workspace

_PAGE: Final = 1_000
_MOST_AHEAD: Final = 20_000
"""Differences found before the first is handled, so that progress knows its end; the rest is found later."""


@dataclass(slots=True)
class Survey:
    """Wanted and running comparisons; `again` finds every file different, since it must be cut anew."""

    _wanted: dict[str, None] = field(default_factory=dict)
    _running: Iterator[Change | None] | None = None
    _ahead: deque[Change] = field(default_factory=deque)
    again: bool = False
    whole: bool = False
    done: int = 0
    completed: bool = False
    """A comparison of the whole tree has ended, and all its differences were handed out."""

    def want(self, folder: str) -> None:
        """Asks for a comparison of all below a folder, after the running one."""
        if folder == EVERYTHING:
            self._wanted.clear()
        if EVERYTHING not in self._wanted:
            self._wanted[folder] = None

    @property
    def active(self) -> bool:
        """Whether anything is wanted or under way."""
        return bool(self._wanted or self._ahead) or self._running is not None

    @property
    def total(self) -> int:
        """How many differences the running comparison has found up to now, handled or not."""
        return self.done + len(self._ahead)

    def next_change(self, workspace: Workspace, deadline: float) -> Change | None:
        """The next difference; None when there is none left, or none was found before the deadline (monotonic)."""
        if self._running is None and not self._ahead and not self._start(workspace):
            return None
        while self._running is not None and len(self._ahead) < _MOST_AHEAD:
            try:
                found = next(self._running)
            except StopIteration:
                self._running = None
                break
            if found is not None:
                self._ahead.append(found)
            if time.monotonic() > deadline:
                return None
        change = self._ahead.popleft() if self._ahead else None
        self.done += change is not None
        if not self._ahead and self._running is None:
            self.completed = self.completed or self.whole
        return change

    def _start(self, workspace: Workspace) -> bool:
        if not self._wanted:
            return False
        folder = next(iter(self._wanted))
        del self._wanted[folder]
        self.done, self.whole = 0, folder == EVERYTHING
        same = (lambda _found, _known: False) if self.again else unchanged
        self._running = _compared(workspace, folder, same)
        return True


def _compared(workspace: Workspace, folder: str, same: Callable[[Found, FileState], bool]) -> Iterator[Change | None]:
    yield from differences(scan(workspace.root, workspace.scope, folder), known_below(workspace.index, folder), same)


def known_below(index: Index, folder: str) -> Iterator[tuple[str, FileState]]:
    """What the index knows of a folder and all below it ("" for everything), in path order, a page at a time."""
    if not folder:
        yield from _pages(index, "")
        return
    itself = index.file(folder)  # it may have been a file
    yield from chain([(folder, itself)] if itself else [], _pages(index, f"{folder}/"))


def holds_below(index: Index, path: str) -> bool:
    """Whether the index knows anything below a path, as it does of a folder."""
    found = index.files_after(f"{path}/", 1, first=True)
    return bool(found) and found[0][0].startswith(f"{path}/")


def _pages(index: Index, prefix: str) -> Iterator[tuple[str, FileState]]:
    page = index.files_after(prefix, _PAGE, first=True)
    while page:
        for path, state in page:
            if not path.startswith(prefix):
                return
            yield path, state
        page = index.files_after(page[-1][0], _PAGE)
