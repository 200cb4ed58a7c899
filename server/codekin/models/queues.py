"""Two worker threads for one model: queries run at once, background work while no query waits.

The background thread runs at the lowest niceness and pauses between two steps of a job while a query waits. The code
that computes in a thread reads the thread's share of the processor: torch at each job, ONNX Runtime at each batch.
"""

import os
import queue
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Literal, TypeVar

from codekin.errors import Cancelled

JobPriority = Literal["query", "index"]
Result = TypeVar("Result")

BACKGROUND_NICENESS = 19
MAX_QUERY_THREADS = 4


@dataclass(slots=True)
class _QueuedJob:
    """Steps to run one after another; the last one yielded is the result."""

    steps: Callable[[], Iterator[object]]
    cancelled: threading.Event
    future: Future[object] = field(default_factory=Future)


class PriorityQueues:
    """Runs jobs; close it, or its threads (which are daemonic) end with the process."""

    def __init__(self, threads: int = 0) -> None:
        """`threads` are the processor threads of each job, 0 for as many as suit its priority."""
        self._processor_threads = threads
        self._queues: dict[JobPriority, queue.SimpleQueue[_QueuedJob | None]] = {
            "query": queue.SimpleQueue(),
            "index": queue.SimpleQueue(),
        }
        self._waiting = 0
        self._no_queries_waiting = threading.Condition()
        self._threads = [
            threading.Thread(target=self._work, args=(priority,), name=f"models-{priority}", daemon=True)
            for priority in self._queues
        ]
        for thread in self._threads:
            thread.start()

    def submit(
        self,
        steps: Callable[[], Iterator[Result]],
        priority: JobPriority = "query",
        cancelled: threading.Event | None = None,
    ) -> "Future[Result]":
        """The last value that `steps()` yields; Cancelled is raised soon after `cancelled` is set."""
        job = _QueuedJob(steps, cancelled or threading.Event())
        if priority == "query":
            with self._no_queries_waiting:
                self._waiting += 1
        self._queues[priority].put(job)
        return job.future  # type: ignore[return-value] # a Future of what the steps yield

    def close(self) -> None:
        """Finish the queued jobs, refuse nothing that is queued, and end the threads."""
        for jobs in self._queues.values():
            jobs.put(None)
        for thread in self._threads:
            thread.join(timeout=10)

    def _work(self, priority: JobPriority) -> None:
        set_thread_priority(priority, self._processor_threads)
        while (job := self._queues[priority].get()) is not None:
            try:
                if job.future.set_running_or_notify_cancel():
                    self._run(job, priority)
            finally:
                if priority == "query":
                    with self._no_queries_waiting:
                        self._waiting -= 1
                        self._no_queries_waiting.notify_all()

    def _run(self, job: _QueuedJob, priority: JobPriority) -> None:
        result: object = None
        apply_to_torch()
        try:
            for result in job.steps():  # noqa: B007 - the last one is the result
                _raise_if_cancelled(job.cancelled)
                if priority == "index":
                    self._wait_for_queries()
        except BaseException as error:  # noqa: BLE001 - the outermost loop of a thread: the caller gets it
            job.future.set_exception(error)
        else:
            job.future.set_result(result)

    def _wait_for_queries(self) -> None:
        with self._no_queries_waiting:
            self._no_queries_waiting.wait_for(lambda: self._waiting == 0)


def _raise_if_cancelled(cancelled: threading.Event) -> None:
    if cancelled.is_set():
        raise Cancelled("The request was cancelled.")


@dataclass(frozen=True, slots=True)
class ProcessorShare:
    """Processor threads, and whether the work yields to all other."""

    threads: int
    background: bool = False


_calling = threading.local()


def processor_share() -> ProcessorShare:
    """The share of the calling thread; that of a query where none was set."""
    share: ProcessorShare | None = getattr(_calling, "share", None)
    return share or ProcessorShare(min(count_cores(), MAX_QUERY_THREADS))


def set_thread_priority(priority: JobPriority, threads: int = 0) -> None:
    """Fits the calling thread for its work: queries get few cores; the rest all of them, with niceness.

    `threads` other than 0 is the number of processor threads to use instead.
    """
    cores = count_cores()
    if priority == "query":
        _calling.share = ProcessorShare(threads or min(cores, MAX_QUERY_THREADS))
    elif sys.platform == "linux":  # niceness is per thread there alone
        _calling.share = ProcessorShare(threads or cores, background=True)
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), BACKGROUND_NICENESS)
    else:
        _calling.share = ProcessorShare(threads or max(1, cores // 2), background=True)
    apply_to_torch()


def apply_to_torch() -> None:
    """Gives torch the calling thread's share, where something has imported it."""
    if (torch := sys.modules.get("torch")) is not None and hasattr(torch, "set_num_threads"):
        torch.set_num_threads(processor_share().threads)


def count_cores() -> int:
    """The cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
