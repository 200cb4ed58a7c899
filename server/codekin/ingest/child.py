"""The indexer's process: `python -m codekin.ingest.child --root R --data-dir D --socket S`.

Commands come as JSON lines on standard input, events leave as JSON lines on standard output.
Commands (`do`): `rescan`; `buffer` with `path` and `text` (null: the file counts again);
`settings` with the editor's settings; `head` (another head was activated); `stop`.
Events (`event`): `progress` (`phase` files or vectors, `done`, `total`, `rate` a second,
`seconds_left`), `searchable` (all words are in), `ready` (all vectors too, with the counts of
files, fragments, skipped, embedded, reused, pending and the seconds), `changed` (`count`, the
first `paths`), `problem` (`message`), `refused` (`message`: a checkpoint that cannot be used).
The end of the input, or of the parent, ends the process at once: the index is whole at any
moment, and the next start finds what was left undone. Knows nothing of how indexing is done.
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
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Final

from codekin import places, syntax
from codekin.errors import CodekinError
from codekin.index import Index
from codekin.ingest.backlog import Backlog
from codekin.ingest.embedding import Embedded, EmbeddingThread
from codekin.ingest.ignore import base_rules
from codekin.ingest.indexer import Indexer
from codekin.ingest.mounts import needs_polling
from codekin.ingest.process import die_with_parent, yield_to_others
from codekin.ingest.reading import Root
from codekin.ingest.reports import Reports
from codekin.ingest.scan import Scope
from codekin.ingest.schedule import Schedule
from codekin.ingest.update import Workspace
from codekin.ingest.vectors import VectorWork
from codekin.ingest.watch import Watch, watch
from codekin.models.heads import Head, active_head
from codekin.seams import Embedder
from codekin.settings import IndexSettings, load_settings

log = logging.getLogger(__name__)

Message = tuple[str, Any]
"""What comes in: ("hint", path or None), ("embedded", outcome) or ("command", dict)."""

RETRY_SECONDS: Final = 5.0
WORKSPACE_FILE: Final = ".codekin.toml"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs until told to stop; the exit status is 0 then, 2 when the work cannot begin."""
    parser = argparse.ArgumentParser(prog="codekin.ingest.child")
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--socket", default="", help="where texts are embedded; without it words alone are indexed")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING)
    warnings.filterwarnings("ignore", module="watchdog")  # it warns of folders that come and go; we watch anew then
    die_with_parent()
    yield_to_others()
    inbox: SimpleQueue[Message] = SimpleQueue()
    threading.Thread(target=_read_commands, args=(inbox,), name="commands", daemon=True).start()
    try:
        _Child(given.root.resolve(), places.data_dir(given.data_dir), given.socket, inbox).run()
    except CodekinError as error:
        _tell({"event": "problem", "message": str(error)})
        return 2
    return 0


class _Child:
    """Joins the indexer with its threads: commands, events of the file system, embedding."""

    def __init__(self, root: Path, data: Path, socket: str, inbox: SimpleQueue[Message]) -> None:
        self._root, self._data, self._inbox = root, data, inbox
        self._learning = places.learning_folder(data, root)
        self._overrides: Mapping[str, Any] = {}
        self._reports = Reports(_tell)
        self._settings = settings = self._load()
        self._schedule = Schedule(every=settings.rescan_minutes * 60.0)
        self._watch = self._start_watch(settings)
        self._index = Index.open(places.workspace_folder(data, root), write=True)
        thread = EmbeddingThread(lambda: _open_embedder(socket, root), self._embedded) if socket else None
        self._vectors = vectors = VectorWork(Backlog(self._index, self._read_head), thread, self._reports)
        self._indexer = Indexer(self._workspace(settings), self._reports, vectors, self._schedule, self._watch_anew)

    def run(self) -> None:
        """Steps, and takes in what comes between the steps, until told to stop."""
        wait = 0.0
        while self._take_all(wait):
            try:
                wait = self._indexer.step(time.monotonic())
            except CodekinError as error:
                self._recover(str(error), blame=False)
                wait = RETRY_SECONDS
            except Exception:
                # Nothing that one file holds may end the indexing of all others.
                log.exception("A step of the indexer failed.")
                self._recover("The indexer stumbled over a file and leaves it out: see its log.", blame=True)
                wait = 0.0
        if self._watch is not None:
            self._watch.stop()
        self._indexer.close()
        self._index.close()

    def _recover(self, problem: str, *, blame: bool) -> None:
        self._reports.problem(problem)
        self._reports.unsettled = True  # that all is well again is told, however little there was to do
        self._indexer.recover(blame=blame)

    def _take_all(self, wait: float) -> bool:
        """Takes all that has come in, waiting for the first; False when told to stop."""
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
            return self._obey(content, now)
        return True

    def _obey(self, command: Mapping[str, Any], now: float) -> bool:
        """Does what a command says; False for `stop`."""
        wanted = command.get("do")
        if wanted == "rescan":
            self._indexer.rescan()
        elif wanted == "buffer":
            self._buffer(command, now)
        elif wanted == "head":
            self._vectors.take_head()
        elif wanted == "settings":
            given = command.get("settings")
            self._configure(given if isinstance(given, dict) else {})
        elif wanted != "stop":
            self._reports.problem(f"The indexer does not know the command {wanted!r}.")
        return wanted != "stop"

    def _read_head(self, base_space: str) -> Head | None:
        """The head that was learned here; one that is refused is told of, and the base serves."""
        try:
            return active_head(self._learning, base_space)
        except CodekinError as error:
            _tell({"event": "refused", "message": str(error)})
            return None

    def _buffer(self, command: Mapping[str, Any], now: float) -> None:
        path, text = command.get("path"), command.get("text")
        if isinstance(path, str) and is_inside(path) and (text is None or isinstance(text, str)):
            self._indexer.buffer(path, text, now)
        else:
            self._reports.problem(f"The unsaved text of {path!r} was not taken: its path is not inside the workspace.")

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
        settings, problems = load_settings(self._data, self._root, self._overrides)
        for problem in problems:
            self._reports.problem(problem)
        return settings.index

    def _workspace(self, settings: IndexSettings) -> Workspace:
        scope = Scope(base_rules(settings.ignore), _known_language(settings.languages), settings.max_file_kb * 1024)
        return Workspace(Root(self._root), scope, self._index, frozenset(settings.languages))

    def _start_watch(self, settings: IndexSettings) -> Watch | None:
        """Watches for events, or polls where they do not come or the system has no watches left."""
        wanted = settings.watch
        if wanted == "auto":
            wanted = "poll" if needs_polling(self._root) else "events"
        watching = watch(self._root, lambda path: self._inbox.put(("hint", path))) if wanted == "events" else None
        self._schedule.polling = wanted == "poll" or (wanted == "events" and watching is None)
        if wanted == "events" and watching is None:
            self._reports.problem(
                "The system has no file watches left, so changes are looked for every few seconds: "
                "raise fs.inotify.max_user_watches, or ignore large folders."
            )
        return watching

    def _watch_anew(self) -> None:
        """Replaces the watch, the new one first, so that nothing happens unseen in between."""
        if self._watch is not None:
            before, self._watch = self._watch, self._start_watch(self._settings)
            threading.Thread(target=before.stop, name="old watch", daemon=True).start()

    def _embedded(self, outcome: Embedded) -> None:
        self._inbox.put(("embedded", outcome))


def is_inside(path: str) -> bool:
    """Whether a relative path with forward slashes stays inside the workspace, and out of git's own folder."""
    parts = path.split("/")
    return "\0" not in path and not {"", ".", "..", ".git"}.intersection(parts)


def _known_language(wanted: Sequence[str]) -> Any:
    """Whether a file may be in a wanted language, by its name alone: a header can be of two."""
    by_name = {row.name for row in syntax.LANGUAGES.values()}
    headers = frozenset({"c", "cpp"})

    def known(path: str) -> bool:
        language = syntax.language_of(path, "")
        if language is None or language not in by_name:
            return False
        return not wanted or language in wanted or (path.endswith((".h", ".H")) and bool(headers.intersection(wanted)))

    return known


def _open_embedder(socket: str, root: Path) -> Embedder:
    """The daemon's model, or the encoder that was trained for this workspace, which the daemon holds as well."""
    from codekin.models.remote import RemoteEmbedder  # noqa: PLC0415  (words are indexed before they are needed)

    return RemoteEmbedder(socket, root=str(root))


def _read_commands(inbox: SimpleQueue[Message]) -> None:
    """Passes commands on; the end of the input ends the process, wherever it is.

    Reads the descriptor itself, since a thread inside a buffered reader upsets Python's own exit.
    """
    rest = b""
    while piece := os.read(sys.stdin.fileno(), 1 << 16):
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            inbox.put(("command", _parsed(line)))
    os._exit(0)


def _parsed(line: bytes) -> dict[str, Any]:
    try:
        command = json.loads(line)
    except (ValueError, RecursionError):
        command = None
    return command if isinstance(command, dict) else {"do": "unreadable line"}


def _tell(event: dict[str, Any]) -> None:
    """Writes an event; a reader that is gone ends the process."""
    try:
        sys.stdout.write(json.dumps(event) + "\n")
        sys.stdout.flush()
    except (BrokenPipeError, ValueError):
        os._exit(0)


if __name__ == "__main__":
    raise SystemExit(main())
