"""`POST /index`: bring the index up to date now, with progress, and say what was done."""

import json
from collections.abc import AsyncIterator
from typing import Any

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from codekin.daemon.asked import Asked
from codekin.daemon.routes.events import next_event
from codekin.daemon.state import Daemon, daemon_of
from codekin.daemon.workspaces import Workspace

SUMMARY = ("files", "fragments", "embedded", "reused", "skipped", "seconds")


async def index(request: Request) -> Response:
    """{"root", "rebuild"?}: JSON lines: progress, then {"result": {"files", "fragments", "embedded", …}}."""
    daemon = daemon_of(request)
    asked = await Asked.of(request)
    known = asked.root() in daemon.workspaces.open
    workspace = daemon.workspaces.get(asked.root())
    rebuild = asked.flag("rebuild")
    return StreamingResponse(_lines(daemon, workspace, rebuild, fresh=not known), media_type="application/x-ndjson")


async def _lines(daemon: Daemon, workspace: Workspace, rebuild: bool, fresh: bool) -> AsyncIterator[str]:
    """A child that has just started scans by itself; one that runs is told to."""
    async with workspace.listening() as queue:
        if rebuild:
            await workspace.rebuild()
        elif not fresh and workspace.indexer:
            workspace.state = "indexing"
            workspace.indexer.tell({"do": "rescan"})
        while (event := await next_event(daemon, queue)) is not None:
            if event.get("event") == "ready":
                yield json.dumps({"result": _result(event)}) + "\n"
                return
            if event.get("event") == "ended" and event.get("failures", 0) > 2:
                yield json.dumps({"error": {"message": event.get("message"), "type": "DaemonError"}}) + "\n"
                return
            yield json.dumps(event) + "\n"


def _result(event: dict[str, Any]) -> dict[str, Any]:
    return {name: event.get(name, 0) for name in SUMMARY}


routes = [Route("/index", index, methods=["POST"])]
