"""The blocking and asynchronous clients of the daemon: find or start it, send requests, reconnect after a crash."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode

from codekin import errors, paths
from codekin.daemon.process.startup import ensure_daemon
from codekin.errors import CodekinError, DaemonError, HttpError
from codekin.http import TIMEOUT, AsyncJsonClient, Endpoint, JsonClient

READ_SECONDS = 120.0
RECONNECT_DELAYS = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Seconds between attempts to find the daemon again; the last one repeats."""


class DaemonClient:
    """The blocking client of the terminal; `greeting` is the daemon's handshake."""

    def __init__(self, data: Path, greeting: Mapping[str, Any], start: bool = True) -> None:
        self.data = data
        self.greeting = greeting
        self._start = start
        self._http = JsonClient(_endpoint(data))

    @classmethod
    def connect(cls, data: Path | None = None, start: bool = True) -> Self:
        """A client of the data folder's daemon, which is started if none runs. Raises DaemonError."""
        folder = paths.data_dir(data)
        return cls(folder, ensure_daemon(folder, start), start)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Closes its connections; the daemon stays."""
        self._http.close()

    def get(self, path: str, **query: Any) -> Any:
        """The answer to a GET. Raises the CodekinError that the daemon raised."""
        return self._request(lambda: self._http.get(path, **query))

    def post(self, path: str, body: Any = None, timeout: float | None = None) -> Any:
        """The answer to a POST. Raises the CodekinError that the daemon raised."""
        return self._request(lambda: self._http.post(path, body, timeout))

    def lines(self, path: str, body: Any = None, method: str = "POST") -> Iterator[Any]:
        """The values of a streamed answer; an {"error": …} among them is raised."""
        try:
            for value in self._http.lines(path, body, method):
                yield _raise_stream_error(value)
        except HttpError as error:
            raise to_codekin_error(error) from error

    def _request(self, call: Any) -> Any:
        try:
            return call()
        except HttpError as error:
            if error.status or error.kind == TIMEOUT or not self._start:
                raise to_codekin_error(error) from error
        self.greeting = ensure_daemon(self.data)
        try:
            return call()
        except HttpError as error:
            raise to_codekin_error(error) from error


class AsyncDaemonClient:
    """The client of a window: any number of calls at a time; cancelling one cancels its work.

    After a crash the next call starts the daemon again; `greeting["pid"]` then differs.
    """

    def __init__(self, data: Path, greeting: Mapping[str, Any]) -> None:
        self.data = data
        self.greeting = greeting
        self._http = AsyncJsonClient(_endpoint(data))
        self._reconnecting: asyncio.Task[Mapping[str, Any]] | None = None

    @classmethod
    async def connect(cls, data: Path | None = None) -> Self:
        """A client of the data folder's daemon, which is started if none runs. Raises DaemonError."""
        folder = paths.data_dir(data)
        return cls(folder, await asyncio.to_thread(ensure_daemon, folder))

    async def close(self) -> None:
        """Closes its connections; the daemon stays."""
        await self._http.close()

    async def get(self, path: str, **query: Any) -> Any:
        """The answer to a GET. Raises the CodekinError that the daemon raised."""
        return await self._request(lambda: self._http.get(path, **query))

    async def post(self, path: str, body: Any = None, timeout: float | None = None) -> Any:  # noqa: ASYNC109
        """The answer to a POST. Raises the CodekinError that the daemon raised."""
        return await self._request(lambda: self._http.post(path, body, timeout))

    async def lines(self, path: str, body: Any = None, method: str = "POST") -> AsyncGenerator[Any, None]:
        """The values of a streamed answer; an {"error": …} among them is raised."""
        try:
            async for value in self._http.lines(path, body, method):
                yield _raise_stream_error(value)
        except HttpError as error:
            raise to_codekin_error(error) from error

    async def events(self, root: str, window: str = "") -> AsyncIterator[Any]:
        """The workspace's events for as long as the caller listens, across crashes of the daemon.

        The unsaved texts of the `window` count in the workspace meanwhile.
        {"event": "connected"} comes first and again after each reconnection: send unsaved
        buffers then. {"event": "lost", "message": …} comes when the daemon is gone.
        """
        failures, query = 0, _query(root, window)
        while True:
            began = time.monotonic()
            try:
                await self.reconnect()
                async for value in self.lines(f"/events?{query}", method="GET"):
                    yield value
                message = "The daemon left; it is started again."
            except DaemonError as error:
                message = str(error)
            failures = 0 if time.monotonic() - began > RECONNECT_DELAYS[-1] else failures + 1
            yield {"event": "lost", "message": message}
            await asyncio.sleep(RECONNECT_DELAYS[min(failures, len(RECONNECT_DELAYS) - 1)])

    async def reconnect(self) -> None:
        """Shakes hands, and starts the daemon if it is gone; calls that fail together do so together.

        Raises DaemonError where the daemon does not answer.
        """
        if self._reconnecting is None or self._reconnecting.done():
            self._reconnecting = asyncio.create_task(asyncio.to_thread(ensure_daemon, self.data))
        self.greeting = await asyncio.shield(self._reconnecting)

    async def _request(self, call: Any) -> Any:
        try:
            return await call()
        except HttpError as error:
            if error.status or error.kind == TIMEOUT:
                raise to_codekin_error(error) from error
        await self.reconnect()
        try:
            return await call()
        except HttpError as error:
            raise to_codekin_error(error) from error


def to_codekin_error(error: HttpError) -> CodekinError:
    """The error that the daemon raised, as its own class where that is known here."""
    kind = getattr(errors, error.kind, None)
    if isinstance(kind, type) and issubclass(kind, CodekinError) and kind is not HttpError:
        return kind(str(error))
    return DaemonError(str(error))


def _raise_stream_error(value: Any) -> Any:
    if isinstance(value, dict) and isinstance(value.get("error"), dict):
        problem = value["error"]
        raise to_codekin_error(
            HttpError(str(problem.get("message")), kind=str(problem.get("kind") or problem.get("type")))
        )
    return value


def _endpoint(data: Path) -> Endpoint:
    return Endpoint(paths.socket_path(data), timeout=READ_SECONDS, attempts=1)


def _query(root: str, window: str) -> str:
    return urlencode({"root": root, "window": window})
