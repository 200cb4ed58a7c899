"""How the indexer's process behaves towards the machine: last in line, and never left behind.

Knows nothing of indexing.
"""

import ctypes
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_IOPRIO_WHO_PROCESS = 1
_IOPRIO_IDLE = 3 << 13
_IOPRIO_SET = {"x86_64": 251, "aarch64": 30}
_LOWEST_NICENESS = 19
_NICENESS_OF_SESSION = 8
"""About a sixth of what a busy session gets: a save must still be searchable soon while others compile."""


def yield_to_others() -> None:
    """The lowest processor priority, and idle disk priority where the system has one.

    Linux shares the processor out between sessions first, and niceness counts within one: so this
    process takes a session of its own, and makes that one yield.
    """
    os.nice(_LOWEST_NICENESS)
    with suppress(OSError):
        os.setsid()
        Path("/proc/self/autogroup").write_text(str(_NICENESS_OF_SESSION), encoding="ascii")
    number = _IOPRIO_SET.get(os.uname().machine) if sys.platform == "linux" else None
    if number is not None:
        ctypes.CDLL(None).syscall(number, _IOPRIO_WHO_PROCESS, 0, _IOPRIO_IDLE)


def die_with_parent() -> None:
    """On Linux the kernel kills this process when its parent dies; elsewhere the end of its input has to do."""
    if sys.platform != "linux":
        return
    parent = os.getppid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)  # it died before the kernel was told
