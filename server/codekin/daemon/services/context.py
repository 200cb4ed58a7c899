"""What every service of the daemon shares: settings, models, workspaces, thread pools; and the shape of a service.

The pools have priorities: completions and queries first, indexing and fine-tuning in spare time.
"""

import asyncio
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Any, ParamSpec, Protocol, TypeVar

from codekin.daemon.process.request_guard import Activity
from codekin.daemon.services.embedding import EmbeddingEngine
from codekin.daemon.services.workspaces import OpenWorkspace, WorkspaceRegistry
from codekin.settings import Settings

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

LOWEST_NICENESS = 19
BACKGROUND_WAIT_SECONDS = 0.25
"""Seconds that background work waits for the foreground to be quiet, so that it is never starved."""


class Priority(IntEnum):
    """Who goes first: the lower."""

    COMPLETION = 0
    QUERY = 1
    INDEX = 2


class WorkerPools:
    """Runs functions in threads; cancelling the awaiting task cancels the work."""

    def __init__(self) -> None:
        threads = {Priority.COMPLETION: 2, Priority.QUERY: min(4, os.cpu_count() or 1) + 1}
        self._pools = {
            priority: ThreadPoolExecutor(
                threads.get(priority, 1), f"codekin-{priority.name.lower()}", _set_niceness, (priority,)
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

        Background work should come in steps of some ten milliseconds.
        """
        call = self._run_foreground if priority <= Priority.QUERY else self._run_background
        job = self._pools[priority].submit(lambda: call(lambda: function(*args, **kwargs)))
        return await asyncio.wrap_future(job)

    def close(self) -> None:
        """Drops what has not begun; does not wait for the rest."""
        for pool in self._pools.values():
            pool.shutdown(wait=False, cancel_futures=True)

    def _run_foreground(self, call: Callable[[], Result]) -> Result:
        with self._quiet:
            self._busy += 1
        try:
            return call()
        finally:
            with self._quiet:
                self._busy -= 1
                self._quiet.notify_all()

    def _run_background(self, call: Callable[[], Result]) -> Result:
        with self._quiet:
            self._quiet.wait_for(lambda: self._busy == 0, BACKGROUND_WAIT_SECONDS)
        return call()


def _set_niceness(priority: Priority) -> None:
    """Niceness is a thread's own on Linux alone, where its native id counts as a process."""
    if priority >= Priority.INDEX and sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), LOWEST_NICENESS)


@dataclass(slots=True, eq=False)
class ServiceContext:
    """The parts of one daemon that its services work with."""

    data: Path
    settings: Settings
    engine: EmbeddingEngine
    workspaces: WorkspaceRegistry
    activity: Activity = field(default_factory=Activity)
    workers: WorkerPools = field(default_factory=WorkerPools)


class DaemonService(Protocol):
    """A part of the daemon with work and state of its own."""

    @property
    def name(self) -> str:
        """The key of its status within that of a workspace."""
        ...

    @property
    def is_busy(self) -> bool:
        """Whether its work keeps the daemon alive."""
        ...

    def status(self, workspace: OpenWorkspace | None) -> dict[str, Any]:
        """What a status shows of it; its entry "problem" is also listed among the workspace's problems."""
        ...

    async def open(self) -> None:
        """Begins its background work, on the running loop."""
        ...

    async def close(self) -> None:
        """Ends its work and gives its memory back."""
        ...
