"""Which models are in memory: those used least lately make room for a new one, idle ones are let go.

Knows bytes and times; nothing of what a model is. Safe to use from many threads.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(slots=True)
class _Holding:
    size: int
    used: float
    release: Callable[[], None]


class Residency:
    """Keeps the models of all services within `memory` bytes together."""

    def __init__(self, memory: int = 1 << 62, clock: Callable[[], float] = time.monotonic) -> None:
        self._memory = memory
        self._clock = clock
        self._holdings: dict[str, _Holding] = {}
        self._lock = threading.Lock()

    def enter(self, key: str, size: int, release: Callable[[], None]) -> None:
        """Make room for a model that is about to be loaded; `release` must let go of it, from any thread."""
        with self._lock:
            self._holdings.pop(key, None)
            evicted = self._least_used(size)
            self._holdings[key] = _Holding(size, self._clock(), release)
        for holding in evicted:
            holding.release()

    def touch(self, key: str) -> None:
        """Take note that a model is used."""
        with self._lock:
            if key in self._holdings:
                self._holdings[key].used = self._clock()

    def leave(self, key: str) -> None:
        """Take note that a model is gone."""
        with self._lock:
            self._holdings.pop(key, None)

    def held(self) -> dict[str, int]:
        """Keys and bytes, the one used least lately first."""
        with self._lock:
            return {key: self._holdings[key].size for key in self._by_use()}

    def release_idle(self, seconds: float) -> list[str]:
        """Let go of what was not used for so long; gives the keys."""
        with self._lock:
            now = self._clock()
            idle = {key: one for key, one in self._holdings.items() if now - one.used >= seconds}
            for key in idle:
                del self._holdings[key]
        for holding in idle.values():
            holding.release()
        return list(idle)

    def _least_used(self, size: int) -> list[_Holding]:
        evicted = []
        for key in self._by_use():
            if sum(holding.size for holding in self._holdings.values()) + size <= self._memory:
                break
            evicted.append(self._holdings.pop(key))
        return evicted

    def _by_use(self) -> list[str]:
        return sorted(self._holdings, key=lambda key: self._holdings[key].used)
