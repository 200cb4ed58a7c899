"""`POST /workspaces/open`, `/workspaces/close`, `/buffers`: what a window says of itself."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from codekin.daemon.asked import Asked
from codekin.daemon.report import workspace_status
from codekin.daemon.state import daemon_of


async def open_workspace(request: Request) -> Response:
    """{"root", "settings"?}: opens it with the editor's settings; gives its status."""
    daemon = daemon_of(request)
    asked = await Asked.of(request)
    workspace = daemon.workspaces.get(asked.root(), asked.table("settings"))
    return JSONResponse(await workspace_status(daemon, workspace))


async def close_workspace(request: Request) -> Response:
    """{"root"}: closes it at once unless another window still listens to it."""
    daemon = daemon_of(request)
    root = (await Asked.of(request)).root()
    workspace = daemon.workspaces.open.get(root)
    closed = workspace is not None and not workspace.listeners
    if closed:
        await daemon.workspaces.close(root)
    return JSONResponse({"closed": closed})


async def buffers(request: Request) -> Response:
    """{"root", "path", "text" or null, "version"?}: an unsaved text, or that it counts no more."""
    daemon = daemon_of(request)
    asked = await Asked.of(request)
    root = asked.root()
    workspace = daemon.workspaces.get(root)
    workspace.buffer(asked.path(root), asked.optional_text("text"), asked.number("version", 1, high=2**53))
    return JSONResponse({})


routes = [
    Route("/workspaces/open", open_workspace, methods=["POST"]),
    Route("/workspaces/close", close_workspace, methods=["POST"]),
    Route("/buffers", buffers, methods=["POST"]),
]
