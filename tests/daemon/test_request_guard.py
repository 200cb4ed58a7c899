"""The door of the app: large, slow and unwelcome requests, and callers who leave."""

import asyncio
import json
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

from codekin.daemon.app import build_daemon
from codekin.daemon.process import request_guard
from codekin.daemon.process.request_guard import Activity, BoundedProtocol, RequestGuard

LIMIT = 1000


class App:
    """Echoes the size of what it got; `/slow` waits until it is cancelled."""

    def __init__(self):
        self.cancelled = asyncio.Event()
        self.entered = asyncio.Event()
        self.activity = Activity()
        routes = [Route("/size", self.size, methods=["POST"]), Route("/slow", self.slow)]
        self.guard = RequestGuard(Starlette(routes=routes), self.activity, LIMIT, lambda: "secret")

    async def size(self, request):
        return JSONResponse(len(await request.body()))

    async def slow(self, request):
        self.entered.set()
        try:
            await asyncio.sleep(100)
        except asyncio.CancelledError:
            self.cancelled.set()
            raise


@asynccontextmanager
async def serving(tcp=False):
    app = App()
    config = uvicorn.Config(app.guard, http=BoundedProtocol, lifespan="off", log_config=None, access_log=False)
    server = uvicorn.Server(config)
    path = tempfile.mkdtemp(prefix="ck") + "/s"
    config.load()
    server.lifespan = config.lifespan_class(config)
    loop = asyncio.get_running_loop()
    make = lambda: BoundedProtocol(config, server.server_state, {})  # noqa: E731
    listening = await (loop.create_server(make, "127.0.0.1", 0) if tcp else loop.create_unix_server(make, path))
    async with listening:
        yield app, listening.sockets[0].getsockname()


async def connect(address):
    return await (
        asyncio.open_connection(*address) if isinstance(address, tuple) else asyncio.open_unix_connection(address)
    )


async def ask(address, request: bytes) -> tuple[int, bytes]:
    reader, writer = await connect(address)
    writer.write(request)
    answer = await asyncio.wait_for(reader.read(), 20)
    writer.close()
    return int(answer.split(b" ")[1]) if answer else 0, answer.partition(b"\r\n\r\n")[2]


def post(body: bytes, headers: str = "") -> bytes:
    return (
        f"POST /size HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode()
        + body
    )


async def test_a_body_within_the_limit_passes():
    """Ordinary requests pass."""
    async with serving() as (_, address):
        assert await ask(address, post(b"x" * LIMIT)) == (200, b"1000")


@pytest.mark.parametrize(
    "request_",
    [
        post(b"x" * (LIMIT + 1)),
        b"POST /size HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000000\r\n\r\n" + b"x" * 2000,
        b"POST /size HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n400\r\n" + b"x" * 1024 + b"\r\n0\r\n\r\n",
    ],
)
async def test_a_body_over_the_limit_is_refused_before_it_is_kept(request_):
    """A body over the limit is refused, however its length is given."""
    async with serving() as (_, address):
        status, body = await ask(address, request_)
    assert status == 413
    assert "larger than 1000 bytes" in json.loads(body)["error"]["message"]


async def test_a_body_that_drips_is_refused(monkeypatch):
    """A sender who never finishes is shown out."""
    monkeypatch.setattr(request_guard, "REQUEST_TIMEOUT_SECONDS", 0.3)
    async with serving() as (app, address):
        status, _ = await ask(address, b"POST /size HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nab")
        assert status == 408
        assert app.activity.live == 0


@pytest.mark.parametrize("drip", [b"", b"GET /size HT", b"GET /size HTTP/1.1\r\nHost: x\r\n"])
async def test_headers_that_drip_are_dropped(monkeypatch, drip):
    """A connection whose headers do not arrive in time is closed."""
    monkeypatch.setattr(request_guard, "REQUEST_TIMEOUT_SECONDS", 0.2)
    async with serving() as (_, address):
        assert await ask(address, drip) == (0, b"")


@pytest.mark.parametrize("opening", [b"", b"GET /size HTTP/1.1\r\n", b"GET /size HTTP/1.1\r\nHost: x\r\n\r\n"])
async def test_a_stranger_cannot_use_up_the_connections_over_tcp(monkeypatch, opening):
    """Of many connections without a request under way the oldest are closed, and a new caller is served."""
    monkeypatch.setattr(request_guard, "MAX_WAITING_CONNECTIONS", 4)
    async with serving(tcp=True) as (_, address):
        held = [await connect(address) for _ in range(12)]
        for _, writer in held:
            writer.write(opening)
        await asyncio.wait_for(asyncio.gather(*(reader.read() for reader, _ in held[:7])), 60)
        assert (await ask(address, post(b"", "Authorization: Bearer secret\r\n")))[0] == 200
        for _, writer in held:
            writer.close()


async def test_the_windows_share_the_socket_without_such_a_bound(monkeypatch):
    """The user's own socket takes any number of connections."""
    monkeypatch.setattr(request_guard, "MAX_WAITING_CONNECTIONS", 1)
    async with serving() as (_, address):
        held = [await connect(address) for _ in range(5)]
        for reader, writer in held:
            writer.write(post(b""))
            assert (await asyncio.wait_for(reader.readline(), 60)).startswith(b"HTTP/1.1 200")
            writer.close()


async def test_headers_without_end_are_refused():
    """Endless headers are refused."""
    async with serving() as (_, address):
        status, _ = await ask(address, b"GET /size HTTP/1.1\r\n" + b"x: " + b"y" * 200_000)
    assert status in (0, 400)


async def test_a_caller_who_leaves_cancels_the_work():
    """The work of a client that disconnected is cancelled."""
    async with serving() as (app, address):
        _, writer = await connect(address)
        writer.write(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        await asyncio.wait_for(app.entered.wait(), 20)
        assert app.activity.idle_seconds() == 0
        writer.close()
        await asyncio.wait_for(app.cancelled.wait(), 20)


async def test_tcp_needs_the_token_and_the_socket_does_not():
    """Over TCP only the holder of the token is served."""
    async with serving(tcp=True) as (_, address):
        assert (await ask(address, post(b"")))[0] == 401
        assert (await ask(address, post(b"", "Authorization: Bearer wrong\r\n")))[0] == 401
        assert (await ask(address, post(b"", "Authorization: Bearer secret\r\n")))[0] == 200
    async with serving() as (_, address):
        assert (await ask(address, post(b"")))[0] == 200


def test_the_token_is_kept_from_others(tmp_path: Path):
    """The token lasts, and only the user can read it."""
    daemon = build_daemon(tmp_path)
    assert daemon.token() == daemon.token()
    assert len(daemon.token()) > 30
    assert (tmp_path / "token").stat().st_mode & 0o077 == 0
