"""The ASGI app: every route of every room, and errors as one sentence each."""

import logging
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from codekin.daemon.routes import load_rooms
from codekin.daemon.state import Daemon
from codekin.errors import (
    Cancelled,
    CodekinError,
    ModelError,
    SettingsError,
    StoreError,
    UsageError,
)

log = logging.getLogger(__name__)

STATUSES: dict[type[CodekinError], int] = {
    UsageError: 400,
    SettingsError: 400,
    ModelError: 409,
    StoreError: 500,
    Cancelled: 499,
    CodekinError: 422,
}


def build(data: Path) -> Daemon:
    """The daemon of a data folder, ready to be served."""
    rooms, problems = load_rooms()
    routes = [route for room in rooms for route in room.routes]
    app = Starlette(routes=routes, exception_handlers={CodekinError: _sentence, Exception: _surprise})
    daemon = Daemon(data, extensions=[room.extension for room in rooms if room.extension])
    daemon.problems += tuple(problems)
    daemon.serve(app)
    return daemon


def error_body(error: Exception) -> dict[str, dict[str, str]]:
    """The shape of every error, OpenAI's: also sent as a line in a stream."""
    if isinstance(error, CodekinError):
        return {"error": {"message": str(error), "type": type(error).__name__}}
    return {"error": {"message": "Something went wrong; see the daemon's log.", "type": "CodekinError"}}


async def _sentence(request: Request, error: Exception) -> Response:  # noqa: ARG001
    status = next(code for kind, code in STATUSES.items() if isinstance(error, kind))
    return JSONResponse(error_body(error), status)


async def _surprise(request: Request, error: Exception) -> Response:
    log.error("A request to %s failed.", request.url.path, exc_info=error)
    return JSONResponse(error_body(error), 500)
