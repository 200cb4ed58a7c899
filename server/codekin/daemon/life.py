"""The daemon's life: one leader by a lock, its socket, its logs, and its leaving.

The lock is held until the process ends, however it ends; only its holder unlinks and binds
the socket. Knows nothing of what is served.
"""

import asyncio
import fcntl
import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any, Protocol

import uvicorn
from starlette.types import ASGIApp

from codekin import places
from codekin.daemon.guard import BoundedProtocol
from codekin.daemon.start import LEADER_LOCK, listens

TAKEOVER_SECONDS = 30.0
"""How long a daemon waits for one that is leaving; longer than DRAIN_SECONDS."""

DRAIN_SECONDS = 5
TICK_SECONDS = 1.0
LOG_BYTES = 2_000_000
BACKLOG = 256

log = logging.getLogger(__name__)


class Served(Protocol):
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

    def may_leave(self) -> bool:
        """Whether nobody needs the daemon any more."""
        ...

    async def open(self) -> None:
        """Begins background work, on the running loop."""
        ...

    async def close(self) -> None:
        """Ends background work and children."""
        ...


def live(data: Path, build: Callable[[Path], Served]) -> None:
    """Leads this data folder until told to leave or idle; returns at once if another leads."""
    runtime = places.runtime_dir(data)
    path = places.socket_path(data)
    with _leadership(runtime, path) as leads:
        if not leads:
            return
        _log_to(data)
        listener = _bound(path)  # early: clients that come now wait in its queue
        try:
            served = build(data)
            _run(_serve(served, [listener, *_loopback(served.loopback_port)], path))
        except Exception:
            log.exception("The daemon failed.")
            raise
        finally:
            log.info("The daemon leaves.")
            logging.shutdown()


@contextmanager
def _leadership(runtime: Path, path: Path) -> Iterator[bool]:
    """Whether the lock was free, or became so because the daemon that held it was leaving or dying.

    A leader that listens is left alone; one that does not is starting or on its way out.
    """
    deadline = time.monotonic() + TAKEOVER_SECONDS
    with (runtime / LEADER_LOCK).open("a") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if listens(path) or time.monotonic() > deadline:
                    yield False
                    return
                time.sleep(0.05)
            else:
                yield True
                return


def _bound(path: Path) -> socket.socket:
    """A listening socket, 0600; whatever stood there belongs to nobody, since we hold the lock."""
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    mask = os.umask(0o177)
    try:
        listener.bind(str(path))
    finally:
        os.umask(mask)
    listener.listen(BACKLOG)
    return listener


def _loopback(port: int) -> list[socket.socket]:
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


def _run(serving: Coroutine[Any, Any, None]) -> None:
    """Like asyncio.run, but does not wait for threads that are deep in native code: the process ends anyway."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    loop.run_until_complete(serving)


async def _serve(served: Served, sockets: list[socket.socket], path: Path) -> None:
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
    keeper = asyncio.create_task(_keep(served, server, path))
    try:
        await server.serve(sockets)
    finally:
        keeper.cancel()
        await served.close()


async def _keep(served: Served, server: uvicorn.Server, path: Path) -> None:
    """Waits for the end: asked for, idle, or because the socket is no longer ours to be found."""
    own = _inode(path)
    while not served.stopping.is_set():
        if _inode(path) != own:
            log.warning("The socket is gone: another daemon may have taken its place.")
            break
        if served.may_leave():
            log.info("Nobody has asked for a while.")
            break
        try:
            await asyncio.wait_for(served.stopping.wait(), TICK_SECONDS)
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


def _log_to(data: Path) -> None:
    handler = RotatingFileHandler(places.logs_folder(data) / "daemon.log", maxBytes=LOG_BYTES, backupCount=3)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    for chatty in ("httpx", "httpcore", "uvicorn", "asyncio"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
