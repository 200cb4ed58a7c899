"""`POST /learn`, `/triplets`, `/rollback`, `GET /history`: the night school, asked for by hand."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from codekin import places
from codekin.daemon.asked import Asked
from codekin.daemon.school import School
from codekin.daemon.state import Daemon, Extension, daemon_of
from codekin.daemon.workspaces import Workspace
from codekin.errors import LearningError, UsageError

METHODS = ("head", "lora", "full")
MOST_TRIPLETS = 1_000_000
BASE = "base"


async def learn(request: Request) -> Response:
    """{"root", "dry_run"?, "method"?, "count"?, "epochs"?, "background"?}: JSON lines, the last {"result": run}.

    In the background: {"message"} at once.
    """
    daemon, asked = daemon_of(request), await Asked.of(request)
    workspace, school = daemon.workspaces.get(asked.root()), school_of(daemon)
    options = {"dry_run": asked.flag("dry_run"), "method": _method(asked), "count": _count(asked)}
    options["epochs"] = asked.number("epochs", 0, 0, 100)
    if asked.flag("background"):
        school.start(workspace, "user", options)
        return JSONResponse({"message": f"Learning {workspace.root.name} has begun; `codekin history` tells of it."})
    return _streamed(school.events(workspace, "user", options))


async def triplets(request: Request) -> Response:
    """{"root", "count"?, "beam_ratio"?, "cross_language_ratio"?}: JSON lines, then {"result": {"triplets", …}}."""
    daemon, asked = daemon_of(request), await Asked.of(request)
    workspace = daemon.workspaces.get(asked.root())
    ratios = {name: _share(asked, name) for name in ("beam_ratio", "cross_language_ratio")}
    options = {"triplets": True, "count": _count(asked), **ratios}
    return _streamed(school_of(daemon).events(workspace, "user", options))


async def history(request: Request) -> Response:
    """?root=: {"runs": newest first, "active": checkpoint or "base"}."""
    daemon, root = daemon_of(request), (await Asked.of(request)).root()
    folder, idle = places.learning_folder(daemon.data, root), not school_of(daemon).busy

    def read() -> dict[str, Any]:
        from codekin.learning import history as past  # noqa: PLC0415 - only when asked
        from codekin.models import checkpoints  # noqa: PLC0415

        if idle:
            past.settle(folder)
        active = checkpoints.pointed(folder)
        return {"runs": [past.as_row(run, active) for run in past.runs(folder)], "active": active}

    return JSONResponse(await asyncio.to_thread(read))


async def rollback(request: Request) -> Response:
    """{"root", "checkpoint"?}: back to that checkpoint, to the one before, or to the "base"; {"message", "active"}."""
    daemon, asked = daemon_of(request), await Asked.of(request)
    workspace = daemon.workspaces.get(asked.root())
    active = await school_of(daemon).roll_back(workspace, asked.optional_text("checkpoint"))
    named = "the model as it came" if active == BASE else f"checkpoint {active}"
    when = "once all is embedded anew, and as before until then" if workspace.state == "indexing" else "from now on"
    return JSONResponse({"message": f"{workspace.root.name} is searched with {named} {when}.", "active": active})


async def nights(request: Request) -> Response:
    """Begins every run that is due by the clock, without waiting for quiet: {"roots": those that began}."""
    return JSONResponse({"roots": await school_of(daemon_of(request)).look_at_clock(datetime.now(UTC), quiet=True)})


def school_of(daemon: Daemon) -> School:
    """The daemon's night school, begun at the first need."""
    if "school" not in daemon.extras:
        daemon.extras["school"] = School(daemon)
    school: School = daemon.extras["school"]
    return school


def _streamed(events: AsyncIterator[dict[str, Any]]) -> Response:
    return StreamingResponse(_lines(events), media_type="application/x-ndjson")


async def _lines(events: Any) -> AsyncIterator[str]:
    """The learner's events; its last is the result or why there is none."""
    reason = "The learner ended without a word; see the daemon's log."
    async with aclosing(events):
        async for event in events:
            if event.get("event") == "done":
                yield json.dumps({"result": event["result"]}) + "\n"
                return
            if event.get("event") == "problem":
                reason = str(event.get("message"))
            else:
                yield json.dumps(event) + "\n"
    yield json.dumps({"error": {"message": reason, "type": LearningError.__name__}}) + "\n"


def _method(asked: Asked) -> str | None:
    method = asked.optional_text("method") or None
    if method is not None and method not in METHODS:
        raise UsageError(f"`method` must be one of {', '.join(METHODS)}.")
    return method


def _count(asked: Asked) -> int:
    return asked.number("count", 0, 0, MOST_TRIPLETS)


def _share(asked: Asked, key: str) -> float | None:
    value = asked.values.get(key)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1):
        raise UsageError(f"`{key}` must be a number between 0 and 1.")
    return value


def _status(daemon: Daemon, workspace: Workspace | None) -> dict[str, Any]:
    return school_of(daemon).status(workspace) if workspace else {"running": school_of(daemon).busy}


async def _close(daemon: Daemon) -> None:
    await school_of(daemon).close()


async def _open(daemon: Daemon) -> None:
    school_of(daemon).open()


routes = [
    Route("/learn", learn, methods=["POST"]),
    Route("/triplets", triplets, methods=["POST"]),
    Route("/nights", nights, methods=["POST"]),
    Route("/history", history, methods=["GET"]),
    Route("/rollback", rollback, methods=["POST"]),
]
extension = Extension("learning", open=_open, close=_close, busy=lambda daemon: school_of(daemon).busy, status=_status)
