"""Which models are in memory: loaded when used, the one used least lately evicted, idle ones released.

Knows bytes and times; nothing of what a model is.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

Loaded = TypeVar("Loaded")


@dataclass(slots=True)
class _Place(Generic[Loaded]):
    value: Loaded
    size: int
    used: float


class Residency(Generic[Loaded]):
    """Holds at most `memory` bytes of models; used from one thread."""

    def __init__(self, memory: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._memory = memory
        self._clock = clock
        self._places: OrderedDict[str, _Place[Loaded]] = OrderedDict()

    def get(self, key: str, size: int, load: Callable[[], Loaded]) -> Loaded:
        """The model, loaded if need be after the eviction of others; `size` is its bytes."""
        if key not in self._places:
            self._make_room(size)
            self._places[key] = _Place(load(), size, self._clock())
        place = self._places[key]
        place.used = self._clock()
        self._places.move_to_end(key)
        return place.value

    def loaded(self) -> dict[str, int]:
        """Keys and bytes, the one used least lately first."""
        return {key: place.size for key, place in self._places.items()}

    def release_idle(self, seconds: float) -> list[str]:
        """Let go of what was not used for so long; gives the keys."""
        now = self._clock()
        idle = [key for key, place in self._places.items() if now - place.used >= seconds]
        for key in idle:
            del self._places[key]
        return idle

    def clear(self) -> None:
        """Let go of everything."""
        self._places.clear()

    def _make_room(self, size: int) -> None:
        while self._places and sum(place.size for place in self._places.values()) + size > self._memory:
            self._places.popitem(last=False)
