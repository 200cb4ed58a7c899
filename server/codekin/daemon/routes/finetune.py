"""Fine-tuning on request.

`POST /finetune`, `/finetune/scheduled`, `/finetune/compare`, `/triplets`, `/rollback`; `GET /history`.
"""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from codekin.daemon.process.children import ChildEvent
from codekin.daemon.routes.request import AsciiJSONResponse, RequestParams, hit_to_json, json_lines
from codekin.daemon.services.context import Priority
from codekin.daemon.services.finetune import describe_rollback
from codekin.daemon.services.state import daemon_of
from codekin.errors import FinetuneError, UsageError

METHODS = ("head", "lora", "full")
RATIOS = ("beam_ratio", "cross_language_ratio")
MAX_TRIPLETS = 1_000_000
MAX_QUESTIONS = 50
MAX_QUESTION_CHARS = 1000
SHOWN_ANSWERS = 10


async def finetune(request: Request) -> Response:
    """{"root", "dry_run"?, "background"?, and FinetuneConfig's choices}: JSON lines, the last {"result": run}.

    The choices: "method", "epochs", "learning_rate", "batch_size", "count", "beam_ratio", "cross_language_ratio"; what
    is missing is as in the settings; "device", and "triplets_file", a path of JSON Lines to train on. In the
    background: {"message"} at once.
    """
    daemon, params = daemon_of(request), await RequestParams.of(request)
    workspace = daemon.workspaces.get(params.root())
    ratios = ("learning_rate", *RATIOS)
    options: dict[str, bool | float | str | None] = {name: _read_ratio(params, name) for name in ratios}
    options |= {"dry_run": params.flag("dry_run"), "method": _read_method(params), "count": _read_count(params)}
    options |= {name: params.text(name, "") or None for name in ("device", "triplets_file")}
    options |= {name: params.number(name, 0, 0, most) for name, most in (("epochs", 100), ("batch_size", 1024))}
    if params.flag("background"):
        daemon.finetune.start(workspace, "user", options)
        return AsciiJSONResponse(
            {"message": f"Fine-tuning on {workspace.root.name} has started; see `codekin history`."}
        )
    return json_lines(_with_result(daemon.finetune.events(workspace, "user", options)))


async def triplets(request: Request) -> Response:
    """{"root", "count"?, "beam_ratio"?, "cross_language_ratio"?}: JSON lines, then {"result": {"triplets", …}}."""
    daemon, params = daemon_of(request), await RequestParams.of(request)
    workspace = daemon.workspaces.get(params.root())
    ratios = {name: _read_ratio(params, name) for name in RATIOS}
    options = {"triplets": True, "count": _read_count(params), **ratios}
    return json_lines(_with_result(daemon.finetune.events(workspace, "user", options)))


async def history(request: Request) -> Response:
    """?root=: {"runs": newest first, "active": checkpoint or "base"}."""
    root = (await RequestParams.of(request)).root()
    return AsciiJSONResponse(await daemon_of(request).finetune.history(root))


async def compare(request: Request) -> Response:
    """{"root", "questions"?}: {"active", "rows": [{"question", "before": [hit, …], "after": [hit, …]}]}.

    The model as it came answers `before`, the one that serves `after`. Questions are remembered: without any, the
    last ones count.
    """
    daemon, params = daemon_of(request), await RequestParams.of(request)
    workspace, questions = daemon.workspaces.find(params.root()), params.texts("questions")
    if len(questions) > MAX_QUESTIONS or any(len(text) > MAX_QUESTION_CHARS for text in questions):
        raise UsageError(f"Give at most {MAX_QUESTIONS} questions of {MAX_QUESTION_CHARS} characters.")
    questions = await daemon.finetune.remembered_questions(workspace.root, questions)
    ask = (await daemon.heavy.queries()).before_and_after
    found = await daemon.workers.run(Priority.QUERY, ask, workspace, questions, SHOWN_ANSWERS)
    rows = [
        {"question": question, "before": [hit_to_json(hit) for hit in old], "after": [hit_to_json(hit) for hit in new]}
        for question, (old, new) in zip(questions, found, strict=True)
    ]
    return AsciiJSONResponse({"active": (await daemon.finetune.history(workspace.root))["active"], "rows": rows})


async def rollback(request: Request) -> Response:
    """{"root", "checkpoint"?}: back to that checkpoint, to the one before, or to the "base"; {"message", "active"}."""
    daemon, params = daemon_of(request), await RequestParams.of(request)
    workspace = daemon.workspaces.find(params.root())
    active = await daemon.finetune.roll_back(workspace, params.optional_text("checkpoint"))
    return AsciiJSONResponse(describe_rollback(workspace, active))


async def run_schedule(request: Request) -> Response:
    """Begins every run that is due by the clock, without waiting for quiet: {"roots": those that began}."""
    started = await daemon_of(request).finetune.start_due_runs(datetime.now(UTC), quiet=True)
    return AsciiJSONResponse({"roots": started})


async def _with_result(events: AsyncGenerator[ChildEvent, None]) -> AsyncGenerator[Mapping[str, Any], None]:
    """The events of a run, the last of them its result. Raises FinetuneError with the reason where there is none."""
    reason = "The fine-tuning process ended without a result; see the daemon's log."
    async with aclosing(events):
        async for event in events:
            if event.get("event") == "done":
                yield {"result": event["result"]}
                return
            if event.get("event") == "problem":
                reason = str(event.get("message"))
            else:
                yield event
    raise FinetuneError(reason)


def _read_method(params: RequestParams) -> str | None:
    method = params.optional_text("method") or None
    if method is not None and method not in METHODS:
        raise UsageError(f"`method` must be one of {', '.join(METHODS)}.")
    return method


def _read_count(params: RequestParams) -> int:
    return params.number("count", 0, 0, MAX_TRIPLETS)


def _read_ratio(params: RequestParams, key: str) -> float | None:
    value = params.values.get(key)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1):
        raise UsageError(f"`{key}` must be a number between 0 and 1.")
    return value


routes = [
    Route("/finetune", finetune, methods=["POST"]),
    Route("/triplets", triplets, methods=["POST"]),
    Route("/finetune/scheduled", run_schedule, methods=["POST"]),
    Route("/history", history, methods=["GET"]),
    Route("/finetune/compare", compare, methods=["POST"]),
    Route("/rollback", rollback, methods=["POST"]),
]
