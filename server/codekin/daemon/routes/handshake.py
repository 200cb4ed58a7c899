"""`GET /handshake`: which daemon this is. `POST /shutdown`: drain and leave."""

import logging
import os
from dataclasses import asdict

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from codekin.daemon.asked import Asked
from codekin.daemon.build import this_build
from codekin.daemon.state import daemon_of

log = logging.getLogger(__name__)


async def handshake(request: Request) -> Response:
    """{"product", "version", "stamp", "digest", "protocol", "pid", "data_dir", "started"}."""
    daemon = daemon_of(request)
    about = {"product": "codekin", **asdict(this_build()), "pid": os.getpid()}
    return JSONResponse({**about, "data_dir": str(daemon.data), "started": daemon.started})


async def shutdown(request: Request) -> Response:
    """{"reason"}: answers, finishes what is being served, and leaves."""
    daemon = daemon_of(request)
    reason = (await Asked.of(request)).text("reason", "asked to")
    log.info("Leaving: %.200s.", reason)
    daemon.stopping.set()
    return JSONResponse({"leaving": True})


routes = [Route("/handshake", handshake), Route("/shutdown", shutdown, methods=["POST"])]
