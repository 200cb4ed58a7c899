"""The two pipes to the client, each served by a thread of its own.

Knows bytes and threads; nothing of what the messages say. Reading never waits for a handler,
and a client that does not read its end never stops the event loop.
"""

import asyncio
import os
import queue
import threading
from collections.abc import Callable
from typing import Any

from codekin.lsp.framing import Fault, FrameReader

CHUNK = 64 * 2**10
"""Bytes read at a time."""


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
    receive: Callable[[list[Any | Fault]], None],
    ended: Callable[[], None],
) -> threading.Thread:
    """Read until the pipe closes; `receive` and then `ended` run on the loop."""

    def read() -> None:
        frames = FrameReader()
        while data := _read(descriptor):
            if messages := frames.feed(data):
                _call(loop, receive, messages)
        _call(loop, ended)

    thread = threading.Thread(target=read, name="lsp-reader", daemon=True)
    thread.start()
    return thread


class Writer:
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
        return os.read(descriptor, CHUNK)
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


def _call(loop: asyncio.AbstractEventLoop, function: Callable[..., None], *arguments: Any) -> None:
    try:
        loop.call_soon_threadsafe(function, *arguments)
    except RuntimeError:
        return  # the loop has ended, and the process is about to
