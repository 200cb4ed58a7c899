"""Guards every request: bounded bodies, deadlines for slow senders, TCP authentication, cancellation on disconnect."""

import asyncio
import hmac
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus

import h11
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

REQUEST_TIMEOUT_SECONDS = 20.0
"""A sender has this long for its headers, and again for its body."""
MAX_WAITING_CONNECTIONS = 32
"""Connections over TCP that may be open without a request under way."""


INTERACTIVE_PATHS = frozenset(
    {"/complete", "/similar", "/search", "/duplicates", "/lens", "/buffers", "/v1/completions", "/v1/chat/completions"}
)
"""Paths that only a working user requests; streams, status polls and child processes use the others."""


class Activity:
    """The requests in progress, the time of the last one, and the time of the last one from a working user."""

    def __init__(self) -> None:
        self.live = 0
        self._last = self._worked = time.monotonic()

    @contextmanager
    def request(self, path: str) -> Iterator[None]:
        """Counts a request, a stream of events included, for as long as it lasts."""
        self.live += 1
        if path in INTERACTIVE_PATHS:
            self._worked = time.monotonic()
        try:
            yield
        finally:
            self.live -= 1
            self._last = time.monotonic()

    def idle_seconds(self) -> float:
        """Seconds since the last request ended."""
        return 0.0 if self.live else time.monotonic() - self._last

    def quiet_seconds(self) -> float:
        """Seconds since the last request from a working user."""
        return time.monotonic() - self._worked


class RequestGuard:
    """Wraps an app; `limit` is in bytes, `token` is what a caller over TCP must bring, None where the app decides."""

    def __init__(self, app: ASGIApp, activity: Activity, limit: int, token: Callable[[], str] | None) -> None:
        self._app = app
        self._activity = activity
        self._limit = limit
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request within its bounds, and cancels the work when the caller leaves."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        with self._activity.request(scope["path"]):
            if not self._may_enter(scope):
                await _send_error(send, 401, "This port needs the token in the data folder's file `token`.")
                return
            try:
                async with asyncio.timeout(REQUEST_TIMEOUT_SECONDS):
                    body = await _read_body(receive, self._limit)
            except TimeoutError:
                await _send_error(send, 408, f"The request did not arrive within {REQUEST_TIMEOUT_SECONDS:g} seconds.")
            except _TooLargeError:
                await _send_error(send, 413, f"The request is larger than {self._limit} bytes: send less at a time.")
            except ClientDisconnect:
                return
            else:
                await self._serve(scope, body, receive, send)

    def _may_enter(self, scope: Scope) -> bool:
        """A Unix socket is guarded by its folder; its address has no port. TCP needs the token."""
        if self._token is None or not scope.get("server") or scope["server"][1] is None:
            return True
        headers = dict(scope["headers"])
        return hmac.compare_digest(headers.get(b"authorization", b""), b"Bearer " + self._token().encode())

    async def _serve(self, scope: Scope, body: bytes, receive: Receive, send: Send) -> None:
        """Runs the app with the whole body in memory, beside a look-out for the caller's leaving."""
        gone = asyncio.create_task(_wait_for_disconnect(receive))
        first = [body]

        async def replay() -> Message:
            if first:
                return {"type": "http.request", "body": first.pop(), "more_body": False}
            await asyncio.wait([gone])
            return {"type": "http.disconnect"}

        async def answer() -> None:
            await self._app(scope, replay, send)

        work = asyncio.create_task(answer())
        try:
            await asyncio.wait([work, gone], return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                work.result()  # raises what the app raised
        finally:
            gone.cancel()
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)


class BoundedProtocol(H11Protocol):
    """Drops a connection whose request headers do not arrive in time, and over TCP the oldest one of too many.

    Any user of the machine can connect over TCP: without a bound the descriptors of the process run out.
    """

    _deadline: asyncio.TimerHandle | None = None
    _arrived = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Starts the clock."""
        super().connection_made(transport)
        self._arrived = self.loop.time()
        self._watch()
        if self.is_waiting:
            self._bound_waiting()

    def _bound_waiting(self) -> None:
        others = [each for each in self.connections if isinstance(each, BoundedProtocol) and each.is_waiting]
        for each in sorted(others, key=lambda each: each._arrived)[:-MAX_WAITING_CONNECTIONS]:  # noqa: SLF001
            each.transport.abort()

    @property
    def is_waiting(self) -> bool:
        """Whether it came over TCP and has no request under way."""
        is_remote = isinstance(self.server, tuple) and self.server[1] is not None
        return is_remote and (self.cycle is None or self.cycle.response_complete)

    def data_received(self, data: bytes) -> None:
        """Stops the clock once the headers are whole; a next request starts it again."""
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stops the clock."""
        super().connection_lost(exc)
        self._stop()

    def _watch(self) -> None:
        if self.conn.their_state is not h11.IDLE:
            self._stop()
        elif self._deadline is None:
            self._deadline = self.loop.call_later(REQUEST_TIMEOUT_SECONDS, self.transport.close)

    def _stop(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class _TooLargeError(Exception):
    """The body is longer than the limit."""


async def _read_body(receive: Receive, limit: int) -> bytes:
    """The whole body; raises _TooLargeError, or ClientDisconnect where the caller has left."""
    parts, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > limit:
            raise _TooLargeError
        if not message.get("more_body", False):
            return b"".join(parts)


async def _wait_for_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _send_error(send: Send, status: int, sentence: str) -> None:
    code = {"code": "invalid_api_key"} if status == HTTPStatus.UNAUTHORIZED else {"code": None}
    content = json.dumps({"error": {"message": sentence, "type": "UsageError", "param": None, **code}}).encode()
    length = str(len(content)).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", length), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
