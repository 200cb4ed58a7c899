"""The learner child of one run: started, told to pause, listened to, ended with whoever asked.

Knows nothing of learning, nor of when it is time for it.
"""

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

from codekin import places

Event = dict[str, Any]

MODULE = "codekin.learning.child"
LINE_LIMIT = 256_000_000
"""Bytes of an event: the triplets of a large order come in one."""

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
"""How the numeric libraries are told to leave half of the cores alone."""

PAUSE_SECONDS = 120.0
"""A run by the clock rests until the user has asked for nothing for so long."""

LOOK_SECONDS = 2.0
FAREWELL_SECONDS = 3.0


async def learner_events(
    data: Path, root: Path, options: Mapping[str, Any], quiet_seconds: Callable[[], float]
) -> AsyncGenerator[Event, None]:
    """The events of one run, `problem` with its reason if it ends without a word; closing ends the child.

    `options` are those of the child's command line; a run by the clock pauses while `quiet_seconds()` is small.
    """
    log = places.logs_folder(data) / f"learner-{places.workspace_folder(data, root).name}.log"
    with log.open("wb") as errors:
        process = await asyncio.create_subprocess_exec(
            *_command(data, root, options),
            stdin=PIPE,
            stdout=PIPE,
            stderr=errors,
            cwd=data,
            limit=LINE_LIMIT,
            env=os.environ | dict.fromkeys(THREADS, str(max(1, (os.cpu_count() or 1) // 2))),
        )
    resting = asyncio.create_task(_rest(process, quiet_seconds)) if options["asked_by"] == "schedule" else None
    try:
        ended = False
        async for event in _events(process):
            ended = ended or event.get("event") in {"done", "problem"}
            yield event
        code = await process.wait()
        if not ended:
            yield {"event": "problem", "message": _last_words(code, log)}
    finally:
        if resting:
            resting.cancel()
        await _end(process)


def _command(data: Path, root: Path, options: Mapping[str, Any]) -> list[str]:
    given = [sys.executable, "-P", "-m", MODULE, "--root", str(root), "--data-dir", str(data)]
    given += ["--socket", str(places.socket_path(data))]
    for name, value in options.items():
        flag = f"--{name.replace('_', '-')}"
        given += [flag] if value is True else [flag, str(value)] if value is not False and value is not None else []
    return given


async def _events(process: Process) -> AsyncIterator[Event]:
    if process.stdout is None:
        return
    async for line in process.stdout:
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict):
            yield event


async def _rest(process: Process, quiet_seconds: Callable[[], float]) -> None:
    """Tells the child to pause while the user works, and to go on after."""
    paused = False
    while process.stdin and not process.stdin.is_closing():
        wanted = quiet_seconds() < PAUSE_SECONDS
        if wanted != paused:
            process.stdin.write(b"pause\n" if wanted else b"go\n")
            paused = wanted
        await asyncio.sleep(LOOK_SECONDS)


async def _end(process: Process) -> None:
    """The end of its input ends the child; force does if that does not."""
    if process.stdin:
        process.stdin.close()
    try:
        await asyncio.wait_for(process.wait(), FAREWELL_SECONDS)
    except TimeoutError:
        process.kill()
        await process.wait()


def _last_words(code: int, log: Path) -> str:
    """Why a child ended that said nothing; 9 is what the system's own defence against full memory sends."""
    if code == -9:
        return (
            "The learner was killed, perhaps since memory ran out: lower learning.batch_size or take the method head."
        )
    lines = log.read_text("utf-8", "replace").strip().splitlines()
    return f"The learner ended with status {code} ({lines[-1] if lines else 'no reason given'}); see {log}."
