"""Finds the daemon of a data folder, or starts it: what every client does first.

Clients that come at the same moment take turns by a lock, so that one of them starts the
daemon and the others find it. Light: it is part of every window.
"""

import fcntl
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
from typing import Any

from codekin import places
from codekin.daemon.build import judge
from codekin.daemon.memory import ENVIRONMENT
from codekin.errors import DaemonError, WireError
from codekin.wire import JsonClient, endpoint

LEADER_LOCK = "leader.lock"
"""In the runtime folder; the daemon holds it for as long as it lives."""

START_SECONDS = 60.0
ANSWER_SECONDS = 20.0
"""A handshake is quick; a machine that swaps or compiles may still take this long."""


def ensure(data: Path, start: bool = True) -> Mapping[str, Any]:
    """The greeting of a daemon that this client can talk to; starts or replaces one if it must.

    Raises DaemonError when none runs and `start` is False, or when it cannot be started.
    """
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        greeting = greet(data)
        if greeting is None and not start:
            raise DaemonError("No daemon is running; `codekin daemon start` starts one.")
        if greeting is None:
            greeting = _start_one(data, deadline)
        if greeting is None:
            continue
        verdict = judge(greeting)
        if verdict == "newer":
            found = greeting.get("version")
            raise DaemonError(f"The running daemon is of the newer version {found}: restart this window or upgrade it.")
        if verdict != "older" or not start:
            return greeting
        _ask_to_leave(data, "replaced by a newer build")
        _wait_until_gone(data, deadline)
    raise DaemonError(f"The daemon did not start within {START_SECONDS:g} seconds; {_advice(data)}")


def greet(data: Path) -> Mapping[str, Any] | None:
    """The greeting of the daemon that listens, None where nobody does.

    Raises DaemonError where something listens and does not answer as a daemon does.
    """
    path = places.socket_path(data)
    if not listens(path):
        return None
    try:
        with JsonClient(endpoint(path, timeout=ANSWER_SECONDS, attempts=1)) as client:
            greeting = client.get("/handshake")
    except WireError as error:
        if error.status == 0 and not listens(path):
            return None
        raise DaemonError(f"The daemon does not answer ({error}) `codekin daemon stop` ends it.") from error
    if not isinstance(greeting, dict) or greeting.get("product") != "codekin":
        raise DaemonError(f"Something else than a Codekin daemon listens at {path}: end it.")
    return greeting


def listener_pid(data: Path) -> int | None:
    """The process that listens at the socket as the system knows it, answering or not; None if nobody."""
    path = places.socket_path(data)
    with socket.socket(socket.AF_UNIX) as peer:
        try:
            peer.connect(str(path))
            if sys.platform == "darwin":
                return int(struct.unpack("i", peer.getsockopt(0, 2, 4))[0])  # SOL_LOCAL, LOCAL_PEERPID
            return int(struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0])
        except OSError:
            return None


def is_led(data: Path) -> bool:
    """Whether a daemon lives, listening or leaving: the lock tells, which nobody can forget to release."""
    with (places.runtime_dir(data) / LEADER_LOCK).open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def listens(path: Path) -> bool:
    """Whether some process answers the door at a socket's path."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.settimeout(ANSWER_SECONDS)
            probe.connect(str(path))
        except OSError:
            return False
    return True


def _start_one(data: Path, deadline: float) -> Mapping[str, Any] | None:
    """Starts a daemon unless another client has just done so; its greeting, or None to look again.

    Raises DaemonError with the reason when the daemon ends instead of answering.
    """
    with _turn(data, deadline):
        if listens(places.socket_path(data)):
            return None
        process = _spawn(data)
        while time.monotonic() < deadline:
            if (greeting := greet(data)) is not None:
                return greeting
            if process.poll():
                raise DaemonError(f"The daemon could not start: {_last_words(data)}")
            if process.poll() == 0:
                return None  # it met another leader, which may have left since
            time.sleep(0.02)
    return None


def _spawn(data: Path) -> subprocess.Popen[bytes]:
    """The daemon as a process of its own: no terminal, no working folder of ours, its own session.

    -P keeps the working folder out of the import path: a repository may hold a torch.py.
    """
    command = [sys.executable, "-P", "-m", "codekin.daemon", "--data-dir", str(data)]
    environment = {**ENVIRONMENT, **os.environ}
    with _words_path(data).open("wb") as words:
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


@contextmanager
def _turn(data: Path, deadline: float) -> Iterator[None]:
    """Holds the lock under which one client at a time starts a daemon."""
    with (places.runtime_dir(data) / "start.lock").open("w") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise DaemonError(
                        f"Another client has been starting the daemon for too long; {_advice(data)}"
                    ) from None
                time.sleep(0.02)
        yield


def _ask_to_leave(data: Path, reason: str) -> None:
    try:
        with JsonClient(endpoint(places.socket_path(data), timeout=ANSWER_SECONDS, attempts=1)) as client:
            client.post("/shutdown", {"reason": reason})
    except WireError:
        return  # it has left already, or another client was faster


def _wait_until_gone(data: Path, deadline: float) -> None:
    """A daemon that drains unlinks its socket first; the next one waits for its lock."""
    while listens(places.socket_path(data)) and time.monotonic() < deadline:
        time.sleep(0.05)


def _words_path(data: Path) -> Path:
    return places.logs_folder(data) / "daemon-start.log"


def _last_words(data: Path) -> str:
    try:
        lines = _words_path(data).read_text(errors="replace").strip().splitlines()
    except OSError:
        lines = []
    return lines[-1] if lines else _advice(data)


def _advice(data: Path) -> str:
    return f"see {data / 'logs' / 'daemon.log'}."
