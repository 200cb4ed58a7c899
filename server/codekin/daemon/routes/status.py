"""`GET /status`: how a workspace, or the daemon, is doing; `GET /files`: each file and why it is left out."""

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from codekin.daemon.asked import Asked
from codekin.daemon.report import daemon_status, workspace_status
from codekin.daemon.state import daemon_of
from codekin.daemon.work import Priority


async def status(request: Request) -> Response:
    """?root=: a workspace's status, which opens it; without: the daemon's."""
    daemon = daemon_of(request)
    asked = await Asked.of(request)
    if "root" not in asked.values:
        return JSONResponse(daemon_status(daemon))
    return JSONResponse(await workspace_status(daemon, daemon.workspaces.get(asked.root())))


async def files(request: Request) -> Response:
    """?root=: {"files": [{"path", "language", "skipped", "buffer"}]}; `skipped` is empty or the reason."""
    daemon = daemon_of(request)
    workspace = daemon.workspaces.get((await Asked.of(request)).root())

    def rows() -> list[dict[str, Any]]:
        found = workspace.index().files() if workspace.has_index() else {}
        return [_row(path, state) for path, state in sorted(found.items())]

    return JSONResponse({"files": await daemon.workers.run(Priority.QUERY, rows)})


def _row(path: str, state: Any) -> dict[str, Any]:
    return {"path": path, "language": state.language, "skipped": state.skipped, "buffer": state.buffer}


routes = [Route("/status", status), Route("/files", files)]
