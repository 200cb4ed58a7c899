"""Turns events of the file system into hints: paths to look at, or a wish for a whole scan.

Hints may come late, twice or not at all; the scan is the truth. The event handler only puts
into a queue, since a slow one loses events. Knows nothing of rules and contents.
"""

import logging
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol

from watchdog.events import (
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer

Hint = str | None
"""A path to look at, or None: events may have been lost, watch anew and scan everything."""

_WANTED: Final[list[type[FileSystemEvent]]] = [
    FileCreatedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileDeletedEvent,
    DirCreatedEvent,
    DirMovedEvent,
    DirDeletedEvent,
]
# Where folders come and go faster than it follows, watchdog takes one for the other and loses both.
_FOLDER_SECONDS: Final = 1.0
# A checkout or a change of git's own rules touches files whose events may be lost.
_GIT_FILES: Final = frozenset({".git/HEAD", ".git/info/exclude"})


class Watch(Protocol):
    """A running watch."""

    def stop(self) -> None:
        """Ends it; no hint comes after."""
        ...


class HintHandler(FileSystemEventHandler):  # type: ignore[misc]  # checked without watchdog's types
    """Hands each event's paths on, as hints relative to the root."""

    def __init__(self, root: Path, hint: Callable[[Hint], None]) -> None:
        self._prefix = f"{root}{os.sep}"
        self._hint = hint
        self._folder_at = -_FOLDER_SECONDS

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Takes both ends of a move; what lies in git's folder matters only when a branch is switched."""
        for raw in {event.src_path, event.dest_path}:
            path = os.fsdecode(raw).removeprefix(self._prefix)
            if path and os.fsdecode(raw) != path:
                self._take(path)
        if event.is_directory and ".git" not in Path(os.fsdecode(event.src_path)).parts:
            self._take_folder(event)

    def _take_folder(self, event: FileSystemEvent) -> None:
        now = time.monotonic()
        if isinstance(event, DirMovedEvent) or now - self._folder_at < _FOLDER_SECONDS:
            self._hint(None)
        self._folder_at = now

    def _take(self, path: str) -> None:
        if path.split("/", 1)[0] != ".git":
            self._hint(path)
        elif path in _GIT_FILES:
            self._hint(None)


class _OverflowHandler(logging.Handler):
    """watchdog tells of lost events only through its log."""

    def __init__(self, hint: Callable[[Hint], None]) -> None:
        super().__init__(logging.WARNING)
        self._hint = hint

    def emit(self, record: logging.LogRecord) -> None:
        if "overflow" in record.getMessage().lower():
            self._hint(None)


class _EventWatch:
    def __init__(self, root: Path, hint: Callable[[Hint], None]) -> None:
        self._overflow = _OverflowHandler(hint)
        self._observer = Observer()
        self._observer.schedule(HintHandler(root, hint), str(root), recursive=True, event_filter=_WANTED)
        logging.getLogger("watchdog").addHandler(self._overflow)

    def start(self) -> None:
        self._observer.start()

    def stop(self) -> None:
        logging.getLogger("watchdog").removeHandler(self._overflow)
        with suppress(RuntimeError):  # it never started
            self._observer.stop()
            self._observer.join()


def watch(root: Path, hint: Callable[[Hint], None]) -> Watch | None:
    """Starts to watch a folder; `hint` is called from other threads. None: the system has no watches left."""
    watching = None
    try:
        watching = _EventWatch(root, hint)
        watching.start()
        _probe(root)
    except OSError:
        if watching is not None:
            watching.stop()
        return None
    return watching


def _probe(root: Path) -> None:
    """Raises OSError when the watches ran out, which watchdog keeps to itself for folders below the root."""
    probe = Observer()
    probe.schedule(FileSystemEventHandler(), str(root), recursive=False)
    try:
        probe.start()
    finally:
        probe.stop()
