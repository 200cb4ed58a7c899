"""A process of ours and its machine: priority, termination with the parent, freed memory, file systems, progress.

Network and shared file systems matter: the kernel does not report their changes, and they are slow.
"""

import ctypes
import gc
import os
import re
import signal
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import RLock
from typing import Final

IMPORT_LOCK: Final = RLock()
"""Held by a thread that imports storage, parsing or ranking at first use.

One thread that imports such a package and one that imports a module of it wait for each other, and Python then ends
the wait by handing out a module that is half made.
"""

_PR_SET_PDEATHSIG = 1
_LOWEST_NICENESS = 19
_SESSION_NICENESS = 8
"""About a sixth of what a busy session gets: a save must still be searchable soon while others compile."""


def lower_priority() -> None:
    """The lowest processor priority, and idle disk priority where the system has one.

    Linux shares the processor out between sessions first, and niceness counts within one: so this
    process takes a session of its own, and makes that one yield.
    """
    os.nice(_LOWEST_NICENESS)
    with suppress(OSError):
        os.setsid()
        Path("/proc/self/autogroup").write_text(str(_SESSION_NICENESS), encoding="ascii")
    if sys.platform == "linux":
        import psutil  # noqa: PLC0415 - takes 20 ms, which windows spare

        psutil.Process().ionice(psutil.IOPRIO_CLASS_IDLE)


_WATCH_SECONDS = 0.5


def is_at_work(pid: int) -> bool:
    """Whether a process is seen to run, to wait for its turn or to wait for a disk; blocks for half a second."""
    import psutil  # noqa: PLC0415 - takes 20 ms, which windows spare

    try:
        process = psutil.Process(pid)
        before = process.cpu_times()
        time.sleep(_WATCH_SECONDS)
        waits = process.status() in (psutil.STATUS_RUNNING, psutil.STATUS_DISK_SLEEP)
        return waits or process.cpu_times() != before
    except psutil.Error:
        return False


def find_socket_owner(path: Path) -> int | None:
    """The process of this user that holds the Unix socket at a path, None where the system shows none."""
    import psutil  # noqa: PLC0415 - takes 20 ms, which windows spare

    with suppress(psutil.Error, OSError):
        return next((each.pid for each in psutil.net_connections("unix") if each.pid and each.laddr == str(path)), None)
    return None


def die_with_parent() -> None:
    """On Linux the kernel kills this process when its parent dies; elsewhere the end of its input has to do."""
    if sys.platform != "linux":
        return
    parent = os.getppid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)  # the parent died before this was set


ALLOCATOR_ENVIRONMENT = {"MALLOC_ARENA_MAX": "2", "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "64", "LRU_CACHE_CAPACITY": "32"}
"""Set where the daemon is started: two heaps for all threads instead of one for each, and room for the matrix
products of some dozen batch shapes in oneDNN's and torch's caches instead of a thousand in each, with which
the process grew by 4 MB for every batch of a new shape."""

ONE_THREAD_ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "VECLIB_MAXIMUM_THREADS": "1"}
"""Set there too: numpy multiplies one question with some thousand vectors, which more threads make no faster; they turn
in circles while they wait, which doubled a search's processor time. torch and ONNX Runtime have their own threads."""

TRIM_GROWTH_BYTES = 48 << 20
"""Bytes by which the process must have grown before the heap is looked through again, which takes some 10 ms."""


class HeapTrimmer:
    """Remembers how large the process was when its heap was last trimmed."""

    def __init__(self) -> None:
        self._lowest = resident_bytes()

    def trim_if_grown(self) -> None:
        """Gives free memory back once enough may have gathered; call it in a thread."""
        if resident_bytes() - self._lowest > TRIM_GROWTH_BYTES:
            _trim_heap()
            self._lowest = resident_bytes()


def release_memory() -> None:
    """Frees what only refers to itself, and gives free heap memory back to the system; call it in a thread."""
    gc.collect()
    _trim_heap()


def resident_bytes() -> int:
    """The process's memory in RAM, 0 where the system does not report it."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def _trim_heap() -> None:
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)):
        trim(0)


MOUNT_TABLE: Final = Path("/proc/self/mountinfo")

_UNREPORTED_FILE_SYSTEMS: Final = frozenset({
    "nfs", "nfs4", "9p", "cifs", "smb2", "smb3", "smbfs", "afs", "ceph", "glusterfs", "lustre", "virtiofs", "vboxsf",
    "prl_fs", "drvfs", "fuse.sshfs", "fuse.rclone", "fuse.vmhgfs-fuse", "fuse.s3fs", "fuse.grpcfuse", "fuse.osxfs",
})  # fmt: skip


def needs_polling(folder: Path, table: Path = MOUNT_TABLE) -> bool:
    """Whether others may change the folder without an event reaching this machine."""
    return file_system_of(folder, table) in _UNREPORTED_FILE_SYSTEMS


def file_system_of(path: Path, table: Path = MOUNT_TABLE) -> str:
    """The kind of file system, such as ext4 or nfs4, that an absolute path lies on; empty where it is not known."""
    try:
        lines = table.read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return ""
    mounts = [_parse_mount(line) for line in lines]
    holding = [
        (len(point.parts), number, kind) for number, (point, kind) in enumerate(mounts) if path.is_relative_to(point)
    ]
    return max(holding, default=(0, 0, ""))[2]


def _parse_mount(line: str) -> tuple[Path, str]:
    """Mount point and file system of a line of mountinfo, proc(5), which writes spaces as octal escapes."""
    before, _, after = line.partition(" - ")
    fields = before.split()
    point = fields[4] if len(fields) > 4 else "/"
    return Path(re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), point)), after.split(" ", 1)[0]


@dataclass(frozen=True, slots=True)
class ProgressEstimate:
    """How a phase goes: seconds since it began, items a second, and seconds left; None until that is known."""

    elapsed: float
    rate: float
    seconds_left: float | None


class ProgressEstimator:
    """Follows one phase after the other; a phase's rate is its mean since it began, which it does anew at 0 items."""

    def __init__(self, min_steps: int = 1) -> None:
        """`min_steps` are the items of a phase before its first estimate of what is left."""
        self._min_steps = max(1, min_steps)
        self.reset()

    def reset(self) -> None:
        """Forgets the phase: the next one is measured from its own beginning."""
        self._phase: str | None = None
        self._began = 0.0
        self._first = self._last = 0

    def skip(self, seconds: float) -> None:
        """Leaves a pause out of the phase's time."""
        self._began += seconds

    def update(self, phase: str, done: int, total: int, now: float) -> ProgressEstimate:
        """The estimate after `done` of `total` items; `now` in seconds only grows."""
        if phase != self._phase or done < self._last or not done:
            self._phase, self._began, self._first = phase, now, done
        self._last = done
        elapsed, steps = now - self._began, done - self._first
        left = round((total - done) * elapsed / steps, 1) if steps >= self._min_steps else None
        return ProgressEstimate(elapsed, steps / elapsed if elapsed else 0.0, left)
