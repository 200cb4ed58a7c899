"""`GET /v1/models`, `POST /v1/embeddings`: the local models for any client of OpenAI's API.

Beside that API a row of a model tells its `space` and `dimensions`, and an embedding request
may bring `kind` (query, passage) and `priority` (query, index).
"""

import asyncio
import base64
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from codekin.daemon.asked import Asked
from codekin.daemon.state import daemon_of
from codekin.errors import UsageError

TEXTS_LIMIT = 2048


async def models(request: Request) -> Response:
    """The models that are loaded; waits while the embedder is loading."""
    daemon = daemon_of(request)
    embedder = await asyncio.to_thread(lambda: daemon.engine.service().embedder(120))
    row = {"id": embedder.name, "object": "model", "created": 0, "owned_by": "codekin"}
    return JSONResponse(
        {"object": "list", "data": [{**row, "space": embedder.space, "dimensions": embedder.dimensions}]}
    )


async def embeddings(request: Request) -> Response:
    """{"model", "input", "encoding_format"?, "kind"?, "priority"?} gives OpenAI's list, and "space"."""
    daemon = daemon_of(request)
    asked = await Asked.of(request)
    texts = [asked.values["input"]] if isinstance(asked.values.get("input"), str) else list(asked.texts("input"))
    if not texts or len(texts) > TEXTS_LIMIT:
        raise UsageError(f"`input` must hold between 1 and {TEXTS_LIMIT} texts.")
    kind = "query" if asked.text("kind", "passage") == "query" else "passage"
    lane = "index" if asked.text("priority", "query") == "index" else "query"
    service = await asyncio.to_thread(daemon.engine.service)

    embedded = await asyncio.wrap_future(service.submit(texts, kind, lane))  # type: ignore[arg-type]
    encode = _base64 if asked.text("encoding_format", "float") == "base64" else _numbers
    rows = [{"object": "embedding", "index": at, "embedding": encode(row)} for at, row in enumerate(embedded.vectors)]
    usage = {"prompt_tokens": 0, "total_tokens": 0}
    return JSONResponse(
        {"object": "list", "data": rows, "model": asked.text("model", ""), "space": embedded.space, "usage": usage}
    )


def _base64(row: Any) -> str:
    return base64.b64encode(row.astype("<f4").tobytes()).decode()


def _numbers(row: Any) -> list[float]:
    return [float(number) for number in row]


routes = [Route("/v1/models", models), Route("/v1/embeddings", embeddings, methods=["POST"])]
