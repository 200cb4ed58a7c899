"""`GET /v1/models`, `POST /v1/embeddings`, `POST /v1/completions`: the local models for any client of OpenAI's API.

Beside that API a row of an embedder tells its `space` and `dimensions`, an embedding request
may bring `kind` (query, passage) and `priority` (query, index), and a completion `top_k`,
`repetition_penalty`, `regex`, `grammar` and `chat`.
"""

import asyncio
import base64
import json
import logging
import threading
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from codekin import places
from codekin.daemon import generators
from codekin.daemon.asked import Asked
from codekin.daemon.engine import QueryEmbedder
from codekin.daemon.state import Daemon, daemon_of
from codekin.errors import CheckpointError, ModelError, UsageError

if TYPE_CHECKING:
    from codekin.daemon.completions import Answer
    from codekin.models.generation import Generated, Step
    from codekin.models.generators import Ask, GenerationService
    from codekin.seams import Embedder

log = logging.getLogger(__name__)
TEXTS_LIMIT = 2048

extension = generators.extension


async def models(request: Request) -> Response:
    """The embedder that is loaded (waiting for it) and the generators that are on this machine.

    With ?root= the embedder is the encoder that was trained for this workspace, where there is one.
    """
    daemon, asked = daemon_of(request), await Asked.of(request)
    base = await asyncio.to_thread(lambda: daemon.engine.service().embedder(120))
    embedder = await _trained(daemon, asked) or base
    keys = await asyncio.to_thread(generators.generators_here, daemon.settings.models)
    about = {"space": embedder.space, "dimensions": embedder.dimensions, "base_space": base.space}
    rows = [{**_row(base.name), **about}]
    return JSONResponse({"object": "list", "data": rows + [_row(key) for key in keys]})


async def embeddings(request: Request) -> Response:
    """{"model", "input", "dimensions"?, "encoding_format"?, "kind"?, "priority"?, "root"?} gives OpenAI's list.

    Beside it stand "space" and "cut": the positions of texts that were longer than the model reads.
    """
    daemon = daemon_of(request)
    asked = await Asked.of(request)
    texts = [asked.values["input"]] if isinstance(asked.values.get("input"), str) else list(asked.texts("input"))
    if not texts or len(texts) > TEXTS_LIMIT:
        raise UsageError(f"`input` must hold between 1 and {TEXTS_LIMIT} texts.")
    kind = "query" if asked.text("kind", "passage") == "query" else "passage"
    lane = "index" if asked.text("priority", "query") == "index" else "query"
    service = await asyncio.to_thread(daemon.engine.service)
    width = _width(asked, await asyncio.to_thread(service.embedder, 120))
    trained = await _trained(daemon, asked)

    withdrawn = threading.Event()
    try:
        job = service.submit(texts, kind, lane, withdrawn, trained)  # type: ignore[arg-type]
        embedded = await asyncio.wrap_future(job)
    finally:
        withdrawn.set()
    vectors = _truncated(embedded.vectors, width)
    encode = _base64 if asked.text("encoding_format", "float") == "base64" else _numbers
    rows = [{"object": "embedding", "index": at, "embedding": encode(row)} for at, row in enumerate(vectors)]
    model = asked.text("model", "")
    usage = {"prompt_tokens": embedded.tokens, "total_tokens": embedded.tokens}
    if embedded.cut:
        log.info("%d of %d texts are longer than the model reads and were read in part.", len(embedded.cut), len(texts))
    about = {"model": model, "space": embedded.space, "cut": list(embedded.cut), "usage": usage}
    return JSONResponse({"object": "list", "data": rows, **about})


async def completions(request: Request) -> Response:
    """OpenAI's completions, whole or as server-sent events; with a `suffix` the gap before it is filled."""
    daemon = daemon_of(request)
    asked = await Asked.of(request)
    key = await asyncio.to_thread(generators.chosen_generator, daemon, asked.text("model", ""))
    service = await asyncio.to_thread(generators.generation_service, daemon)
    from codekin.daemon.completions import Answer, read_ask  # noqa: PLC0415 - bring torch

    asks, answer = read_ask(asked, key), Answer(key)
    if asked.flag("stream"):
        wants_usage = bool((asked.table("stream_options") or {}).get("include_usage"))
        return StreamingResponse(_events(service, asks, answer, wants_usage), media_type="text/event-stream")
    withdrawn = threading.Event()
    try:
        found = await asyncio.wrap_future(service.submit_batch(asks, withdrawn))
    finally:
        withdrawn.set()
    remote = generators.remote_of(daemon)
    who = "a generator here" if key == generators.REMOTE else key
    note = {"note": f"{remote.problem.rstrip('.')}; {who} answers."} if remote and remote.problem else {}
    return JSONResponse({**answer.whole(found), **note})


async def _events(
    service: "GenerationService", asks: "list[Ask]", answer: "Answer", wants_usage: bool
) -> AsyncIterator[str]:
    """Server-sent events; leaving the stream withdraws the work."""
    withdrawn = threading.Event()
    results = []
    try:
        for index, ask in enumerate(asks):
            async for step in _steps(service, ask, withdrawn):
                if hasattr(step, "prompt_tokens"):
                    results.append(step)
                elif step.text or step.finish:
                    yield _event(answer.chunk(index, step.text, step.finish, step.choices))
        if wants_usage:
            yield _event(answer.total(results))
        yield "data: [DONE]\n\n"
    except Exception as error:  # noqa: BLE001 - the stream has begun: the error is its last event
        from codekin.daemon.app import error_body  # noqa: PLC0415 - the app imports this module

        yield _event(error_body(error))
    finally:
        withdrawn.set()


async def _steps(service: "GenerationService", ask: "Ask", withdrawn: threading.Event) -> AsyncIterator[Any]:
    """The steps of a generation, brought over from its thread."""
    loop, arrived = asyncio.get_running_loop(), asyncio.Queue[Any]()

    def bring(step: "Step | Generated | None") -> None:
        loop.call_soon_threadsafe(arrived.put_nowait, step)

    future = service.submit(ask, withdrawn, bring)
    future.add_done_callback(lambda _: bring(None))
    while (step := await arrived.get()) is not None:
        yield step
    future.result()


async def _trained(daemon: Daemon, asked: Asked) -> "Embedder | None":
    """The encoder that the pointer of the workspace `root` names; None without one, or where it is refused."""
    if not asked.values.get("root"):
        return None
    root = asked.root()

    def read() -> "Embedder | None":
        from codekin.models import checkpoints  # noqa: PLC0415 - brings numpy

        folder = places.learning_folder(daemon.data, root)
        name = checkpoints.pointed(folder)
        found = None if name == checkpoints.BASE else daemon.engine.learned(folder, name)
        return found.within if isinstance(found, QueryEmbedder) else None

    try:
        return await asyncio.to_thread(read)
    except CheckpointError as error:
        daemon.workspaces.get(root).refused(str(error))
        return None


def _width(asked: Asked, embedder: "Embedder") -> int:
    """The dimensions asked for, 0 for all. Raises UsageError, ModelError."""
    name = asked.text("model", "")
    if name not in ("", embedder.name):
        raise ModelError(f"{name!r} is not loaded; the embedder here is {embedder.name}.")
    width = asked.number("dimensions", 0)
    offered = {embedder.dimensions, *getattr(embedder, "truncations", ())}
    if width and width not in offered:
        raise UsageError(f"`dimensions` must be one of {', '.join(map(str, sorted(offered)))} for {embedder.name}.")
    return 0 if width == embedder.dimensions else width


def _truncated(vectors: Any, width: int) -> Any:
    if not width:
        return vectors
    import numpy as np  # noqa: PLC0415 - the routes stay light

    cut = vectors[:, :width]
    return cut / np.maximum(np.linalg.norm(cut, axis=1, keepdims=True), 1e-12)


def _row(key: str) -> dict[str, Any]:
    return {"id": key, "object": "model", "created": 0, "owned_by": "codekin"}


def _event(value: Any) -> str:
    return f"data: {json.dumps(value)}\n\n"


def _base64(row: Any) -> str:
    return base64.b64encode(row.astype("<f4").tobytes()).decode()


def _numbers(row: Any) -> list[float]:
    return [float(number) for number in row]


routes = [
    Route("/v1/models", models),
    Route("/v1/embeddings", embeddings, methods=["POST"]),
    Route("/v1/completions", completions, methods=["POST"]),
]
