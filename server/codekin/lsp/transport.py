"""The connection to the editor: its two pipes, split into JSON-RPC messages, and a watch on the editor's process.

Each pipe is served by a thread: reading never waits for a handler, and a client that does not read never blocks the
event loop. Malformed input is reported as a `JsonRpcError`, and reading resumes at the next header: a raw line break
followed by a header cannot occur inside JSON, so it always starts a new message. The editor's process is watched
because a killed editor closes no session, and another of its children may hold the pipe open.

Stands in for pygls's reader and writer, which read nothing more after a header in another form or a wrong length, read
in the pool of threaded handlers, write on the event loop, and never look at the editor's process again.
"""

import asyncio
import json
import os
import queue
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

READ_BYTES = 64 * 2**10
"""Bytes read at a time."""

POLL_SECONDS = 1.0

MAX_MESSAGE_BYTES = 64 * 2**20
"""Bytes; no editor sends a file of this size, and a wrong length must not be waited for."""

MAX_HEADER_BYTES = 8 * 2**10
PARSE_ERROR, INVALID_REQUEST = -32700, -32600

# The last one in the line, since the rest of a broken message may precede it.
_CONTENT_LENGTH = re.compile(rb".*content-length[ \t]*:?[ \t]*(.*)", re.IGNORECASE | re.DOTALL)
_NEXT_HEADER = re.compile(rb"content-length[ \t]*:?[ \t]*[+-]?\d+[ \t]*\r?\n", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class JsonRpcError:
    """What could not be read, as the JSON-RPC error it is answered with."""

    code: int
    message: str


class FrameReader:
    """Takes bytes in pieces of any size and gives out what is complete."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._length: int | None = None
        self._seen_header = False
        self._body_size: int | None = None
        self._searched = 0

    def feed(self, data: bytes) -> list[Any | JsonRpcError]:
        """The messages (JSON values) and faults that `data` completes, in order."""
        self._buffer += data
        found: list[Any | JsonRpcError] = []
        progress = True
        while progress:
            progress = self._read_header_line(found) if self._body_size is None else self._read_body(found)
        return found

    def _read_header_line(self, found: list[Any | JsonRpcError]) -> bool:
        end = self._buffer.find(b"\n")
        if end < 0:
            del self._buffer[:-MAX_HEADER_BYTES]
            return False
        line = bytes(self._buffer[max(end - MAX_HEADER_BYTES, 0) : end]).strip()
        del self._buffer[: end + 1]
        fault = self._take_header(line) if line else self._end_headers()
        if fault is not None:
            found.append(fault)
        return True

    def _take_header(self, line: bytes) -> JsonRpcError | None:
        self._seen_header = True
        match = _CONTENT_LENGTH.match(line)
        if match is None:
            return None
        self._length = _parse_length(match[1])
        if self._length is not None:
            return None
        self._seen_header = False  # reported once: the blank line that follows is no second fault
        shown = match[1][:40].decode("ascii", "replace")
        return JsonRpcError(INVALID_REQUEST, f"Content-Length must be from 0 to {MAX_MESSAGE_BYTES}, not {shown!r}.")

    def _end_headers(self) -> JsonRpcError | None:
        seen, self._seen_header = self._seen_header, False
        self._body_size, self._length, self._searched = self._length, None, 0
        if self._body_size is None and seen:
            return JsonRpcError(INVALID_REQUEST, "A message needs a Content-Length header.")
        return None

    def _read_body(self, found: list[Any | JsonRpcError]) -> bool:
        size = self._body_size or 0
        message: Any | JsonRpcError = None
        if len(self._buffer) >= size:
            message = parse_message(bytes(self._buffer[:size]))
        if len(self._buffer) < size or isinstance(message, JsonRpcError):
            cut = self._find_header(size)
            if cut is None and len(self._buffer) < size:
                return False
            if cut is not None:
                size, message = cut, parse_message(bytes(self._buffer[:cut]))
        found.append(message)
        del self._buffer[:size]
        self._body_size = None
        return True

    def _find_header(self, size: int) -> int | None:
        """Where the next message's header is inside this one's body, if that was truncated."""
        start = max(self._searched - MAX_HEADER_BYTES, 0)
        self._searched = len(self._buffer)
        # A raw line break is rare in JSON as clients write it, and finding none is fast.
        if self._buffer.find(b"\n", start) < 0:
            return None
        match = _NEXT_HEADER.search(self._buffer, start)
        return match.start() if match is not None and match.start() < size else None


def parse_message(body: bytes) -> Any | JsonRpcError:
    """The JSON value in `body`, or why there is none."""
    try:
        return json.loads(body.decode("utf-8"))
    except RecursionError:
        return JsonRpcError(PARSE_ERROR, "The message is nested too deeply.")
    except UnicodeDecodeError:
        return JsonRpcError(PARSE_ERROR, "The message is not UTF-8.")
    except ValueError as error:
        return JsonRpcError(PARSE_ERROR, f"The message is not JSON: {error}.")


def _parse_length(value: bytes) -> int | None:
    digits = value.strip()
    if not digits.isdigit() or len(digits) > 18:
        return None
    length = int(digits)
    return length if length <= MAX_MESSAGE_BYTES else None


def take_stdio() -> tuple[int, int]:
    """The client's pipes as private descriptors, for reading and for writing.

    What stays in the places of stdin and stdout is harmless: a stray print goes to stderr,
    and a child process cannot hold the client's pipes open.
    """
    reading, writing = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return reading, writing


def start_reader(
    descriptor: int,
    loop: asyncio.AbstractEventLoop,
    receive: Callable[[list[Any | JsonRpcError]], None],
    ended: Callable[[], None],
) -> threading.Thread:
    """Read until the pipe closes; `receive` and then `ended` run on the loop."""

    def read() -> None:
        frames = FrameReader()
        while data := _read(descriptor):
            if messages := frames.feed(data):
                _call_on_loop(loop, receive, messages)
        _call_on_loop(loop, ended)

    thread = threading.Thread(target=read, name="lsp-reader", daemon=True)
    thread.start()
    return thread


class PipeWriter:
    """Writes whole messages in order; once the client is gone, writing does nothing."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._queue: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="lsp-writer", daemon=True)
        self._thread.start()

    def write(self, data: bytes) -> None:
        """Queue a message; returns at once."""
        self._queue.put(data)

    def close(self, timeout: float = 1.0) -> None:
        """Wait up to `timeout` seconds until everything queued is written."""
        self._queue.put(None)
        self._thread.join(timeout)

    def _run(self) -> None:
        while (data := self._queue.get()) is not None:
            if not _write(self._descriptor, data):
                break


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, READ_BYTES)
    except OSError:
        return b""


def _write(descriptor: int, data: bytes) -> bool:
    view = memoryview(data)
    try:
        while view:
            view = view[os.write(descriptor, view) :]
    except OSError:
        return False
    return True


def _call_on_loop(loop: asyncio.AbstractEventLoop, function: Callable[..., None], *arguments: Any) -> None:
    try:
        loop.call_soon_threadsafe(function, *arguments)
    except RuntimeError:
        return  # the loop has ended, and the process is about to


async def wait_for_process_end(pid: int) -> None:
    """Return once the process `pid` has ended; at once if there is none."""
    descriptor = _open_pidfd(pid)
    if descriptor is None:
        while _is_alive(pid):  # noqa: ASYNC110 - there is no event for the end of another process
            await asyncio.sleep(POLL_SECONDS)
        return
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    try:
        loop.add_reader(descriptor, ended.set)
        await ended.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


def _open_pidfd(pid: int) -> int | None:
    """A descriptor that becomes readable when the process ends, where the system has such."""
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return None


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True  # another user's process, or no answer
    return True
