"""The loopback server of the page: its files, its data, and the two things that it can do.

Begun at the first need, on a port that the system chooses. Knows HTTP and the daemon's parts.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import uvicorn
from starlette.applications import Starlette
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from codekin.daemon.asked import Asked
from codekin.daemon.dashboard.entry import Doorman
from codekin.daemon.kin import copies_in
from codekin.daemon.report import workspace_status
from codekin.daemon.state import Daemon
from codekin.daemon.work import Priority
from codekin.errors import CodekinError
from codekin.records import Filters

PAGE = Path(__file__).parent / "page"
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'"
    ),
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
MOST_GROUPS = 200
MOST_PATHS = 200

Handler = Callable[[Request], Awaitable[Response]]


class Dashboard:
    """The page's server within one daemon."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._doorman = Doorman()
        self._port = 0
        self._server: uvicorn.Server | None = None
        self._serving: asyncio.Task[None] | None = None

    async def address(self, root: Path) -> str:
        """A URL that opens the page of a workspace once."""
        if self._serving is None or self._serving.done():
            await self._begin()
        return f"http://127.0.0.1:{self._port}/?token={self._doorman.token()}&root={quote(str(root))}"

    async def close(self) -> None:
        """Ends the server."""
        if self._server and self._serving:
            self._server.should_exit = self._server.force_exit = True
            await asyncio.gather(self._serving, return_exceptions=True)

    async def _begin(self) -> None:
        listener = socket.socket(socket.AF_INET)
        listener.bind(("127.0.0.1", 0))
        listener.listen()  # a browser that is quicker than the server waits instead of being refused
        self._port = listener.getsockname()[1]
        config = uvicorn.Config(self._app(), ws="none", lifespan="off", log_config=None, access_log=False)
        self._server = uvicorn.Server(config)
        self._server.capture_signals = _leave_signals_alone  # type: ignore[method-assign]
        self._serving = asyncio.create_task(self._server.serve([listener]))

    def _app(self) -> Starlette:
        routes = [
            Route("/", self._page),
            Route("/data/state", self._known(self._state)),
            Route("/data/status", self._known(self._status)),
            Route("/data/map", self._known(self._map)),
            Route("/data/duplicates", self._known(self._duplicates)),
            Route("/data/history", self._known(self._history)),
            Route("/do/rollback", self._known(self._rollback), methods=["POST"]),
            Route("/do/open", self._known(self._open), methods=["POST"]),
            Mount("/page", StaticFiles(directory=PAGE)),
        ]
        app = Starlette(routes=routes, exception_handlers={CodekinError: _sentence})
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"])
        return app

    async def _page(self, request: Request) -> Response:
        """The page; with a token that is good, also the pass to its data."""
        known: str | None = ""
        if token := request.query_params.get("token"):
            known = self._doorman.admit(token)
        if known is None:
            return PlainTextResponse(
                "This address was good for one visit: run `codekin dashboard` again.", 403, HEADERS
            )
        text = (PAGE / "index.html").read_text("utf-8")
        return HTMLResponse(text.replace('content="pass"', f'content="{known}"'), headers=HEADERS)

    def _known(self, handler: Handler) -> Handler:
        async def checked(request: Request) -> Response:
            if not self._doorman.knows(request.headers.get("authorization", "")):
                return JSONResponse({"message": "Run `codekin dashboard` to open this page."}, 403)
            return await handler(request)

        return checked

    async def _state(self, request: Request) -> Response:
        workspace = self._daemon.workspaces.get((await Asked.of(request)).root())
        return JSONResponse(await workspace_status(self._daemon, workspace))

    async def _status(self, request: Request) -> Response:
        """The state, and what is left out by reason."""
        workspace = self._daemon.workspaces.get((await Asked.of(request)).root())
        status = await workspace_status(self._daemon, workspace)
        left_out = await self._read(_left_out, workspace) if workspace.has_index() else []
        return JSONResponse({**status, "left_out": left_out})

    async def _map(self, request: Request) -> Response:
        from codekin.daemon.dashboard.chart import chart  # noqa: PLC0415 - brings numpy

        workspace = self._daemon.workspaces.get((await Asked.of(request)).root())
        return JSONResponse(await self._read(lambda found: chart(found.index()), workspace))

    async def _duplicates(self, request: Request) -> Response:
        workspace = self._daemon.workspaces.get((await Asked.of(request)).root())
        groups = await self._read(lambda found: copies_in(found, Filters(), MOST_GROUPS), workspace)
        return JSONResponse([[_place(hit) for hit in group] for group in groups])

    async def _history(self, request: Request) -> Response:
        from codekin.daemon.routes.learning import history  # noqa: PLC0415 - only when asked

        request.app.state.daemon = self._daemon
        return await history(request)

    async def _rollback(self, request: Request) -> Response:
        from codekin.daemon.routes.learning import rollback  # noqa: PLC0415 - only when asked

        request.app.state.daemon = self._daemon
        return await rollback(request)

    async def _open(self, request: Request) -> Response:
        """Asks the workspace's editor windows to show a place."""
        asked = await Asked.of(request)
        workspace = self._daemon.workspaces.get(asked.root())
        workspace.tell({"event": "show", "path": asked.path(asked.root()), "line": asked.number("line", 1, low=1)})
        return JSONResponse({"windows": len(workspace.listeners)})

    async def _read(self, function: Callable[[Any], Any], workspace: Any) -> Any:
        return await self._daemon.workers.run(Priority.QUERY, function, workspace)


def _left_out(workspace: Any) -> list[dict[str, Any]]:
    """Reasons, the commonest first: `{"reason", "count", "paths": the first of them}`."""
    found: dict[str, list[str]] = {}
    for path, state in workspace.index().files().items():
        if state.skipped:
            found.setdefault(state.skipped, []).append(path)
    ordered = sorted(found.items(), key=lambda item: len(item[1]), reverse=True)
    return [{"reason": reason, "count": len(paths), "paths": paths[:MOST_PATHS]} for reason, paths in ordered]


def _place(hit: Any) -> dict[str, Any]:
    return {"path": hit.path, "name": hit.name, "language": hit.language, "line": hit.code_line, "score": hit.score}


async def _sentence(request: Request, error: Exception) -> Response:  # noqa: ARG001
    return JSONResponse({"message": str(error)}, 400)


def _leave_signals_alone() -> Any:
    """The daemon's own life listens to signals."""
    from contextlib import nullcontext  # noqa: PLC0415

    return nullcontext()
