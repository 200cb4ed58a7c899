"""Where a server listens, and what its answers and failures mean; shared by both clients."""

import json
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from codekin.errors import WireError

RETRIED_STATUSES = frozenset({429, 502, 503, 504})
TIMEOUT = "timeout"
"""The `kind` of the error for a server that took a request and gave no answer in time."""

DELAY_LIMIT = 5.0
"""Seconds: no single wait between two attempts is longer."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A server: a Unix socket, or else a URL whose path is a prefix of all paths.

    `timeout` is in seconds and counts from the last byte; `attempts` includes the first one.
    """

    socket: Path | None = None
    url: str = "http://codekin"
    api_key: str = field(default="", repr=False)
    timeout: float = 30.0
    attempts: int = 3

    @property
    def name(self) -> str:
        """What to call it in a message."""
        return str(self.socket or self.url)


def endpoint(address: str | Path, api_key: str = "", timeout: float = 30.0, attempts: int = 3) -> Endpoint:
    """The endpoint of a socket's path or of an http(s) URL; raises WireError for anything else."""
    text = str(address)
    if text.startswith(("http://", "https://")):
        if not _host(text):
            raise WireError(f"{text} is not the URL of a server.")
        return Endpoint(None, text, api_key, timeout, attempts)
    if "://" in text:
        raise WireError(f"{text} is neither an http(s) URL nor the path of a socket.")
    return Endpoint(Path(text), api_key=api_key, timeout=timeout, attempts=attempts)


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def client_options(place: Endpoint) -> dict[str, Any]:
    """What httpx's two clients take alike."""
    headers = {"Content-Type": "application/json"}
    if place.api_key:
        headers["Authorization"] = f"Bearer {place.api_key}"
    timeout = httpx.Timeout(place.timeout, connect=min(place.timeout, 5.0))
    return {"base_url": place.url, "headers": headers, "timeout": timeout}


def transport_options(place: Endpoint) -> dict[str, Any]:
    """What httpx's two transports take alike; a socket needs no certificates, which are slow to load."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=8, keepalive_expiry=30.0)
    socket = {"uds": str(place.socket), "verify": False} if place.socket else {}
    return {"limits": limits, **socket}


def encoded(body: Any) -> bytes | None:
    """A JSON body in ASCII, so that a lone surrogate in a text cannot break it."""
    return None if body is None else json.dumps(body).encode("ascii")


def may_retry(outcome: httpx.Response | Exception) -> bool:
    """Whether a further attempt can help; every request of ours may be repeated without harm."""
    if isinstance(outcome, httpx.Response):
        return outcome.status_code in RETRIED_STATUSES
    return isinstance(outcome, httpx.ConnectError | httpx.ConnectTimeout | httpx.RemoteProtocolError | httpx.ReadError)


def delay(attempt: int, outcome: httpx.Response | Exception) -> float:
    """Seconds to wait after attempt 1, 2, …: what the server asks for, else doubling from 0.1 with jitter."""
    asked = outcome.headers.get("Retry-After", "") if isinstance(outcome, httpx.Response) else ""
    seconds = float(asked) if asked.isdigit() else 0.1 * 2 ** (attempt - 1) * random.uniform(0.5, 1.5)  # noqa: S311
    return min(seconds, DELAY_LIMIT)


def unreachable(place: Endpoint, error: Exception) -> WireError:
    """The error for a server that gave no answer."""
    if isinstance(error, httpx.ReadTimeout):
        return WireError(f"{place.name} did not answer in time.", kind=TIMEOUT)
    return WireError(f"{place.name} cannot be reached ({error or type(error).__name__}).")


def answer(place: Endpoint, response: httpx.Response) -> Any:
    """The body of a good answer; raises WireError with the server's own sentence otherwise."""
    try:
        body = json.loads(response.content) if response.content else None
    except (ValueError, RecursionError) as error:
        if response.is_success:
            raise WireError(f"{place.name} answered with something that is not JSON.", response.status_code) from error
        body = None
    if response.is_success:
        return body
    raise _failure(place, response.status_code, body)


def line_value(line: str) -> Any:
    """The value of a line of an event stream or of newline-delimited JSON; None where it carries none."""
    text = line.removeprefix("data:").strip()
    if not text or text == "[DONE]" or text.startswith((":", "event:", "id:", "retry:")):
        return None
    try:
        return json.loads(text)
    except ValueError as error:
        raise WireError(f"The server sent a line that is not JSON: {text[:60]!r}.") from error


def _failure(place: Endpoint, status: int, body: Any) -> WireError:
    """OpenAI's shape of an error: {"error": {"message", "type"}}."""
    error = body.get("error") if isinstance(body, dict) else None
    if isinstance(error, dict):
        return WireError(str(error.get("message")), status, str(error.get("type") or ""))
    return WireError(f"{place.name} answered with status {status}{f': {error}' if error else ''}.", status)
