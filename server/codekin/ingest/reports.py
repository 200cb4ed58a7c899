"""What the indexer says of its work: progress with a rate, what changed, when it is done.

Knows nothing of files; callers hand in the time, in seconds that only grow.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

Tell = Callable[[dict[str, Any]], None]

_PROGRESS_EVERY: Final = 0.25
_WORTH_TELLING: Final = 0.5
"""Seconds of work after which progress is told at all; a single save should not flicker."""

_MOST_PATHS: Final = 200


@dataclass(slots=True)
class Reports:
    """Tells events, seldom enough."""

    tell: Tell
    _phase: str = ""
    _began: float = 0.0
    _first: int = 0
    _told: float = 0.0
    _changed: dict[str, None] = field(default_factory=dict)
    _said: set[str] = field(default_factory=set)
    unsettled: bool = True

    def progress(self, phase: str, done: int, total: int, now: float) -> None:
        """Tells how far a phase is; `rate` in items a second, `seconds_left` an estimate."""
        if phase != self._phase or done < self._first:
            self._phase, self._began, self._first, self._told = phase, now, done, now
        elapsed = now - self._began
        if elapsed < _WORTH_TELLING or now - self._told < _PROGRESS_EVERY:
            return
        self._told, self.unsettled = now, True
        rate = (done - self._first) / elapsed
        left = round((total - done) / rate, 1) if rate else None
        numbers = {"done": done, "total": max(total, done), "rate": round(rate, 1), "seconds_left": left}
        self.tell({"event": "progress", "phase": phase, **numbers})

    def changed(self, path: str) -> None:
        """Notes a path whose fragments are others now."""
        self._changed[path] = None

    def tell_changed(self) -> None:
        """Tells which paths changed since the last call; many are told by their number and the first of them."""
        if self._changed:
            paths = list(self._changed)
            self._changed = {}
            self.tell({"event": "changed", "count": len(paths), "paths": paths[:_MOST_PATHS]})

    def problem(self, message: str) -> None:
        """Tells a problem, once until `recovered`."""
        if message not in self._said:
            self._said.add(message)
            self.tell({"event": "problem", "message": message})

    def recovered(self) -> None:
        """Lets problems be told again when they come back."""
        self._said.clear()

    def ready(self, **numbers: float) -> None:
        """Tells that the index is equal to the working tree."""
        self.rest()
        self.unsettled = False
        self.tell({"event": "ready", **numbers})

    def rest(self) -> None:
        """Notes that there is nothing to do: the next progress is counted from its own beginning."""
        self._phase = ""
