"""`POST /complete` and `/complete/events`: ghost text, and what became of it."""

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import asdict, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from codekin.daemon.asked import Asked
from codekin.daemon.generators import REMOTE, REPOSITORY
from codekin.daemon.kin import kin_of_place
from codekin.daemon.state import Daemon, Extension, daemon_of
from codekin.daemon.work import Priority
from codekin.daemon.workspaces import Workspace
from codekin.errors import CodekinError, UsageError

if TYPE_CHECKING:
    from codekin.completion.corpus import Corpus
    from codekin.completion.events import Outcome
    from codekin.completion.gap import Gap
    from codekin.completion.generating import Generation
    from codekin.completion.repository import Guess
    from codekin.completion.room import Question, Room
    from codekin.completion.suggest import Tell, Wish
    from codekin.index import FileState
    from codekin.models.generation import Generator
    from codekin.models.generators import GenerationService

MOST_ALTERNATIVES = 20
OUTCOMES: Mapping[str, "Outcome"] = {
    "shown": "shown",
    "accepted": "accepted",
    "partial": "partial",
    "partially_accepted": "partial",
    "rejected": "rejected",
}
WAITS_FOR_FILES = 30.0
STILL_READING = "The repository is still being read: ask again in a while for more of it."


async def complete(request: Request) -> Response:
    """Takes {"root", "path", "text"?, "line", "character_offset", "trigger"?, "alternatives"?, "window"?, "model"?}.

    `line` counts from 1, `character_offset` (or `column`) code points in the line from 0. Gives {"items":
    [{"id", "text", "replace_start", "replace_end", "kind", "confidence"}], "model", "ms", "problem"?}; the offsets
    count code points of the document. A request that a newer one of its window overtook gives no items and
    "superseded". With "wait" the answer comes once the repository has been read; with "stream" it is the last of
    JSON lines, before it {"text"} with what is certain so far of the best item.
    """
    daemon = daemon_of(request)
    asked = await Asked.of(request)
    workspace = daemon.workspaces.get(asked.root())
    if asked.flag("stream"):
        return StreamingResponse(_lines(daemon, asked, workspace), media_type="application/x-ndjson")
    return JSONResponse(await _answer(daemon, asked, workspace))


async def _answer(
    daemon: Daemon, asked: Asked, workspace: Workspace, told: "Callable[[str], None] | None" = None
) -> dict[str, Any]:
    began = time.perf_counter()
    room = await _room(daemon)
    question = await daemon.workers.run(Priority.COMPLETION, _question, asked, workspace)
    waits = asked.flag("wait")
    is_read = not waits or await _scanned(workspace)
    files = _Files(workspace, looks=waits)
    room.follow(workspace.root, workspace.folder, files, workspace.buffers, at_once=waits)
    await room.lay(workspace.root, workspace.buffers, question.gap.path)
    question = replace(question, told=told, find_kin=partial(kin_of_place, daemon.engine, workspace))
    question = await _with_generator(daemon, workspace, asked.text("model", ""), question)
    if waits:
        await room.settled(workspace.root)
    answer: dict[str, Any] = {"items": []}
    before = room.problem(workspace.root)
    try:
        items = await room.complete(question, workspace.settings.completion)
        answer["items"] = [asdict(item) for item in items]
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise  # the client has gone
        answer["superseded"] = True
    problem = room.problem(workspace.root)
    if told_problem := problem or ("" if is_read else STILL_READING):
        answer["problem"] = told_problem
    if problem != before:
        workspace.tell({"event": "model"})
    return answer | {"model": room.model, "ms": round((time.perf_counter() - began) * 1000, 1)}


async def _lines(daemon: Daemon, asked: Asked, workspace: Workspace) -> AsyncIterator[str]:
    """What is certain, as it comes, and the answer; an error is the last line."""
    loop, told = asyncio.get_running_loop(), asyncio.Queue[str | None]()

    def tell(text: str) -> None:
        loop.call_soon_threadsafe(told.put_nowait, text)

    answering = asyncio.create_task(_answer(daemon, asked, workspace, tell))
    answering.add_done_callback(lambda _: told.put_nowait(None))
    try:
        while (text := await told.get()) is not None:
            yield json.dumps({"text": text}) + "\n"
        try:
            yield json.dumps(answering.result()) + "\n"
        except CodekinError as error:
            yield json.dumps({"error": str(error)}) + "\n"
    finally:
        answering.cancel()


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


async def _with_generator(daemon: Daemon, workspace: Workspace, named: str, question: "Question") -> "Question":
    """The question with the generator that the request or the settings name; `auto` takes one that is here, if any.

    Raises ModelError for one that the request names in vain; of the settings' it is noted, and the repository answers.
    """
    from codekin.daemon.generators import (  # noqa: PLC0415 - asked for seldom
        chosen_generator,
        completing_generator,
        generation_service,
    )

    room = await _room(daemon)
    if named in ("", "auto", REPOSITORY):
        name = named or workspace.settings.completion.model
        chosen = await asyncio.to_thread(completing_generator, daemon, name)
        room.note(workspace.root, chosen.problem)
        key = chosen.key
    else:
        key = await asyncio.to_thread(chosen_generator, daemon, named)
    if not key:
        return question
    service = await asyncio.to_thread(generation_service, daemon)
    generation = replace(
        _generation(workspace),
        kin=room.kin_finder(workspace.root, partial(kin_of_place, daemon.engine, workspace)),
        lately=room.lately(workspace.root, key),
    )
    generate = _Generate(service, key, generation)
    return replace(question, generate=generate, model=key, is_named=bool(named))


def _generation(workspace: Workspace) -> "Generation":
    from codekin.completion.generating import Generation  # noqa: PLC0415 - brings numpy

    settings = workspace.settings.completion
    return Generation(
        max_tokens=settings.max_tokens,
        has_snippets=settings.retrieval,
        repository=workspace.root.name,
    )


class _Generate:
    """Asks a generator of the service, and withdraws the work when nobody waits for it."""

    def __init__(self, service: "GenerationService", key: str, generation: "Generation") -> None:
        self._service, self._key, self._generation = service, key, generation

    async def __call__(self, corpus: "Corpus", gap: "Gap", wish: "Wish", tell: "Tell") -> "list[Guess]":
        from codekin.completion.serving import remote_ask, with_remote_line  # noqa: PLC0415 - bring torch

        withdrawn = threading.Event()
        try:
            if self._key == REMOTE:
                ask = remote_ask(corpus, gap, self._generation)
                written = await asyncio.wrap_future(self._service.submit(ask, withdrawn))
                return await asyncio.to_thread(with_remote_line, corpus, gap, wish, written.text)
            work = partial(self._work, corpus, gap, wish, tell)
            return await asyncio.wrap_future(self._service.run(self._key, work, withdrawn))
        except asyncio.CancelledError:
            withdrawn.set()
            raise

    def _work(
        self, corpus: "Corpus", gap: "Gap", wish: "Wish", tell: "Tell", generator: "Generator"
    ) -> "Iterator[list[Guess]]":
        from codekin.completion.generating import Writers, answers  # noqa: PLC0415 - brings numpy

        for found in answers(Writers(generator, corpus, self._generation), gap, wish):
            if found:
                tell(found[0])
            yield found


async def _scanned(workspace: Workspace) -> bool:
    """Waits until the workspace's files are known; not for their vectors, and not for ever: False if not by then."""
    last = time.monotonic() + WAITS_FOR_FILES
    while time.monotonic() < last:
        phase = (workspace.progress or {}).get("phase", "files")
        if workspace.state not in ("starting", "indexing") or phase != "files":
            return True
        await asyncio.sleep(0.05)
    return False


class _Files:
    """The content hashes of a workspace's indexed files, for a worker thread; none that were left out.

    With `looks` a file that has changed since it was indexed gets a hash of its own.
    """

    def __init__(self, workspace: Workspace, *, looks: bool = False) -> None:
        self._workspace, self._looks = workspace, looks

    def __call__(self) -> Mapping[str, str]:
        if not self._workspace.has_index():
            return {}
        files = self._workspace.index().files()
        counted = {path: state for path, state in files.items() if not state.skipped and not state.buffer}
        if not self._looks:
            return {path: state.hash for path, state in counted.items()}
        return {path: self._looked_at(path, state) for path, state in counted.items()}

    def _looked_at(self, path: str, state: "FileState") -> str:
        try:
            found = (self._workspace.root / path).lstat()
        except OSError:
            return state.hash
        is_same = (found.st_size, found.st_mtime_ns) == (state.size, state.mtime_ns)
        return state.hash if is_same else f"{found.st_size}:{found.st_mtime_ns}"


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
