"""The daemon's child processes: the indexer of each workspace, restarted after a crash, and one-shot fine-tuning runs.

Children write events as JSON lines and exit when their input closes.
"""

import asyncio
import json
import logging
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from codekin import paths
from codekin.errors import describe_os_error

log = logging.getLogger(__name__)

ChildEvent = dict[str, Any]

STOP_TIMEOUT_SECONDS = 3.0


def child_command(module: str, data: Path, root: Path, options: Sequence[str] = ()) -> list[str]:
    """The command line of a child that works for one workspace and gets its vectors from the daemon."""
    given = ["--root", str(root), "--data-dir", str(data), "--socket", str(paths.socket_path(data))]
    return [sys.executable, "-P", "-m", module, *given, *options]


async def start_child(
    command: Sequence[str], data: Path, errors: IO[bytes], limit: int, environment: Mapping[str, str] | None = None
) -> Process:
    """Starts a child; `limit` is the longest line it may write, in bytes. Raises OSError."""
    return await asyncio.create_subprocess_exec(
        *command,
        stdin=PIPE,
        stdout=PIPE,
        stderr=errors,
        cwd=data,
        limit=limit,
        env={**os.environ, **(environment or {})},
    )


async def child_events(process: Process) -> AsyncIterator[ChildEvent]:
    """What the child writes until it ends; a line that is no event is skipped."""
    if process.stdout is None:
        return
    async for line in process.stdout:
        try:
            event = json.loads(line)
        except ValueError:
            log.warning("A child wrote a line that is no event.")
            continue
        if isinstance(event, dict):
            yield event


async def end_child(process: Process) -> int:
    """Closes the child's input, which ends it, and kills it if it does not end in time; gives its exit status."""
    if process.stdin:
        process.stdin.close()
    try:
        return await asyncio.wait_for(process.wait(), STOP_TIMEOUT_SECONDS)
    except TimeoutError:
        kill_child(process)
        return await process.wait()


def kill_child(process: Process) -> None:
    """Sends SIGKILL unless the child has ended.

    `Process.kill` polls the child first, which reaps one that has just ended: asyncio's own wait then finds no child
    and reports status 255 in place of the true one.
    """
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)


RESTART_DELAYS = (0.5, 2.0, 10.0, 60.0)
"""Seconds before each restart in a row; the last one repeats."""

STABLE_SECONDS = 60.0
"""A child that ran this long is trusted again."""

INDEXER_LINE_LIMIT = 8_000_000
INDEXER_MODULE = "codekin.indexing.process"


class IndexerProcess:
    """Keeps one child alive until `stop`; `handle_event` is called on the loop with each event."""

    def __init__(
        self,
        root: Path,
        data: Path,
        handle_event: Callable[[ChildEvent], None],
        initial_commands: Callable[[], list[ChildEvent]],
    ) -> None:
        self._command = child_command(INDEXER_MODULE, data, root)
        self._log = paths.logs_dir(data) / f"indexer-{paths.index_dir(data, root).name}.log"
        self._cwd = data
        self._on_event = handle_event
        self._initial_commands = initial_commands
        self._process: Process | None = None
        self._stopping = False
        self._keeper = asyncio.create_task(self._keep())

    @property
    def pid(self) -> int | None:
        """The child's process id while it runs."""
        return self._process.pid if self._process and self._process.returncode is None else None

    def send(self, command: ChildEvent) -> None:
        """Sends a command if the child runs; the next child is sent `initial_commands`."""
        if self._process and self._process.stdin and not self._process.stdin.is_closing():
            self._process.stdin.write(json.dumps(command).encode() + b"\n")

    def restart(self) -> None:
        """Lets the child end; another one takes its place at once."""
        self.send({"do": "stop"})

    async def stop(self) -> None:
        """Ends the child: by a stop command, then by closing its input, then by a signal."""
        self._stopping = True
        self.send({"do": "stop"})
        process = self._process
        if process and process.stdin:
            process.stdin.close()
        try:
            await asyncio.wait_for(asyncio.shield(self._keeper), STOP_TIMEOUT_SECONDS)
        except TimeoutError:
            if process:
                kill_child(process)
            self._keeper.cancel()

    async def _keep(self) -> None:
        failures = 0
        loop = asyncio.get_running_loop()
        while not self._stopping:
            began = loop.time()
            try:
                reason = self._exit_reason(await self._run())
            except OSError as error:
                reason = describe_os_error(error, self._cwd).rstrip(".")
            if self._stopping:
                return
            if not reason:
                continue
            failures = 0 if loop.time() - began > STABLE_SECONDS else failures + 1
            wait = RESTART_DELAYS[min(failures, len(RESTART_DELAYS)) - 1] if failures else 0.0
            log.warning("An indexer has ended (%s); it starts again in %g seconds.", reason, wait)
            message = f"{reason}; the indexer starts again in {wait:g} seconds."
            self._on_event({"event": "ended", "failures": failures, "message": message})
            await asyncio.sleep(wait)

    def _exit_reason(self, code: int) -> str:
        """Why a child ended; empty where the daemon stopped it."""
        how = f"ended with status {code}" if code > 0 else f"was ended by signal {-code}"
        return f"The indexer {how}, see {self._log}" if code else ""

    async def _run(self) -> int:
        """Runs one child to its end; gives its exit status."""
        with self._log.open("ab") as errors:
            if self._log.stat().st_size > INDEXER_LINE_LIMIT:
                errors.truncate(0)
            self._process = process = await start_child(self._command, self._cwd, errors, INDEXER_LINE_LIMIT)
        for command in self._initial_commands():
            self.send(command)
        try:
            async for event in child_events(process):
                self._on_event(event)
        except ValueError:  # a line beyond the limit: the rest cannot be read
            log.warning("An indexer wrote a line of more than %d bytes.", INDEXER_LINE_LIMIT)
            kill_child(process)
        except asyncio.CancelledError:
            kill_child(process)
            raise
        return await end_child(process)  # its output has ended, and so will it


WORKER_MODULE = "codekin.finetune.worker"
MAX_EVENT_BYTES = 256_000_000
"""Bytes of an event: the triplets of a large order come in one."""

LOWEST_PRIORITY = 19
"""The niceness of a run."""

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
"""Environment that limits the numeric libraries to half of the cores."""

IDLE_SECONDS = 120.0
"""Seconds without user requests before a scheduled run continues."""

POLL_SECONDS = 2.0


async def finetune_events(
    data: Path, root: Path, options: Mapping[str, Any], quiet_seconds: Callable[[], float]
) -> AsyncGenerator[ChildEvent, None]:
    """The events of one run, `problem` with its reason if it ends without a word; closing ends the child.

    `options` are those of the child's command line; a run by the clock pauses while `quiet_seconds()` is small.
    """
    log = paths.logs_dir(data) / f"finetune-{paths.index_dir(data, root).name}.log"
    with log.open("wb") as errors:
        threads = dict.fromkeys(THREAD_VARIABLES, str(max(1, (os.cpu_count() or 1) // 2)))
        command = child_command(WORKER_MODULE, data, root, _command_flags(options))
        process = await start_child(command, data, errors, MAX_EVENT_BYTES, threads)
    with suppress(OSError):  # it lowers itself as well, but only once its libraries are loaded
        os.setpriority(os.PRIO_PROCESS, process.pid, LOWEST_PRIORITY)
    pause_task = (
        asyncio.create_task(_pause_while_busy(process, quiet_seconds))
        if options["triggered_by"] == "schedule"
        else None
    )
    try:
        ended = False
        async for event in child_events(process):
            ended = ended or event.get("event") in {"done", "problem"}
            yield event
        code = await process.wait()
        if not ended:
            yield {"event": "problem", "message": _exit_message(code, log)}
    finally:
        if pause_task:
            pause_task.cancel()
        await end_child(process)


def _command_flags(options: Mapping[str, Any]) -> list[str]:
    flags: list[str] = []
    for name, value in options.items():
        flag = f"--{name.replace('_', '-')}"
        flags += [flag] if value is True else [flag, str(value)] if value is not False and value is not None else []
    return flags


async def _pause_while_busy(process: Process, quiet_seconds: Callable[[], float]) -> None:
    """Pauses the child while the user works, and resumes it afterwards."""
    paused = False
    while process.stdin and not process.stdin.is_closing():
        wanted = quiet_seconds() < IDLE_SECONDS
        if wanted != paused:
            process.stdin.write(b"pause\n" if wanted else b"go\n")
            paused = wanted
        await asyncio.sleep(POLL_SECONDS)


def _exit_message(code: int, log: Path) -> str:
    """Why a child ended without a message; signal 9 is what the kernel's out-of-memory killer sends."""
    if code == -9:
        return (
            "The fine-tuning process was killed, probably out of memory: "
            "lower finetune.batch_size or take the method head."
        )
    lines = log.read_text("utf-8", "replace").strip().splitlines()
    return f"The fine-tuning process ended with status {code} ({lines[-1] if lines else 'no reason given'}); see {log}."
