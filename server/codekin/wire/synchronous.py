"""The blocking client."""

import time
from collections.abc import Iterator
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


class JsonClient:
    """Asks one endpoint; usable from one thread at a time."""

    def __init__(self, place: Endpoint) -> None:
        self.place = place
        transport = httpx.HTTPTransport(**transport_options(place))
        self._client = httpx.Client(transport=transport, **client_options(place))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Closes its connections."""
        self._client.close()

    def get(self, path: str, **query: Any) -> Any:
        """The answer to a GET; query values of None are left out. Raises WireError."""
        return self._ask("GET", path, params={name: value for name, value in query.items() if value is not None})

    def post(self, path: str, body: Any = None, timeout: float | None = None) -> Any:
        """The answer to a POST of a JSON body. Raises WireError."""
        extra = {} if timeout is None else {"timeout": timeout}
        return self._ask("POST", path, content=encoded(body), **extra)

    def lines(self, path: str, body: Any = None, method: str = "POST") -> Iterator[Any]:
        """The values of a streamed answer, as they come, without a limit of time. Raises WireError."""
        limit = httpx.Timeout(None, connect=5.0)
        try:
            with self._client.stream(method, path, content=encoded(body), timeout=limit) as response:
                if not response.is_success:
                    response.read()
                    answer(self.place, response)
                for line in response.iter_lines():
                    if (value := line_value(line)) is not None:
                        yield value
        except httpx.HTTPError as error:
            raise unreachable(self.place, error) from error

    def _ask(self, method: str, path: str, **options: Any) -> Any:
        for attempt in range(1, self.place.attempts + 1):
            outcome = self._attempt(method, path, options)
            if attempt < self.place.attempts and may_retry(outcome):
                time.sleep(delay(attempt, outcome))
                continue
            break
        if isinstance(outcome, httpx.Response):
            return answer(self.place, outcome)
        raise unreachable(self.place, outcome) from outcome

    def _attempt(self, method: str, path: str, options: dict[str, Any]) -> httpx.Response | Exception:
        try:
            return self._client.request(method, path, **options)
        except httpx.HTTPError as error:
            return error
