"""The ASGI app: all routes, and every error as a JSON body with one sentence."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from codekin.daemon.dashboard.server import Dashboard
from codekin.daemon.routes import completion, finetune, metrics, openai, search, workspaces
from codekin.daemon.routes.openai_completions import openai_error_body
from codekin.daemon.routes.request import AsciiJSONResponse, error_body
from codekin.daemon.services.state import Daemon
from codekin.errors import (
    Cancelled,
    CodekinError,
    ModelError,
    ModelNotFoundError,
    SettingsError,
    StoreError,
    UsageError,
)

log = logging.getLogger(__name__)

STATUS_CODES: dict[type[CodekinError], int] = {
    UsageError: 400,
    SettingsError: 400,
    ModelNotFoundError: 404,
    ModelError: 422,
    StoreError: 500,
    Cancelled: 499,
    CodekinError: 422,
}

ROUTES = [
    *workspaces.routes,
    *search.routes,
    *openai.routes,
    *completion.routes,
    *finetune.routes,
    *metrics.routes,
]


def build_daemon(data: Path) -> Daemon:
    """The daemon of a data folder, ready to be served."""
    handlers = {
        CodekinError: _handle_codekin_error,
        HTTPException: _handle_unknown_path,
        Exception: _handle_unexpected_error,
    }
    app = Starlette(routes=ROUTES, exception_handlers=handlers)
    daemon = Daemon(data)
    app.state.dashboard = dashboard = Dashboard(daemon)
    daemon.services.append(dashboard)
    daemon.serve(app)
    return daemon


async def _handle_codekin_error(request: Request, error: Exception) -> Response:
    status = next(code for kind, code in STATUS_CODES.items() if isinstance(error, kind))
    return AsciiJSONResponse(_error_body(request, error), status)


async def _handle_unknown_path(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 404
    problem = UsageError(f"There is nothing at {request.method} {request.url.path}; see the README for what there is.")
    return AsciiJSONResponse(_error_body(request, problem), status)


async def _handle_unexpected_error(request: Request, error: Exception) -> Response:
    log.error("A request to %s failed.", request.url.path, exc_info=error)
    return AsciiJSONResponse(_error_body(request, error), 500)


def _error_body(request: Request, error: Exception) -> Mapping[str, Any]:
    """In OpenAI's shape below its prefix."""
    return openai_error_body(error) if request.url.path.startswith("/v1/") else error_body(error)
