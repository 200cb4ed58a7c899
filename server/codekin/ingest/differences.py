"""Compares what stands in the working tree with what the index knows of it, both in path order.

Neither is held as a whole. Knows nothing of how they are read, nor of contents.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from codekin.index import FileState
from codekin.ingest.found import ScannedFile
from codekin.ingest.scan import Found

_BREATH: Final = 100
"""Unchanged paths after which the caller may look at the clock."""


@dataclass(frozen=True, slots=True)
class Change:
    """A path whose `known` state is not what was `found`; None where there is nothing."""

    path: str
    found: Found | None
    known: FileState | None


def differences(
    found: Iterator[Found],
    known: Iterator[tuple[str, FileState]],
    same: Callable[[Found, FileState], bool],
) -> Iterator[Change | None]:
    """Every path that is new, gone, or not the `same` any more; None now and then where there is nothing to tell."""
    here, there = next(found, None), next(known, None)
    compared = 0
    while here is not None or there is not None:
        if there is None or (here is not None and here.path < there[0]):
            assert here is not None  # noqa: S101  (the loop's condition)
            yield Change(here.path, here, None)
            here = _after(found, here.path)
        elif here is None or there[0] < here.path:
            yield Change(there[0], None, there[1])
            there = next(known, None)
        else:
            compared += 1
            if not same(here, there[1]):
                yield Change(here.path, here, there[1])
            elif compared % _BREATH == 0:
                yield None
            here, there = _after(found, here.path), next(known, None)


def unchanged(found: Found, known: FileState) -> bool:
    """Whether the cheap signs agree; a buffer's text, and a file that was written as it was read, never do."""
    if known.buffer:
        return False
    if isinstance(found, ScannedFile):
        return known.mtime_ns != 0 and (found.size, found.mtime_ns, found.inode) == (
            known.size,
            known.mtime_ns,
            known.inode,
        )
    return known.skipped == found.reason and not known.hash


def _after(found: Iterator[Found], path: str) -> Found | None:
    """The next path found; two names that are shown alike count as one."""
    return next((entry for entry in found if entry.path != path), None)
