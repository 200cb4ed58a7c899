"""`POST /search`: code by words, or by what it does."""

import time
from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from codekin.daemon.answers import hits_answer
from codekin.daemon.asked import HITS_LIMIT, Asked
from codekin.daemon.state import daemon_of
from codekin.daemon.work import Priority
from codekin.errors import UsageError
from codekin.records import Hit

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

    def find() -> tuple[Sequence[Hit], str]:
        from codekin import retrieval  # noqa: PLC0415 - brings numpy

        embedder = daemon.engine.embedder()
        return retrieval.search(workspace.index(), embedder, text, filters, limit), embedder.space if embedder else ""

    hits, space = await daemon.workers.run(Priority.QUERY, find)
    return JSONResponse(hits_answer(daemon, {"text": text}, hits, space, began))


routes = [Route("/search", search, methods=["POST"])]
