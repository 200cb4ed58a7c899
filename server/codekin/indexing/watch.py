"""Turns file system events into change hints: a path to check, or a request for a full scan.

Hints may be late, repeated or missing; the scan is authoritative.
"""

import errno
import logging
import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
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

ChangeHint = str | None
"""A path to look at, or None: events may have been lost, watch anew and scan everything."""

_EVENT_TYPES: Final[list[type[FileSystemEvent]]] = [
    FileCreatedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileDeletedEvent,
    DirCreatedEvent,
    DirMovedEvent,
    DirDeletedEvent,
]
# Where folders come and go faster than it follows, watchdog takes one for the other and loses both.
_FOLDER_RACE_SECONDS: Final = 1.0
# A checkout or a change of git's own rules touches files whose events may be lost.
_WATCHED_GIT_FILES: Final = frozenset({".git/HEAD", ".git/info/exclude"})
GIT_INDEX: Final = ".git/index"
"""The hint that git may track other files."""


class FileWatch(Protocol):
    """A running watch."""

    def stop(self) -> None:
        """Ends it; no hint comes after."""
        ...


class HintHandler(FileSystemEventHandler):  # type: ignore[misc]  # checked without watchdog's types
    """Hands each event's paths on, as hints relative to the root."""

    def __init__(self, root: Path, hint: Callable[[ChangeHint], None]) -> None:
        self._prefix = f"{root}{os.sep}"
        self._hint = hint
        self._folder_at = -_FOLDER_RACE_SECONDS

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Takes both ends of a move; what lies in git's folder matters only when a branch is switched."""
        for raw in {event.src_path, event.dest_path}:
            path = os.fsdecode(raw).removeprefix(self._prefix)
            if path and os.fsdecode(raw) != path:
                self._handle_path(path)
        if event.is_directory and ".git" not in Path(os.fsdecode(event.src_path)).parts:
            self._handle_folder(event)

    def _handle_folder(self, event: FileSystemEvent) -> None:
        now = time.monotonic()
        if isinstance(event, DirMovedEvent) or now - self._folder_at < _FOLDER_RACE_SECONDS:
            self._hint(None)
        self._folder_at = now

    def _handle_path(self, path: str) -> None:
        if path.split("/", 1)[0] != ".git" or path == GIT_INDEX:
            self._hint(path)
        elif path in _WATCHED_GIT_FILES:
            self._hint(None)


class _OverflowHandler(logging.Handler):
    """watchdog reports lost events only through its log."""

    def __init__(self, hint: Callable[[ChangeHint], None]) -> None:
        super().__init__(logging.WARNING)
        self._hint = hint

    def emit(self, record: logging.LogRecord) -> None:
        if "overflow" in record.getMessage().lower():
            self._hint(None)


class _EventWatch:
    def __init__(self, root: Path, hint: Callable[[ChangeHint], None]) -> None:
        self._overflow = _OverflowHandler(hint)
        self._observer = Observer()
        self._observer.schedule(HintHandler(root, hint), str(root), recursive=True, event_filter=_EVENT_TYPES)
        logging.getLogger("watchdog").addHandler(self._overflow)

    def start(self) -> None:
        self._observer.start()

    def stop(self) -> None:
        logging.getLogger("watchdog").removeHandler(self._overflow)
        with suppress(RuntimeError):  # it never started
            self._observer.stop()
            self._observer.join()


@dataclass(frozen=True, slots=True)
class WatchFailure:
    """Why a folder cannot be watched, a sentence; `is_costly` where the next try would walk the whole tree in vain."""

    sentence: str
    is_costly: bool = False


def start_watch(root: Path, hint: Callable[[ChangeHint], None]) -> FileWatch | WatchFailure:
    """Starts to watch a folder; `hint` is called from other threads."""
    watching = None
    try:
        watching = _EventWatch(root, hint)
        watching.start()
        _check_watch_limit(root)
    except OSError as error:
        if watching is not None:
            watching.stop()
        return _watch_failure(root, error)
    return watching


def _watch_failure(root: Path, error: OSError) -> WatchFailure:
    polled = "changes are looked for every few seconds"
    if error.errno == errno.ENOSPC:
        advice = "raise fs.inotify.max_user_watches, or ignore large folders."
        return WatchFailure(f"The system has no file watches left, so {polled}: {advice}", is_costly=True)
    if error.errno == errno.EMFILE:
        advice = "raise fs.inotify.max_user_instances, or close programs that watch files."
        return WatchFailure(f"The system starts no more file watchers, so {polled}: {advice}")
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return WatchFailure(f"There is no folder {root} any more: it is watched again once it is back.")
    reason = error.strerror or error
    return WatchFailure(f"{root} cannot be watched ({reason}), so {polled}, and watching is tried again.")


def _check_watch_limit(root: Path) -> None:
    """Raises OSError when the watches ran out, which watchdog keeps to itself for folders below the root."""
    probe = Observer()
    probe.schedule(FileSystemEventHandler(), str(root), recursive=False)
    try:
        probe.start()
    finally:
        probe.stop()
