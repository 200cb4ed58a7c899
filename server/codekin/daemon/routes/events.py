"""`GET /events`: what happens in a workspace, for as long as a window listens.

The open stream keeps the workspace and the daemon alive.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from codekin.daemon.asked import Asked
from codekin.daemon.child import Event
from codekin.daemon.report import workspace_status
from codekin.daemon.state import Daemon, daemon_of
from codekin.daemon.workspaces import Workspace

STATUS_EVENTS = frozenset({"ready", "problem", "ended", "settings", "model"})


async def events(request: Request) -> Response:
    """?root=: JSON lines: "connected", "status", then the indexer's events, some followed by "status"."""
    daemon = daemon_of(request)
    workspace = daemon.workspaces.get((await Asked.of(request)).root())
    return StreamingResponse(_lines(daemon, workspace), media_type="application/x-ndjson")


async def _lines(daemon: Daemon, workspace: Workspace) -> AsyncIterator[str]:
    async with workspace.listening() as queue:
        yield _line({"event": "connected"})
        yield _line(await _status(daemon, workspace))
        while (event := await next_event(daemon, queue)) is not None:
            yield _line(event)
            if event.get("event") in STATUS_EVENTS:
                yield _line(await _status(daemon, workspace))


async def next_event(daemon: Daemon, queue: asyncio.Queue[Event]) -> Event | None:
    """The next event, None once the daemon is leaving."""
    getting = asyncio.create_task(queue.get())
    leaving = asyncio.create_task(daemon.stopping.wait())
    try:
        await asyncio.wait([getting, leaving], return_when=asyncio.FIRST_COMPLETED)
        return getting.result() if getting.done() else None
    finally:
        getting.cancel()
        leaving.cancel()


async def _status(daemon: Daemon, workspace: Workspace) -> dict[str, Any]:
    return {"event": "status", **await workspace_status(daemon, workspace)}


def _line(event: dict[str, Any]) -> str:
    return json.dumps(event) + "\n"


routes = [Route("/events", events)]
