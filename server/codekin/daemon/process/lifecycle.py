"""The daemon's lifecycle: leadership by a file lock, its socket and logs, graceful shutdown."""

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any, Protocol

import uvicorn
from starlette.types import ASGIApp

from codekin import paths
from codekin.daemon.process.request_guard import BoundedProtocol
from codekin.daemon.process.startup import LEADER_LOCK, is_listening
from codekin.util.files import LockHeldError, acquire_lock

TAKEOVER_SECONDS = 30.0
"""How long a daemon waits for one that is leaving; longer than DRAIN_SECONDS."""

DRAIN_SECONDS = 5
SHUTDOWN_CHECK_SECONDS = 1.0
LOG_BYTES = 2_000_000
BACKLOG = 256

log = logging.getLogger(__name__)


class ServedDaemon(Protocol):
    """What life needs to know of the daemon that it keeps."""

    stopping: asyncio.Event

    @property
    def app(self) -> ASGIApp:
        """What answers."""
        ...

    @property
    def loopback_port(self) -> int:
        """A TCP port of this machine to answer at as well, 0 for none."""
        ...

    @property
    def log_level(self) -> str:
        """The least severe level that its log holds, in lower case."""
        ...

    def may_exit(self) -> bool:
        """Whether the daemon has been idle for long enough to exit."""
        ...

    async def open(self) -> None:
        """Begins background work, on the running loop."""
        ...

    async def close(self) -> None:
        """Ends background work and children."""
        ...


def run_daemon(data: Path, build: Callable[[Path], ServedDaemon]) -> None:
    """Leads this data folder until asked to exit or idle; returns at once if another daemon leads it."""
    runtime = paths.runtime_dir(data)
    path = paths.socket_path(data)
    with _acquire_leadership(runtime, path) as leads:
        if not leads:
            return
        _make_private(data)
        _configure_logging(data)
        listener = _bind_socket(path)  # early: clients that come now wait in its queue
        try:
            served = build(data)
            logging.getLogger().setLevel(served.log_level.upper())
            _run_loop(_serve(served, [listener, *_bind_loopback(served.loopback_port)], path, data))
        except Exception:
            log.exception("The daemon failed.")
            raise
        finally:
            log.info("The daemon leaves.")
            logging.shutdown()


@contextmanager
def _acquire_leadership(runtime: Path, path: Path) -> Iterator[bool]:
    """Whether the lock was free, or became so because the daemon that held it was leaving or dying.

    A leader that listens is left alone; one that does not is starting or on its way out.
    """
    try:
        lock = acquire_lock(runtime / LEADER_LOCK, TAKEOVER_SECONDS, lambda: is_listening(path))
    except LockHeldError:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def _make_private(data: Path) -> None:
    """Takes from others what an earlier version let them read."""
    for folder in (data / "workspaces", paths.checkpoints_dir(data), paths.logs_dir(data)):
        if folder.is_dir() and folder.stat().st_mode & 0o077:
            folder.chmod(0o700)


def _bind_socket(path: Path) -> socket.socket:
    """A listening socket, 0600; an older socket file is stale, since this process holds the lock."""
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    mask = os.umask(0o177)
    try:
        listener.bind(str(path))
    finally:
        os.umask(mask)
    listener.listen(BACKLOG)
    return listener


def _bind_loopback(port: int) -> list[socket.socket]:
    if not port:
        return []
    listener = socket.socket(socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
    except OSError as error:
        log.warning("Port %d cannot be opened (%s): only the socket answers.", port, error.strerror)
        listener.close()
        return []
    return [listener]


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers, which end the process before it has tidied up."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _run_loop(serving: Coroutine[Any, Any, None]) -> None:
    """Like asyncio.run, but does not wait for threads that are deep in native code: the process ends anyway."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    loop.run_until_complete(serving)


async def _serve(served: ServedDaemon, sockets: list[socket.socket], path: Path, data: Path) -> None:
    config = uvicorn.Config(
        served.app,
        http=BoundedProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        timeout_keep_alive=60,
        timeout_graceful_shutdown=DRAIN_SECONDS,
        backlog=BACKLOG,
    )
    server = _Server(config)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, served.stopping.set)
    await served.open()
    keeper = asyncio.create_task(_watch_for_shutdown(served, server, path, data))
    try:
        await server.serve(sockets)
    finally:
        keeper.cancel()
        await served.close()


async def _watch_for_shutdown(served: ServedDaemon, server: uvicorn.Server, path: Path, data: Path) -> None:
    """Waits until the daemon must exit: on request, when idle, or when its socket or data folder was replaced."""
    own, folder = _inode(path), _inode(data)
    while not served.stopping.is_set():
        if _inode(path) != own:
            log.warning("The socket is gone: another daemon may have taken its place.")
            break
        if _inode(data) != folder:
            log.warning("The data folder was deleted or replaced: the next daemon starts with what it finds there.")
            break
        if served.may_exit():
            log.info("There was no request for the time of daemon.idle_minutes.")
            break
        try:
            await asyncio.wait_for(served.stopping.wait(), SHUTDOWN_CHECK_SECONDS)
        except TimeoutError:
            continue
    served.stopping.set()
    if _inode(path) == own:  # first of all: new clients start a new daemon, which waits for our lock
        os.unlink(path)  # noqa: PTH108 - a moment's work, no reason for a thread
    server.should_exit = True


def _inode(path: Path) -> int:
    try:
        return path.stat().st_ino
    except OSError:
        return 0


def _configure_logging(data: Path) -> None:
    handler = RotatingFileHandler(paths.logs_dir(data) / "daemon.log", maxBytes=LOG_BYTES, backupCount=3)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    for chatty in ("httpx", "httpcore", "uvicorn", "asyncio"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
