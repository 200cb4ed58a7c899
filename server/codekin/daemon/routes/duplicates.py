"""`POST /duplicates`: groups of places that say nearly the same."""

import time

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from codekin.daemon.answers import hit_row
from codekin.daemon.asked import Asked
from codekin.daemon.kin import copies_in
from codekin.daemon.state import daemon_of
from codekin.daemon.work import Priority


async def duplicates(request: Request) -> Response:
    """{"root", "limit"?, "filters"?} gives {"groups": [[hit, …], …], "ms"}; `min_score` is how alike they must be."""
    daemon = daemon_of(request)
    began = time.perf_counter()
    asked = await Asked.of(request)
    workspace = daemon.workspaces.get(asked.root())
    filters, limit = asked.filters(), asked.number("limit", 100, low=1, high=10_000)

    groups = await daemon.workers.run(Priority.QUERY, copies_in, workspace, filters, limit)
    rows = [[hit_row(hit) for hit in group] for group in groups]
    return JSONResponse({"groups": rows, "ms": round((time.perf_counter() - began) * 1000, 1)})


routes = [Route("/duplicates", duplicates, methods=["POST"])]
