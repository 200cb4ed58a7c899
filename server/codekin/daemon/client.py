"""How windows and terminals talk to the daemon: found or started, asked, found again after a crash.

Light on purpose: no starlette, no numpy, nothing of the rooms behind the daemon.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from codekin import errors, places
from codekin.daemon.start import ensure
from codekin.errors import CodekinError, DaemonError, WireError
from codekin.wire import TIMEOUT, AsyncJsonClient, Endpoint, JsonClient

READ_SECONDS = 120.0
RECONNECT_DELAYS = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Seconds between attempts to find the daemon again; the last one repeats."""


class Client:
    """The blocking client of the terminal; `greeting` is the daemon's handshake."""

    def __init__(self, data: Path, greeting: Mapping[str, Any], start: bool = True) -> None:
        self.data = data
        self.greeting = greeting
        self._start = start
        self._wire = JsonClient(_place(data))

    @classmethod
    def connect(cls, data: Path | None = None, start: bool = True) -> Self:
        """A client of the data folder's daemon, which is started if none runs. Raises DaemonError."""
        folder = places.data_dir(data)
        return cls(folder, ensure(folder, start), start)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Closes its connections; the daemon stays."""
        self._wire.close()

    def get(self, path: str, **query: Any) -> Any:
        """The answer to a GET. Raises the CodekinError that the daemon raised."""
        return self._ask(lambda: self._wire.get(path, **query))

    def post(self, path: str, body: Any = None, timeout: float | None = None) -> Any:
        """The answer to a POST. Raises the CodekinError that the daemon raised."""
        return self._ask(lambda: self._wire.post(path, body, timeout))

    def lines(self, path: str, body: Any = None, method: str = "POST") -> Iterator[Any]:
        """The values of a streamed answer; an {"error": …} among them is raised."""
        try:
            for value in self._wire.lines(path, body, method):
                yield _checked(value)
        except WireError as error:
            raise translated(error) from error

    def _ask(self, call: Any) -> Any:
        try:
            return call()
        except WireError as error:
            if error.status or error.kind == TIMEOUT or not self._start:
                raise translated(error) from error
        self.greeting = ensure(self.data)
        try:
            return call()
        except WireError as error:
            raise translated(error) from error


class AsyncClient:
    """The client of a window: any number of calls at a time; cancelling one withdraws its work.

    After a crash the next call starts the daemon again; `greeting["pid"]` then differs.
    """

    def __init__(self, data: Path, greeting: Mapping[str, Any]) -> None:
        self.data = data
        self.greeting = greeting
        self._wire = AsyncJsonClient(_place(data))
        self._finding: asyncio.Task[Mapping[str, Any]] | None = None

    @classmethod
    async def connect(cls, data: Path | None = None) -> Self:
        """A client of the data folder's daemon, which is started if none runs. Raises DaemonError."""
        folder = places.data_dir(data)
        return cls(folder, await asyncio.to_thread(ensure, folder))

    async def close(self) -> None:
        """Closes its connections; the daemon stays."""
        await self._wire.close()

    async def get(self, path: str, **query: Any) -> Any:
        """The answer to a GET. Raises the CodekinError that the daemon raised."""
        return await self._ask(lambda: self._wire.get(path, **query))

    async def post(self, path: str, body: Any = None, timeout: float | None = None) -> Any:  # noqa: ASYNC109
        """The answer to a POST. Raises the CodekinError that the daemon raised."""
        return await self._ask(lambda: self._wire.post(path, body, timeout))

    async def lines(self, path: str, body: Any = None, method: str = "POST") -> AsyncIterator[Any]:
        """The values of a streamed answer; an {"error": …} among them is raised."""
        try:
            async for value in self._wire.lines(path, body, method):
                yield _checked(value)
        except WireError as error:
            raise translated(error) from error

    async def events(self, root: str) -> AsyncIterator[Any]:
        """The workspace's events for as long as the caller listens, across crashes of the daemon.

        {"event": "connected"} comes first and again after each reconnection: send unsaved
        buffers then. {"event": "lost", "message": …} comes when the daemon is gone.
        """
        failures, query = 0, _query(root)
        while True:
            began = time.monotonic()
            try:
                await self._find()
                async for value in self.lines(f"/events?{query}", method="GET"):
                    yield value
                message = "The daemon left; it is started again."
            except DaemonError as error:
                message = str(error)
            failures = 0 if time.monotonic() - began > RECONNECT_DELAYS[-1] else failures + 1
            yield {"event": "lost", "message": message}
            await asyncio.sleep(RECONNECT_DELAYS[min(failures, len(RECONNECT_DELAYS) - 1)])

    async def _ask(self, call: Any) -> Any:
        try:
            return await call()
        except WireError as error:
            if error.status or error.kind == TIMEOUT:
                raise translated(error) from error
        await self._find()
        try:
            return await call()
        except WireError as error:
            raise translated(error) from error

    async def _find(self) -> None:
        """Starts the daemon if it is gone; calls that fail together look for it together."""
        if self._finding is None or self._finding.done():
            self._finding = asyncio.create_task(asyncio.to_thread(ensure, self.data))
        self.greeting = await asyncio.shield(self._finding)


def translated(error: WireError) -> CodekinError:
    """The error that the daemon raised, as its own class where that is known here."""
    kind = getattr(errors, error.kind, None)
    if isinstance(kind, type) and issubclass(kind, CodekinError) and kind is not WireError:
        return kind(str(error))
    return DaemonError(str(error))


def _checked(value: Any) -> Any:
    if isinstance(value, dict) and isinstance(value.get("error"), dict):
        problem = value["error"]
        raise translated(WireError(str(problem.get("message")), kind=str(problem.get("type"))))
    return value


def _place(data: Path) -> Endpoint:
    return Endpoint(places.socket_path(data), timeout=READ_SECONDS, attempts=1)


def _query(root: str) -> str:
    from urllib.parse import urlencode  # noqa: PLC0415 - asked once

    return urlencode({"root": root})
