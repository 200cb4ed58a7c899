"""The client for a thread that wants to leave at any moment: it waits in small steps and closes what it leaves.

A blocked read of another thread cannot be ended from outside, so the calls run on an event
loop of their own. Knows nothing of what is said.
"""

import asyncio
import queue
import threading
from collections.abc import Coroutine, Iterator
from concurrent.futures import Future, wait
from typing import Any

from codekin.errors import WireError
from codekin.wire.asynchronous import AsyncJsonClient
from codekin.wire.endpoint import RETRIED_STATUSES, TIMEOUT, Endpoint, delay

LOOK = 0.05
"""Seconds between two chances to leave."""


class Waiting:
    """Yielded while there is nothing yet."""


WAITING = Waiting()


class WithdrawableClient:
    """Asks one endpoint from any thread; leaving an iteration closes its request, which withdraws the work there."""

    def __init__(self, place: Endpoint) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="codekin-wire", daemon=True)
        self._thread.start()
        self._client = AsyncJsonClient(place)

    def get(self, path: str, **query: Any) -> Any:
        """The answer to a GET; waits for it. Raises WireError."""
        return self._begin(self._client.get(path, **query)).result()

    def post(self, path: str, body: Any) -> Iterator[Any]:
        """WAITING now and then, the answer to a POST last. Raises WireError."""
        future = self._begin(self._client.post(path, body))
        try:
            while not wait([future], timeout=LOOK).done:
                yield WAITING
            yield future.result()
        finally:
            future.cancel()

    def lines(self, path: str, body: Any, patience: float) -> Iterator[Any]:
        """The values of a streamed answer, WAITING in between. Raises WireError, also after so many silent seconds."""
        arrived: queue.SimpleQueue[Any] = queue.SimpleQueue()
        future = self._begin(self._bring(arrived, path, body, patience))
        future.add_done_callback(lambda _: arrived.put(future))
        try:
            while True:
                try:
                    value = arrived.get(timeout=LOOK)
                except queue.Empty:
                    yield WAITING
                    continue
                if value is future:
                    future.result()
                    return
                yield value
        finally:
            future.cancel()

    def close(self) -> None:
        """Close its connections and end its thread."""
        if self._loop.is_running():
            self._begin(self._client.close()).result(5)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(5)
            self._loop.close()

    async def _bring(self, arrived: "queue.SimpleQueue[Any]", path: str, body: Any, patience: float) -> None:
        """Brings the values; a server that is busy or away is asked again, as long as it has sent nothing."""
        for attempt in range(1, self._client.place.attempts + 1):
            silent = True
            try:
                async for value in self._client.lines(path, body, patience=patience):
                    silent = False
                    arrived.put(value)
            except WireError as error:
                is_last = attempt == self._client.place.attempts
                if is_last or not silent or error.kind == TIMEOUT or error.status not in {0, *RETRIED_STATUSES}:
                    raise
                await asyncio.sleep(delay(attempt, error))
            else:
                return

    def _begin(self, call: Coroutine[Any, Any, Any]) -> Future[Any]:
        return asyncio.run_coroutine_threadsafe(call, self._loop)
