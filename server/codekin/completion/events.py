"""What became of suggestions, kept on this machine: one line of JSON an event, in the workspace's data folder.

Accepted text is what learning may use later; of the document no more than a few lines around are kept.
"""

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, get_args

LARGEST_FILE = 4 << 20
"""Bytes; beyond them the older half is dropped."""

Outcome = Literal["shown", "accepted", "partial", "rejected"]
OUTCOMES = frozenset(get_args(Outcome))
LINES_KEPT = 10


@dataclass(frozen=True, slots=True)
class Event:
    """One event; `length` is how many characters of `text` were taken, `ts` in seconds since 1970."""

    ts: float
    event: Outcome
    path: str
    language: str
    text: str
    length: int
    confidence: float
    before: str = ""
    behind: str = ""


class Events:
    """The events of one workspace; safe for threads."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = threading.Lock()
        self.counts: Counter[str] = Counter(event.event for event in read_events(file))

    def add(self, event: Event) -> None:
        """Keeps an event."""
        with self._lock:
            self.counts[event.event] += 1
            self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with self._file.open("a", encoding="ascii") as file:
                file.write(json.dumps(asdict(event)) + "\n")
            if self._file.stat().st_size > LARGEST_FILE:
                self._drop_older_half()

    def _drop_older_half(self) -> None:
        lines = self._file.read_bytes().splitlines(keepends=True)
        fresh = self._file.with_suffix(".new")
        fresh.write_bytes(b"".join(lines[len(lines) // 2 :]))
        fresh.replace(self._file)


def read_events(file: Path) -> Iterator[Event]:
    """All events of a file, oldest first; a line that is damaged is left out."""
    try:
        lines = file.read_bytes().splitlines()
    except OSError:
        return
    for line in lines:
        try:
            yield Event(**json.loads(line))
        except (ValueError, TypeError):
            continue


def around(prefix: str, suffix: str) -> tuple[str, str]:
    """The last lines before the cursor and the first behind it."""
    before = "".join(prefix.splitlines(keepends=True)[-LINES_KEPT:])
    return before, "".join(suffix.splitlines(keepends=True)[: LINES_KEPT // 2])


def now() -> float:
    """The time of an event."""
    return time.time()
