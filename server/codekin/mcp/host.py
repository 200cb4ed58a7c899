"""The process that holds the SDK and serves all agents of a data folder, over its socket or over loopback HTTP.

Importing the SDK takes seconds of processor time, which each agent would wait for; `codekin mcp` is a relay to here.
"""

import argparse
import asyncio
import contextlib
import json
import logging
import secrets
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, cast

import uvicorn
from mcp.server.stdio import stdio_server

from codekin.errors import UsageError
from codekin.mcp.relay import LOCK_NAME, ServerConfig, agents_socket_path
from codekin.mcp.server import build_agent_server
from codekin.util.files import LockHeldError, acquire_lock, read_or_create_secret

IDLE_SECONDS = 600.0
"""Without an agent the process ends after so long."""

_CHECK_SECONDS = 5.0
_GREETING_SECONDS = 10.0
_LINE_BYTES = 16 << 20
"""The longest message of an agent."""

HOST = "127.0.0.1"
PATH = "/mcp"

AsgiApp = Callable[[dict[str, Any], Any, Any], Awaitable[None]]

log = logging.getLogger(__name__)


class LineReader:
    """The lines of a connection as the SDK reads standard input."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader

    async def __aiter__(self) -> AsyncIterator[str]:
        """The lines up to the end of the connection, or to one that is too long."""
        with contextlib.suppress(ValueError, ConnectionError):
            while line := await self._reader.readline():
                yield line.decode("utf-8", "replace")


class LineWriter:
    """A connection as the SDK writes to standard output."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer

    async def write(self, text: str) -> None:
        """Takes a message, a line long."""
        self._writer.write(text.encode("utf-8", "replace"))

    async def flush(self) -> None:
        """Waits until the agent has taken enough of it; one that has left takes all."""
        with contextlib.suppress(ConnectionError):
            await self._writer.drain()


class AgentHost:
    """Serves the agents that connect, until none has been there for a while."""

    def __init__(self, data: Path, path: Path) -> None:
        self._data, self._path = data, path
        self._agents = 0
        self._idle_since = time.monotonic()
        self._done = asyncio.Event()

    async def serve(self, listener: socket.socket) -> None:
        """Serves a socket until it is idle, or until its path is gone."""
        server = await asyncio.start_unix_server(self._serve_agent, sock=listener, limit=_LINE_BYTES)
        async with server:
            self._check()
            await self._done.wait()

    def _check(self) -> None:
        is_idle = self._agents == 0 and time.monotonic() - self._idle_since > IDLE_SECONDS
        if is_idle or not self._path.exists():
            self._done.set()
        asyncio.get_running_loop().call_later(_CHECK_SECONDS, self._check)

    async def _serve_agent(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._agents += 1
        try:
            config = _read_greeting(self._data, await asyncio.wait_for(reader.readline(), _GREETING_SECONDS))
            server = build_agent_server(config)
            lines = cast("Any", LineReader(reader)), cast("Any", LineWriter(writer))
            async with stdio_server(*lines) as (reading, writing):
                await server.run(reading, writing, server.create_initialization_options())
        except Exception:
            log.exception("Serving an agent failed.")
        finally:
            self._agents -= 1
            self._idle_since = time.monotonic()
            writer.close()


def main(arguments: Sequence[str] | None = None) -> None:
    """Serves the agents of a data folder, unless another process does."""
    parser = argparse.ArgumentParser("codekin.mcp.host")
    parser.add_argument("--data-dir", type=Path, required=True)
    data = parser.parse_args(arguments).data_dir
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    path = agents_socket_path(data)
    try:
        lock = acquire_lock(path.with_name(f"{path.stem}.{LOCK_NAME}"))
    except LockHeldError:
        return
    try:
        asyncio.run(_serve(data, path))
    finally:
        path.unlink(missing_ok=True)
        lock.release()


async def _serve(data: Path, path: Path) -> None:
    with _listen(path) as listener:
        await AgentHost(data, path).serve(listener)


def _listen(path: Path) -> socket.socket:
    """The listening socket at a path, which is for this user alone; one that a killed process left is replaced."""
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    path.chmod(0o600)
    listener.listen()
    return listener


def _read_greeting(data: Path, line: bytes) -> ServerConfig:
    """What a relay says about its agent. Raises ValueError or KeyError where it says something else."""
    said = json.loads(line)
    root = Path(said["root"]) if said["root"] else None
    return ServerConfig(data, Path(said["folder"]), root, indexes=bool(said["indexes"]))


class TokenGuard:
    """Lets requests through that bring `Authorization: Bearer TOKEN`; all others get status 401."""

    def __init__(self, app: AsgiApp, token: str) -> None:
        self._app, self._token = app, f"Bearer {token}".encode()

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Serves one request, or the beginning and the end of the server."""
        headers = dict(scope.get("headers", ()))
        if scope["type"] == "lifespan" or secrets.compare_digest(headers.get(b"authorization", b""), self._token):
            await self._app(scope, receive, send)
            return
        about = [(b"content-type", b"text/plain; charset=utf-8"), (b"www-authenticate", b"Bearer")]
        await send({"type": "http.response.start", "status": 401, "headers": about})
        await send({"type": "http.response.body", "body": b"Bring the token: Authorization: Bearer TOKEN.\n"})


def serve_http(config: ServerConfig, port: int) -> int:
    """Serves until it is interrupted; gives the exit status. Raises UsageError where the port cannot be had."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    token_file = config.data / "token"
    app = build_agent_server(config).streamable_http_app(streamable_http_path=PATH, host=HOST)
    with _listen_on_port(port) as listener:
        address = f"http://{HOST}:{listener.getsockname()[1]}{PATH}"
        guard = TokenGuard(app, read_or_create_secret(token_file))
        server = uvicorn.Server(
            uvicorn.Config(guard, log_level="warning", access_log=False, timeout_graceful_shutdown=2)
        )
        sys.stderr.write(f"Serving agents at {address}; the token is in {token_file}.\n")
        sys.stderr.flush()
        asyncio.run(server.serve(sockets=[listener]))
    return 0


def _listen_on_port(port: int) -> socket.socket:
    """A socket that takes connections already, so that whoever reads the address may connect at once."""
    listener = socket.socket(socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
        listener.listen()
    except (OSError, OverflowError) as error:
        listener.close()
        raise UsageError(f"Port {port} cannot be used ({error}): choose another one.") from error
    return listener


if __name__ == "__main__":
    main()
