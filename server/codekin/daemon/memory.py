"""Keeps the daemon's memory near what it uses: gives free heap back to the system.

Embedding leaves the heap full of holes, which the allocator of glibc keeps unless it is told
otherwise. Does nothing on other systems. Knows nothing of what the memory was for.
"""

import ctypes
import os
import sys
from pathlib import Path

ENVIRONMENT = {"MALLOC_ARENA_MAX": "2", "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "64", "LRU_CACHE_CAPACITY": "32"}
"""Set where the daemon is started: two heaps for all threads instead of one for each, and room for the matrix
products of some dozen batch shapes in oneDNN's and torch's caches instead of a thousand in each, with which
the process grew by 4 MB for every batch of a new shape."""

GROWTH = 48 << 20
"""Bytes by which the process must have grown before the heap is looked through again, which takes some 10 ms."""


class Heap:
    """Remembers how large the process was when its heap was last trimmed."""

    def __init__(self) -> None:
        self._lowest = resident_bytes()

    def trim_if_grown(self) -> None:
        """Gives free memory back once enough may have gathered; call it in a thread."""
        if resident_bytes() - self._lowest > GROWTH:
            _trim()
            self._lowest = resident_bytes()


def resident_bytes() -> int:
    """The process's memory in RAM, 0 where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def _trim() -> None:
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)):
        trim(0)
