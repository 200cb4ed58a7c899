"""Finds the running daemon of a data folder, or starts one; a lock makes concurrent clients start only one."""

import os
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codekin import paths
from codekin.daemon.process.build import check_compatibility
from codekin.errors import DaemonError, HttpError, describe_os_error
from codekin.util.files import LockHeldError, acquire_lock
from codekin.util.process import ALLOCATOR_ENVIRONMENT, ONE_THREAD_ENVIRONMENT, find_socket_owner, is_at_work

if TYPE_CHECKING:
    from codekin.http import JsonClient

LEADER_LOCK = "leader.lock"
"""In the runtime folder; the daemon holds it for as long as it lives."""

START_SECONDS = 60.0
SILENCE_SECONDS = 4.0
"""A handshake is quick: a daemon that is silent for so long does not answer, unless it is seen to work."""
HANDSHAKE_SECONDS = 20.0
"""While it is seen to work: on a machine that swaps or compiles a handshake may take this long."""
UNRESPONSIVE = "The daemon does not answer: `codekin daemon stop` ends it, and the next command starts it again."


def ensure_daemon(data: Path, start: bool = True) -> Mapping[str, Any]:
    """The greeting of a daemon that this client can talk to; starts or replaces one if it must.

    Raises DaemonError when none runs and `start` is False, or when it cannot be started.
    """
    try:
        return _find_or_start(data, start)
    except OSError as error:
        raise DaemonError(describe_os_error(error, data)) from error


def _find_or_start(data: Path, start: bool) -> Mapping[str, Any]:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        greeting = read_handshake(data)
        if greeting is None and not start:
            raise DaemonError("No daemon is running; `codekin daemon start` starts one.")
        if greeting is None:
            greeting = _start_daemon(data, deadline)
        if greeting is None:
            continue
        verdict = check_compatibility(greeting)
        if verdict == "newer":
            found = greeting.get("version")
            raise DaemonError(f"The running daemon is of the newer version {found}: restart this window or upgrade it.")
        if verdict != "older" or not start:
            return greeting
        _request_shutdown(data, "replaced by a newer build")
        _wait_for_shutdown(data, deadline)
    raise DaemonError(f"The daemon did not start within {START_SECONDS:g} seconds; {_log_hint(data)}")


def read_handshake(data: Path) -> Mapping[str, Any] | None:
    """The handshake of the daemon that listens, None without one.

    Raises DaemonError where something listens and does not answer as a daemon does.
    """
    path = paths.socket_path(data)
    if not is_listening(path):
        return None
    try:
        greeting = _request_handshake(data)
    except HttpError as error:
        if error.status:
            raise DaemonError(f"The daemon does not answer ({error}) `codekin daemon stop` ends it.") from error
        if not is_listening(path):
            return None
        raise DaemonError(UNRESPONSIVE) from error
    if not isinstance(greeting, dict) or greeting.get("product") != "codekin":
        raise DaemonError(f"Something else than a Codekin daemon listens at {path}: end it.")
    return greeting


def _request_handshake(data: Path) -> Any:
    """What the listener answers, asked again while it is seen to work. Raises HttpError."""
    deadline = time.monotonic() + HANDSHAKE_SECONDS
    while True:
        try:
            with _connect(paths.socket_path(data)) as client:
                return client.get("/handshake")
        except HttpError as error:
            pid = None if error.status else listener_pid(data)
            if pid is None or not is_at_work(pid) or time.monotonic() > deadline:
                raise


def listener_pid(data: Path) -> int | None:
    """The process that listens at the socket according to the system, responsive or not; None without one."""
    path = paths.socket_path(data)
    with socket.socket(socket.AF_UNIX) as peer:
        try:
            peer.settimeout(SILENCE_SECONDS)
            peer.connect(str(path))
            if sys.platform == "darwin":
                return int(struct.unpack("i", peer.getsockopt(0, 2, 4))[0])  # SOL_LOCAL, LOCAL_PEERPID
            return int(struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0])
        except (BlockingIOError, TimeoutError):  # its queue is full of connections that it does not take
            return find_socket_owner(path)
        except OSError:
            return None


def is_listening(path: Path) -> bool:
    """Whether some process answers the door at a socket's path."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.settimeout(SILENCE_SECONDS)
            probe.connect(str(path))
        except (BlockingIOError, TimeoutError):  # its queue is full
            return True
        except OSError:
            return False
    return True


def _start_daemon(data: Path, deadline: float) -> Mapping[str, Any] | None:
    """Starts a daemon unless another client has just done so; its greeting, or None to look again.

    Raises DaemonError with the reason when the daemon ends instead of answering.
    """
    with _start_lock(data, deadline):
        if is_listening(paths.socket_path(data)):
            return None
        process = _spawn_daemon(data)
        while time.monotonic() < deadline:
            if (greeting := read_handshake(data)) is not None:
                return greeting
            if process.poll():
                raise DaemonError(f"The daemon could not start: {_last_startup_line(data)}")
            if process.poll() == 0:
                return None  # it met another leader, which may have left since
            time.sleep(0.02)
    return None


def _spawn_daemon(data: Path) -> subprocess.Popen[bytes]:
    """The daemon as a process of its own: no terminal, no working folder of ours, its own session.

    -P keeps the working folder out of the import path: a repository may hold a torch.py.
    """
    command = [sys.executable, "-P", "-m", "codekin.daemon", "--data-dir", str(data)]
    environment = {**ALLOCATOR_ENVIRONMENT, **ONE_THREAD_ENVIRONMENT, **os.environ}
    with open(_startup_log(data), "wb", opener=_open_private) as words:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=words,
            stderr=words,
            cwd=data,
            env=environment,
            start_new_session=True,
        )
    # A window outlives several daemons: each one that ends is reaped, so that no zombie stays.
    threading.Thread(target=process.wait, name="codekin-reaper", daemon=True).start()
    return process


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


@contextmanager
def _start_lock(data: Path, deadline: float) -> Iterator[None]:
    """Holds the lock under which one client at a time starts a daemon."""
    try:
        lock = acquire_lock(paths.runtime_dir(data) / "start.lock", max(0.0, deadline - time.monotonic()))
    except LockHeldError:
        raise DaemonError(f"Another client has been starting the daemon for too long; {_log_hint(data)}") from None
    try:
        yield
    finally:
        lock.release()


def _connect(path: Path) -> "JsonClient":
    from codekin.http import JsonClient, parse_endpoint  # noqa: PLC0415 - httpx, which the daemon starts without

    return JsonClient(parse_endpoint(path, timeout=SILENCE_SECONDS, attempts=1))


def _request_shutdown(data: Path, reason: str) -> None:
    try:
        with _connect(paths.socket_path(data)) as client:
            client.post("/shutdown", {"reason": reason})
    except HttpError:
        return  # it has left already, or another client was faster


def _wait_for_shutdown(data: Path, deadline: float) -> None:
    """A daemon that drains unlinks its socket first; the next one waits for its lock."""
    while is_listening(paths.socket_path(data)) and time.monotonic() < deadline:
        time.sleep(0.05)


def _startup_log(data: Path) -> Path:
    return paths.logs_dir(data) / "daemon-start.log"


def _last_startup_line(data: Path) -> str:
    try:
        lines = _startup_log(data).read_text(errors="replace").strip().splitlines()
    except OSError:
        lines = []
    return lines[-1] if lines else _log_hint(data)


def _log_hint(data: Path) -> str:
    return f"see {data / 'logs' / 'daemon.log'}."
