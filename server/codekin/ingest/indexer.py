"""Keeps one index equal to one working tree, a small step at a time.

Hints and unsaved buffers come in; files are read, cut and written; events go out. A file's
words can be found as soon as it is written; vectors follow when the embedder gives them. All
methods are called by one thread; nothing here waits or sleeps.
"""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from codekin.ingest import recipe
from codekin.ingest.differences import Change
from codekin.ingest.embedding import Embedded
from codekin.ingest.found import Reason, Skipped, shown
from codekin.ingest.ignore import RULE_FILES, IgnoreRules
from codekin.ingest.pending import EVERYTHING, Pending
from codekin.ingest.reports import Reports
from codekin.ingest.scan import Inside, look, reason_by_name, rules_inside
from codekin.ingest.schedule import Schedule
from codekin.ingest.survey import Survey, holds_below
from codekin.ingest.suspect import Suspect
from codekin.ingest.update import Workspace, update_buffer, update_file
from codekin.ingest.vectors import VectorWork

_FLUSH_SECONDS: Final = 3.0
STEP_SECONDS: Final = 0.05
"""After so long a step lets commands in; a single file is not interrupted."""


class Indexer:
    """The state of the work: what waits to be looked at, compared, embedded and told."""

    def __init__(
        self,
        workspace: Workspace,
        reports: Reports,
        vectors: VectorWork,
        schedule: Schedule,
        watch_anew: Callable[[], None] = lambda: None,
    ) -> None:
        self._workspace = workspace
        self._reports = reports
        self._vectors = vectors
        self._schedule = schedule
        self._watch_anew = watch_anew
        self._hinted = Pending()
        self._typed = Pending()
        self._buffers: dict[str, str] = {}
        self._paths: deque[str] = deque()
        self._inside: dict[str, Inside] = {}
        self._touched: set[str] = set()
        self._survey = Survey(again=not recipe.is_current(workspace.index.folder))
        self._suspect = Suspect(workspace.index.folder)
        self._put_off: deque[str] = deque()
        self._at = ""
        self._failed: set[str] = set()
        self._unflushed = self._saved = False
        self._flushed_at = 0.0
        self.rescan()

    def rescan(self) -> None:
        """Compares everything once more, and tells when the index is ready again."""
        self._began, self._stored_before = time.monotonic(), self._vectors.stored
        self._reports.unsettled, self._searchable = True, False
        self._survey.want(EVERYTHING)

    def configure(self, workspace: Workspace) -> None:
        """Goes on under other rules; what they leave out is purged, what they let in is read."""
        self._survey = Survey(again=self._survey.again or workspace.languages != self._workspace.languages)
        self._workspace = workspace
        self._inside.clear()
        self.rescan()

    def hint(self, path: str | None, now: float) -> None:
        """Notes that something may have happened at a path, or (None) anywhere."""
        self._hinted.add(EVERYTHING if path is None else path, now)

    def buffer(self, path: str, text: str | None, now: float) -> None:
        """Lays an unsaved text over a file, or takes it away."""
        if text is None:
            self._buffers.pop(path, None)
        else:
            self._buffers[path] = text
        self._typed.add(path, now)

    def embedded(self, outcome: Embedded, now: float) -> None:
        """Takes the outcome of a batch."""
        self._vectors.take(outcome, now)

    def recover(self, *, blame: bool = False) -> None:
        """Starts over after an error; `blame`: leaves out the file at hand, whose fault it seems."""
        if blame and self._at:
            self._failed.add(self._at)
        self._paths.clear()
        self._survey = Survey(again=self._survey.again)
        self._survey.want(EVERYTHING)

    def close(self) -> None:
        """Lets go of its note; the index belongs to the caller."""
        self._suspect.leave()
        self._suspect.close()

    def step(self, now: float) -> float:
        """Does a small piece of the work; the seconds until there is more, if nothing comes in.

        An error leaves the index as it was before the step; `recover` goes on from there.
        """
        if self._schedule.is_due(now) and not self._survey.active:
            self._survey_everything()
        self._heal()
        self._take_pending(now)
        busy = self._work(now + STEP_SECONDS)
        self._vectors.step(now)
        self._flush(now, busy=busy)
        if busy:
            self._reports.progress("files", self._survey.done, self._survey.total, now)
            return 0.0
        self._settle()
        waits = (self._hinted.wait(now), self._typed.wait(now), self._vectors.wait(now), self._schedule.wait(now))
        return min(wait for wait in waits if wait is not None)

    def _heal(self) -> None:
        """What the index had to take out as damaged is read again."""
        for repair in self._workspace.index.take_repairs():
            self._reports.problem(repair)
            self._vectors.look_again()
            self.rescan()

    def _take_pending(self, now: float) -> None:
        for path in (*self._hinted.take(now), *self._typed.take(now)):
            if not self._paths:
                self._inside.clear()
            folder, _, name = path.rpartition("/")
            if path == EVERYTHING:
                self._survey_everything()
            elif name in RULE_FILES or name == ".git":
                self._survey.want(folder)
            elif ".git" not in path.split("/"):
                self._paths.append(path)

    def _survey_everything(self) -> None:
        """Watches anew, for lost events may be a lost watch, and only then compares."""
        self._watch_anew()
        self._survey.want(EVERYTHING)

    def _work(self, deadline: float) -> bool:
        """Handles paths, then differences, until the deadline; False when there was nothing to do."""
        if not self._paths and not self._survey.active:
            self._touched.clear()
            self._suspect.leave()
            self._paths, self._put_off = self._put_off, deque()
            self._suspect.path = "" if self._paths else self._suspect.path
            return bool(self._paths)
        with self._workspace.index.batch():
            while (self._paths or self._survey.active) and time.monotonic() < deadline:
                if self._paths:
                    self._look_at(self._paths.popleft())
                elif change := self._survey.next_change(self._workspace, deadline):
                    self._apply(change)
        if self._survey.completed:
            self._end_of_survey()
        return True

    def _look_at(self, path: str) -> None:
        """Brings one path up to date, whatever stands there now; a folder is compared as a whole."""
        self._touched.add(path)
        root, scope, index = self._workspace.root, self._workspace.scope, self._workspace.index
        if path in self._buffers:
            reason = reason_by_name(root, scope, path, self._inside)
            self._update(Change(path, Skipped(path, reason) if reason else None, index.file(path)), first=True)
            return
        inside = rules_inside(root, scope, path.rpartition("/")[0], self._inside)
        found = look(root, scope, path, inside) if isinstance(inside, IgnoreRules) else inside
        if isinstance(found, str) or (isinstance(found, Skipped) and found.path.endswith("/")):
            self._look_into(found)
            return
        name = shown(path) if found is None else found.path
        self._update(Change(name, found, index.file(name)), first=True)
        if holds_below(index, name):
            self._survey.want(name)  # it was a folder

    def _look_into(self, found: str | Skipped) -> None:
        """Compares a folder, unless it is left out as it was before."""
        if isinstance(found, Skipped):
            known = self._workspace.index.file(found.path)
            if known is not None and known.skipped == found.reason:
                return
        self._survey.want(found if isinstance(found, str) else found.path.rstrip("/"))

    def _apply(self, change: Change) -> None:
        if change.path in self._touched:
            self._paths.append(change.path)  # what the comparison saw may be older than what a hint led to
        elif change.path not in self._buffers:
            self._update(change, first=not self._survey.whole)

    def _update(self, change: Change, *, first: bool) -> None:
        """Writes one path's new state, unless it must wait until all others are done."""
        self._at = change.path
        if change.path == self._suspect.path:
            self._put_off.append(change.path)
            return
        self._suspect.enter(change.path)
        if change.path in self._failed:
            change = replace(change, found=Skipped(change.path, Reason.FAILED))
        text = self._buffers.get(change.path)
        if text is None:
            update = update_file(self._workspace, change, again=self._survey.again)
        else:
            update = update_buffer(self._workspace, change, text)
        if update.problem:
            self._reports.problem(update.problem)
        self._unflushed = self._unflushed or update.written
        self._saved = self._saved or (update.written and first and not self._paths)
        if update.changed:
            self._reports.changed(update.path)
            self._vectors.add(update.texts, first=first)

    def _end_of_survey(self) -> None:
        """The whole tree has been compared."""
        self._survey.completed = False
        if self._survey.again:
            recipe.note(self._workspace.index.folder)
            self._survey.again = False
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
            self._reports.tell_changed()

    def _settle(self) -> None:
        """Tells when everything can be found, by its words and then by its meaning."""
        if self._hinted or self._typed or not (self._vectors.settled or not self._searchable):
            return
        if not self._reports.unsettled:
            self._reports.rest()
            return
        status = self._workspace.index.status()
        numbers = {"files": status.files, "fragments": status.fragments, "skipped": status.skipped}
        if not self._searchable:
            self._searchable = True
            self._reports.tell({"event": "searchable", **numbers})
        # Where no vector is missing, readiness does not wait for the model to load.
        if self._vectors.settled or status.vectors == status.fragments:
            embedded = self._vectors.stored - self._stored_before
            counts = {"embedded": embedded, "reused": max(status.vectors - embedded, 0)}
            seconds = round(time.monotonic() - self._began, 3)
            self._reports.ready(**numbers, **counts, pending=status.fragments - status.vectors, seconds=seconds)
