"""`POST /complete` and `/complete/events`: ghost text, and what became of it."""

import asyncio
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from codekin.daemon.asked import Asked
from codekin.daemon.state import Daemon, Extension, daemon_of
from codekin.daemon.work import Priority
from codekin.daemon.workspaces import Workspace
from codekin.errors import UsageError

if TYPE_CHECKING:
    from codekin.completion.corpus import Corpus
    from codekin.completion.events import Outcome
    from codekin.completion.gap import Gap
    from codekin.completion.repository import Guess
    from codekin.completion.room import Question, Room

MOST_ALTERNATIVES = 20
LOOKS_EVERY = 60.0
REPOSITORY = "repository"
OUTCOMES: Mapping[str, "Outcome"] = {
    "shown": "shown",
    "accepted": "accepted",
    "partial": "partial",
    "partially_accepted": "partial",
    "rejected": "rejected",
}
WAITS_FOR_FILES = 120.0


async def complete(request: Request) -> Response:
    """{"root", "path", "text"?, "line", "character_offset", "trigger"?, "alternatives"?, "window"?, "model"?, "wait"?}.

    `line` counts from 1, `character_offset` (or `column`) code points in the line from 0. Gives {"items":
    [{"id", "text", "replace_start", "replace_end", "kind", "confidence"}], "model", "ms"}; the offsets count code
    points of the document. A request that a newer one of its window overtook gives no items and "superseded".
    With "wait" the answer comes once the repository has been read.
    """
    daemon = daemon_of(request)
    began = time.perf_counter()
    asked = await Asked.of(request)
    workspace = daemon.workspaces.get(asked.root())
    room = await _room(daemon)
    question = await daemon.workers.run(Priority.COMPLETION, _question, asked, workspace)
    question = await _with_generator(daemon, asked.text("model", workspace.settings.completion.model), question)
    if asked.flag("wait"):
        await _scanned(workspace)
    room.follow(workspace.root, workspace.folder, _Files(workspace), workspace.buffers)
    if asked.flag("wait"):
        await room.settled(workspace.root)
    answer: dict[str, Any] = {"items": [], "model": question.model}
    try:
        items = await room.complete(question, workspace.settings.completion)
        answer["items"] = [asdict(item) for item in items]
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise  # the client has gone
        answer["superseded"] = True
    return JSONResponse(answer | {"ms": round((time.perf_counter() - began) * 1000, 1)})


async def events(request: Request) -> Response:
    """{"id", "event": "shown" | "accepted" | "partial" | "rejected", "accepted_length"?} gives {"known"}."""
    asked = await Asked.of(request)
    outcome = OUTCOMES.get(asked.text("event"))
    if outcome is None:
        raise UsageError(f"`event` must be one of {', '.join(OUTCOMES)}.")
    length = asked.number("accepted_length", asked.number("length", 0))
    room = await _room(daemon_of(request))
    return JSONResponse({"known": room.tell(asked.text("id"), outcome, length)})


def _question(asked: Asked, workspace: Workspace) -> "Question":
    from codekin.completion.gap import gap_at  # noqa: PLC0415 - the daemon starts without numpy
    from codekin.completion.room import Question  # noqa: PLC0415
    from codekin.daemon.sources import Source  # noqa: PLC0415
    from codekin.syntax import language_of  # noqa: PLC0415

    path = asked.path(workspace.root)
    given = asked.optional_text("text")
    text = Source(workspace.root, path, workspace.buffers.get(path) if given is None else given).read()
    column = asked.number("column", asked.number("character_offset", 0))
    return Question(
        root=workspace.root,
        gap=gap_at(path, language_of(path, text) or "", text, asked.number("line", low=1), column),
        window=asked.text("window", ""),
        is_invoked=asked.text("trigger", "automatic") == "invoked",
        alternatives=asked.number("alternatives", 1, low=1, high=MOST_ALTERNATIVES),
    )


async def _with_generator(daemon: Daemon, name: str, question: "Question") -> "Question":
    """The question with the generator that the settings or the request name; `auto` takes one that is here, if any."""
    if name == REPOSITORY or (name == "auto" and not await asyncio.to_thread(_is_any_here, daemon)):
        return question
    from codekin.daemon.generators import chosen_generator, generation_service  # noqa: PLC0415 - asked for seldom

    key = await asyncio.to_thread(chosen_generator, daemon.settings.models, name)
    service = await asyncio.to_thread(generation_service, daemon)
    wants_kin = daemon.settings.completion.retrieval

    async def generate(corpus: "Corpus", gap: "Gap", most: int) -> "list[Guess]":
        from codekin.completion.generating import Generation, generated_guesses  # noqa: PLC0415

        withdrawn = threading.Event()
        generation = Generation(has_snippets=wants_kin, max_tokens=daemon.settings.completion.max_tokens)
        work = partial(generated_guesses, corpus=corpus, gap=gap, generation=generation, limit=most)
        try:
            return await asyncio.wrap_future(service.run(key, work, withdrawn))
        except asyncio.CancelledError:
            withdrawn.set()
            raise

    return replace(question, generate=generate, model=key)


def _is_any_here(daemon: Daemon) -> bool:
    """Whether a generator's weights are on this machine; looks at the disk once a minute."""
    from codekin.daemon.generators import generators_here  # noqa: PLC0415

    known: tuple[float, bool] = daemon.extras.get("completion_generators", (0.0, False))
    if time.monotonic() - known[0] > LOOKS_EVERY or not known[0]:
        known = time.monotonic(), bool(generators_here(daemon.settings.models))
        daemon.extras["completion_generators"] = known
    return known[1]


async def _scanned(workspace: Workspace) -> None:
    """Waits until the workspace's files are known; not for their vectors, and not for ever."""
    last = time.monotonic() + WAITS_FOR_FILES
    while time.monotonic() < last:
        phase = (workspace.progress or {}).get("phase", "files")
        if workspace.state not in ("starting", "indexing") or phase != "files":
            return
        await asyncio.sleep(0.05)


class _Files:
    """The content hashes of a workspace's indexed files, for a worker thread; none that were left out."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def __call__(self) -> Mapping[str, str]:
        if not self._workspace.has_index():
            return {}
        files = self._workspace.index().files()
        return {path: state.hash for path, state in files.items() if not state.skipped and not state.buffer}


async def _room(daemon: Daemon) -> "Room":
    if "completion" not in daemon.extras:
        room_of = await asyncio.to_thread(_import)
        daemon.extras.setdefault("completion", room_of(run=lambda work: daemon.workers.run(Priority.COMPLETION, work)))
    room: Room = daemon.extras["completion"]
    return room


def _import() -> "type[Room]":
    from codekin.completion.room import Room  # noqa: PLC0415 - brings numpy and tree-sitter

    return Room


async def _close(daemon: Daemon) -> None:
    if "completion" in daemon.extras:
        await daemon.extras["completion"].close()


def _status(daemon: Daemon, workspace: Workspace | None) -> dict[str, Any]:
    room: Room | None = daemon.extras.get("completion")
    return room.status(workspace.root if workspace else None) if room else {"model": "repository"}


extension = Extension("completion", close=_close, status=_status)
routes = [
    Route("/complete", complete, methods=["POST"]),
    Route("/complete/events", events, methods=["POST"]),
]
