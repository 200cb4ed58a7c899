"""From key to ghost text: one live request a window, waiting while somebody types, and answers used again.

Typing along a suggestion, and asking for the same place twice, cost no call. It knows nothing of how answers are
made; everything runs on one event loop.
"""

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from statistics import fmean

from codekin.completion.gap import Gap
from codekin.completion.suggest import Suggestion

CACHED = 250
LONGEST_WAIT, REMEMBERED_GAPS = 0.6, 12
QUICK = 0.06
"""Seconds; an answer that takes no longer is not waited for however fast somebody types."""

SLOW, MOST_TYPED = 0.15, 12
"""An answer that takes longer (seconds) is waited for while no more letters than this were typed since."""

PAUSE = 1.5
"""Seconds between keys that count as typing; longer ones are thinking."""

Make = Callable[[], Awaitable[list[Suggestion]]]


@dataclass(slots=True)
class _Window:
    """What is known of one editor window: how fast its user types, what it shows, what it asks for now."""

    last_key: float = 0.0
    gaps: deque[float] = field(default_factory=lambda: deque(maxlen=REMEMBERED_GAPS))
    place: Hashable = None
    gap: Gap | None = None
    shown: list[Suggestion] = field(default_factory=list)
    live: asyncio.Task[list[Suggestion]] | None = None
    asked: Gap | None = None
    turn: int = 0


class Flow:
    """The flow of all windows."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._windows: OrderedDict[str, _Window] = OrderedDict()
        self._cache: OrderedDict[Hashable, list[Suggestion]] = OrderedDict()
        self._seconds: deque[float] = deque(maxlen=REMEMBERED_GAPS)
        self.calls = 0

    @property
    def live(self) -> int:
        """How many requests are under way."""
        return sum(1 for window in self._windows.values() if window.live and not window.live.done())

    @property
    def milliseconds(self) -> float:
        """The mean time of the last answers, 0 before the first."""
        return fmean(self._seconds) * 1000 if self._seconds else 0.0

    async def ask(self, name: str, place: Hashable, gap: Gap, make: Make, *, waits: float | None) -> list[Suggestion]:
        """Suggestions for a gap, from memory where possible; a newer request of the window withdraws this one.

        `place` is all besides the gap that the answer depends on (root, number of alternatives). `waits` are the
        seconds to let pass first, None to go by the pace of typing. Raises CancelledError when withdrawn.
        """
        window = self._window(name)
        window.turn += 1
        turn, pace = window.turn, self._note_key(window)
        along = self._along(window, place, gap) or self._cache.get(_key(place, gap))
        if along is None and self._is_kept(window, gap):
            along = await self._kept(window, place, gap)
            if window.turn != turn:
                raise asyncio.CancelledError
        if window.live and not window.live.done():
            window.live.cancel()
        if along is None:
            wait = pace if waits is None else waits
            window.live = asyncio.ensure_future(self._made(wait, _key(place, gap), make))
            window.asked = gap
            along = await window.live
        window.place, window.gap, window.shown = place, gap, along
        return along

    async def prepare(self, place: Hashable, gap: Gap, make: Make) -> None:
        """Makes the answer for a gap that will be asked for soon."""
        key = _key(place, gap)
        if key not in self._cache:
            await self._made(0.0, key, make)

    def forget(self) -> None:
        """Drops all answers, as after a change of the model."""
        self._cache.clear()
        self._windows.clear()

    def _is_kept(self, window: _Window, gap: Gap) -> bool:
        """Whether a slow answer under way is for what stood here before the last few letters."""
        asked = window.asked
        if asked is None or window.live is None or window.live.done() or not self._seconds:
            return False
        is_slow = fmean(self._seconds) > SLOW
        typed = len(gap.prefix) - len(asked.prefix)
        same = (gap.path, gap.suffix) == (asked.path, asked.suffix)
        return is_slow and same and 0 < typed <= MOST_TYPED and gap.prefix.startswith(asked.prefix)

    async def _kept(self, window: _Window, place: Hashable, gap: Gap) -> list[Suggestion] | None:
        """What is left of the answer under way, None if the letters do not match it."""
        if window.live is None or window.asked is None:
            return None
        asked = window.asked
        window.shown = await asyncio.shield(window.live)
        window.place, window.gap = place, asked
        return self._along(window, place, gap)

    async def _made(self, wait: float, key: Hashable, make: Make) -> list[Suggestion]:
        if wait > 0:
            await asyncio.sleep(wait)
        self.calls += 1
        began = self._clock()
        found = await make()
        self._seconds.append(self._clock() - began)
        self._cache[key] = found
        while len(self._cache) > CACHED:
            self._cache.popitem(last=False)
        return found

    def _window(self, name: str) -> _Window:
        window = self._windows.setdefault(name, _Window())
        self._windows.move_to_end(name)
        while len(self._windows) > CACHED:
            self._windows.popitem(last=False)
        return window

    def _note_key(self, window: _Window) -> float:
        """The seconds to wait: none where answers are far quicker than keys, else a little more than between keys."""
        now = self._clock()
        if 0 < now - window.last_key < PAUSE:
            window.gaps.append(now - window.last_key)
        window.last_key = now
        if not window.gaps:
            return 0.0
        pace = fmean(window.gaps)
        is_quick = not self._seconds or fmean(self._seconds) < max(QUICK, pace / 4)
        return 0.0 if is_quick else min(1.2 * pace, LONGEST_WAIT)

    @staticmethod
    def _along(window: _Window, place: Hashable, gap: Gap) -> list[Suggestion] | None:
        """What is left of the suggestions on the screen once their beginning was typed."""
        old = window.gap
        if old is None or window.place != place or not window.shown:
            return None
        same = (gap.path, gap.suffix) == (old.path, old.suffix)
        if not same or not gap.prefix.startswith(old.prefix) or gap.prefix == old.prefix:
            return None
        typed = gap.prefix[len(old.prefix) :]
        left = [
            replace(one, text=one.text[len(typed) :])
            for one in window.shown
            if one.text.startswith(typed) and len(one.text) > len(typed)
        ]
        return left or None


def _key(place: Hashable, gap: Gap) -> Hashable:
    """A short key for a long text."""
    texts = (gap.prefix, gap.suffix)
    return place, gap.path, *(blake2b(text.encode("utf-8", "surrogatepass")).digest() for text in texts)
