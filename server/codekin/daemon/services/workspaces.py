"""The open workspaces: their indexers, index readers, unsaved buffers and event listeners.

A workspace opens on first use and closes when it has been idle for a while.
"""

import asyncio
import logging
import shutil
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codekin import paths
from codekin.daemon.process.children import ChildEvent, IndexerProcess
from codekin.daemon.services.buffers import ANONYMOUS, WindowBuffers
from codekin.errors import DaemonError, StoreError, UsageError
from codekin.settings import Settings, load_settings, settings_stamp
from codekin.util.process import IMPORT_LOCK

if TYPE_CHECKING:
    from codekin.daemon.services.left_out import LeftOutRules
    from codekin.storage import ChunkIndex

log = logging.getLogger(__name__)

LISTENER_EVENTS = 256
"""A listener that falls this far behind loses the oldest events, never the newest."""

PROBLEMS_LIMIT = 20

INDEXING_STATES = frozenset({"starting", "indexing"})
DATABASE_NAME = "index.sqlite"
"""As `codekin.storage` names it, which brings numpy."""

RESULT_FIELDS = ("files", "chunks", "embedded", "reused", "skipped", "seconds")
MAX_FAILURES = 2
"""Of the indexer in a row, after which those who wait for it get an error."""

PROGRESS_FIELDS = ("phase", "done", "total", "rate", "seconds_left")
"""What a status repeats of an indexer's progress; the rate is in items a second."""


@dataclass(slots=True, eq=False)
class OpenWorkspace:
    """One open root; changed on the event loop alone."""

    root: Path
    data: Path
    overrides: Mapping[str, Any] = field(default_factory=dict)
    settings: Settings = field(default_factory=Settings)
    settings_problems: tuple[str, ...] = ()
    state: str = "starting"
    progress: dict[str, Any] | None = None
    summary: dict[str, Any] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    window_buffers: WindowBuffers = field(default_factory=WindowBuffers)
    listeners: set[asyncio.Queue[ChildEvent]] = field(default_factory=set)
    used: float = field(default_factory=time.monotonic)
    indexer: IndexerProcess | None = None
    serving_checkpoint: tuple[str, str] | None = None
    """A space of its index, and the checkpoint that opens it; empty for the base."""
    _database: int | None = None
    """The inode of the index's database as the indexer left it."""
    _settings_stamp: tuple[int, ...] | None = None
    _next_problems: list[str] = field(default_factory=list)
    _interruptions: list[str] = field(default_factory=list)
    """Problems that stopped the indexer, over as soon as it is ready again."""
    _conditions: list[str] = field(default_factory=list)
    """Problems that last until the indexer reports them solved."""
    _refusals: set[str] = field(default_factory=set)
    _index: "ChunkIndex | None" = None
    _left_out: "LeftOutRules | None" = None

    @property
    def folder(self) -> Path:
        """Where its index lies."""
        return paths.index_dir(self.data, self.root)

    @property
    def pid(self) -> int | None:
        """The indexer's process id while it runs."""
        return self.indexer.pid if self.indexer else None

    def configure(self, overrides: Mapping[str, Any] | None = None) -> None:
        """Reads the settings where a file or the editor's settings have changed, and passes them to the indexer."""
        stamp = settings_stamp(self.data, self.root)
        if stamp == self._settings_stamp and overrides in (None, self.overrides):
            return
        self._settings_stamp = stamp
        self.overrides = self.overrides if overrides is None else overrides
        self.settings, _ = load_settings(self.data, self.root, self.overrides)
        # Each window reports what is wrong with its editor's settings, which are no other window's concern.
        _, self.settings_problems = load_settings(self.data, self.root)
        if self.indexer:
            self.indexer.send({"do": "settings", "settings": dict(self.overrides)})
            self.send({"event": "settings"})

    def has_index(self) -> bool:
        """Whether there is one to read; a fresh workspace has none until its indexer has created it."""
        try:
            self.index()
        except StoreError:
            if self.state in INDEXING_STATES:
                return False
            raise
        return True

    def index(self) -> "ChunkIndex":
        """The reader of its index, opened at the first need; called in worker threads."""
        if self._index is None:
            with IMPORT_LOCK:
                from codekin.storage import ChunkIndex  # noqa: PLC0415 - brings numpy and tantivy

            self._index = ChunkIndex.open(self.folder)
        return self._index

    def left_out(self) -> "LeftOutRules":
        """Which of its files are left out under the present settings; called in worker threads."""
        with IMPORT_LOCK:
            from codekin.daemon.services.left_out import LeftOutRules  # noqa: PLC0415 - brings tree-sitter

        rules, settings = self._left_out, self.settings.index
        if rules is None or rules.settings != settings:
            rules = self._left_out = LeftOutRules(self.root, settings)
        return rules

    @property
    def buffers(self) -> Mapping[str, str]:
        """The unsaved texts that count, by path."""
        return self.window_buffers.texts

    def send_buffers(self, paths: Iterable[str]) -> None:
        """Sends the indexer the current text of each path; None means the file itself."""
        for path in paths:
            if self.indexer:
                self.indexer.send({"do": "buffer", "path": path, "text": self.buffers.get(path)})

    def handle_event(self, event: ChildEvent) -> None:
        """Handles the indexer's events, and passes them to the listeners."""
        kind = event.get("event")
        if kind == "progress":
            self.state = "indexing"
            self.progress = {name: event.get(name) for name in PROGRESS_FIELDS}
        elif kind == "ready":
            self.state, self.progress = "ready", None
            self.summary = {name: value for name, value in event.items() if name != "event"}
            self.problems, self._next_problems = [*self._next_problems, *self._lasting_refusals()], []
            self._interruptions.clear()
            self._database = self._database_inode()
        elif kind == "ended":
            self._conditions = []  # the next indexer finds out anew
            self.state = "failing" if event.get("failures", 0) > 1 else self.state
            self._interruptions = [str(event.get("message", ""))]
        elif kind == "problem" and event.get("until") == "ready":
            self._interruptions = [*self._interruptions[-PROBLEMS_LIMIT:], str(event.get("message", ""))]
        elif kind == "problem" and event.get("until") == "solved":
            self._conditions = [*self._conditions[-PROBLEMS_LIMIT:], str(event.get("message", ""))]
        elif kind == "solved":
            self._conditions = [problem for problem in self._conditions if problem != event.get("message")]
        elif kind == "problem":
            self._add_problem(str(event.get("message", "")))
        elif kind == "refused":
            self.report_refused(str(event.get("message", "")))
        self.send(event)

    def report_refused(self, message: str) -> None:
        """A checkpoint was refused, and the model as it came serves: a problem that listeners hear of once."""
        self._add_problem(message)
        if message not in self._refusals:
            self._refusals.add(message)
            log.warning("The model as it came serves in a workspace: %s", message)
            self.send({"event": "finetune", "running": False, "problem": message})

    def current_problems(self) -> list[str]:
        """What is wrong now; what was mended is not among it."""
        return [*self._interruptions, *self._conditions, *self.problems]

    async def wait_until_scanned(self, seconds: float) -> bool:
        """Waits until the files are known, though not their vectors; False if they are not in time."""
        try:
            async with asyncio.timeout(seconds), self.subscribe() as events:
                while self._is_scanning():
                    await events.get()
        except TimeoutError:
            return False
        return True

    async def index_events(self, *, rebuild: bool, is_fresh: bool) -> AsyncGenerator[ChildEvent, None]:
        """Brings the index up to date; the indexer's progress, then {"result": counts}. Raises DaemonError.

        A child that has just started scans by itself; a running one gets the command.
        """
        async with self.subscribe() as events:
            if rebuild:
                await self.rebuild()
            elif await self.replace_lost_index():
                pass  # it scans by itself
            elif not is_fresh and self.indexer:
                self.state = "indexing"
                self.indexer.send({"do": "rescan"})
            while True:
                event = await events.get()
                if event.get("event") == "ready":
                    yield {"result": {name: event.get(name, 0) for name in RESULT_FIELDS}}
                    return
                if event.get("event") == "ended" and event.get("failures", 0) > MAX_FAILURES:
                    raise DaemonError(str(event.get("message")))
                yield event

    def _lasting_refusals(self) -> list[str]:
        """A refused checkpoint is a problem until another model serves."""
        return [problem for problem in sorted(self._refusals) if problem not in self._next_problems]

    def forget_refused(self) -> None:
        """Another model serves now: the checkpoint that was refused is a problem no longer."""
        self.problems, self._next_problems = (
            [problem for problem in noted if problem not in self._refusals]
            for noted in (self.problems, self._next_problems)
        )
        self._refusals.clear()

    def send(self, event: ChildEvent) -> None:
        """Passes an event to everyone who listens."""
        for listener in self.listeners:
            if listener.full():
                listener.get_nowait()
            listener.put_nowait(event)

    @asynccontextmanager
    async def subscribe(self, window: str = ANONYMOUS) -> AsyncIterator[asyncio.Queue[ChildEvent]]:
        """A queue of this workspace's events from now on; the workspace stays open meanwhile.

        The texts of an editor window count for as long as it is subscribed.
        """
        queue: asyncio.Queue[ChildEvent] = asyncio.Queue(LISTENER_EVENTS)
        self.listeners.add(queue)
        self.window_buffers.attach(window)
        try:
            yield queue
        finally:
            self.listeners.discard(queue)
            self.send_buffers(self.window_buffers.detach(window))
            self.used = time.monotonic()

    def initial_commands(self) -> list[ChildEvent]:
        """What a fresh indexer has to know: the editor's settings and the unsaved texts."""
        settings = [{"do": "settings", "settings": dict(self.overrides)}] if self.overrides else []
        return [*settings, *({"do": "buffer", "path": path, "text": text} for path, text in self.buffers.items())]

    def start_indexer(self) -> None:
        """Starts the child that keeps the index equal to the working tree."""
        self.state = "starting"
        self._conditions = []
        self.indexer = IndexerProcess(self.root, self.data, self.handle_event, self.initial_commands)

    async def rebuild(self) -> None:
        """Throws the index away and begins it anew."""
        if self.indexer:
            await self.indexer.stop()
        self.close_index()
        await asyncio.to_thread(shutil.rmtree, self.folder, ignore_errors=True)
        self.start_indexer()

    async def replace_lost_index(self) -> bool:
        """Begins the index anew where its database was deleted or replaced; whether it was."""
        if self._database is None or self._database_inode() == self._database or self.state in INDEXING_STATES:
            return False
        self._database = None
        log.warning("The index of a workspace was deleted or replaced: it is built again.")
        await self.rebuild()
        self._interruptions = [f"The index of {self.root} was deleted or replaced: it is being built again."]
        self.send({"event": "problem", "message": self._interruptions[0]})
        return True

    def close_index(self) -> None:
        """Gives the reader's memory back."""
        if self._index is not None:
            self._index.close()
            self._index = None

    def _database_inode(self) -> int:
        try:
            return (self.folder / DATABASE_NAME).stat().st_ino
        except OSError:
            return 0

    def _is_scanning(self) -> bool:
        phase = (self.progress or {}).get("phase", "files")
        return self.state in INDEXING_STATES and phase == "files"

    def _add_problem(self, message: str) -> None:
        """A problem is shown until the run after the one that met it is through."""
        for noted in (self.problems, self._next_problems):
            if message and message not in noted and len(noted) < PROBLEMS_LIMIT:
                noted.append(message)


class WorkspaceRegistry:
    """All open workspaces by their real root."""

    def __init__(self, data: Path, before_indexing: Callable[[], None]) -> None:
        self._data = data
        self._before_indexing = before_indexing
        self.open: dict[Path, OpenWorkspace] = {}

    def find(self, root: Path) -> OpenWorkspace:
        """The workspace for a question; one that has an index is opened if need be.

        Raises UsageError for a folder without an index: a query does not create one.
        """
        if root not in self.open and not paths.index_dir(self._data, root).is_dir():
            raise UsageError(f"{root} is not indexed: run `codekin index {root}`, or open the folder in an editor.")
        return self.get(root)

    def get(self, root: Path, overrides: Mapping[str, Any] | None = None) -> OpenWorkspace:
        """The workspace, opened with an indexer of its own if it was not; counts as its use."""
        workspace = self.open.get(root)
        if workspace is None:
            workspace = OpenWorkspace(root, self._data)
            workspace.configure(overrides)  # where this fails, nothing is half open
            self._before_indexing()
            workspace.start_indexer()
            self.open[root] = workspace
            log.info("Opened a workspace (%d open).", len(self.open))
        else:
            workspace.configure(overrides)
        workspace.used = time.monotonic()
        return workspace

    def model_changed(self, replaced: bool) -> None:
        """Notifies the listeners; where it replaced another model, indexers restart and embed in its space."""
        for workspace in self.open.values():
            workspace.send({"event": "model"})
            if replaced and workspace.indexer and workspace.state == "ready":
                workspace.state = "indexing"
                workspace.indexer.restart()

    def busy(self) -> bool:
        """Whether some workspace is being indexed."""
        return any(workspace.state in INDEXING_STATES for workspace in self.open.values())

    async def replace_lost_indexes(self) -> None:
        """Begins anew those indexes whose files were deleted or replaced by somebody else."""
        for workspace in list(self.open.values()):
            await workspace.replace_lost_index()

    async def close_idle(self, seconds: float) -> None:
        """Closes those without listeners that were idle for so long."""
        for workspace in list(self.open.values()):
            unused = time.monotonic() - workspace.used > seconds
            if unused and not workspace.listeners and workspace.state not in INDEXING_STATES:
                await self.close(workspace.root)

    async def close(self, root: Path) -> None:
        """Ends the indexer and forgets the workspace; its index stays on disk."""
        workspace = self.open.pop(root, None)
        if workspace and workspace.indexer:
            await workspace.indexer.stop()
        if workspace:
            workspace.close_index()

    async def close_all(self) -> None:
        """Closes all, at the same time."""
        await asyncio.gather(*(self.close(root) for root in list(self.open)), return_exceptions=True)
