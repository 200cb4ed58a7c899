"""The local models for any client of OpenAI's API: models, embeddings, completions and chat completions below /v1.

Beyond that API, the row of an embedder has its `space` and `dimensions`, an embedding request
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
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from codekin.daemon.routes.openai_chat import ChatResponse, read_chat
from codekin.daemon.routes.openai_completions import (
    CompletionResponse,
    openai_error_body,
    read_ids,
    read_prompts,
    refuse_unknown,
    wants_usage,
)
from codekin.daemon.routes.request import AsciiJSONResponse, RequestParams
from codekin.daemon.services.heavy import finetune_records
from codekin.daemon.services.state import Daemon, daemon_of
from codekin.errors import CheckpointError, ModelNotFoundError, UsageError
from codekin.protocols import Embedder, GeneratedText, GenerationRequest, GenerationStep

if TYPE_CHECKING:
    from codekin.models.generation.service import GenerationService


log = logging.getLogger(__name__)
TEXTS_LIMIT = 2048
EMBEDDING_KEYS = frozenset({"model", "input", "dimensions", "encoding_format", "kind", "priority", "root"})
GenerationResponse = CompletionResponse | ChatResponse


async def models(request: Request) -> Response:
    """The embedder that is loaded (waiting for it) and the generators that are on this machine.

    With ?root= the embedder is the encoder that was trained for this workspace, where there is one.
    """
    daemon, params = daemon_of(request), await RequestParams.of(request)
    base = await asyncio.to_thread(lambda: daemon.engine.service().embedder(120))
    embedder = await _finetuned_encoder(daemon, params) or base
    keys = await asyncio.to_thread(daemon.generators.installed)
    about = {"space": embedder.space, "dimensions": embedder.dimensions, "base_space": base.space}
    rows = [{**_model_row(base.name), **about}]
    return AsciiJSONResponse({"object": "list", "data": rows + [_model_row(key) for key in keys]})


async def model(request: Request) -> Response:
    """The row of one model. Raises ModelNotFoundError where it is not here."""
    name, listed = request.path_params["name"], await models(request)
    for row in json.loads(bytes(listed.body))["data"]:
        if row["id"] == name:
            return AsciiJSONResponse(row)
    raise ModelNotFoundError(
        f"There is no model {name!r} on this machine; `codekin models list` names those there are."
    )


async def embeddings(request: Request) -> Response:
    """{"model", "input", "dimensions"?, "encoding_format"?, "kind"?, "priority"?, "root"?} gives OpenAI's list.

    It also has "space" and "truncated": the positions of texts that were longer than the model reads.
    """
    daemon = daemon_of(request)
    params = await RequestParams.of(request)
    refuse_unknown(params, EMBEDDING_KEYS)
    encoding = params.text("encoding_format", "float")
    if encoding not in ("float", "base64"):
        raise UsageError("`encoding_format` must be float or base64.")
    kind = "query" if params.text("kind", "passage") == "query" else "passage"
    priority_name = "index" if params.text("priority", "query") == "index" else "query"
    service = await asyncio.to_thread(daemon.engine.service)
    embedder = await asyncio.to_thread(service.embedder, 120)
    width = _requested_dimensions(params, embedder)
    texts = _read_input(params, embedder)
    trained = await _finetuned_encoder(daemon, params)

    cancelled = threading.Event()
    try:
        job = service.submit(texts, kind, priority_name, cancelled, trained)  # type: ignore[arg-type]
        embedded = await asyncio.wrap_future(job)
    finally:
        cancelled.set()
    vectors = _truncate(embedded.vectors, width)
    encode = _base64 if encoding == "base64" else _float_list
    rows = [{"object": "embedding", "index": at, "embedding": encode(row)} for at, row in enumerate(vectors)]
    usage = {"prompt_tokens": embedded.tokens, "total_tokens": embedded.tokens}
    if embedded.truncated:
        log.info(
            "%d of %d texts are longer than the model reads and were read in part.", len(embedded.truncated), len(texts)
        )
    about = {"model": embedder.name, "space": embedded.space, "truncated": list(embedded.truncated), "usage": usage}
    return AsciiJSONResponse({"object": "list", "data": rows, **about})


async def completions(request: Request) -> Response:
    """OpenAI's completions, whole or as server-sent events; with `suffix` they fill the gap before it."""
    daemon, params = daemon_of(request), await RequestParams.of(request)
    key = await _chosen_generator(daemon, params)
    prompts, choices = read_prompts(params, key)
    answer = CompletionResponse(key, choices, [each.prompt for each in prompts])
    requests = [each for prompt in prompts for each in choices.requests(prompt)]
    return await _generate(daemon, params, requests, answer)


async def chat_completions(request: Request) -> Response:
    """OpenAI's chat completions over the model's own chat template."""
    daemon, params = daemon_of(request), await RequestParams.of(request)
    key = await _chosen_generator(daemon, params)
    conversation, choices = read_chat(params, key)
    return await _generate(daemon, params, choices.requests(conversation), ChatResponse(key, choices))


async def _chosen_generator(daemon: Daemon, params: RequestParams) -> str:
    return await asyncio.to_thread(daemon.generators.choose, params.text("model", ""))


async def _generate(
    daemon: Daemon, params: RequestParams, requests: "list[GenerationRequest]", answer: GenerationResponse
) -> Response:
    """The texts of all requests, in one answer or as they come."""
    service = await asyncio.to_thread(daemon.generators.service)
    if params.flag("stream"):
        events = _stream_texts(service, requests, answer, wants_usage(params))
        return StreamingResponse(events, media_type="text/event-stream")
    cancelled = threading.Event()
    try:
        found = await asyncio.wrap_future(service.submit_batch(requests, cancelled))
    finally:
        cancelled.set()
    note = daemon.generators.substitution_note(requests[0].model)
    return AsciiJSONResponse({**answer.whole(found), **({"note": note} if note else {})})


async def _stream_texts(
    service: "GenerationService", requests: "list[GenerationRequest]", answer: GenerationResponse, with_usage: bool
) -> AsyncIterator[str]:
    """Server-sent events; leaving the stream cancels the work."""
    cancelled = threading.Event()
    results: list[GeneratedText] = []
    open_usage = {"usage": None} if with_usage else {}
    try:
        for index, ask in enumerate(requests):
            for chunk in answer.first(index):
                yield _sse_event({**chunk, **open_usage})
            async for step in _steps(service, ask, cancelled):
                if isinstance(step, GeneratedText):
                    results.append(step)
                elif step.text or step.finish:
                    yield _sse_event({**answer.chunk(index, step.text, step.finish, step.choices), **open_usage})
        if with_usage:
            yield _sse_event(answer.total(results))
        yield "data: [DONE]\n\n"
    except Exception as error:  # noqa: BLE001 - the stream has begun: the error is its last event
        yield _sse_event(openai_error_body(error))
    finally:
        cancelled.set()


async def _steps(
    service: "GenerationService", ask: "GenerationRequest", cancelled: threading.Event
) -> AsyncIterator[Any]:
    """The steps of a generation, brought over from its thread."""
    loop, arrived = asyncio.get_running_loop(), asyncio.Queue[Any]()

    def bring(step: "GenerationStep | GeneratedText | None") -> None:
        loop.call_soon_threadsafe(arrived.put_nowait, step)

    future = service.submit(ask, cancelled, bring)
    future.add_done_callback(lambda _: bring(None))
    while (step := await arrived.get()) is not None:
        yield step
    future.result()


async def _finetuned_encoder(daemon: Daemon, params: RequestParams) -> "Embedder | None":
    """The encoder that the pointer of the workspace `root` names; None without one, or where it is refused."""
    if not params.values.get("root"):
        return None
    root = params.root()

    try:
        return await asyncio.to_thread(lambda: finetune_records(daemon.context, root).trained_encoder())
    except CheckpointError as error:
        daemon.workspaces.find(root).report_refused(str(error))
        return None


def _read_input(params: RequestParams, embedder: "Embedder") -> list[str]:
    """The texts of a request: a text, token ids, or a list of either. Raises UsageError."""
    value = params.values.get("input")
    rows = [value] if isinstance(value, str) or read_ids(value) else value
    if not isinstance(rows, list) or not 0 < len(rows) <= TEXTS_LIMIT:
        raise UsageError(f"`input` must hold between 1 and {TEXTS_LIMIT} texts.")
    decoded = [embedder.decode(ids) if (ids := read_ids(row)) else row for row in rows]
    return list(RequestParams({"input": decoded}).texts("input"))


def _requested_dimensions(params: RequestParams, embedder: "Embedder") -> int:
    """The requested dimensions, 0 for all. Raises UsageError, ModelNotFoundError."""
    name = params.text("model", "")
    if name not in ("", embedder.name):
        raise ModelNotFoundError(f"{name!r} is not loaded; the embedder here is {embedder.name}.")
    width = params.number("dimensions", 0)
    offered = {embedder.dimensions, *embedder.truncations}
    if width and width not in offered:
        raise UsageError(f"`dimensions` must be one of {', '.join(map(str, sorted(offered)))} for {embedder.name}.")
    return 0 if width == embedder.dimensions else width


def _truncate(vectors: Any, width: int) -> Any:
    if not width:
        return vectors
    cut = vectors[:, :width]
    return cut / ((cut**2).sum(axis=1, keepdims=True) ** 0.5).clip(1e-12)


def _model_row(key: str) -> dict[str, Any]:
    return {"id": key, "object": "model", "created": 0, "owned_by": "codekin"}


def _sse_event(value: Any) -> str:
    return f"data: {json.dumps(value)}\n\n"


def _base64(row: Any) -> str:
    return base64.b64encode(row.astype("<f4").tobytes()).decode()


def _float_list(row: Any) -> list[float]:
    return [float(number) for number in row]


routes = [
    Route("/v1/models", models),
    Route("/v1/models/{name:path}", model),
    Route("/v1/embeddings", embeddings, methods=["POST"]),
    Route("/v1/completions", completions, methods=["POST"]),
    Route("/v1/chat/completions", chat_completions, methods=["POST"]),
]
