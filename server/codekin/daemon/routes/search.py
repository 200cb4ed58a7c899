"""Queries about a workspace's code.

`POST /similar`, `/search`, `/duplicates`, `/lens`; `/places` and `/outline` for code as it is now, unsaved texts over
their files; `/reuse` and `/check` for code that exists already.
"""

import time
from collections.abc import AsyncGenerator, Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from codekin.daemon.routes.request import (
    HITS_LIMIT,
    LINE_LIMIT,
    AsciiJSONResponse,
    RequestParams,
    hit_to_json,
    json_lines,
    path_inside_root,
    query_to_json,
)
from codekin.daemon.routes.workspaces import until_leaving
from codekin.daemon.services.context import Priority
from codekin.daemon.services.queries import CodeQuery, Place, QueryResult
from codekin.daemon.services.state import Daemon, daemon_of
from codekin.daemon.services.workspaces import OpenWorkspace
from codekin.errors import UsageError

if TYPE_CHECKING:
    from codekin.daemon.services.reuse import ExistingFunction
    from codekin.finetune.dataset.git_history import Commit

GROUPS_LIMIT = 10_000
PLACES_LIMIT = 1000
CODE_LIMIT = 100_000
_LOOKED_AT = 5
"""So many places are looked at for each that a date may leave."""

MIN_SCORE, MIN_DESCRIBED_SCORE = 0.6, 0.5
"""The least score of code that does the same under other words, and of a function that does what is described."""

FUNCTIONS_AT_A_TIME = 8
"""Functions that are compared between two reports of progress; in between a check can be cancelled."""


async def similar(request: Request) -> Response:
    """By place: {"root", "path", "text"?, "line", "end_line"?}; by text: {"root", "snippet", "language"?, "path"?}.

    Both take "limit", "filters", "hide_noise", and "history" and "since" (see `_with_history`). Gives {"query", "hits",
    "space", "ms"} and, where vectors had no part in it, "degraded" with the reason. Lines are 1-based and inclusive.
    """
    daemon, began = daemon_of(request), time.perf_counter()
    params = await RequestParams.of(request)
    workspace = daemon.workspaces.find(params.root())
    query, limit = _read_query(params, workspace), _read_limit(params, workspace)
    filters, hide_noise = params.filters(workspace.settings.similar.min_score), params.flag("hide_noise")
    find = (await daemon.heavy.queries()).similar_to
    chunk, found = await daemon.workers.run(
        Priority.QUERY, find, workspace, query, filters, _limit_before_history(params, limit), hide_noise=hide_noise
    )
    answer = await _with_history(daemon, workspace, params, found)
    return AsciiJSONResponse(_result_to_json(query_to_json(chunk), found, began) | answer)


async def search(request: Request) -> Response:
    """{"root", "text", "grep"?, "near"?, "limit"?, "filters"?} gives {"query": {"text"}, "hits", "space", "ms"}.

    The text may have filters among its words; "near" is the path of the file that is open. "degraded" says why
    vectors had no part in the answer. A hit has "lines", those that match best. "history" and "since": see
    `_with_history`.
    """
    daemon, began = daemon_of(request), time.perf_counter()
    params = await RequestParams.of(request)
    workspace = daemon.workspaces.find(params.root())
    query = params.search(workspace.root, workspace.settings.similar)
    find = (await daemon.heavy.queries()).matching
    wider = replace(query, limit=_limit_before_history(params, query.limit))
    found = await daemon.workers.run(Priority.QUERY, find, workspace, wider)
    answer = await _with_history(daemon, workspace, params, found, query.text)
    return AsciiJSONResponse(_result_to_json({"text": query.text}, found, began) | answer)


def _limit_before_history(params: RequestParams, limit: int) -> int:
    """How many places to look for, where older ones fall out."""
    return min(HITS_LIMIT, limit * _LOOKED_AT) if params.text("since", "") else limit


async def _with_history(
    daemon: Daemon, workspace: OpenWorkspace, params: RequestParams, found: QueryResult, text: str = ""
) -> dict[str, Any]:
    """The hits again, where "history" is true or "since" a date or an age: each has "changed", its last commit.

    That is {"commit", "author", "date", "subject"}, or null for what is not committed. With "since" older ones are left
    out. "deleted" is what the text named once, if nothing is named so now, with the commit that took it away.
    """
    since = params.text("since", "")
    if not since and not params.flag("history"):
        return {}
    read, limit = (await daemon.heavy.history()).read, _read_limit(params, workspace)
    history = await daemon.workers.run(Priority.QUERY, read, workspace, found.hits, since, limit, text)
    hits = [hit_to_json(hit) | {"changed": _commit_to_json(commit)} for hit, commit in history.changes]
    deleted = history.deleted
    if deleted is None:
        return {"hits": hits}
    return {"hits": hits, "deleted": asdict(deleted) | {"removed": _commit_to_json(deleted.removed)}}


def _commit_to_json(commit: "Commit | None") -> dict[str, Any] | None:
    if commit is None:
        return None
    date = datetime.fromtimestamp(commit.time, UTC).isoformat()
    return {"commit": commit.hash, "author": commit.author, "date": date, "subject": commit.subject}


async def duplicates(request: Request) -> Response:
    """{"root", "limit"?, "filters"?} gives {"groups": [[hit, …], …], "ms"}; `min_score` is how alike they must be."""
    daemon, began = daemon_of(request), time.perf_counter()
    params = await RequestParams.of(request)
    workspace = daemon.workspaces.find(params.root())
    filters, limit = params.filters(), params.number("limit", 100, low=1, high=GROUPS_LIMIT)
    find = (await daemon.heavy.queries()).duplicates
    groups = await daemon.workers.run(Priority.QUERY, find, workspace, filters, limit)
    return AsciiJSONResponse({"groups": [[hit_to_json(hit) for hit in group] for group in groups], "ms": _since(began)})


async def lens(request: Request) -> Response:
    """{"root", "path", "text"?, "counts"?, "lines"?} gives {"lenses": [row, …]}.

    A row is {"name", "kind", "start_line", "end_line", "code_line", "similar"}. With "counts": false,
    `similar` is null and the answer is quick; with "lines", only the chunks that start at
    one of them are there. Counted are scores from the settings similar.lens_min_score and similar.min_score up.
    """
    daemon, params = daemon_of(request), await RequestParams.of(request)
    workspace = daemon.workspaces.find(params.root())
    query = CodeQuery(params.path(workspace.root), params.optional_text("text"))
    counts, lines = params.flag("counts", default=True), _requested_lines(params)
    find = (await daemon.heavy.queries()).lenses
    found = await daemon.workers.run(Priority.QUERY, find, workspace, query, lines, counts=counts)
    return AsciiJSONResponse({"lenses": [asdict(row) for row in found]})


def _read_query(params: RequestParams, workspace: OpenWorkspace) -> CodeQuery:
    path = params.path(workspace.root) if params.values.get("path") else ""
    if snippet := params.text("snippet", ""):
        return CodeQuery(path, snippet=snippet, language=params.text("language", ""))
    if not path:
        raise UsageError("`path` is missing.")
    line, end_line = params.number("line", low=1), params.number("end_line", 0)
    if 0 < end_line < line:
        raise UsageError("`end_line` must not be before `line`.")
    return CodeQuery(path, params.optional_text("text"), line, end_line)


def _read_limit(params: RequestParams, workspace: OpenWorkspace) -> int:
    return params.limit(workspace.settings.similar)


def _requested_lines(params: RequestParams) -> frozenset[int] | None:
    lines = params.values.get("lines")
    if lines is None:
        return None
    if not isinstance(lines, list) or not all(isinstance(line, int) and 0 < line < LINE_LIMIT for line in lines):
        raise UsageError("`lines` must be a list of line numbers, counted from 1.")
    return frozenset(lines)


def _result_to_json(query: dict[str, Any], found: QueryResult, began: float) -> dict[str, Any]:
    """The answer to a query; `degraded` is there only where vectors had no part in it."""
    hits = [hit_to_json(hit) for hit in found.hits]
    answer = {"query": query, "hits": hits, "space": found.space, "ms": _since(began)}
    return {**answer, "degraded": found.degraded} if found.degraded else answer


def _since(began: float) -> float:
    return round((time.perf_counter() - began) * 1000, 1)


async def code_at_places(request: Request) -> Response:
    """{"root", "places": [{"path", "start_line", "end_line", "language"?}]} gives {"places": [{"text", "signature"}]}.

    The answer is in the order of the request; the text of a place that is there no more is empty.
    """
    daemon, params = daemon_of(request), await RequestParams.of(request)
    workspace = daemon.workspaces.find(params.root())
    wanted, read = _read_places(params, workspace.root), (await daemon.heavy.reader()).read_places
    found = await daemon.workers.run(Priority.QUERY, read, workspace, wanted)
    return AsciiJSONResponse({"places": [asdict(code) for code in found]})


async def outline(request: Request) -> Response:
    """{"root", "path"} gives {"path", "rows"}: the chunks of a file in order, with "depth", "signature" and "doc"."""
    daemon, params = daemon_of(request), await RequestParams.of(request)
    workspace = daemon.workspaces.find(params.root())
    path, read = params.path(workspace.root), (await daemon.heavy.reader()).outline
    rows = await daemon.workers.run(Priority.QUERY, read, workspace, path)
    return AsciiJSONResponse({"path": path, "rows": [asdict(row) for row in rows]})


def _read_places(params: RequestParams, root: Path) -> list[Place]:
    rows = params.values.get("places")
    if not isinstance(rows, list) or len(rows) > PLACES_LIMIT or not all(isinstance(row, dict) for row in rows):
        raise UsageError(f"`places` must be a list of at most {PLACES_LIMIT} objects.")
    return [_read_place(row, root) for row in rows]


def _read_place(row: Mapping[str, Any], root: Path) -> Place:
    place = RequestParams(row)
    first = place.number("start_line", low=1)
    last = place.number("end_line", low=first)
    return Place(path_inside_root(root, place.text("path")), first, last, place.text("language", ""))


async def reuse(request: Request) -> Response:
    """{"root", "code", "language"?, "path"?, "min_score"?} gives {"functions"}; with "description", {"hits"}.

    A function is {"query", "existing": [{"hit", "relation", "overlap", "evidence"}]}, without any where nothing does
    the same. `path` is where the code is or will be.
    """
    daemon, params = daemon_of(request), await RequestParams.of(request)
    workspace = daemon.workspaces.find(params.root())
    gate, code, description = await daemon.heavy.reuse_gate(), params.text("code", ""), params.text("description", "")
    if not (code.strip() or description.strip()) or max(len(code), len(description)) > CODE_LIMIT:
        raise UsageError(f"`code` or `description` must have between 1 and {CODE_LIMIT} characters.")
    if not code.strip():
        score = params.score("min_score", MIN_DESCRIBED_SCORE)
        hits = await daemon.workers.run(Priority.QUERY, gate.described_code, workspace, description, score)
        return AsciiJSONResponse({"functions": [], "hits": [hit_to_json(hit) for hit in hits]})
    path = params.path(workspace.root) if params.values.get("path") else ""
    score, language = params.score("min_score", MIN_SCORE), params.text("language", "")
    found = await daemon.workers.run(Priority.QUERY, gate.existing_code, workspace, code, language, path, score)
    return AsciiJSONResponse({"functions": [_function_to_json(function) for function in found], "hits": []})


async def drafts(request: Request) -> Response:
    """{"root", "path", "text", "min_score"?} gives {"functions"}, as from `/reuse`, with "code_line" for each.

    They are the whole functions that the text adds to the committed file and that repeat what exists.
    """
    daemon, params = daemon_of(request), await RequestParams.of(request)
    workspace = daemon.workspaces.find(params.root())
    path, text, score = params.path(workspace.root), params.text("text"), params.score("min_score", MIN_SCORE)
    drafted = (await daemon.heavy.reuse_gate()).drafted
    found = await daemon.workers.run(Priority.QUERY, drafted, workspace, path, text, score)
    return AsciiJSONResponse({"functions": [_function_to_json(function) for function in found]})


async def check(request: Request) -> Response:
    """{"root", "base"?, "min_score"?}: JSON lines: progress, then {"result": {"added", "functions"}}.

    `added` counts the functions that the working tree has and the revision `base` has not; `functions` are those that
    repeat what exists, as from `/reuse`, with a "fingerprint" for each that does the same.
    """
    daemon, params = daemon_of(request), await RequestParams.of(request)
    workspace = daemon.workspaces.find(params.root())
    events = _check_events(daemon, workspace, params.text("base", "HEAD"), params.score("min_score", MIN_SCORE))
    return json_lines(until_leaving(daemon, events))


async def _check_events(
    daemon: Daemon, workspace: OpenWorkspace, base: str, min_score: float
) -> AsyncGenerator[dict[str, Any], None]:
    gate, run = await daemon.heavy.reuse_gate(), daemon.workers.run
    added = await run(Priority.QUERY, gate.added_functions, workspace, base)
    found: list[ExistingFunction] = []
    for at in range(0, len(added), FUNCTIONS_AT_A_TIME):
        yield {"event": "progress", "phase": "functions", "done": at, "total": len(added)}
        some = added[at : at + FUNCTIONS_AT_A_TIME]
        found += await run(Priority.QUERY, gate.repeated, workspace, added, some, min_score)
    yield {"result": {"added": len(added), "functions": [_function_to_json(function) for function in found]}}


def _function_to_json(function: "ExistingFunction") -> Mapping[str, Any]:
    existing = [
        {
            "hit": hit_to_json(one.hit),
            "relation": one.relation,
            "overlap": round(one.overlap, 4),
            "evidence": list(one.evidence),
            "fingerprint": function.fingerprint(one),
        }
        for one in function.existing
    ]
    return {"query": query_to_json(function.chunk), "existing": existing}


routes = [
    Route("/similar", similar, methods=["POST"]),
    Route("/search", search, methods=["POST"]),
    Route("/duplicates", duplicates, methods=["POST"]),
    Route("/lens", lens, methods=["POST"]),
    Route("/places", code_at_places, methods=["POST"]),
    Route("/outline", outline, methods=["POST"]),
    Route("/reuse", reuse, methods=["POST"]),
    Route("/drafts", drafts, methods=["POST"]),
    Route("/check", check, methods=["POST"]),
]
