"""The client for an event loop; cancelling a call closes its request, which withdraws the work."""

import asyncio
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any, Self

import httpx

from codekin.wire.endpoint import (
    Endpoint,
    answer,
    client_options,
    delay,
    encoded,
    line_value,
    may_retry,
    transport_options,
    unreachable,
)


class AsyncJsonClient:
    """Asks one endpoint; any number of requests at a time."""

    def __init__(self, place: Endpoint) -> None:
        self.place = place
        transport = httpx.AsyncHTTPTransport(**transport_options(place))
        self._client = httpx.AsyncClient(transport=transport, **client_options(place))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes its connections."""
        await self._client.aclose()

    async def get(self, path: str, **query: Any) -> Any:
        """The answer to a GET; query values of None are left out. Raises WireError."""
        return await self._ask("GET", path, params={name: value for name, value in query.items() if value is not None})

    async def post(self, path: str, body: Any = None, timeout: float | None = None) -> Any:  # noqa: ASYNC109
        """The answer to a POST of a JSON body. Raises WireError."""
        extra = {} if timeout is None else {"timeout": timeout}
        return await self._ask("POST", path, content=encoded(body), **extra)

    async def lines(
        self, path: str, body: Any = None, method: str = "POST", patience: float | None = None
    ) -> AsyncIterator[Any]:
        """The values of a streamed answer, as they come, at most `patience` seconds apart. Raises WireError."""
        limit = httpx.Timeout(patience, connect=5.0)
        try:
            async with self._client.stream(method, path, content=encoded(body), timeout=limit) as response:
                if not response.is_success:
                    await response.aread()
                    answer(self.place, response)
                async for line in response.aiter_lines():
                    if (value := line_value(line)) is not None:
                        yield value
        except httpx.HTTPError as error:
            raise unreachable(self.place, error) from error

    async def _ask(self, method: str, path: str, **options: Any) -> Any:
        for attempt in range(1, self.place.attempts + 1):
            outcome = await self._attempt(method, path, options)
            if attempt < self.place.attempts and may_retry(outcome):
                await asyncio.sleep(delay(attempt, outcome))
                continue
            break
        if isinstance(outcome, httpx.Response):
            return answer(self.place, outcome)
        raise unreachable(self.place, outcome) from outcome

    async def _attempt(self, method: str, path: str, options: dict[str, Any]) -> httpx.Response | Exception:
        try:
            return await self._client.request(method, path, **options)
        except httpx.HTTPError as error:
            return error
