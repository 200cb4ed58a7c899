"""A child process of the daemon: started for one workspace, listened to, ended with whoever asked.

It writes events as JSON lines and ends when its input closes, so that nothing stays behind when the
daemon dies. Knows nothing of what the child does.
"""

import asyncio
import json
import logging
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from codekin import places

log = logging.getLogger(__name__)

Event = dict[str, Any]

FAREWELL_SECONDS = 3.0


def child_command(module: str, data: Path, root: Path, options: Sequence[str] = ()) -> list[str]:
    """The command line of a child that works for one workspace and asks the daemon for vectors."""
    given = ["--root", str(root), "--data-dir", str(data), "--socket", str(places.socket_path(data))]
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


async def child_events(process: Process) -> AsyncIterator[Event]:
    """What the child writes until it ends; a line that is no event is passed over."""
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


async def end_child(process: Process) -> None:
    """The end of its input ends the child; force does if that does not."""
    if process.stdin:
        process.stdin.close()
    try:
        await asyncio.wait_for(process.wait(), FAREWELL_SECONDS)
    except TimeoutError:
        process.kill()
        await process.wait()
