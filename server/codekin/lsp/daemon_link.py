"""The window's way to the daemon: connects once, and notices a daemon that runs but does not answer.

A daemon may be suspended, swapped out or stuck. A request that gets no answer is therefore followed by a handshake:
while that is answered the daemon is busy and worth waiting for, otherwise the request ends with a sentence.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from codekin.errors import CodekinError, DaemonError

SILENCE_SECONDS = 4.0
"""A handshake that takes longer shows in the status."""
SLOW_START_SECONDS = 12.0
"""A start that takes longer shows in the status."""
STARTING_SECONDS = 30.0
"""A request of the user waits this long for a daemon that starts."""
RETRY_SECONDS = 1.0

UNRESPONSIVE = "The daemon does not answer: `codekin daemon stop` ends it, and Codekin starts it again."
STILL_STARTING = "The daemon is still starting: try again in a moment, or see `codekin doctor`."
TOO_SLOW = "The daemon is busy and has not answered in time: try again in a moment."


class DaemonConnection(Protocol):
    """What a window needs of `codekin.daemon.client.AsyncDaemonClient`; cancelling a call cancels its work."""

    async def get(self, path: str, **query: Any) -> Any:
        """The response to a GET."""
        ...

    async def post(self, path: str, body: Any = None, timeout: float | None = None) -> Any:  # noqa: ASYNC109
        """The response to a POST."""
        ...

    def lines(self, path: str, body: Any = None, method: str = "POST") -> AsyncIterator[Any]:
        """The values of a streamed response."""
        ...

    def events(self, root: str, window: str) -> AsyncIterator[Any]:
        """The workspace's events, across crashes of the daemon; the window's texts count meanwhile."""
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...


ConnectDaemon = Callable[[], Awaitable[DaemonConnection]]


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds that a request waits: before a handshake is tried, for the handshake, and in all."""

    quiet: float
    handshake: float
    total: float


AUTOMATIC = Patience(1.0, 1.5, 10.0)
"""For what the editor requests at each key."""
BACKGROUND = Patience(1.0, 1.5, 20.0)
"""For what the editor shows once it is there, such as lenses."""
REQUESTED = Patience(1.0, 4.0, 60.0)
"""For requests of the user."""


class DaemonLink:
    """One window's link; `report` gets a sentence while the daemon does not answer, and "" once it does."""

    def __init__(self, connect: ConnectDaemon, report: Callable[[str], None]) -> None:
        self._connect = connect
        self._report = report
        self._connecting: asyncio.Task[DaemonConnection] | None = None
        self._handshake: asyncio.Task[None] | None = None
        self._in_order = asyncio.Lock()
        self._failed = 0.0

    async def connection(self) -> DaemonConnection:
        """The daemon, started if none runs; simultaneous requests share a start or its failure. Raises DaemonError."""
        arrived = time.monotonic()
        async with self._in_order:
            task = self._connecting
            if task is None or (task.done() and not self._connected() and self._failed < arrived):
                task = self._connecting = asyncio.get_running_loop().create_task(self._open())
                task.add_done_callback(_mark_retrieved)
            return await asyncio.shield(task)

    async def post(self, route: str, body: Any, patience: Patience = REQUESTED) -> Any:
        """The response to a POST. Raises the daemon's CodekinError, or DaemonError where it gives none."""

        async def call() -> Any:
            return await (await self.connection()).post(route, body)

        return await self._supervise(call(), patience)

    async def get(self, route: str, **query: Any) -> Any:
        """The response to a GET. Raises as `post` does."""

        async def call() -> Any:
            return await (await self.connection()).get(route, **query)

        return await self._supervise(call(), REQUESTED)

    async def close(self) -> None:
        """Close the connection, if there is one."""
        for task in (self._handshake, self._connecting):
            if task is not None and not task.done():
                task.cancel()
        if self._connecting is not None and self._connected():
            await self._connecting.result().close()

    async def _open(self) -> DaemonConnection:
        opening = asyncio.ensure_future(self._connect())
        try:
            if not (await asyncio.wait({opening}, timeout=SLOW_START_SECONDS))[0]:
                self._report(STILL_STARTING)
            connection = await opening
        except (OSError, ImportError) as error:
            raise DaemonError(f"The daemon cannot be reached: {error}; see `codekin doctor`.") from error
        finally:
            opening.cancel()
            self._failed = time.monotonic()
            self._report("")
        return connection

    async def _supervise(self, call: Coroutine[Any, Any, Any], patience: Patience) -> Any:
        """The call's result, for as long as the daemon answers handshakes."""
        task = asyncio.get_running_loop().create_task(call)
        try:
            async with asyncio.timeout(patience.total):
                while not (await asyncio.wait({task}, timeout=patience.quiet))[0]:
                    await self._require_response(task, patience)
            return task.result()
        except TimeoutError:
            raise DaemonError(TOO_SLOW) from None
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait({task})

    async def _require_response(self, call: asyncio.Task[Any], patience: Patience) -> None:
        """Raises DaemonError unless the call ends or the daemon answers a handshake in time."""
        if not self._connected():
            limit = STARTING_SECONDS if patience is REQUESTED else patience.handshake
            if not (await asyncio.wait({call}, timeout=limit))[0] and not self._connected():
                raise DaemonError(STILL_STARTING)
            return
        if self._handshake is None or self._handshake.done():
            self._handshake = asyncio.get_running_loop().create_task(self._shake_hands())
        waiting: set[asyncio.Task[Any]] = {self._handshake, call}
        await asyncio.wait(waiting, timeout=patience.handshake, return_when=asyncio.FIRST_COMPLETED)
        if not self._handshake.done() and not call.done():
            raise DaemonError(UNRESPONSIVE)

    async def _shake_hands(self) -> None:
        """Returns once the daemon has answered; reports a long silence."""
        answer = asyncio.get_running_loop().create_task(self._repeat_handshake())
        try:
            if not (await asyncio.wait({answer}, timeout=SILENCE_SECONDS))[0]:
                self._report(UNRESPONSIVE)
            await answer
            self._report("")
        finally:
            answer.cancel()

    async def _repeat_handshake(self) -> None:
        connection = await self.connection()
        while True:
            with suppress(CodekinError):
                await connection.get("/handshake")
                return
            await asyncio.sleep(RETRY_SECONDS)

    def _connected(self) -> bool:
        task = self._connecting
        return task is not None and task.done() and not task.cancelled() and task.exception() is None


def _mark_retrieved(task: asyncio.Task[DaemonConnection]) -> None:
    """The caller may be gone: the next call raises the failure."""
    if not task.cancelled():
        task.exception()
