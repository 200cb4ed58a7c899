"""`POST /search`: code by words, or by what it does."""

import time

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from codekin.daemon.answers import found_answer
from codekin.daemon.asked import HITS_LIMIT, Asked
from codekin.daemon.kin import matches_of
from codekin.daemon.state import daemon_of
from codekin.daemon.work import Priority
from codekin.errors import UsageError

TEXT_LIMIT = 100_000


async def search(request: Request) -> Response:
    """{"root", "text", "limit"?, "filters"?} gives {"query": {"text"}, "hits", "space", "ms", "degraded"?}."""
    daemon = daemon_of(request)
    began = time.perf_counter()
    asked = await Asked.of(request)
    workspace = daemon.workspaces.get(asked.root())
    text, filters = asked.text("text").strip(), asked.filters()
    limit = asked.number("limit", workspace.settings.similar.limit, low=1, high=HITS_LIMIT)
    if not text or len(text) > TEXT_LIMIT:
        raise UsageError(f"`text` must have between 1 and {TEXT_LIMIT} characters.")

    found = await daemon.workers.run(Priority.QUERY, matches_of, daemon.engine, workspace, text, filters, limit)
    return JSONResponse(found_answer({"text": text}, found, began))


routes = [Route("/search", search, methods=["POST"])]
