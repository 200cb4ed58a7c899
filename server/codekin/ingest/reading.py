"""Reads files of the workspace, and nothing outside it, whatever happens to the tree meanwhile.

A path is opened a folder at a time below the root's descriptor, refusing symlinks at every
step, without blocking on a FIFO and never past a size bound. Then its bytes become text, or
the reason why they are left out. Knows nothing of ignore rules and languages.
"""

import errno
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

from codekin.ingest.contents import decode, unfit
from codekin.ingest.found import Reason, ScannedFile

_FOLDER_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_GONE: Final = frozenset({errno.ENOENT, errno.ENOTDIR})
# A racing read within this distance of the last write may have missed a second write that
# left the same size and time stamp; coarse file systems keep whole seconds.
_UNSETTLED_NS: Final = 2_000_000_000


@dataclass(frozen=True, slots=True)
class Root:
    """The workspace's folder; paths below it are relative, with forward slashes."""

    folder: Path

    def exists(self, folder: str, name: str) -> bool:
        """Whether `name` stands in `folder`, without following a symlink."""
        try:
            with self.opened(folder) as descriptor:
                os.stat(name, dir_fd=descriptor, follow_symlinks=False)
        except OSError:
            return False
        return True

    @contextmanager
    def opened(self, folder: str) -> Iterator[int]:
        """A descriptor of a folder below the root, reached without following a symlink."""
        descriptor = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for name in filter(None, folder.split("/")):
                if name == "..":
                    raise FileNotFoundError(errno.ENOENT, "a path inside the workspace never leads upwards", folder)
                inner = os.open(name, _FOLDER_FLAGS, dir_fd=descriptor)
                os.close(descriptor)
                descriptor = inner
            yield descriptor
        finally:
            os.close(descriptor)


@dataclass(frozen=True, slots=True)
class Content:
    """What a file holds: its text, or the reason to leave it out.

    `digest` is the SHA-256 (hex) of its bytes, empty if unread. `state` is from before the
    read; its time stamp is 0 where the file may change again without showing it, so that the
    next scan reads it once more.
    """

    state: ScannedFile
    digest: str = ""
    text: str = ""
    reason: Reason | None = None


def read_content(root: Root, path: str, limit: int) -> Content | None:
    """A file's content, or None if it is gone; never more than `limit` bytes are read."""
    now_ns = time.time_ns()
    found = _read(root, path, limit)
    if found is None or isinstance(found, Reason):
        return None if found is None else Content(ScannedFile(path, 0, 0, 0), reason=found)
    data, status = found
    settled = status.st_mtime_ns < now_ns - _UNSETTLED_NS
    state = ScannedFile(path, status.st_size, status.st_mtime_ns if settled else 0, status.st_ino)
    text = decode(data)
    reason = Reason.BINARY if text is None else unfit(text)
    return Content(state, sha256(data).hexdigest(), text if text and reason is None else "", reason)


def read_bytes(root: Root, path: str, limit: int) -> bytes | Reason | None:
    """A regular file's bytes, the reason why not, or None if it is gone."""
    found = _read(root, path, limit)
    return found[0] if isinstance(found, tuple) else found


def _read(root: Root, path: str, limit: int) -> tuple[bytes, os.stat_result] | Reason | None:
    folder, _, name = path.rpartition("/")
    try:
        with root.opened(folder) as parent:
            descriptor = os.open(name, _FILE_FLAGS, dir_fd=parent)
        try:
            return _read_open(descriptor, limit)
        finally:
            os.close(descriptor)
    except OSError as error:
        return reason_for(error)


def _read_open(descriptor: int, limit: int) -> tuple[bytes, os.stat_result] | Reason:
    """The whole of an open regular file, with its state from before the first byte was read."""
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        return Reason.SPECIAL
    if status.st_size > limit:
        return Reason.TOO_LARGE
    pieces: list[bytes] = []
    left = limit + 1
    while left and (piece := os.read(descriptor, left)):
        pieces.append(piece)
        left -= len(piece)
    return (b"".join(pieces), status) if left else Reason.TOO_LARGE


def reason_for(error: OSError) -> Reason | None:
    """None for a path that is gone, else why it cannot be read."""
    if error.errno in _GONE:
        return None
    if error.errno == errno.ELOOP:
        return Reason.SYMLINK
    # A socket, and a device without its driver, cannot be opened at all.
    return Reason.SPECIAL if error.errno in (errno.ENXIO, errno.ENODEV) else Reason.UNREADABLE
