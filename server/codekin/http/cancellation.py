"""An HTTP client for threads that can cancel a request at any moment.

A blocked read of another thread cannot be interrupted, so the requests run on an event loop of their own: anyio's
blocking portal. Windows do without, so the package's face leaves this module out.
"""

import asyncio
import atexit
import queue
from collections.abc import Iterator
from concurrent.futures import wait
from contextlib import ExitStack
from functools import partial
from typing import Any

from anyio.from_thread import start_blocking_portal

from codekin.errors import HttpError
from codekin.http.client import RETRIED_STATUSES, TIMEOUT, AsyncJsonClient, Endpoint, retry_delay

POLL_SECONDS = 0.05
"""Seconds between two chances to leave."""


class PendingMarker:
    """Yielded while there is nothing yet."""


PENDING = PendingMarker()


class CancellableClient:
    """Sends requests to one endpoint from any thread; leaving an iteration cancels the work there."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._running = ExitStack()
        self._portal = self._running.enter_context(start_blocking_portal(name="codekin-http"))
        self._client = AsyncJsonClient(endpoint)
        self._running.callback(self._portal.call, self._client.close)
        atexit.register(self._running.close)  # before the interpreter freezes the thread that it waits for

    def get(self, path: str, **query: Any) -> Any:
        """The answer to a GET; waits for it. Raises HttpError."""
        return self._portal.call(partial(self._client.get, path, **query))

    def post(self, path: str, body: Any) -> Iterator[Any]:
        """PENDING now and then, the answer to a POST last. Raises HttpError."""
        future = self._portal.start_task_soon(self._client.post, path, body)
        try:
            while not wait([future], timeout=POLL_SECONDS).done:
                yield PENDING
            yield future.result()
        finally:
            future.cancel()

    def lines(self, path: str, body: Any, read_timeout: float) -> Iterator[Any]:
        """The values of a streamed answer, PENDING in between. Raises HttpError, also after so many silent seconds."""
        received: queue.SimpleQueue[Any] = queue.SimpleQueue()
        future = self._portal.start_task_soon(self._forward_values, received, path, body, read_timeout)
        future.add_done_callback(received.put)
        try:
            while True:
                try:
                    value = received.get(timeout=POLL_SECONDS)
                except queue.Empty:
                    yield PENDING
                    continue
                if value is future:
                    future.result()
                    return
                yield value
        finally:
            future.cancel()

    def close(self) -> None:
        """Close its connections and end its thread; done at the end of the process too, and harmless when repeated."""
        atexit.unregister(self._running.close)
        self._running.close()

    async def _forward_values(
        self, received: "queue.SimpleQueue[Any]", path: str, body: Any, read_timeout: float
    ) -> None:
        """Brings the values; retries while the server is busy or away and has sent nothing."""
        for attempt in range(1, self._client.endpoint.attempts + 1):
            silent = True
            try:
                async for value in self._client.lines(path, body, read_timeout=read_timeout):
                    silent = False
                    received.put(value)
            except HttpError as error:
                is_last = attempt == self._client.endpoint.attempts
                if is_last or not silent or error.kind == TIMEOUT or error.status not in {0, *RETRIED_STATUSES}:
                    raise
                await asyncio.sleep(retry_delay(attempt, error))
            else:
                return
