"""Two worker threads for one model: queries at once, background work when nobody waits.

The background thread runs at the lowest niceness (the threads torch starts for it inherit
that) and stops between two steps of a job while a query is waiting. Knows nothing of
models: a job is an iterator of steps.
"""

import os
import queue
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Literal, TypeVar

import torch

from codekin.errors import Cancelled

Priority = Literal["query", "index"]
Result = TypeVar("Result")

BACKGROUND_NICENESS = 19
MOST_QUERY_THREADS = 4


@dataclass(slots=True)
class _Job:
    """Steps to run one after another; the last one yielded is the result."""

    steps: Callable[[], Iterator[object]]
    cancelled: threading.Event
    future: Future[object] = field(default_factory=Future)


class Lanes:
    """Runs jobs; close it, or its threads (which are daemonic) end with the process."""

    def __init__(self) -> None:
        self._queues: dict[Priority, queue.SimpleQueue[_Job | None]] = {
            "query": queue.SimpleQueue(),
            "index": queue.SimpleQueue(),
        }
        self._waiting = 0
        self._quiet = threading.Condition()
        self._threads = [
            threading.Thread(target=self._work, args=(lane,), name=f"models-{lane}", daemon=True)
            for lane in self._queues
        ]
        for thread in self._threads:
            thread.start()

    def submit(
        self,
        steps: Callable[[], Iterator[Result]],
        priority: Priority = "query",
        cancelled: threading.Event | None = None,
    ) -> "Future[Result]":
        """The last value that `steps()` yields; Cancelled is raised soon after `cancelled` is set."""
        job = _Job(steps, cancelled or threading.Event())
        if priority == "query":
            with self._quiet:
                self._waiting += 1
        self._queues[priority].put(job)
        return job.future  # type: ignore[return-value] # a Future of what the steps yield

    def close(self) -> None:
        """Finish the jobs at hand, refuse nothing that is queued, and end the threads."""
        for jobs in self._queues.values():
            jobs.put(None)
        for thread in self._threads:
            thread.join(timeout=10)

    def _work(self, lane: Priority) -> None:
        prepare_thread(lane)
        while (job := self._queues[lane].get()) is not None:
            try:
                if job.future.set_running_or_notify_cancel():
                    self._run(job, lane)
            finally:
                if lane == "query":
                    with self._quiet:
                        self._waiting -= 1
                        self._quiet.notify_all()

    def _run(self, job: _Job, lane: Priority) -> None:
        result: object = None
        try:
            for result in job.steps():  # noqa: B007 - the last one is the result
                _raise_if(job.cancelled)
                if lane == "index":
                    self._let_queries_pass()
        except BaseException as error:  # noqa: BLE001 - the outermost loop of a thread: the caller gets it
            job.future.set_exception(error)
        else:
            job.future.set_result(result)

    def _let_queries_pass(self) -> None:
        with self._quiet:
            self._quiet.wait_for(lambda: self._waiting == 0)


def _raise_if(cancelled: threading.Event) -> None:
    if cancelled.is_set():
        raise Cancelled("The request was withdrawn.")


def prepare_thread(lane: Priority) -> None:
    """Fits the calling thread for its work: queries get the cores, but few; the rest half of them, with niceness."""
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    if lane == "query":
        torch.set_num_threads(min(cores, MOST_QUERY_THREADS))
        return
    torch.set_num_threads(max(1, cores // 2))
    if sys.platform == "linux":  # niceness is per thread there alone
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), BACKGROUND_NICENESS)
