"""All that the daemon holds, handed to every route; its opening and closing."""

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request

from codekin.daemon.engine import Engine
from codekin.daemon.guard import Activity, Guard
from codekin.daemon.memory import Heap
from codekin.daemon.work import Priority, Workers
from codekin.daemon.workspaces import Workspace, Workspaces
from codekin.settings import Settings, load_settings

log = logging.getLogger(__name__)

REAP_SECONDS = 5.0


@dataclass(slots=True)
class Extension:
    """What a room adds to the daemon beside its routes; each part may be missing.

    `busy` keeps the daemon alive; `status` is merged into a workspace's status under `name`.
    """

    name: str
    open: Callable[["Daemon"], Awaitable[None]] | None = None
    close: Callable[["Daemon"], Awaitable[None]] | None = None
    busy: Callable[["Daemon"], bool] | None = None
    status: Callable[["Daemon", Workspace | None], dict[str, Any]] | None = None


@dataclass(slots=True, eq=False)
class Daemon:
    """The daemon of one data folder; lives on one event loop."""

    data: Path
    settings: Settings = field(default_factory=Settings)
    problems: tuple[str, ...] = ()
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    activity: Activity = field(default_factory=Activity)
    workers: Workers = field(default_factory=Workers)
    extensions: list[Extension] = field(default_factory=list)
    extras: dict[str, Any] = field(default_factory=dict)
    started: float = field(default_factory=time.time)
    engine: Engine = field(init=False)
    workspaces: Workspaces = field(init=False)
    _app: Guard = field(init=False)
    _reaper: asyncio.Task[None] | None = None
    _loop: asyncio.AbstractEventLoop | None = None

    def __post_init__(self) -> None:
        self.settings, self.problems = load_settings(self.data)
        self.engine = Engine(self.data, self.settings, self._model_changed)
        self.workspaces = Workspaces(self.data, self.engine.begin)

    def serve(self, app: Starlette) -> None:
        """Puts the app behind its guard."""
        app.state.daemon = self
        self._app = Guard(app, self.activity, self.settings.daemon.max_body_mb << 20, self.token)

    @property
    def app(self) -> Guard:
        """The app behind its guard."""
        return self._app

    @property
    def loopback_port(self) -> int:
        """The TCP port of the user's choice, 0 for none."""
        return self.settings.daemon.loopback_port

    def may_leave(self) -> bool:
        """Whether nobody has asked for the time of the setting and no work is under way."""
        if self.activity.idle_seconds() < self.settings.daemon.idle_minutes * 60:
            return False
        return not self.workspaces.busy() and not any(part.busy and part.busy(self) for part in self.extensions)

    async def open(self) -> None:
        """Begins background work."""
        self._loop = asyncio.get_running_loop()
        self._reaper = asyncio.create_task(self._reap())
        for part in self.extensions:
            if part.open:
                await part.open(self)

    async def close(self) -> None:
        """Ends background work and children; each part's failure is logged and stops no other."""
        self.stopping.set()
        if self._reaper:
            self._reaper.cancel()
        for part in reversed(self.extensions):
            if part.close:
                try:
                    await part.close(self)
                except Exception:
                    log.exception("Closing %s failed.", part.name)
        await self.workspaces.close_all()
        self.workers.close()

    def token(self) -> str:
        """The secret that callers over TCP bring; made at the first need, readable by the user alone."""
        path = self.data / "token"
        if not path.exists():
            path.touch(mode=0o600)
            path.write_text(secrets.token_urlsafe(32))
        return path.read_text().strip()

    def _model_changed(self, replaced: bool) -> None:
        """Tells every listener and indexer, from whatever thread, that there is another model or that it failed."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self.workspaces.model_changed, replaced)

    async def _reap(self) -> None:
        heap = Heap()
        while True:
            await asyncio.sleep(REAP_SECONDS)
            await self.workers.run(Priority.QUERY, heap.trim_if_grown)  # niced, it would hold the heap's lock for long
            await self.workspaces.close_idle(self.settings.daemon.workspace_idle_minutes * 60)


def daemon_of(request: Request) -> Daemon:
    """The daemon that serves a request."""
    daemon: Daemon = request.app.state.daemon
    return daemon
