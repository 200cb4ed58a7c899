"""`POST /models/reload`: put another embedding model, or the same one from disk, in the place of the old."""

import asyncio
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from codekin.daemon.asked import Asked
from codekin.daemon.state import daemon_of

if TYPE_CHECKING:
    from codekin.seams import Embedder


async def reload(request: Request) -> Response:
    """{"model"?}: the settings' choice where none is named; gives the model's state once it serves.

    Queries at hand end on the old model; where the new one cannot be loaded, the old one
    serves on and the answer is the reason.
    """
    daemon = daemon_of(request)
    name = (await Asked.of(request)).text("model", "")

    def load_named() -> "Embedder":
        from codekin.models import load_embedder  # noqa: PLC0415 - brings torch

        return load_embedder(name, kernel_cache=daemon.data / "kernels.json")

    swapped = await asyncio.to_thread(daemon.engine.reload, load_named if name else None)
    await asyncio.wrap_future(swapped)
    return JSONResponse(daemon.engine.state())


routes = [Route("/models/reload", reload, methods=["POST"])]
