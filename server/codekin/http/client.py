"""The HTTP clients, one for an event loop and one that blocks, and how a server's replies are decoded and retried.

Cancelling a call of the asynchronous client closes its request, which cancels the work on the server.
"""

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import httpx
from httpx_sse import EventSource

from codekin.errors import HttpError

RETRIED_STATUSES = frozenset({429, 502, 503, 504})
TIMEOUT = "timeout"
"""The `kind` of the error for a server that took a request and gave no answer in time."""

DELAY_LIMIT = 5.0
"""Seconds: no single wait between two attempts is longer."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A server: a Unix socket, or else a URL whose path is a prefix of all paths.

    `timeout` is in seconds and counts from the last byte; `attempts` includes the first one. `limits` bound each
    answer of a server that is not our own.
    """

    socket: Path | None = None
    url: str = "http://codekin"
    api_key: str = field(default="", repr=False)
    timeout: float = 30.0
    attempts: int = 3
    limits: "AnswerLimits | None" = None

    @property
    def name(self) -> str:
        """Its name in messages: the URL without user and password, or the socket."""
        return str(self.socket or hide_credentials(self.url))


@dataclass(frozen=True, slots=True)
class AnswerLimits:
    """The most bytes of an answer, and the seconds from the request to its last byte."""

    bytes: int = 64 << 20
    seconds: float = 600.0


def hide_credentials(url: str) -> str:
    """The URL without its user and password."""
    scheme, mark, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    return f"{scheme}{mark}{authority.rpartition('@')[2]}{slash}{path}"


def parse_endpoint(address: str | Path, api_key: str = "", timeout: float = 30.0, attempts: int = 3) -> Endpoint:
    """The endpoint of a socket's path or of an http(s) URL; raises HttpError for anything else."""
    text = str(address)
    if text.startswith(("http://", "https://")):
        if not _host(text):
            raise HttpError(f"{text} is not the URL of a server.")
        return Endpoint(None, text, api_key, timeout, attempts)
    if "://" in text:
        raise HttpError(f"{text} is neither an http(s) URL nor the path of a socket.")
    return Endpoint(Path(text), api_key=api_key, timeout=timeout, attempts=attempts)


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def client_options(endpoint: Endpoint) -> dict[str, Any]:
    """The options that httpx's two clients share."""
    headers = {"Content-Type": "application/json"}
    if endpoint.limits:
        headers["Accept-Encoding"] = "identity"  # so that the bytes that are counted are those that are kept
    if endpoint.api_key:
        headers["Authorization"] = f"Bearer {endpoint.api_key}"
    timeout = httpx.Timeout(endpoint.timeout, connect=min(endpoint.timeout, 5.0))
    return {"base_url": endpoint.url, "headers": headers, "timeout": timeout}


def transport_options(endpoint: Endpoint) -> dict[str, Any]:
    """The options that httpx's two transports share; a socket needs no certificates, which are slow to load."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=8, keepalive_expiry=30.0)
    socket = {"uds": str(endpoint.socket), "verify": False} if endpoint.socket else {}
    return {"limits": limits, **socket}


def encode_body(body: Any) -> bytes | None:
    """A JSON body in ASCII, so that a lone surrogate in a text cannot break it."""
    return None if body is None else json.dumps(body).encode("ascii")


def may_retry(outcome: httpx.Response | Exception) -> bool:
    """Whether a further attempt can help; every request of ours may be repeated without harm."""
    if isinstance(outcome, httpx.Response):
        return outcome.status_code in RETRIED_STATUSES
    return isinstance(outcome, httpx.ConnectError | httpx.ConnectTimeout | httpx.RemoteProtocolError | httpx.ReadError)


def retry_delay(attempt: int, outcome: httpx.Response | Exception) -> float:
    """Seconds to wait after attempt 1, 2, …: what the server requests, else doubling from 0.1 with jitter."""
    retry_after = outcome.headers.get("Retry-After", "") if isinstance(outcome, httpx.Response) else ""
    seconds = float(retry_after) if retry_after.isdigit() else 0.1 * 2 ** (attempt - 1) * random.uniform(0.5, 1.5)  # noqa: S311
    return min(seconds, DELAY_LIMIT)


def unreachable_error(endpoint: Endpoint, error: Exception) -> HttpError:
    """The error for a server that gave no answer."""
    if isinstance(error, httpx.ReadTimeout):
        return HttpError(f"{endpoint.name} did not answer in time.", kind=TIMEOUT)
    return HttpError(f"{endpoint.name} cannot be reached ({error or type(error).__name__}).")


def decode_response(endpoint: Endpoint, response: httpx.Response) -> Any:
    """The body of a good answer; raises HttpError with the server's own sentence otherwise."""
    try:
        body = json.loads(response.content) if response.content else None
    except (ValueError, RecursionError) as error:
        if response.is_success:
            raise HttpError(
                f"{endpoint.name} answered with something that is not JSON.", response.status_code
            ) from error
        body = None
    if response.is_success:
        return body
    raise _response_error(endpoint, response.status_code, body)


def is_event_stream(response: httpx.Response) -> bool:
    """Whether a stream's content type is server-sent events; otherwise it is read line by line."""
    return bool(response.headers.get("Content-Type", "").startswith("text/event-stream"))


def decode_stream_text(text: str) -> Any:
    """The value of an event's data or of a line of a stream; None where it carries none.

    A line may also belong to an event stream whose server does not declare it.
    """
    text = text.removeprefix("data:").strip()
    if not text or text == "[DONE]" or text.startswith((":", "event:", "id:", "retry:")):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise HttpError(f"The server sent a line that is not JSON: {text[:60]!r}.") from error


def _response_error(endpoint: Endpoint, status: int, body: Any) -> HttpError:
    """OpenAI's shape of an error, {"error": {"message", "type"}}; `kind` is the class of ours."""
    error = body.get("error") if isinstance(body, dict) else None
    if isinstance(error, dict):
        return HttpError(str(error.get("message")), status, str(error.get("kind") or error.get("type") or ""))
    return HttpError(f"{endpoint.name} answered with status {status}{f': {error}' if error else ''}.", status)


class AsyncJsonClient:
    """Sends requests to one endpoint, any number at a time."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        transport: httpx.AsyncBaseTransport = httpx.AsyncHTTPTransport(**transport_options(endpoint))
        if endpoint.limits:
            transport = BoundedTransport(transport, endpoint.limits)
        self._client = httpx.AsyncClient(transport=transport, **client_options(endpoint))

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
        """The answer to a GET; query values of None are left out. Raises HttpError."""
        return await self._request(
            "GET", path, params={name: value for name, value in query.items() if value is not None}
        )

    async def post(self, path: str, body: Any = None, timeout: float | None = None) -> Any:  # noqa: ASYNC109
        """The answer to a POST of a JSON body. Raises HttpError."""
        extra = {} if timeout is None else {"timeout": timeout}
        return await self._request("POST", path, content=encode_body(body), **extra)

    async def lines(
        self, path: str, body: Any = None, method: str = "POST", read_timeout: float | None = None
    ) -> AsyncIterator[Any]:
        """The values of a streamed answer, as they come, at most `read_timeout` seconds apart. Raises HttpError."""
        limit = httpx.Timeout(read_timeout, connect=5.0)
        try:
            async with self._client.stream(method, path, content=encode_body(body), timeout=limit) as response:
                if not response.is_success:
                    await response.aread()
                    decode_response(self.endpoint, response)
                events = (event.data async for event in EventSource(response).aiter_sse())
                async for text in events if is_event_stream(response) else response.aiter_lines():
                    if (value := decode_stream_text(text)) is not None:
                        yield value
        except httpx.HTTPError as error:
            raise unreachable_error(self.endpoint, error) from error

    async def _request(self, method: str, path: str, **options: Any) -> Any:
        for attempt in range(1, self.endpoint.attempts + 1):
            outcome = await self._attempt(method, path, options)
            if attempt < self.endpoint.attempts and may_retry(outcome):
                await asyncio.sleep(retry_delay(attempt, outcome))
                continue
            break
        if isinstance(outcome, httpx.Response):
            return decode_response(self.endpoint, outcome)
        raise unreachable_error(self.endpoint, outcome) from outcome

    async def _attempt(self, method: str, path: str, options: dict[str, Any]) -> httpx.Response | Exception:
        try:
            return await self._client.request(method, path, **options)
        except httpx.HTTPError as error:
            return error


class BoundedTransport(httpx.AsyncBaseTransport):
    """Another transport whose answers end at a number of bytes and seconds, headers included."""

    def __init__(self, inner: httpx.AsyncBaseTransport, limits: AnswerLimits) -> None:
        self._inner = inner
        self._limits = limits

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The answer, with a bounded body. Raises httpx.TransportError."""
        deadline = asyncio.get_running_loop().time() + self._limits.seconds
        try:
            async with asyncio.timeout_at(deadline):
                response = await self._inner.handle_async_request(request)
        except TimeoutError:
            raise httpx.ReadTimeout("the answer took too long", request=request) from None
        if response.headers.get("Content-Encoding", "identity") != "identity":
            await response.aclose()
            raise httpx.RemoteProtocolError(
                "it compresses its answers although the request forbade it", request=request
            )
        if not isinstance(response.stream, httpx.AsyncByteStream):
            raise TypeError("A transport of an event loop gives a stream of one.")
        body = BoundedStream(response.stream, self._limits.bytes, deadline)
        return httpx.Response(
            response.status_code, headers=response.headers, stream=body, extensions=response.extensions
        )

    async def aclose(self) -> None:
        """Closes the connections."""
        await self._inner.aclose()


class BoundedStream(httpx.AsyncByteStream):
    """A body that raises httpx.TransportError beyond its bytes or its deadline."""

    def __init__(self, inner: httpx.AsyncByteStream, limit: int, deadline: float) -> None:
        self._inner = inner
        self._left = limit
        self._deadline = deadline

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """The body's parts."""
        async for part in self._inner:
            self._left -= len(part)
            if self._left < 0:
                raise httpx.RemoteProtocolError("its answer is too large")
            if asyncio.get_running_loop().time() > self._deadline:
                raise httpx.ReadTimeout("the answer took too long")
            yield part

    async def aclose(self) -> None:
        """Ends the answer."""
        await self._inner.aclose()


class JsonClient:
    """Sends requests to one endpoint; usable from one thread at a time."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        transport = httpx.HTTPTransport(**transport_options(endpoint))
        self._client = httpx.Client(transport=transport, **client_options(endpoint))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Closes its connections."""
        self._client.close()

    def get(self, path: str, **query: Any) -> Any:
        """The answer to a GET; query values of None are left out. Raises HttpError."""
        return self._request("GET", path, params={name: value for name, value in query.items() if value is not None})

    def post(self, path: str, body: Any = None, timeout: float | None = None) -> Any:
        """The answer to a POST of a JSON body. Raises HttpError."""
        extra = {} if timeout is None else {"timeout": timeout}
        return self._request("POST", path, content=encode_body(body), **extra)

    def lines(self, path: str, body: Any = None, method: str = "POST") -> Iterator[Any]:
        """The values of a streamed answer, as they come, without a limit of time. Raises HttpError."""
        limit = httpx.Timeout(None, connect=5.0)
        try:
            with self._client.stream(method, path, content=encode_body(body), timeout=limit) as response:
                if not response.is_success:
                    response.read()
                    decode_response(self.endpoint, response)
                events = (event.data for event in EventSource(response).iter_sse())
                for text in events if is_event_stream(response) else response.iter_lines():
                    if (value := decode_stream_text(text)) is not None:
                        yield value
        except httpx.HTTPError as error:
            raise unreachable_error(self.endpoint, error) from error

    def _request(self, method: str, path: str, **options: Any) -> Any:
        for attempt in range(1, self.endpoint.attempts + 1):
            outcome = self._attempt(method, path, options)
            if attempt < self.endpoint.attempts and may_retry(outcome):
                time.sleep(retry_delay(attempt, outcome))
                continue
            break
        if isinstance(outcome, httpx.Response):
            return decode_response(self.endpoint, outcome)
        raise unreachable_error(self.endpoint, outcome) from outcome

    def _attempt(self, method: str, path: str, options: dict[str, Any]) -> httpx.Response | Exception:
        try:
            return self._client.request(method, path, **options)
        except httpx.HTTPError as error:
            return error
