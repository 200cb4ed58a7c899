"""`POST /dashboard`: the address of the page, good once."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from codekin.daemon.asked import Asked
from codekin.daemon.dashboard.server import Dashboard
from codekin.daemon.state import Daemon, Extension, daemon_of


async def dashboard(request: Request) -> Response:
    """{"root"}: {"url"}."""
    daemon = daemon_of(request)
    root = (await Asked.of(request)).root()
    daemon.workspaces.get(root)
    return JSONResponse({"url": await _dashboard_of(daemon).address(root)})


def _dashboard_of(daemon: Daemon) -> Dashboard:
    found: Dashboard = daemon.extras.setdefault("dashboard", Dashboard(daemon))
    return found


async def _close(daemon: Daemon) -> None:
    await _dashboard_of(daemon).close()


routes = [Route("/dashboard", dashboard, methods=["POST"])]
extension = Extension("dashboard", close=_close)
