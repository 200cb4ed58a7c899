"""The learner child of one run: started, told to pause, listened to, ended with whoever asked.

Knows nothing of learning, nor of when it is time for it.
"""

import asyncio
import os
from asyncio.subprocess import Process
from collections.abc import AsyncGenerator, Callable, Mapping
from pathlib import Path
from typing import Any

from codekin import places
from codekin.daemon.child import Event, child_command, child_events, end_child, start_child

MODULE = "codekin.learning.child"
LINE_LIMIT = 256_000_000
"""Bytes of an event: the triplets of a large order come in one."""

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
"""How the numeric libraries are told to leave half of the cores alone."""

PAUSE_SECONDS = 120.0
"""A run by the clock rests until the user has asked for nothing for so long."""

LOOK_SECONDS = 2.0


async def learner_events(
    data: Path, root: Path, options: Mapping[str, Any], quiet_seconds: Callable[[], float]
) -> AsyncGenerator[Event, None]:
    """The events of one run, `problem` with its reason if it ends without a word; closing ends the child.

    `options` are those of the child's command line; a run by the clock pauses while `quiet_seconds()` is small.
    """
    log = places.logs_folder(data) / f"learner-{places.workspace_folder(data, root).name}.log"
    with log.open("wb") as errors:
        threads = dict.fromkeys(THREADS, str(max(1, (os.cpu_count() or 1) // 2)))
        command = child_command(MODULE, data, root, _flags(options))
        process = await start_child(command, data, errors, LINE_LIMIT, threads)
    resting = asyncio.create_task(_rest(process, quiet_seconds)) if options["asked_by"] == "schedule" else None
    try:
        ended = False
        async for event in child_events(process):
            ended = ended or event.get("event") in {"done", "problem"}
            yield event
        code = await process.wait()
        if not ended:
            yield {"event": "problem", "message": _last_words(code, log)}
    finally:
        if resting:
            resting.cancel()
        await end_child(process)


def _flags(options: Mapping[str, Any]) -> list[str]:
    given: list[str] = []
    for name, value in options.items():
        flag = f"--{name.replace('_', '-')}"
        given += [flag] if value is True else [flag, str(value)] if value is not False and value is not None else []
    return given


async def _rest(process: Process, quiet_seconds: Callable[[], float]) -> None:
    """Tells the child to pause while the user works, and to go on after."""
    paused = False
    while process.stdin and not process.stdin.is_closing():
        wanted = quiet_seconds() < PAUSE_SECONDS
        if wanted != paused:
            process.stdin.write(b"pause\n" if wanted else b"go\n")
            paused = wanted
        await asyncio.sleep(LOOK_SECONDS)


def _last_words(code: int, log: Path) -> str:
    """Why a child ended that said nothing; 9 is what the system's own defence against full memory sends."""
    if code == -9:
        return (
            "The learner was killed, perhaps since memory ran out: lower learning.batch_size or take the method head."
        )
    lines = log.read_text("utf-8", "replace").strip().splitlines()
    return f"The learner ended with status {code} ({lines[-1] if lines else 'no reason given'}); see {log}."
