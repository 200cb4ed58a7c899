"""`POST /similar`: where do we already have code like this, by cursor, selection or snippet."""

import time

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from codekin.daemon.answers import found_answer, query_row
from codekin.daemon.asked import HITS_LIMIT, Asked
from codekin.daemon.kin import Found, kin_of
from codekin.daemon.sources import Source, fragment_of_cursor, fragment_of_selection, fragment_of_snippet
from codekin.daemon.state import daemon_of
from codekin.daemon.work import Priority
from codekin.daemon.workspaces import Workspace
from codekin.errors import UsageError
from codekin.records import Fragment


async def similar(request: Request) -> Response:
    """By place: {"root", "path", "text"?, "line", "end_line"?}; by text: {"root", "snippet", "language"?, "path"?}.

    Both take "limit", "filters" and "hide_noise". Gives {"query", "hits", "space", "ms"} and, where vectors
    had no part in it, "degraded" with the reason. Lines are 1-based and inclusive.
    """
    daemon = daemon_of(request)
    began = time.perf_counter()
    asked = await Asked.of(request)
    workspace = daemon.workspaces.get(asked.root())
    limit = asked.number("limit", workspace.settings.similar.limit, low=1, high=HITS_LIMIT)
    filters, hide_noise = asked.filters(), asked.flag("hide_noise")

    def find() -> tuple[Fragment, Found]:
        query = _query(asked, workspace)
        found = kin_of(daemon.engine, workspace, query, filters, limit)
        return query, found.without_noise() if hide_noise else found

    query, found = await daemon.workers.run(Priority.QUERY, find)
    return JSONResponse(found_answer(query_row(query), found, began))


def _query(asked: Asked, workspace: Workspace) -> Fragment:
    path = asked.path(workspace.root) if asked.values.get("path") else ""
    if snippet := asked.text("snippet", ""):
        return fragment_of_snippet(snippet, asked.text("language", ""), path)
    if not path:
        raise UsageError("`path` is missing.")
    text = asked.optional_text("text")
    source = Source(workspace.root, path, workspace.buffers.get(path) if text is None else text)
    line = asked.number("line", low=1)
    end_line = asked.number("end_line", 0)
    if not end_line:
        return fragment_of_cursor(source, line)
    if end_line < line:
        raise UsageError("`end_line` must not be before `line`.")
    return fragment_of_selection(source, line, end_line)


routes = [Route("/similar", similar, methods=["POST"])]
