"""The dashboard's loopback server: one-time tokens, the page's files, its data, and its two actions.

It is guarded like the daemon's own socket: bounded bodies, headers, waits and connections.
"""

import asyncio
import hmac
import os
import secrets
import socket
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

import uvicorn
from starlette.applications import Starlette
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from codekin import paths
from codekin.daemon.process.request_guard import Activity, BoundedProtocol, RequestGuard
from codekin.daemon.routes.request import AsciiJSONResponse, RequestParams
from codekin.daemon.services.context import Priority
from codekin.daemon.services.finetune import describe_rollback
from codekin.daemon.services.state import Daemon, workspace_status
from codekin.daemon.services.workspaces import OpenWorkspace
from codekin.errors import CodekinError
from codekin.types import Filters, Hit
from codekin.util.process import IMPORT_LOCK

TOKEN_SECONDS = 300.0
MAX_PASSES = 64
MAX_BODY_BYTES = 100_000
MAX_CONNECTIONS = 64
KEEP_ALIVE_SECONDS = 10


@dataclass(slots=True)
class AccessTokens:
    """Tokens that wait to be used, and the passes of those who have come in; all gone with the process.

    Both are for one workspace root each.
    """

    _tokens: dict[str, tuple[float, Path]] = field(default_factory=dict)
    _passes: OrderedDict[str, Path] = field(default_factory=OrderedDict)

    def token(self, root: Path) -> str:
        """A fresh token, good once and for five minutes."""
        now = time.monotonic()
        self._tokens = {token: kept for token, kept in self._tokens.items() if kept[0] > now}
        token = secrets.token_urlsafe(24)
        self._tokens[token] = now + TOKEN_SECONDS, root
        return token

    def exchange_token(self, token: str) -> str | None:
        """The pass for a token that was good, which it no longer is; None otherwise."""
        until, root = self._tokens.pop(token, (0.0, Path()))
        if until <= time.monotonic():
            return None
        granted = secrets.token_urlsafe(32)
        self._passes[granted] = root
        while len(self._passes) > MAX_PASSES:
            self._passes.popitem(last=False)
        return granted

    def authorized_root(self, authorization: str) -> Path | None:
        """The root that the pass in a request's Authorization header opens."""
        given = authorization.encode()
        found = [
            root for granted, root in self._passes.items() if hmac.compare_digest(given, b"Bearer " + granted.encode())
        ]
        return found[0] if found else None


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
REDIRECT = (
    '<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0; url={url}"><title>Codekin</title>'
)
MAX_GROUPS = 200
MAX_PATHS = 200

WorkspaceHandler = Callable[[RequestParams, OpenWorkspace], Awaitable[Any]]


class Dashboard:
    """The page's server within one daemon."""

    name = "dashboard"
    is_busy = False

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._access = AccessTokens()
        self._port = 0
        self._server: uvicorn.Server | None = None
        self._serving: asyncio.Task[None] | None = None

    async def address(self, root: Path) -> str:
        """A URL that opens the page of a workspace once."""
        if self._serving is None or self._serving.done():
            await self._start_server()
        return f"http://127.0.0.1:{self._port}/?token={self._access.token(root)}&root={quote(str(root))}"

    def status(self, workspace: OpenWorkspace | None) -> dict[str, Any]:  # noqa: ARG002
        """Nothing that a status would show."""
        return {}

    async def open(self) -> None:
        """Waits for the first visitor."""

    async def close(self) -> None:
        """Ends the server."""
        if self._server and self._serving:
            self._server.should_exit = self._server.force_exit = True
            await asyncio.gather(self._serving, return_exceptions=True)

    async def _start_server(self) -> None:
        listener = socket.socket(socket.AF_INET)
        listener.bind(("127.0.0.1", 0))
        listener.listen()  # a browser that is quicker than the server waits instead of being refused
        self._port = listener.getsockname()[1]
        config = uvicorn.Config(
            RequestGuard(self._app(), Activity(), MAX_BODY_BYTES, None),
            http=BoundedProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            limit_concurrency=MAX_CONNECTIONS,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            backlog=MAX_CONNECTIONS,
        )
        self._server = _DashboardServer(config)
        self._serving = asyncio.create_task(self._server.serve([listener]))

    def _app(self) -> Starlette:
        routes = [
            Route("/", self._page),
            Route("/data/state", self._authorized(self._state)),
            Route("/data/status", self._authorized(self._status)),
            Route("/data/map", self._authorized(self._map)),
            Route("/data/duplicates", self._authorized(self._duplicates)),
            Route("/data/history", self._authorized(self._history)),
            Route("/data/search", self._authorized(self._search), methods=["POST"]),
            Route("/do/rollback", self._authorized(self._rollback), methods=["POST"]),
            Route("/do/open", self._authorized(self._open), methods=["POST"]),
            Mount("/page", StaticFiles(directory=PAGE)),
        ]
        app = Starlette(routes=routes, exception_handlers={CodekinError: _handle_error})
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"])
        return app

    async def _page(self, request: Request) -> Response:
        """The page; with a token that is good, also the pass to its data."""
        known: str | None = ""
        if token := request.query_params.get("token"):
            known = self._access.exchange_token(token)
        if known is None:
            return PlainTextResponse(
                "This address was good for one visit: run `codekin dashboard` again.", 403, HEADERS
            )
        text = (PAGE / "index.html").read_text("utf-8")
        return HTMLResponse(text.replace('content="pass"', f'content="{known}"'), headers=HEADERS)

    def _authorized(self, handler: WorkspaceHandler) -> Callable[[Request], Awaitable[Response]]:
        """The handler for those who hold a pass, and for the workspace of that pass alone."""

        async def checked(request: Request) -> Response:
            root = self._access.authorized_root(request.headers.get("authorization", ""))
            params = await RequestParams.of(request) if root else None
            if root is None or params is None or params.root() != root:
                return AsciiJSONResponse({"message": "Run `codekin dashboard` to open this page."}, 403)
            return AsciiJSONResponse(await handler(params, self._daemon.workspaces.find(root)))

        return checked

    async def _state(self, _: RequestParams, workspace: OpenWorkspace) -> Any:
        return await workspace_status(self._daemon, workspace)

    async def _status(self, _: RequestParams, workspace: OpenWorkspace) -> Any:
        """The state, and what is left out by reason."""
        status = await workspace_status(self._daemon, workspace)
        left_out = await self._read(_skipped_by_reason, workspace) if workspace.has_index() else []
        return {**status, "left_out": left_out}

    async def _map(self, _: RequestParams, workspace: OpenWorkspace) -> Any:
        return await self._read(_code_map, workspace)

    async def _duplicates(self, _: RequestParams, workspace: OpenWorkspace) -> Any:
        find = (await self._daemon.heavy.queries()).duplicates
        groups = await self._read(lambda found: find(found, Filters(), MAX_GROUPS), workspace)
        return [[_place_to_json(hit) for hit in group] for group in groups]

    async def _search(self, params: RequestParams, workspace: OpenWorkspace) -> Any:
        """The places that `codekin search` finds for a text with filters among its words, and a regular expression."""
        query = params.search(workspace.root, workspace.settings.similar)
        find = (await self._daemon.heavy.queries()).matching
        found = await self._read(lambda opened: find(opened, query), workspace)
        return {"places": [_place_to_json(hit) for hit in found.hits], "degraded": found.degraded}

    async def _history(self, _: RequestParams, workspace: OpenWorkspace) -> Any:
        return await self._daemon.finetune.history(workspace.root)

    async def _rollback(self, params: RequestParams, workspace: OpenWorkspace) -> Any:
        active = await self._daemon.finetune.roll_back(workspace, params.optional_text("checkpoint"))
        return describe_rollback(workspace, active)

    async def _open(self, params: RequestParams, workspace: OpenWorkspace) -> Any:
        """Sends the workspace's editor windows a request to show a place."""
        place = {"path": params.path(workspace.root), "line": params.number("line", 1, low=1)}
        workspace.send({"event": "show", **place})
        return {"windows": len(workspace.listeners)}

    async def _read(self, function: Callable[[OpenWorkspace], Any], workspace: OpenWorkspace) -> Any:
        return await self._daemon.workers.run(Priority.QUERY, function, workspace)


class _DashboardServer(uvicorn.Server):
    """uvicorn without its signal handlers: the daemon's lifecycle listens to signals."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def write_redirect_page(data: Path, url: str) -> Path:
    """A page for the user's eyes alone that leads to the address: a command line would show it to other users."""
    page = paths.runtime_dir(data) / "dashboard.html"
    page.unlink(missing_ok=True)
    with open(os.open(page, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:  # noqa: PTH123
        file.write(REDIRECT.format(url=escape(url)))
    return page


def _code_map(workspace: OpenWorkspace) -> dict[str, Any]:
    with IMPORT_LOCK:
        from codekin.daemon.dashboard.code_map import build_code_map  # noqa: PLC0415 - brings numpy

    return build_code_map(workspace.index())


def _skipped_by_reason(workspace: OpenWorkspace) -> list[dict[str, Any]]:
    """Reasons, the commonest first: `{"reason", "count", "paths": the first of them}`."""
    found: dict[str, list[str]] = {}
    for path, state in workspace.index().files().items():
        if state.skipped:
            found.setdefault(state.skipped, []).append(path)
    ordered = sorted(found.items(), key=lambda item: len(item[1]), reverse=True)
    return [{"reason": reason, "count": len(paths), "paths": paths[:MAX_PATHS]} for reason, paths in ordered]


def _place_to_json(hit: Hit) -> dict[str, Any]:
    return {"path": hit.path, "name": hit.name, "language": hit.language, "line": hit.code_line, "score": hit.score}


async def _handle_error(request: Request, error: Exception) -> Response:  # noqa: ARG001
    return AsciiJSONResponse({"message": str(error)}, 400)
