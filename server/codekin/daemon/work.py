"""Where the daemon's work runs: threads by priority, never on the event loop.

Completions and queries have threads of their own; indexing and learning share the machine's
spare time at the lowest niceness and wait, for a moment, while somebody is being answered.
Knows nothing of what the work is.
"""

import asyncio
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from enum import IntEnum
from typing import ParamSpec, TypeVar

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

LOWEST_NICENESS = 19
PATIENCE = 0.25
"""Seconds that a piece of background work waits for the foreground to be quiet, so that it is never starved."""


class Priority(IntEnum):
    """Who goes first: the lower."""

    COMPLETION = 0
    QUERY = 1
    INDEX = 2
    LEARN = 3


class Workers:
    """Runs functions in threads; cancelling the awaiting task withdraws the work."""

    def __init__(self) -> None:
        threads = {Priority.COMPLETION: 2, Priority.QUERY: min(4, os.cpu_count() or 1) + 1}
        self._pools = {
            priority: ThreadPoolExecutor(
                threads.get(priority, 1), f"codekin-{priority.name.lower()}", _prepare, (priority,)
            )
            for priority in Priority
        }
        self._busy = 0
        self._quiet = threading.Condition()

    async def run(
        self,
        priority: Priority,
        function: Callable[Arguments, Result],
        *args: Arguments.args,
        **kwargs: Arguments.kwargs,
    ) -> Result:
        """The function's result. Work that has not begun when the caller is cancelled never does.

        Background work should come in pieces of some ten milliseconds.
        """
        call = self._in_front if priority <= Priority.QUERY else self._behind
        job = self._pools[priority].submit(lambda: call(lambda: function(*args, **kwargs)))
        return await asyncio.wrap_future(job)

    def close(self) -> None:
        """Drops what has not begun; does not wait for the rest."""
        for pool in self._pools.values():
            pool.shutdown(wait=False, cancel_futures=True)

    def _in_front(self, call: Callable[[], Result]) -> Result:
        with self._quiet:
            self._busy += 1
        try:
            return call()
        finally:
            with self._quiet:
                self._busy -= 1
                self._quiet.notify_all()

    def _behind(self, call: Callable[[], Result]) -> Result:
        with self._quiet:
            self._quiet.wait_for(lambda: self._busy == 0, PATIENCE)
        return call()


def _prepare(priority: Priority) -> None:
    """Niceness is a thread's own on Linux alone, where its native id counts as a process."""
    if priority >= Priority.INDEX and sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), LOWEST_NICENESS)
