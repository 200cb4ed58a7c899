"""The indexer process: `python -m codekin.indexing.process --root R --data-dir D --socket S`.

Reads commands as JSON lines on standard input and writes events as JSON lines on standard output.
Commands (`do`): `rescan`; `buffer` with `path` and `text` (null: use the file again); `settings` with the editor's
settings; `head` (another head was activated); `stop`.
Events (`event`): `progress` (`phase` files or vectors, `done`, `total`, `rate` per second, `seconds_left`),
`searchable` (the text index is complete), `ready` (all vectors too, with the counts of files, chunks, skipped,
embedded, reused, pending and the seconds), `changed` (`count`, the first `paths`), `problem` (`message`; `until` is
"ready" where it is over once the indexer is, "solved" where an event of that name ends it), `refused` (`message`: a
checkpoint that cannot be used).
The process exits when its input closes or its parent dies; the index is consistent at any moment.
"""

import argparse
import json
import logging
import os
import sys
import threading
import time
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Final

from codekin import paths
from codekin.errors import CodekinError
from codekin.indexing.embedding_queue import (
    EmbeddedBatch,
    EmbeddingBacklog,
    EmbeddingQueue,
    EmbeddingThread,
    TeamVectorSource,
)
from codekin.indexing.file_reader import WorkspaceRoot
from codekin.indexing.file_update import IndexedWorkspace
from codekin.indexing.indexer import Indexer
from codekin.indexing.moved_root import adopt_moved_index, record_root
from codekin.indexing.reconciliation import EventReporter, ReconciliationSchedule
from codekin.indexing.scan import scope_of_settings
from codekin.indexing.watch import FileWatch, WatchFailure, start_watch
from codekin.models.embedding.finetuned import EmbeddingHead, active_head
from codekin.models.embedding.remote import RemoteEmbedder
from codekin.protocols import Embedder
from codekin.settings import IndexSettings, load_settings
from codekin.storage import ChunkIndex
from codekin.util.process import die_with_parent, lower_priority, needs_polling

log = logging.getLogger(__name__)

InboxMessage = tuple[str, Any]
"""What comes in: ("hint", path or None), ("embedded", outcome) or ("command", dict)."""

RETRY_SECONDS: Final = 5.0
WATCH_RETRY_SECONDS: Final = 60.0
"""Seconds until a large tree is watched anew after the system had no watches left."""

WORKSPACE_FILE: Final = ".codekin.toml"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs until the stop command; the exit status is 0 then, 2 when the work cannot begin."""
    parser = argparse.ArgumentParser(prog="codekin.indexing.process")
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--socket", default="", help="where texts are embedded; without it words alone are indexed")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING)
    warnings.filterwarnings("ignore", module="watchdog")  # it warns of folders that come and go; we watch anew then
    die_with_parent()
    lower_priority()
    inbox: SimpleQueue[InboxMessage] = SimpleQueue()
    threading.Thread(target=_read_commands, args=(inbox,), name="commands", daemon=True).start()
    try:
        _IndexerProcess(given.root.resolve(), paths.data_dir(given.data_dir), given.socket, inbox).run()
    except CodekinError as error:
        _write_event({"event": "problem", "message": str(error)})
        return 2
    return 0


class _IndexerProcess:
    """Joins the indexer with its threads: commands, events of the file system, embedding."""

    def __init__(self, root: Path, data: Path, socket: str, inbox: SimpleQueue[InboxMessage]) -> None:
        self._root, self._data, self._inbox = root, data, inbox
        self._finetune_dir = paths.finetune_dir(data, root)
        self._overrides: Mapping[str, Any] = {}
        self._reporter = EventReporter(_write_event)
        self._settings = settings = self._load()
        self._schedule = ReconciliationSchedule(every=settings.rescan_minutes * 60.0)
        self._watch_failure: WatchFailure | None = None
        self._watch_retry_at = 0.0
        self._watch = self._start_watch(settings)
        with suppress(OSError):  # the scan reports a folder that cannot be read
            adopt_moved_index(data, root)
        self._index = ChunkIndex.open(paths.index_dir(data, root), write=True)
        with suppress(OSError):
            record_root(data, root)
        team = load_settings(data)[0].team  # the user's own: a repository names no server
        source = TeamVectorSource(team.url, team.token)
        thread = EmbeddingThread(lambda: _open_embedder(socket, root), self._embedded, source) if socket else None
        self._vectors = vectors = EmbeddingQueue(EmbeddingBacklog(self._index, self._read_head), thread, self._reporter)
        self._indexer = Indexer(self._workspace(settings), self._reporter, vectors, self._schedule, self._restart_watch)

    def run(self) -> None:
        """Works step by step, handling commands between the steps, until the stop command."""
        wait = 0.0
        while self._drain_inbox(wait):
            try:
                wait = self._indexer.step(time.monotonic())
            except CodekinError as error:
                self._recover(str(error), skip_current=False)
                wait = RETRY_SECONDS
            except Exception:
                # Nothing that one file holds may end the indexing of all others.
                log.exception("A step of the indexer failed.")
                self._recover("The indexer stumbled over a file and leaves it out: see its log.", skip_current=True)
                wait = 0.0
        if self._watch is not None:
            self._watch.stop()
        self._indexer.close()
        self._index.close()

    def _recover(self, problem: str, *, skip_current: bool) -> None:
        self._reporter.problem(problem, until="" if skip_current else "ready")
        self._reporter.unsettled = True  # recovery is reported, however little there was to do
        self._indexer.recover(skip_current=skip_current)

    def _drain_inbox(self, wait: float) -> bool:
        """Handles all commands received, waiting for the first; False on the stop command."""
        try:
            message = self._inbox.get(timeout=wait) if wait else self._inbox.get_nowait()
            while True:
                if not self._take(*message):
                    return False
                message = self._inbox.get_nowait()
        except Empty:
            return True

    def _take(self, kind: str, content: Any) -> bool:
        now = time.monotonic()
        if kind == "hint":
            if content == WORKSPACE_FILE:
                self._configure(self._overrides)
            self._indexer.hint(content, now)
        elif kind == "embedded":
            self._indexer.embedded(content, now)
        else:
            return self._run_command(content, now)
        return True

    def _run_command(self, command: Mapping[str, Any], now: float) -> bool:
        """Executes a command; False for `stop`."""
        wanted = command.get("do")
        if wanted == "rescan":
            self._indexer.rescan()
        elif wanted == "buffer":
            self._buffer(command, now)
        elif wanted == "head":
            self._vectors.reload_head()
        elif wanted == "settings":
            given = command.get("settings")
            self._configure(given if isinstance(given, dict) else {})
        elif wanted != "stop":
            self._reporter.problem(f"The indexer does not know the command {wanted!r}.")
        return wanted != "stop"

    def _read_head(self, base_space: str) -> EmbeddingHead | None:
        """The head that was trained here; a refused one is reported, and the base serves."""
        try:
            return active_head(self._finetune_dir, base_space)
        except CodekinError as error:
            _write_event({"event": "refused", "message": str(error)})
            return None

    def _buffer(self, command: Mapping[str, Any], now: float) -> None:
        path, text = command.get("path"), command.get("text")
        if isinstance(path, str) and is_inside_workspace(path) and (text is None or isinstance(text, str)):
            self._indexer.buffer(path, text, now)
        else:
            self._reporter.problem(f"The unsaved text of {path!r} was not taken: its path is not inside the workspace.")

    def _configure(self, overrides: Mapping[str, Any]) -> None:
        """Goes on under changed settings, of the editor or of the workspace's own file."""
        self._overrides = overrides
        before, self._settings = self._settings, self._load()
        if self._settings == before:
            return
        self._schedule.every = self._settings.rescan_minutes * 60.0
        if self._settings.watch != before.watch:
            if self._watch is not None:
                self._watch.stop()
            self._watch = self._start_watch(self._settings)
        self._indexer.configure(self._workspace(self._settings))

    def _load(self) -> IndexSettings:
        """The settings in force; whoever reads them to show them reports what is wrong with them."""
        return load_settings(self._data, self._root, self._overrides)[0].index

    def _workspace(self, settings: IndexSettings) -> IndexedWorkspace:
        root, scope = WorkspaceRoot(self._root), scope_of_settings(settings)
        return IndexedWorkspace(root, scope, self._index, frozenset(settings.languages))

    def _start_watch(self, settings: IndexSettings) -> FileWatch | None:
        """Watches for events, or polls where they do not come or watching fails; then the reason is reported."""
        wanted = settings.watch
        if wanted == "auto":
            wanted = "poll" if needs_polling(self._root) else "events"
        started = start_watch(self._root, lambda path: self._inbox.put(("hint", path))) if wanted == "events" else None
        failure = started if isinstance(started, WatchFailure) else None
        self._schedule.polling = wanted == "poll" or failure is not None
        self._tell_watch_failure(failure)
        return started if not isinstance(started, WatchFailure) else None

    def _tell_watch_failure(self, failure: WatchFailure | None) -> None:
        """A failure is a problem until watching succeeds or fails for another reason."""
        before, self._watch_failure = self._watch_failure, failure
        if before is not None and before != failure:
            self._reporter.solved(before.sentence)
        if failure is not None:
            costs = WATCH_RETRY_SECONDS if failure.is_costly else 0.0
            self._watch_retry_at = time.monotonic() + costs
            self._reporter.problem(failure.sentence, until="solved")

    def _restart_watch(self) -> None:
        """Replaces the watch, the new one first, so that nothing happens unseen; tries again one that failed."""
        if self._watch is None and (self._watch_failure is None or time.monotonic() < self._watch_retry_at):
            return
        before, self._watch = self._watch, self._start_watch(self._settings)
        if before is not None:
            threading.Thread(target=before.stop, name="old watch", daemon=True).start()

    def _embedded(self, outcome: EmbeddedBatch) -> None:
        self._inbox.put(("embedded", outcome))


def is_inside_workspace(path: str) -> bool:
    """Whether a relative path with forward slashes stays inside the workspace, and out of git's own folder."""
    parts = path.split("/")
    return "\0" not in path and not {"", ".", "..", ".git"}.intersection(parts)


def _open_embedder(socket: str, root: Path) -> Embedder:
    """The daemon's model, or the encoder that was trained for this workspace, which the daemon holds as well."""
    return RemoteEmbedder(socket, root=str(root))


def _read_commands(inbox: SimpleQueue[InboxMessage]) -> None:
    """Passes commands on; the end of the input ends the process, wherever it is.

    Reads the descriptor itself, since a thread inside a buffered reader upsets Python's own exit.
    """
    rest = b""
    while piece := os.read(sys.stdin.fileno(), 1 << 16):
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            inbox.put(("command", _parse_command(line)))
    os._exit(0)


def _parse_command(line: bytes) -> dict[str, Any]:
    try:
        command = json.loads(line)
    except (ValueError, RecursionError):
        command = None
    return command if isinstance(command, dict) else {"do": "unreadable line"}


def _write_event(event: dict[str, Any]) -> None:
    """Writes an event; a reader that is gone ends the process."""
    try:
        sys.stdout.write(json.dumps(event) + "\n")
        sys.stdout.flush()
    except (BrokenPipeError, ValueError):
        os._exit(0)


if __name__ == "__main__":
    raise SystemExit(main())
