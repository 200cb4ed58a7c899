"""Keeps one index equal to one working tree, in small steps.

Text is searchable as soon as a file is written; vectors follow from the embedder. All methods are called by one thread
and never block.
"""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from codekin.indexing import file_update
from codekin.indexing.embedding_queue import EmbeddedBatch, EmbeddingQueue
from codekin.indexing.file_reader import SkippedPath, SkipReason, escape_unprintable
from codekin.indexing.file_update import CrashGuard, FileChange, IndexedWorkspace, update_buffer, update_file
from codekin.indexing.ignore import RULE_FILES, IgnoreRules
from codekin.indexing.reconciliation import (
    WHOLE_TREE,
    EventReporter,
    PendingPaths,
    Reconciliation,
    ReconciliationSchedule,
    has_files_below,
)
from codekin.indexing.rule_watch import RuleWatch
from codekin.indexing.scan import FolderRules, inspect_path, read_folder_rules, skip_reason_by_name
from codekin.indexing.watch import GIT_INDEX

_FLUSH_SECONDS: Final = 3.0
STEP_SECONDS: Final = 0.05
"""After so long a step lets commands in; a single file is not interrupted."""


class Indexer:
    """The state of the work: what waits to be read, compared, embedded and reported."""

    def __init__(
        self,
        workspace: IndexedWorkspace,
        reporter: EventReporter,
        vectors: EmbeddingQueue,
        schedule: ReconciliationSchedule,
        restart_watch: Callable[[], None] = lambda: None,
    ) -> None:
        self._workspace = workspace
        self._reporter = reporter
        self._vectors = vectors
        self._schedule = schedule
        self._restart_watch = restart_watch
        self._rule_watch = RuleWatch(workspace.root.folder)
        self._hinted = PendingPaths()
        self._changed_buffers = PendingPaths()
        self._buffers: dict[str, str] = {}
        self._paths: deque[str] = deque()
        self._folder_rules: dict[str, FolderRules] = {}
        self._touched: set[str] = set()
        self._reconciliation = Reconciliation(
            reread_all=not file_update.is_current_version(workspace.index.folder, workspace.scope.extensions)
        )
        self._crash_guard = CrashGuard(workspace.index.folder)
        self._postponed: deque[str] = deque()
        self._current_path = ""
        self._failed: set[str] = set()
        self._unflushed = self._saved = False
        self._flushed_at = 0.0
        self.rescan()

    def rescan(self) -> None:
        """Compares everything once more, and reports when the index is ready again."""
        self._began, self._stored_before = time.monotonic(), self._vectors.stored
        self._reporter.unsettled, self._searchable = True, False
        self._reconciliation.request_folder(WHOLE_TREE)

    def configure(self, workspace: IndexedWorkspace) -> None:
        """Goes on under other rules; what they leave out is purged, what they let in is read."""
        before, self._workspace = self._workspace, workspace
        is_recut = (workspace.languages, workspace.scope.extensions) != (before.languages, before.scope.extensions)
        self._reconciliation = Reconciliation(reread_all=self._reconciliation.reread_all or is_recut)
        self._folder_rules.clear()
        self.rescan()

    def hint(self, path: str | None, now: float) -> None:
        """Notes that something may have happened at a path, or (None) anywhere."""
        self._hinted.add(WHOLE_TREE if path is None else path, now)

    def buffer(self, path: str, text: str | None, now: float) -> None:
        """Lays an unsaved text over a file, or takes it away."""
        if text is None:
            self._buffers.pop(path, None)
        else:
            self._buffers[path] = text
        self._changed_buffers.add(path, now)

    def embedded(self, outcome: EmbeddedBatch, now: float) -> None:
        """Takes the outcome of a batch."""
        self._vectors.take(outcome, now)

    def recover(self, *, skip_current: bool = False) -> None:
        """Starts over after an error; `skip_current` leaves out the file in progress, the likely cause."""
        if skip_current and self._current_path:
            self._failed.add(self._current_path)
        self._paths.clear()
        self._reconciliation = Reconciliation(reread_all=self._reconciliation.reread_all)
        self._reconciliation.request_folder(WHOLE_TREE)

    def close(self) -> None:
        """Lets go of its note; the index belongs to the caller."""
        self._crash_guard.leave()
        self._crash_guard.close()

    def step(self, now: float) -> float:
        """Does a small part of the work; the seconds until there is more, if nothing comes in.

        An error leaves the index as it was before the step; `recover` goes on from there.
        """
        if self._schedule.is_due(now) and not self._reconciliation.active:
            self._reconcile_tree()
        self._look_at_rules(now)
        self._reread_repaired()
        self._collect_pending(now)
        busy = self._process_changes(now + STEP_SECONDS)
        self._vectors.step(now)
        self._flush(now, busy=busy)
        if busy:
            self._reporter.progress("files", self._reconciliation.done, self._reconciliation.total, now)
            return 0.0
        self._report_ready()
        waits = (
            self._hinted.wait(now),
            self._changed_buffers.wait(now),
            self._vectors.wait(now),
            self._schedule.wait(now),
        )
        return min(wait for wait in waits if wait is not None)

    def _reread_repaired(self) -> None:
        """What the index had to take out as damaged is read again."""
        for repair in self._workspace.index.pop_repair_messages():
            self._reporter.problem(repair)
            self._vectors.recheck_missing()
            self.rescan()

    def _collect_pending(self, now: float) -> None:
        for path in (*self._hinted.take(now), *self._changed_buffers.take(now)):
            if not self._paths:
                self._folder_rules.clear()
            folder, _, name = path.rpartition("/")
            if path == WHOLE_TREE:
                self._reconcile_tree()
            elif path == GIT_INDEX:
                self._rule_watch.expire()
                self._look_at_rules(now)
            elif name in RULE_FILES or name == ".git":
                self._reconciliation.request_folder(folder)
            elif ".git" not in path.split("/"):
                self._paths.append(path)

    def _look_at_rules(self, now: float) -> None:
        """What git tracks otherwise is looked at anew, with the ignored folders above it."""
        for path in self._rule_watch.changes(now):
            self.hint(path, now)
            folder = path.rpartition("/")[0] if path else ""
            while folder:
                if self._workspace.index.file(f"{folder}/") is not None:
                    self.hint(folder, now)
                folder = folder.rpartition("/")[0]

    def _reconcile_tree(self) -> None:
        """Watches anew, for lost events may be a lost watch, and only then compares."""
        self._restart_watch()
        self._reconciliation.request_folder(WHOLE_TREE)

    def _process_changes(self, deadline: float) -> bool:
        """Handles paths, then differences, until the deadline; False when there was nothing to do."""
        if not self._paths and not self._reconciliation.active:
            self._touched.clear()
            self._crash_guard.leave()
            self._paths, self._postponed = self._postponed, deque()
            self._crash_guard.path = "" if self._paths else self._crash_guard.path
            return bool(self._paths)
        with self._workspace.index.batch():
            while (self._paths or self._reconciliation.active) and time.monotonic() < deadline:
                if self._paths:
                    self._update_path(self._paths.popleft())
                elif change := self._reconciliation.next_change(self._workspace, deadline):
                    self._apply(change)
        if self._reconciliation.completed:
            self._finish_reconciliation()
        return True

    def _update_path(self, path: str) -> None:
        """Brings one path up to date, whatever it is now; a folder is compared as a whole."""
        self._touched.add(path)
        root, scope, index = self._workspace.root, self._workspace.scope, self._workspace.index
        if path in self._buffers:
            reason = skip_reason_by_name(root, scope, path, self._folder_rules)
            self._update(FileChange(path, SkippedPath(path, reason) if reason else None, index.file(path)), first=True)
            return
        inside = read_folder_rules(root, scope, path.rpartition("/")[0], self._folder_rules)
        found = inspect_path(root, scope, path, inside) if isinstance(inside, IgnoreRules) else inside
        if isinstance(found, str) or (isinstance(found, SkippedPath) and found.path.endswith("/")):
            self._update_folder(found)
            if found is inside and (known := index.file(path)) is not None:
                self._update(FileChange(path, None, known), first=True)  # its folder is left out by now
            return
        name = escape_unprintable(path) if found is None else found.path
        self._update(FileChange(name, found, index.file(name)), first=True)
        if has_files_below(index, name):
            self._reconciliation.request_folder(name)  # it was a folder

    def _update_folder(self, found: str | SkippedPath) -> None:
        """Compares a folder, unless it is left out as it was before."""
        if isinstance(found, SkippedPath):
            known = self._workspace.index.file(found.path)
            if known is not None and known.skipped == found.reason:
                return
        self._reconciliation.request_folder(found if isinstance(found, str) else found.path.rstrip("/"))

    def _apply(self, change: FileChange) -> None:
        if change.path in self._touched:
            self._paths.append(change.path)  # what the comparison saw may be older than what a hint led to
        elif change.path not in self._buffers:
            self._update(change, first=not self._reconciliation.is_whole_tree)

    def _update(self, change: FileChange, *, first: bool) -> None:
        """Writes one path's new state, unless it must wait until all others are done."""
        self._current_path = change.path
        if change.path == self._crash_guard.path:
            self._postponed.append(change.path)
            return
        self._crash_guard.enter(change.path)
        if change.path in self._failed:
            change = replace(change, found=SkippedPath(change.path, SkipReason.FAILED))
        text = self._buffers.get(change.path)
        if text is None:
            update = update_file(self._workspace, change, reread_all=self._reconciliation.reread_all)
        else:
            update = update_buffer(self._workspace, change, text)
        if update.problem:
            self._reporter.problem(update.problem)
        self._unflushed = self._unflushed or update.written
        self._saved = self._saved or (update.written and first and not self._paths)
        if update.changed:
            self._reporter.changed(update.path)
            self._vectors.add(update.texts, first=first)

    def _finish_reconciliation(self) -> None:
        """The whole tree has been compared."""
        self._reconciliation.completed = False
        if self._reconciliation.reread_all:
            file_update.record_version(self._workspace.index.folder, self._workspace.scope.extensions)
            self._reconciliation.reread_all = False
        self._vectors.recount()
        self._schedule.done(time.monotonic())

    def _flush(self, now: float, *, busy: bool) -> None:
        """Makes words searchable: seldom in a long run, at once at its end and after a save."""
        if busy and not self._saved and now - self._flushed_at < _FLUSH_SECONDS:
            return
        self._workspace.index.flush(force=self._unflushed and (self._saved or not busy))
        self._flushed_at, self._saved = now, False
        if not busy:
            self._unflushed = False
            self._reporter.emit_changed()

    def _report_ready(self) -> None:
        """Reports when everything can be found, first by text and then by vectors."""
        if self._hinted or self._changed_buffers or not (self._vectors.settled or not self._searchable):
            return
        if not self._reporter.unsettled:
            self._reporter.reset_progress()
            return
        status = self._workspace.index.status()
        numbers = {"files": status.files, "chunks": status.chunks, "skipped": status.skipped}
        if not self._searchable:
            self._searchable = True
            self._reporter.emit({"event": "searchable", **numbers})
        # Where no vector is missing, readiness does not wait for the model to load.
        if self._vectors.settled or status.vectors == status.chunks:
            embedded = self._vectors.stored - self._stored_before
            counts = {"embedded": embedded, "reused": max(status.vectors - embedded, 0)}
            seconds = round(time.monotonic() - self._began, 3)
            self._reporter.ready(**numbers, **counts, pending=status.chunks - status.vectors, seconds=seconds)
