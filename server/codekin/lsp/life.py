"""Whether the editor that started this process still lives.

Knows process ids; nothing of the protocol. An editor that is killed closes no session, and
a pipe may be kept open by another of its children, so its process is watched too.
"""

import asyncio
import os

POLL_SECONDS = 1.0


async def process_end(pid: int) -> None:
    """Return once the process `pid` has ended; at once if there is none."""
    descriptor = _open(pid)
    if descriptor is None:
        while _is_alive(pid):  # noqa: ASYNC110 - nothing tells when another process ends
            await asyncio.sleep(POLL_SECONDS)
        return
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    try:
        loop.add_reader(descriptor, ended.set)
        await ended.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


def _open(pid: int) -> int | None:
    """A descriptor that becomes readable when the process ends, where the system has such."""
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return None


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True  # another user's, or nothing that can be told
    return True
