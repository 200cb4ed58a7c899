"""Files of our own and of others: read within bounds, written in one step, locked between processes.

A reader sees the old content or the new, never a part. Files of others are opened without following a link or waiting
on a pipe or device. The system releases a lock when its holder ends, however it ends.

filelock is imported by the first lock: it takes 15 ms, which an editor's window spends only when it starts a daemon.

Each folder is opened relative to its parent's descriptor, so that a path that changes meanwhile leads nowhere else.
"""

import errno
import os
import secrets
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final, Protocol


class NotRegularFileError(OSError):
    """A path leads to a folder, a device, a pipe, or a link where links are not followed."""


def read_bounded(path: Path, limit: int, *, follow_links: bool = True) -> bytes:
    """At most `limit` + 1 bytes of a regular file; never waits for a pipe or a device. Raises OSError."""
    with open_regular(path, follow_links=follow_links) as file:
        return file.read(limit + 1)


@contextmanager
def open_regular(path: Path, *, follow_links: bool = True) -> Iterator[BinaryIO]:
    """A regular file, opened for reading without waiting for a pipe or a device. Raises OSError."""
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow_links else os.O_NOFOLLOW)
    try:
        descriptor = os.open(path, flags)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise NotRegularFileError from error
        raise
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise NotRegularFileError
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            yield file
    finally:
        os.close(descriptor)


def write_atomically(path: Path, content: str | bytes, *, durable: bool = False) -> None:
    """Puts a file with this content, 0600, in the place of `path`; `durable` waits for the disk. Raises OSError."""
    with replacing(path, durable=durable) as part:
        part.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)


@contextmanager
def replacing(path: Path, *, durable: bool = False) -> Iterator[Path]:
    """Gives an empty file beside `path` to write to, which takes its place at the end and is removed on an error.

    The folder is made if missing, 0700. The file's suffix is that of `path`.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    part = path.with_name(f".{os.getpid()}-{threading.get_ident()}.part.{path.name}")
    try:
        os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600))
        yield part
        if durable:
            sync_to_disk(part)
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    if durable:
        sync_to_disk(path.parent)


def sync_to_disk(path: Path) -> None:
    """Waits until a file's content, or a folder's entries, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


POLL_SECONDS = 0.02


class HeldLock(Protocol):
    """A lock that this process holds."""

    def release(self) -> None:
        """Releases the lock."""
        ...


class LockHeldError(Exception):
    """Another process holds the lock."""


def acquire_lock(path: Path, timeout: float = 0.0, give_up: Callable[[], bool] | None = None) -> HeldLock:
    """The lock of a file, held until its `release()` or the end of this process.

    Waits `timeout` seconds at most, and stops when `give_up` returns true. Raises LockHeldError.
    """
    from filelock import FileLock, Timeout  # noqa: PLC0415 - see the module's docstring

    lock = FileLock(path, mode=0o600, thread_local=False)
    try:
        lock.acquire(timeout=timeout, poll_interval=POLL_SECONDS, cancel_check=give_up)
    except Timeout as error:
        raise LockHeldError(str(path)) from error
    return lock


_FOLDER_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
FILE_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


@contextmanager
def open_folder_below(root: Path, folder: str) -> Iterator[int]:
    """A descriptor of a folder below a root, reached without following a link; raises OSError."""
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
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


def read_file_below(root: Path, path: str, limit: int) -> bytes | None:
    """The bytes of a regular file below a root; None where there is none, or it is longer than `limit` bytes."""
    folder, _, name = path.rpartition("/")
    try:
        with open_folder_below(root, folder) as parent:
            descriptor = os.open(name, FILE_FLAGS, dir_fd=parent)
    except (OSError, ValueError):
        return None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            data = file.read(limit + 1)
    finally:
        os.close(descriptor)
    return data if len(data) <= limit else None


def read_or_create_secret(path: Path) -> str:
    """The random text that a file holds; it is made at the first need, readable by the user alone. Raises OSError."""
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(secrets.token_urlsafe(32))
    return path.read_text().strip()
