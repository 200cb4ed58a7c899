"""`POST /complete`, `/complete/events` and `/next-edit`: ghost text, what became of it, and where an edit goes on."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from codekin.daemon.routes.request import AsciiJSONResponse, RequestParams, json_lines
from codekin.daemon.services.queries import GhostTextQuery, NextEditQuery
from codekin.daemon.services.state import Daemon, daemon_of
from codekin.daemon.services.workspaces import OpenWorkspace
from codekin.errors import CodekinError, UsageError

if TYPE_CHECKING:
    from codekin.completion.outcomes import SuggestionOutcome

MAX_ALTERNATIVES, MAX_NEXT_EDITS = 20, 20
OUTCOMES: Mapping[str, "SuggestionOutcome"] = {
    "shown": "shown",
    "accepted": "accepted",
    "partial": "partial",
    "partially_accepted": "partial",
    "rejected": "rejected",
    "typed_over": "typed_over",
    "retained": "retained",
    "lost": "lost",
}


async def complete(request: Request) -> Response:
    """Takes {"root", "path", "text"?, "line", "character_offset", "trigger"?, "alternatives"?, "window"?, "model"?}.

    `line` counts from 1, `character_offset` (or `column`) code points in the line from 0. Gives {"items":
    [{"id", "text", "replace_start", "replace_end", "kind", "confidence"}], "model", "ms", "problem"?}; the offsets
    count code points of the document. A request that a newer one of its window overtook gives no items and
    "superseded". With "wait" the answer comes once the repository has been read; with "stream" it is the last of
    JSON lines, before it {"text"} with what is certain so far of the best item.
    """
    daemon, params = daemon_of(request), await RequestParams.of(request)
    is_open = params.optional_text("text") is not None  # an editor holds the document, so it opened the folder
    workspace = daemon.workspaces.get(params.root()) if is_open else daemon.workspaces.find(params.root())
    query = _read_query(params, workspace)
    if params.flag("stream"):
        return json_lines(_progress_and_answer(daemon, workspace, query))
    return AsciiJSONResponse(await (await daemon.heavy.ghost_text()).complete(workspace, query))


async def events(request: Request) -> Response:
    """{"id", "event": one of OUTCOMES, "accepted_length"?} gives {"known"}."""
    params = await RequestParams.of(request)
    outcome = OUTCOMES.get(params.text("event"))
    if outcome is None:
        raise UsageError(f"`event` must be one of {', '.join(OUTCOMES)}.")
    length = params.number("accepted_length", params.number("length", 0))
    ghost_text = await daemon_of(request).heavy.ghost_text()
    return AsciiJSONResponse({"known": ghost_text.record_outcome(params.text("id"), outcome, length)})


async def next_edit(request: Request) -> Response:
    """Takes {"root", "path", "before", "text", "window"?, "limit"?}: the file before and after the last edit.

    Gives {"edits": [{"path", "start_line", "end_line", "old_lines", "new_lines", "chance", "kinds"}], "ms"}, the
    likeliest edit first. Its lines from the first to the last, counted from 1 and both included, become the new ones;
    where the last is one less than the first, the new lines go before that. A newer request of the same window ends an
    older one, which gives no edits.
    """
    daemon, params = daemon_of(request), await RequestParams.of(request)
    workspace = daemon.workspaces.get(params.root())
    query = NextEditQuery(
        path=params.path(workspace.root),
        before=params.text("before"),
        text=params.text("text"),
        window=params.text("window", ""),
        limit=params.number("limit", 5, low=1, high=MAX_NEXT_EDITS),
    )
    return AsciiJSONResponse(await (await daemon.heavy.next_edit()).find(workspace, query))


def _read_query(params: RequestParams, workspace: OpenWorkspace) -> GhostTextQuery:
    return GhostTextQuery(
        path=params.path(workspace.root),
        text=params.optional_text("text"),
        line=params.number("line", low=1),
        column=params.number("column", params.number("character_offset", 0)),
        window=params.text("window", ""),
        is_invoked=params.text("trigger", "automatic") == "invoked",
        alternatives=params.number("alternatives", 1, low=1, high=MAX_ALTERNATIVES),
        model=params.text("model", ""),
        waits_for_index=params.flag("wait"),
    )


async def _progress_and_answer(
    daemon: Daemon, workspace: OpenWorkspace, query: GhostTextQuery
) -> AsyncGenerator[dict[str, Any], None]:
    """What is certain, as it comes, and the answer; an error is the last line."""
    loop, partial_texts = asyncio.get_running_loop(), asyncio.Queue[str | None]()

    def on_progress(text: str) -> None:
        loop.call_soon_threadsafe(partial_texts.put_nowait, text)

    ghost_text = await daemon.heavy.ghost_text()
    answering = asyncio.create_task(ghost_text.complete(workspace, query, on_progress))
    answering.add_done_callback(lambda _: partial_texts.put_nowait(None))
    try:
        while (text := await partial_texts.get()) is not None:
            yield {"text": text}
        yield answering.result()
    except CodekinError as error:
        yield {"error": str(error)}
    finally:
        answering.cancel()


routes = [
    Route("/complete", complete, methods=["POST"]),
    Route("/complete/events", events, methods=["POST"]),
    Route("/next-edit", next_edit, methods=["POST"]),
]
