"""When the whole tree is compared without any hint: now and then, often where no events come, after a sleep.

Knows nothing of what a comparison is; callers hand in the monotonic time.
"""

import math
import time
from dataclasses import dataclass, field
from typing import Final

POLL_SECONDS: Final = 5.0
_POLL_SHARE: Final = 20
"""A poll may take one part in so many of the time."""

_NAP_SECONDS: Final = 30.0
"""The wall clock runs on while the machine sleeps; smaller jumps are taken for corrections of it."""

_LOOK_EVERY: Final = 15.0


@dataclass(slots=True)
class Schedule:
    """`every`: seconds between two comparisons; `polling`: events do not reach us."""

    every: float
    polling: bool = False
    _last: float = -math.inf
    _took: float = 0.0
    _began: float | None = None
    _drift: float = field(default_factory=lambda: time.time() - time.monotonic())

    def is_due(self, now: float) -> bool:
        """Whether a comparison should begin."""
        drift = time.time() - now
        slept, self._drift = drift - self._drift > _NAP_SECONDS, drift
        due = slept or now >= self._last + self._interval()
        if due:
            self._began = now
        return due

    def done(self, now: float) -> None:
        """Notes that a comparison has ended."""
        self._took, self._last = now - (self._began if self._began is not None else now), now
        self._began = None

    def wait(self, now: float) -> float:
        """Seconds until the next look at the clock."""
        return min(max(self._last + self._interval() - now, 0.05), _LOOK_EVERY)

    def _interval(self) -> float:
        return min(max(POLL_SECONDS, _POLL_SHARE * self._took), self.every) if self.polling else self.every
