"""Holds back paths until they have been quiet for a moment; a storm of them becomes a whole scan.

Knows neither files nor a clock: callers hand in the time, in seconds that only grow.
"""

from dataclasses import dataclass, field
from typing import Final

EVERYTHING: Final = ""
"""The path that stands for the whole workspace."""

QUIET_SECONDS: Final = 0.3
LONGEST_SECONDS: Final = 0.6
"""A path that never comes to rest is looked at after this long all the same."""

STORM_RATE: Final = 2_000
"""Hints in a second beyond which some were probably lost."""

_STORM_SECONDS: Final = 2.0


@dataclass(slots=True)
class Pending:
    """Paths waiting to be looked at."""

    _paths: dict[str, None] = field(default_factory=dict)
    _first: float = 0.0
    _last: float = 0.0
    _second: int = 0
    _count: int = 0

    def __bool__(self) -> bool:
        return bool(self._paths)

    def add(self, path: str, now: float) -> None:
        """Notes that something may have happened at a path."""
        self._count = self._count + 1 if int(now) == self._second else 1
        self._second = int(now)
        if not self._paths:
            self._first = now
        self._last = now
        if path == EVERYTHING or self._count > STORM_RATE:
            self._paths = {EVERYTHING: None}
        elif EVERYTHING not in self._paths:
            self._paths[path] = None

    def wait(self, now: float) -> float | None:
        """Seconds until `take` will give something; None when nothing is pending."""
        if not self._paths:
            return None
        longest = _STORM_SECONDS if EVERYTHING in self._paths else LONGEST_SECONDS
        return max(0.0, min(self._last + QUIET_SECONDS, self._first + longest) - now)

    def take(self, now: float) -> list[str]:
        """All pending paths, oldest first, if they are due; EVERYTHING stands alone."""
        if self.wait(now) != 0.0:
            return []
        paths, self._paths = list(self._paths), {}
        return paths
