"""The daemon itself and the state of its workspaces.

`GET /handshake`, `POST /shutdown`, `/models/reload`, `/dashboard`; `/workspaces/open|close`, `/buffers`, `/events`,
`/index`, `/status`, `/files`.
"""

import asyncio
import logging
import os
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import asdict
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from codekin.daemon.dashboard.server import Dashboard, write_redirect_page
from codekin.daemon.process.build import this_build
from codekin.daemon.process.children import ChildEvent
from codekin.daemon.routes.request import AsciiJSONResponse, RequestParams, json_lines
from codekin.daemon.services.context import Priority
from codekin.daemon.services.state import Daemon, daemon_of, daemon_status, workspace_status
from codekin.daemon.services.workspaces import OpenWorkspace

log = logging.getLogger(__name__)


async def handshake(request: Request) -> Response:
    """{"product", "version", "stamp", "digest", "protocol", "pid", "data_dir", "started"}."""
    daemon = daemon_of(request)
    about = {"product": "codekin", **asdict(this_build()), "pid": os.getpid()}
    return AsciiJSONResponse({**about, "data_dir": str(daemon.data), "started": daemon.started})


async def shutdown(request: Request) -> Response:
    """{"reason"}: answers, finishes what is being served, and leaves."""
    daemon = daemon_of(request)
    reason = (await RequestParams.of(request)).text("reason", "asked to")
    log.info("Leaving: %.200s.", reason)
    daemon.stopping.set()
    return AsciiJSONResponse({"leaving": True})


async def reload_model(request: Request) -> Response:
    """{"model"?}: the settings' choice where none is named; gives the model's state once it serves.

    Running queries end on the old model; where the new one cannot be loaded, the old one
    serves on and the answer is the reason.
    """
    daemon = daemon_of(request)
    name = (await RequestParams.of(request)).text("model", "")

    swapped = await asyncio.to_thread(daemon.engine.reload, name)
    await asyncio.wrap_future(swapped)
    return AsciiJSONResponse(daemon.engine.state())


async def dashboard(request: Request) -> Response:
    """{"root"}: {"url", "page"}: an address that is good once, and a private file that leads a browser there."""
    daemon, root = daemon_of(request), (await RequestParams.of(request)).root()
    daemon.workspaces.find(root)
    service: Dashboard = request.app.state.dashboard
    url = await service.address(root)
    return AsciiJSONResponse({"url": url, "page": str(write_redirect_page(daemon.data, url))})


STATUS_EVENTS = frozenset({"ready", "problem", "solved", "ended", "settings", "model"})


async def events(request: Request) -> Response:
    """?root=&window=: JSON lines: "connected", "status", then the indexer's events, some followed by "status".

    The texts that an editor window sends to `/buffers` count for as long as it reads its events.
    """
    daemon = daemon_of(request)
    params = await RequestParams.of(request)
    workspace, window = daemon.workspaces.get(params.root()), params.text("window", "")
    return json_lines(until_leaving(daemon, _workspace_events(daemon, workspace, window)))


async def _workspace_events(daemon: Daemon, workspace: OpenWorkspace, window: str) -> AsyncGenerator[ChildEvent, None]:
    async with workspace.subscribe(window) as queue:
        yield {"event": "connected"}
        yield await _status_event(daemon, workspace)
        while True:
            event = await queue.get()
            yield event
            if event.get("event") in STATUS_EVENTS:
                yield await _status_event(daemon, workspace)


async def until_leaving(daemon: Daemon, events: AsyncGenerator[ChildEvent, None]) -> AsyncGenerator[ChildEvent, None]:
    """The events until the daemon begins to leave: a stream without an end would hold it up."""
    leaving = asyncio.create_task(daemon.stopping.wait())
    async with aclosing(events):
        try:
            while not daemon.stopping.is_set():
                yield await _first_of(asyncio.ensure_future(anext(events)), leaving)
        except (StopAsyncIteration, asyncio.InvalidStateError):
            return  # they have ended, or the daemon leaves
        finally:
            leaving.cancel()


async def _first_of(getting: asyncio.Future[ChildEvent], leaving: asyncio.Future[Any]) -> ChildEvent:
    """The next event; raises InvalidStateError where the daemon leaves first."""
    try:
        await asyncio.wait([getting, leaving], return_when=asyncio.FIRST_COMPLETED)
        return getting.result()
    finally:
        getting.cancel()
        await asyncio.gather(getting, return_exceptions=True)


async def _status_event(daemon: Daemon, workspace: OpenWorkspace) -> dict[str, Any]:
    return {"event": "status", **await workspace_status(daemon, workspace)}


async def index(request: Request) -> Response:
    """{"root", "rebuild"?}: JSON lines: progress, then {"result": {"files", "chunks", "embedded", …}}."""
    daemon, params = daemon_of(request), await RequestParams.of(request)
    is_fresh = params.root() not in daemon.workspaces.open
    workspace = daemon.workspaces.get(params.root())
    events = workspace.index_events(rebuild=params.flag("rebuild"), is_fresh=is_fresh)
    return json_lines(until_leaving(daemon, events))


async def status(request: Request) -> Response:
    """?root=: an indexed or open workspace's status; without: the daemon's."""
    daemon = daemon_of(request)
    params = await RequestParams.of(request)
    if "root" not in params.values:
        return AsciiJSONResponse(daemon_status(daemon))
    return AsciiJSONResponse(await workspace_status(daemon, daemon.workspaces.find(params.root())))


async def files(request: Request) -> Response:
    """?root=: {"files": [{"path", "language", "skipped", "buffer"}]}; `skipped` is empty or the reason."""
    daemon = daemon_of(request)
    workspace = daemon.workspaces.find((await RequestParams.of(request)).root())

    def rows() -> list[dict[str, Any]]:
        found = workspace.index().files() if workspace.has_index() else {}
        return [_file_row(path, state) for path, state in sorted(found.items())]

    return AsciiJSONResponse({"files": await daemon.workers.run(Priority.QUERY, rows)})


def _file_row(path: str, state: Any) -> dict[str, Any]:
    return {"path": path, "language": state.language, "skipped": state.skipped, "buffer": state.buffer}


async def open_workspace(request: Request) -> Response:
    """{"root", "settings"?}: opens it with the editor's settings; gives its status."""
    daemon = daemon_of(request)
    params = await RequestParams.of(request)
    workspace = daemon.workspaces.get(params.root(), params.table("settings"))
    return AsciiJSONResponse(await workspace_status(daemon, workspace))


async def close_workspace(request: Request) -> Response:
    """{"root"}: closes it at once unless another window still listens to it."""
    daemon = daemon_of(request)
    root = (await RequestParams.of(request)).root()
    workspace = daemon.workspaces.open.get(root)
    closed = workspace is not None and not workspace.listeners
    if closed:
        await daemon.workspaces.close(root)
    return AsciiJSONResponse({"closed": closed})


async def buffers(request: Request) -> Response:
    """{"root", "path", "text" or null, "window"?, "version"?, "edited_at"?}: an unsaved text, or null to remove it.

    `edited_at` is when the window last edited it, in nanoseconds of the machine's monotonic clock, 0 if it never did.
    """
    daemon = daemon_of(request)
    params = await RequestParams.of(request)
    root, text = params.root(), params.optional_text("text")
    workspace, path = daemon.workspaces.get(root), params.path(root)
    changed = workspace.window_buffers.put(
        path,
        text,
        window=params.text("window", ""),
        version=params.number("version", 1, high=2**53),
        edited_at=params.number("edited_at", 0, high=2**63),
    )
    if changed:
        workspace.send_buffers([path])
    return AsciiJSONResponse({})


routes = [
    Route("/handshake", handshake),
    Route("/shutdown", shutdown, methods=["POST"]),
    Route("/models/reload", reload_model, methods=["POST"]),
    Route("/dashboard", dashboard, methods=["POST"]),
    Route("/events", events),
    Route("/index", index, methods=["POST"]),
    Route("/status", status),
    Route("/files", files),
    Route("/workspaces/open", open_workspace, methods=["POST"]),
    Route("/workspaces/close", close_workspace, methods=["POST"]),
    Route("/buffers", buffers, methods=["POST"]),
]
