"""Schedules completion requests: one live request per window, debouncing, and reuse of earlier suggestions.

Typing through a suggestion, or requesting the same position again, computes nothing. Runs on one event loop.
"""

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from statistics import fmean

from codekin.completion.context import CursorPosition
from codekin.completion.suggestions import Suggestion

MAX_CACHED = 250
MAX_DELAY, INTERVALS_KEPT = 0.6, 12
FAST_ANSWER = 0.06
"""Seconds; an answer that takes no longer is not waited for however fast somebody types."""

SLOW_ANSWER, MAX_TYPED = 0.15, 12
"""An answer that takes longer (seconds) is waited for while no more letters than this were typed since."""

TYPING_PAUSE = 1.5
"""Seconds between keys that count as typing; longer ones are thinking."""

ComputeSuggestions = Callable[[], Awaitable[list[Suggestion]]]


@dataclass(slots=True)
class _WindowState:
    """The state of one editor window: typing speed, the suggestion on screen, the request in progress."""

    last_key: float = 0.0
    key_intervals: deque[float] = field(default_factory=lambda: deque(maxlen=INTERVALS_KEPT))
    scope: Hashable = None
    cursor: CursorPosition | None = None
    shown: list[Suggestion] = field(default_factory=list)
    pending: asyncio.Task[list[Suggestion]] | None = None
    pending_cursor: CursorPosition | None = None
    turn: int = 0


class CompletionScheduler:
    """The flow of all windows."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._windows: OrderedDict[str, _WindowState] = OrderedDict()
        self._cache: OrderedDict[Hashable, list[Suggestion]] = OrderedDict()
        self._seconds: deque[float] = deque(maxlen=INTERVALS_KEPT)
        self.calls = 0

    @property
    def pending(self) -> int:
        """How many requests are under way."""
        return sum(1 for window in self._windows.values() if window.pending and not window.pending.done())

    @property
    def milliseconds(self) -> float:
        """The mean time of the last answers, 0 before the first."""
        return fmean(self._seconds) * 1000 if self._seconds else 0.0

    async def request_suggestions(
        self, name: str, scope: Hashable, cursor: CursorPosition, make: ComputeSuggestions, *, delay: float | None
    ) -> list[Suggestion]:
        """Suggestions for a cursor position, cached if possible; a newer request of the window cancels this one.

        `scope` holds everything but the cursor that the result depends on (root, number of alternatives). `delay` is in
        seconds, None to derive it from the typing interval. Raises CancelledError when superseded.
        """
        window = self._window(name)
        window.turn += 1
        turn, interval = window.turn, self._typing_delay(window)
        found = self._typed_through(window, scope, cursor) or self._cache.get(_cache_key(scope, cursor))
        if found is None and self._can_keep_pending(window, cursor):
            found = await self._await_pending(window, scope, cursor)
            if window.turn != turn:
                raise asyncio.CancelledError
        if window.pending and not window.pending.done():
            window.pending.cancel()
        if found is None:
            wait = interval if delay is None else delay
            window.pending = asyncio.ensure_future(self._compute(wait, _cache_key(scope, cursor), make))
            window.pending_cursor = cursor
            found = await window.pending
        window.scope, window.cursor, window.shown = scope, cursor, found
        return found

    async def prepare(self, scope: Hashable, cursor: CursorPosition, make: ComputeSuggestions) -> None:
        """Computes suggestions ahead of an expected request."""
        key = _cache_key(scope, cursor)
        if key not in self._cache:
            await self._compute(0.0, key, make)

    def _can_keep_pending(self, window: _WindowState, cursor: CursorPosition) -> bool:
        """Whether a slow response under way is for the text before the last few letters."""
        pending_cursor = window.pending_cursor
        if pending_cursor is None or window.pending is None or window.pending.done() or not self._seconds:
            return False
        is_slow = fmean(self._seconds) > SLOW_ANSWER
        typed = len(cursor.prefix) - len(pending_cursor.prefix)
        same = (cursor.path, cursor.suffix) == (pending_cursor.path, pending_cursor.suffix)
        return is_slow and same and 0 < typed <= MAX_TYPED and cursor.prefix.startswith(pending_cursor.prefix)

    async def _await_pending(
        self, window: _WindowState, scope: Hashable, cursor: CursorPosition
    ) -> list[Suggestion] | None:
        """What is left of the answer under way, None if the letters do not match it."""
        if window.pending is None or window.pending_cursor is None:
            return None
        pending_cursor = window.pending_cursor
        window.shown = await asyncio.shield(window.pending)
        window.scope, window.cursor = scope, pending_cursor
        return self._typed_through(window, scope, cursor)

    async def _compute(self, wait: float, key: Hashable, make: ComputeSuggestions) -> list[Suggestion]:
        if wait > 0:
            await asyncio.sleep(wait)
        self.calls += 1
        began = self._clock()
        found = await make()
        self._seconds.append(self._clock() - began)
        self._cache[key] = found
        while len(self._cache) > MAX_CACHED:
            self._cache.popitem(last=False)
        return found

    def _window(self, name: str) -> _WindowState:
        window = self._windows.setdefault(name, _WindowState())
        self._windows.move_to_end(name)
        while len(self._windows) > MAX_CACHED:
            self._windows.popitem(last=False)
        return window

    def _typing_delay(self, window: _WindowState) -> float:
        """The seconds to wait: none where answers are far quicker than keys, else a little more than between keys."""
        now = self._clock()
        if 0 < now - window.last_key < TYPING_PAUSE:
            window.key_intervals.append(now - window.last_key)
        window.last_key = now
        if not window.key_intervals:
            return 0.0
        interval = fmean(window.key_intervals)
        is_quick = not self._seconds or fmean(self._seconds) < max(FAST_ANSWER, interval / 4)
        return 0.0 if is_quick else min(1.2 * interval, MAX_DELAY)

    @staticmethod
    def _typed_through(window: _WindowState, scope: Hashable, cursor: CursorPosition) -> list[Suggestion] | None:
        """What is left of the suggestions on the screen once their beginning was typed."""
        old = window.cursor
        if old is None or window.scope != scope or not window.shown:
            return None
        same = (cursor.path, cursor.suffix) == (old.path, old.suffix)
        if not same or not cursor.prefix.startswith(old.prefix) or cursor.prefix == old.prefix:
            return None
        typed = cursor.prefix[len(old.prefix) :]
        left = [
            replace(one, text=one.text[len(typed) :])
            for one in window.shown
            if one.text.startswith(typed) and len(one.text) > len(typed)
        ]
        return left or None


def _cache_key(scope: Hashable, cursor: CursorPosition) -> Hashable:
    """A short key for a long text."""
    texts = (cursor.prefix, cursor.suffix)
    return scope, cursor.path, *(blake2b(text.encode("utf-8", "surrogatepass")).digest() for text in texts)
