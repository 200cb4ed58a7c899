"""The daemon as a whole: its services with types, opened and closed in order, and its status and each workspace's."""

import asyncio
import logging
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request

from codekin.daemon.process.request_guard import Activity, RequestGuard
from codekin.daemon.services.context import DaemonService, Priority, ServiceContext, WorkerPools
from codekin.daemon.services.embedding import EmbeddingEngine
from codekin.daemon.services.finetune import FinetuneService
from codekin.daemon.services.generation import GeneratorService
from codekin.daemon.services.heavy import HeavyServices
from codekin.daemon.services.workspaces import OpenWorkspace, WorkspaceRegistry
from codekin.errors import CodekinError
from codekin.settings import Settings, load_settings
from codekin.util.files import read_or_create_secret
from codekin.util.process import HeapTrimmer

log = logging.getLogger(__name__)

REAP_SECONDS = 5.0


@dataclass(slots=True, eq=False)
class Daemon:
    """The daemon of one data folder; lives on one event loop."""

    data: Path
    settings: Settings = field(init=False)
    problems: tuple[str, ...] = field(init=False)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    started: float = field(default_factory=time.time)
    context: ServiceContext = field(init=False)
    generators: GeneratorService = field(init=False)
    heavy: HeavyServices = field(init=False)
    finetune: FinetuneService = field(init=False)
    services: list[DaemonService] = field(init=False)
    """All of them, in the order in which they open."""
    _app: RequestGuard = field(init=False)
    _reaper: asyncio.Task[None] | None = None
    _warming: asyncio.Task[None] | None = None
    _loop: asyncio.AbstractEventLoop | None = None

    def __post_init__(self) -> None:
        self.settings, self.problems = load_settings(self.data)
        engine = EmbeddingEngine(self.data, self.settings, self._model_changed)
        workspaces = WorkspaceRegistry(self.data, engine.start_loading)
        self.context = ServiceContext(self.data, self.settings, engine, workspaces)
        self.generators = GeneratorService(self.context)
        self.heavy = HeavyServices(self.context, self.generators)
        self.finetune = FinetuneService(self.context, self.heavy.fit_gate)
        self.services = [self.generators, self.heavy, self.finetune]

    def serve(self, app: Starlette) -> None:
        """Puts the app behind its guard."""
        app.state.daemon = self
        self._app = RequestGuard(app, self.activity, self.settings.daemon.max_body_mb << 20, self.token)

    @property
    def engine(self) -> EmbeddingEngine:
        """The embedding model."""
        return self.context.engine

    @property
    def workspaces(self) -> WorkspaceRegistry:
        """The open workspaces."""
        return self.context.workspaces

    @property
    def workers(self) -> WorkerPools:
        """The threads, by priority."""
        return self.context.workers

    @property
    def activity(self) -> Activity:
        """Counts the requests that are being served."""
        return self.context.activity

    @property
    def app(self) -> RequestGuard:
        """The app behind its guard."""
        return self._app

    @property
    def log_level(self) -> str:
        """The least severe level that its log holds, in lower case."""
        return self.settings.daemon.log_level

    @property
    def loopback_port(self) -> int:
        """The TCP port of the user's choice, 0 for none."""
        return self.settings.daemon.loopback_port

    def may_exit(self) -> bool:
        """Whether no request came for the time of the setting and no work is under way."""
        if self.activity.idle_seconds() < self.settings.daemon.idle_minutes * 60:
            return False
        return not self.workspaces.busy() and not any(service.is_busy for service in self.services)

    async def open(self) -> None:
        """Begins background work."""
        self._loop = asyncio.get_running_loop()
        self._reaper = asyncio.create_task(self._reap())
        if self.loopback_port:
            self.token()  # there before the first caller, who reads it
        for service in self.services:
            await service.open()

    async def close(self) -> None:
        """Ends background work and children; each part's failure is logged and stops no other."""
        self.stopping.set()
        for task in (self._reaper, self._warming):
            if task is not None:
                task.cancel()
        for service in reversed(self.services):
            try:
                await service.close()
            except Exception:
                log.exception("Closing %s failed.", service.name)
        await self.workspaces.close_all()
        self.workers.close()

    def token(self) -> str:
        """The secret that callers over TCP bring, readable by the user alone; made before the port is served."""
        return read_or_create_secret(self.data / "token")

    def _model_changed(self, replaced: bool) -> None:
        """Reports a new model, or its failure, to every listener and indexer; callable from any thread."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._take_model, replaced)

    def _take_model(self, replaced: bool) -> None:
        self.workspaces.model_changed(replaced)
        if not self.stopping.is_set():
            self._warming = asyncio.create_task(self.heavy.warm_up())

    async def _reap(self) -> None:
        heap = HeapTrimmer()
        while True:
            await asyncio.sleep(REAP_SECONDS)
            await self.workers.run(Priority.QUERY, heap.trim_if_grown)  # niced, it would hold the heap's lock for long
            await self.workspaces.replace_lost_indexes()
            await self.workspaces.close_idle(self.settings.daemon.workspace_idle_minutes * 60)


def daemon_of(request: Request) -> Daemon:
    """The daemon that serves a request."""
    daemon: Daemon = request.app.state.daemon
    return daemon


_EMPTY_COUNTS = {"files": 0, "skipped": 0, "chunks": 0, "embedded": 0, "space": "", "journal": 0, "bytes": 0}


async def workspace_status(daemon: Daemon, workspace: OpenWorkspace) -> dict[str, Any]:
    """The status of one open workspace, the index counted in a worker thread."""
    counts, trouble = await daemon.workers.run(Priority.QUERY, _index_counts, workspace)
    engine = daemon.engine.state()
    problems = [*daemon.problems, *workspace.settings_problems, *workspace.current_problems(), *trouble]
    problems += [str(engine["problem"])] if engine["problem"] else []
    parts = _service_statuses(daemon, workspace)
    problems += [str(part["problem"]) for part in parts.values() if part.get("problem")]
    return {
        "root": str(workspace.root),
        "state": workspace.state,
        **counts,
        "progress": workspace.progress,
        "model": engine,
        "degraded": daemon.engine.degraded(),
        "team": daemon.heavy.team_state(),
        "problems": list(dict.fromkeys(problems)) + _empty_index_problems(workspace, counts),
        "last_run": workspace.summary,
        **parts,
    }


def daemon_status(daemon: Daemon) -> dict[str, Any]:
    """The status of the daemon as a whole."""
    rows = [
        {"root": str(root), "state": workspace.state, "indexer": workspace.pid}
        for root, workspace in daemon.workspaces.open.items()
    ]
    return {
        "workspaces": rows,
        "model": daemon.engine.state(),
        "idle_seconds": round(daemon.activity.idle_seconds(), 1),
        "problems": list(daemon.problems),
        **_service_statuses(daemon, None),
    }


def _index_counts(workspace: OpenWorkspace) -> tuple[dict[str, Any], list[str]]:
    """What lies in the index; an index that cannot be read is a problem, not a failure."""
    try:
        if not workspace.has_index():
            return _EMPTY_COUNTS, []
        found = workspace.index().status()
    except CodekinError as error:
        return _EMPTY_COUNTS, [str(error)]
    except Exception:
        log.exception("The status of an index could not be read.")
        return _EMPTY_COUNTS, ["The index cannot be read; `codekin index --rebuild` builds it again."]
    counts = {
        "files": found.files,
        "skipped": found.skipped,
        "chunks": found.chunks,
        "embedded": found.vectors,
        "space": found.space,
        "journal": found.seq,
        "bytes": found.size_bytes,
    }
    return counts, []


def _empty_index_problems(workspace: OpenWorkspace, counts: dict[str, Any]) -> list[str]:
    """Why a complete index may return no results."""
    if workspace.state != "ready" or counts["chunks"]:
        return []
    if not counts["files"]:
        return ["No file here is in a known language or all are ignored; `codekin status --files` gives each reason."]
    return ["The files hold no functions or classes that could be cut out; `codekin status --files` lists them."]


def _service_statuses(daemon: Daemon, workspace: OpenWorkspace | None) -> dict[str, dict[str, Any]]:
    found = {}
    for service in daemon.services:
        try:
            if status := service.status(workspace):
                found[service.name] = status
        except Exception:
            log.exception("The status of %s failed.", service.name)
            found[service.name] = {"problem": f"The status of {service.name} failed; see the daemon's log."}
    return found
