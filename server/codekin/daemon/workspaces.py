"""The workspaces that are open: their indexer children, readers, unsaved texts and listeners.

A workspace opens by itself when somebody asks about it and closes when nobody has for a
while. Knows nothing of HTTP.
"""

import asyncio
import logging
import shutil
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codekin import places
from codekin.daemon.child import Event
from codekin.daemon.indexer import Indexer
from codekin.errors import StoreError, UsageError
from codekin.settings import Settings, load_settings, settings_stamp

if TYPE_CHECKING:
    from codekin.index import Index

log = logging.getLogger(__name__)

LISTENER_EVENTS = 256
"""A listener that falls this far behind loses the oldest events, never the newest."""

BUFFERS_LIMIT = 64_000_000
"""Characters of unsaved text kept for each workspace."""

PROBLEMS_LIMIT = 20

PROGRESS = ("phase", "done", "total", "rate", "seconds_left")
"""What a status repeats of an indexer's progress; the rate is in items a second."""


@dataclass(slots=True, eq=False)
class Workspace:
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
    buffers: dict[str, str] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)
    listeners: set[asyncio.Queue[Event]] = field(default_factory=set)
    used: float = field(default_factory=time.monotonic)
    indexer: Indexer | None = None
    learned: tuple[str, str] | None = None
    """A space of its index, and the checkpoint that opens it; empty for the base."""
    _stamp: tuple[int, ...] | None = None
    _noted: list[str] = field(default_factory=list)
    _refusals: set[str] = field(default_factory=set)
    _index: "Index | None" = None

    @property
    def folder(self) -> Path:
        """Where its index lies."""
        return places.workspace_folder(self.data, self.root)

    @property
    def pid(self) -> int | None:
        """The indexer's process id while it runs."""
        return self.indexer.pid if self.indexer else None

    def configure(self, overrides: Mapping[str, Any] | None = None) -> None:
        """Reads the settings where a file or the editor's settings have changed, and tells the indexer."""
        stamp = settings_stamp(self.data, self.root)
        if stamp == self._stamp and overrides in (None, self.overrides):
            return
        self._stamp = stamp
        self.overrides = self.overrides if overrides is None else overrides
        self.settings, self.settings_problems = load_settings(self.data, self.root, self.overrides)
        if self.indexer:
            self.indexer.tell({"do": "settings", "settings": dict(self.overrides)})
            self.tell({"event": "settings"})

    def has_index(self) -> bool:
        """Whether there is one to read; a fresh workspace has none until its indexer has begun it."""
        try:
            self.index()
        except StoreError:
            if self.state in ("starting", "indexing"):
                return False
            raise
        return True

    def index(self) -> "Index":
        """The reader of its index, opened at the first need; called in worker threads."""
        if self._index is None:
            from codekin.index import Index  # noqa: PLC0415 - brings numpy and tantivy

            self._index = Index.open(self.folder)
        return self._index

    def buffer(self, path: str, text: str | None, version: int) -> None:
        """Takes an unsaved text, or with None forgets it; a version older than the last is ignored."""
        if version < self.versions.get(path, 0):
            return
        if text is None:
            self.buffers.pop(path, None)
            self.versions.pop(path, None)
        else:
            self.buffers[path], self.versions[path] = text, version
        if sum(map(len, self.buffers.values())) > BUFFERS_LIMIT:
            self.buffers.pop(path, None)
            raise UsageError(f"The unsaved texts are larger than {BUFFERS_LIMIT} characters: save {path}.")
        if self.indexer:
            self.indexer.tell({"do": "buffer", "path": path, "text": text})

    def heard(self, event: Event) -> None:
        """Takes in what the indexer says, and tells the listeners."""
        kind = event.get("event")
        if kind == "progress":
            self.state = "indexing"
            self.progress = {name: event.get(name) for name in PROGRESS}
        elif kind == "ready":
            self.state, self.progress = "ready", None
            self.summary = {name: value for name, value in event.items() if name != "event"}
            self.problems, self._noted = self._noted, []
        elif kind in ("problem", "ended"):
            self.state = "failing" if kind == "ended" and event.get("failures", 0) > 1 else self.state
            self._note(str(event.get("message", "")))
        elif kind == "refused":
            self.refused(str(event.get("message", "")))
        self.tell(event)

    def refused(self, message: str) -> None:
        """A checkpoint was refused, and the model as it came serves: a problem, told aloud once."""
        self._note(message)
        if message not in self._refusals:
            self._refusals.add(message)
            log.warning("The model as it came serves in a workspace: %s", message)
            self.tell({"event": "learning", "running": False, "problem": message})

    def tell(self, event: Event) -> None:
        """Passes an event to everyone who listens."""
        for listener in self.listeners:
            if listener.full():
                listener.get_nowait()
            listener.put_nowait(event)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[asyncio.Queue[Event]]:
        """A queue of this workspace's events from now on; the workspace stays open meanwhile."""
        queue: asyncio.Queue[Event] = asyncio.Queue(LISTENER_EVENTS)
        self.listeners.add(queue)
        try:
            yield queue
        finally:
            self.listeners.discard(queue)
            self.used = time.monotonic()

    def opening(self) -> list[Event]:
        """What a fresh indexer has to know: the editor's settings and the unsaved texts."""
        settings = [{"do": "settings", "settings": dict(self.overrides)}] if self.overrides else []
        return [*settings, *({"do": "buffer", "path": path, "text": text} for path, text in self.buffers.items())]

    def start_indexer(self) -> None:
        """Starts the child that keeps the index equal to the working tree."""
        self.state = "starting"
        self.indexer = Indexer(self.root, self.data, self.heard, self.opening)

    async def rebuild(self) -> None:
        """Throws the index away and begins it anew."""
        if self.indexer:
            await self.indexer.stop()
        self.close_index()
        await asyncio.to_thread(shutil.rmtree, self.folder, ignore_errors=True)
        self.start_indexer()

    def close_index(self) -> None:
        """Gives the reader's memory back."""
        if self._index is not None:
            self._index.close()
            self._index = None

    def _note(self, message: str) -> None:
        """A problem is shown until the run after the one that met it is through."""
        for noted in (self.problems, self._noted):
            if message and message not in noted and len(noted) < PROBLEMS_LIMIT:
                noted.append(message)


class Workspaces:
    """All open workspaces by their real root."""

    def __init__(self, data: Path, before_indexing: Callable[[], None]) -> None:
        self._data = data
        self._before_indexing = before_indexing
        self.open: dict[Path, Workspace] = {}

    def get(self, root: Path, overrides: Mapping[str, Any] | None = None) -> Workspace:
        """The workspace, opened with an indexer of its own if it was not; counts as its use."""
        workspace = self.open.get(root)
        if workspace is None:
            workspace = self.open[root] = Workspace(root, self._data)
            workspace.configure(overrides)
            self._before_indexing()
            workspace.start_indexer()
            log.info("Opened a workspace (%d open).", len(self.open))
        else:
            workspace.configure(overrides)
        workspace.used = time.monotonic()
        return workspace

    def model_changed(self, replaced: bool) -> None:
        """Tells the listeners; where it replaced another, indexers begin again and embed in its space."""
        for workspace in self.open.values():
            workspace.tell({"event": "model"})
            if replaced and workspace.indexer and workspace.state == "ready":
                workspace.state = "indexing"
                workspace.indexer.restart()

    def busy(self) -> bool:
        """Whether some workspace is being indexed."""
        return any(workspace.state in ("starting", "indexing") for workspace in self.open.values())

    async def close_idle(self, seconds: float) -> None:
        """Closes those without listeners that nobody has used for so long."""
        for workspace in list(self.open.values()):
            unused = time.monotonic() - workspace.used > seconds
            if unused and not workspace.listeners and workspace.state not in ("starting", "indexing"):
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
