"""Schedules comparisons of the working tree with the index, and emits the indexer's events."""

import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Final

from codekin.indexing.file_update import FileChange, IndexedWorkspace, diff_tree, is_unchanged
from codekin.indexing.scan import ScanEntry, scan_tree
from codekin.storage import ChunkIndex, FileState
from codekin.util.process import ProgressEstimator

EventSink = Callable[[dict[str, Any]], None]

_PROGRESS_INTERVAL: Final = 0.25
_PROGRESS_AFTER_SECONDS: Final = 0.5
"""Seconds of work after which progress is reported; a single save should not flicker."""

_MAX_CHANGED_PATHS: Final = 200


@dataclass(slots=True)
class EventReporter:
    """Reports events at a limited rate."""

    emit: EventSink
    _estimator: ProgressEstimator = field(default_factory=ProgressEstimator)
    _last_progress: float = 0.0
    _changed: dict[str, None] = field(default_factory=dict)
    _reported_problems: set[str] = field(default_factory=set)
    unsettled: bool = True

    def progress(self, phase: str, done: int, total: int, now: float) -> None:
        """Reports the progress of a phase; `rate` in items a second, `seconds_left` an estimate."""
        estimate = self._estimator.update(phase, done, total, now)
        if estimate.elapsed < _PROGRESS_AFTER_SECONDS or now - self._last_progress < _PROGRESS_INTERVAL:
            return
        self._last_progress, self.unsettled = now, True
        rate, left = round(estimate.rate, 1), estimate.seconds_left
        numbers = {"done": done, "total": max(total, done), "rate": rate, "seconds_left": left}
        self.emit({"event": "progress", "phase": phase, **numbers})

    def changed(self, path: str) -> None:
        """Notes a path whose chunks are others now."""
        self._changed[path] = None

    def emit_changed(self) -> None:
        """Reports the paths changed since the last call; of many, their number and the first ones."""
        if self._changed:
            paths = list(self._changed)
            self._changed = {}
            self.emit({"event": "changed", "count": len(paths), "paths": paths[:_MAX_CHANGED_PATHS]})

    def problem(self, message: str, *, until: str = "") -> None:
        """Reports a problem, once until `recovered`; `until` is the event that ends it, "ready" or "solved"."""
        if message not in self._reported_problems:
            self._reported_problems.add(message)
            self.emit({"event": "problem", "message": message, **({"until": until} if until else {})})

    def solved(self, message: str) -> None:
        """Ends a problem that was reported until it is solved."""
        self._reported_problems.discard(message)
        self.emit({"event": "solved", "message": message})

    def recovered(self) -> None:
        """Forgets the reported problems, so that they are reported again if they return."""
        self._reported_problems.clear()

    def ready(self, **numbers: float) -> None:
        """Reports that the index equals the working tree."""
        self.reset_progress()
        self.unsettled = False
        self.emit({"event": "ready", **numbers})

    def reset_progress(self) -> None:
        """Notes that there is nothing to do: the next progress is counted from its own beginning."""
        self._estimator.reset()


WHOLE_TREE: Final = ""
"""The path that means the whole workspace."""

QUIET_SECONDS: Final = 0.3
MAX_WAIT_SECONDS: Final = 0.6
"""A path that never comes to rest is looked at after this long all the same."""

STORM_RATE: Final = 2_000
"""Hints in a second beyond which some were probably lost."""

_STORM_SECONDS: Final = 2.0


@dataclass(slots=True)
class PendingPaths:
    """Paths waiting to be looked at."""

    _paths: dict[str, None] = field(default_factory=dict)
    _first: float = 0.0
    _last: float = 0.0
    _second: int = 0
    _count: int = 0

    def __bool__(self) -> bool:
        return bool(self._paths)

    def add(self, path: str, now: float) -> None:
        """Notes that something may have happened at a path."""
        self._count = self._count + 1 if int(now) == self._second else 1
        self._second = int(now)
        if not self._paths:
            self._first = now
        self._last = now
        if path == WHOLE_TREE or self._count > STORM_RATE:
            self._paths = {WHOLE_TREE: None}
        elif WHOLE_TREE not in self._paths:
            self._paths[path] = None

    def wait(self, now: float) -> float | None:
        """Seconds until `take` will give something; None when nothing is pending."""
        if not self._paths:
            return None
        longest = _STORM_SECONDS if WHOLE_TREE in self._paths else MAX_WAIT_SECONDS
        return max(0.0, min(self._last + QUIET_SECONDS, self._first + longest) - now)

    def take(self, now: float) -> list[str]:
        """All pending paths, oldest first, if they are due; EVERYTHING is always alone."""
        if self.wait(now) != 0.0:
            return []
        paths, self._paths = list(self._paths), {}
        return paths


POLL_SECONDS: Final = 5.0
_POLL_DUTY_DIVISOR: Final = 20
"""A poll may take one part in so many of the time."""

_SLEEP_THRESHOLD_SECONDS: Final = 30.0
"""The wall clock runs on while the machine sleeps; smaller jumps are taken for corrections of it."""

_CLOCK_CHECK_SECONDS: Final = 15.0


@dataclass(slots=True)
class ReconciliationSchedule:
    """`every`: seconds between two comparisons; `polling`: events do not reach us."""

    every: float
    polling: bool = False
    _last: float = -math.inf
    _took: float = 0.0
    _began: float | None = None
    _drift: float = field(default_factory=lambda: time.time() - time.monotonic())

    def is_due(self, now: float) -> bool:
        """Whether a comparison should begin."""
        drift = time.time() - now
        slept, self._drift = drift - self._drift > _SLEEP_THRESHOLD_SECONDS, drift
        due = slept or now >= self._last + self._interval()
        if due:
            self._began = now
        return due

    def done(self, now: float) -> None:
        """Notes that a comparison has ended."""
        self._took, self._last = now - (self._began if self._began is not None else now), now
        self._began = None

    def wait(self, now: float) -> float:
        """Seconds until the next look at the clock."""
        return min(max(self._last + self._interval() - now, 0.05), _CLOCK_CHECK_SECONDS)

    def _interval(self) -> float:
        return min(max(POLL_SECONDS, _POLL_DUTY_DIVISOR * self._took), self.every) if self.polling else self.every


_PAGE_SIZE: Final = 1_000
_MAX_LOOKAHEAD: Final = 20_000
"""Differences found before the first is handled, so that progress knows its end; the rest is found later."""


@dataclass(slots=True)
class Reconciliation:
    """Wanted and running comparisons; `reread_all` takes every file for changed."""

    _requested: dict[str, None] = field(default_factory=dict)
    _running: Iterator[FileChange | None] | None = None
    _ahead: deque[FileChange] = field(default_factory=deque)
    reread_all: bool = False
    is_whole_tree: bool = False
    done: int = 0
    completed: bool = False
    """A comparison of the whole tree has ended, and all its differences were handed out."""

    def request_folder(self, folder: str) -> None:
        """Requests a comparison of all below a folder, after the running one."""
        if folder == WHOLE_TREE:
            self._requested.clear()
        if WHOLE_TREE not in self._requested:
            self._requested[folder] = None

    @property
    def active(self) -> bool:
        """Whether anything is wanted or under way."""
        return bool(self._requested or self._ahead) or self._running is not None

    @property
    def total(self) -> int:
        """How many differences the running comparison has found up to now, handled or not."""
        return self.done + len(self._ahead)

    def next_change(self, workspace: IndexedWorkspace, deadline: float) -> FileChange | None:
        """The next difference; None when there is none left, or none was found before the deadline (monotonic)."""
        if self._running is None and not self._ahead and not self._start(workspace):
            return None
        while self._running is not None and len(self._ahead) < _MAX_LOOKAHEAD:
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
            self.completed = self.completed or self.is_whole_tree
        return change

    def _start(self, workspace: IndexedWorkspace) -> bool:
        if not self._requested:
            return False
        folder = next(iter(self._requested))
        del self._requested[folder]
        self.done, self.is_whole_tree = 0, folder == WHOLE_TREE
        same = (lambda _found, _known: False) if self.reread_all else is_unchanged
        self._running = _compare_folder(workspace, folder, same)
        return True


def _compare_folder(
    workspace: IndexedWorkspace, folder: str, same: Callable[[ScanEntry, FileState], bool]
) -> Iterator[FileChange | None]:
    yield from diff_tree(
        scan_tree(workspace.root, workspace.scope, folder), indexed_files_below(workspace.index, folder), same
    )


def indexed_files_below(index: ChunkIndex, folder: str) -> Iterator[tuple[str, FileState]]:
    """What the index knows of a folder and all below it ("" for everything), in path order, a page at a time."""
    if not folder:
        yield from _page_files(index, "")
        return
    itself = index.file(folder)  # it may have been a file
    yield from chain([(folder, itself)] if itself else [], _page_files(index, f"{folder}/"))


def has_files_below(index: ChunkIndex, path: str) -> bool:
    """Whether the index knows anything below a path, as it does of a folder."""
    found = index.files_after(f"{path}/", 1, first=True)
    return bool(found) and found[0][0].startswith(f"{path}/")


def _page_files(index: ChunkIndex, prefix: str) -> Iterator[tuple[str, FileState]]:
    page = index.files_after(prefix, _PAGE_SIZE, first=True)
    while page:
        for path, state in page:
            if not path.startswith(prefix):
                return
            yield path, state
        page = index.files_after(page[-1][0], _PAGE_SIZE)
