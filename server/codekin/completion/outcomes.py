"""The log of what became of suggestions, one event a line; kept on this machine for fine-tuning and for the gate.

Of the document only a few lines around the cursor are kept.
"""

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from codekin.util.files import write_atomically

MAX_LOG_BYTES = 4 << 20
"""Bytes; beyond them the older half is dropped."""

SuggestionOutcome = Literal["shown", "accepted", "partial", "rejected", "typed_over", "retained", "lost"]
"""`retained` and `lost` say whether the text of a suggestion stood at its place some time after it was shown."""

CONTEXT_LINES = 10


@dataclass(frozen=True, slots=True)
class SuggestionEvent:
    """One event; `length` is how many characters of `text` were taken, `ts` in seconds since 1970."""

    ts: float
    event: SuggestionOutcome
    path: str
    language: str
    text: str
    length: int
    confidence: float
    before: str = ""
    after: str = ""
    id: str = ""
    place: str = ""
    estimate: float = 0.0


class SuggestionLog:
    """The events of one workspace; safe for threads."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = threading.Lock()
        self.counts: Counter[str] = Counter(event.event for event in read_events(file))

    def append(self, event: SuggestionEvent) -> None:
        """Keeps an event."""
        with self._lock:
            self.counts[event.event] += 1
            self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with self._file.open("a", encoding="ascii") as file:
                file.write(json.dumps(asdict(event)) + "\n")
            if self._file.stat().st_size > MAX_LOG_BYTES:
                self._drop_older_half()

    def _drop_older_half(self) -> None:
        lines = self._file.read_bytes().splitlines(keepends=True)
        write_atomically(self._file, b"".join(lines[len(lines) // 2 :]))


def read_events(file: Path) -> Iterator[SuggestionEvent]:
    """All events of a file, oldest first; a line that is damaged is left out."""
    try:
        lines = file.read_bytes().splitlines()
    except OSError:
        return
    for line in lines:
        try:
            yield SuggestionEvent(**json.loads(line))
        except (ValueError, TypeError):
            continue


def surrounding_lines(prefix: str, suffix: str) -> tuple[str, str]:
    """The last lines before the cursor and the first behind it."""
    before = "".join(prefix.splitlines(keepends=True)[-CONTEXT_LINES:])
    return before, "".join(suffix.splitlines(keepends=True)[: CONTEXT_LINES // 2])


def event_time() -> float:
    """The time of an event."""
    return time.time()
