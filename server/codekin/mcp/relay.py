"""`codekin mcp` over standard input and output: passes bytes between an agent and the process that has the SDK.

It loads neither the SDK nor an HTTP library, nor anything that it can do without: an agent waits for each import.
"""

import json
import os
import socket
import sys
import threading
import time
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from codekin import paths
from codekin.errors import CodekinError, DaemonError, describe_os_error

if TYPE_CHECKING:
    import subprocess

LOCK_NAME = "lock"
START_SECONDS = 60.0
"""How long the process that serves may take to start on a machine that is busy."""

_EXIT_FAILED = 2
_CHUNK_BYTES = 1 << 16


class ServerConfig(NamedTuple):
    """What the command line says: data folder, working directory, the root if it was named, whether to index it."""

    data: Path
    folder: Path
    root: Path | None = None
    indexes: bool = False


def run(arguments: Sequence[str]) -> int | None:
    """Serves what `codekin mcp` with these arguments is to serve; gives the exit status.

    None where there are others than the plain options, which the terminal's commands read. A failure is printed as one
    sentence.
    """
    values = _read_plain_options(arguments)
    if values is None:
        return None
    try:
        data = paths.data_dir(Path(values["--data-dir"]) if "--data-dir" in values else None)
        root = paths.real_folder(Path(values["--root"])) if "--root" in values else None
        return serve_stdio(ServerConfig(data, Path.cwd(), root, indexes="--index" in values))
    except CodekinError as error:
        sys.stderr.write(f"{error}\n")
        return _EXIT_FAILED


def _read_plain_options(arguments: Sequence[str]) -> dict[str, str] | None:
    rest, values = list(arguments), dict[str, str]()
    while rest:
        name, sign, value = rest.pop(0).partition("=")
        takes_value = name in {"--root", "--data-dir"}
        if not (takes_value and (sign or rest)) and name + sign != "--index":
            return None
        values[name] = value if sign or not takes_value else rest.pop(0)
    return values


def serve_stdio(config: ServerConfig) -> int:
    """Serves the agent at standard input and output until it leaves; gives the exit status. Raises DaemonError."""
    connection = _connect(config.data)
    greeting = {"root": config.root and str(config.root), "folder": str(config.folder), "indexes": config.indexes}
    connection.sendall(json.dumps(greeting).encode() + b"\n")
    threading.Thread(target=_pass_input, args=(connection,), daemon=True).start()
    try:
        while data := connection.recv(_CHUNK_BYTES):
            _write_all(data)
    except (BrokenPipeError, ConnectionError):
        pass  # one of the two has left
    sys.stderr.flush()
    os._exit(0)  # the thread may still wait for input


def agents_socket_path(data: Path) -> Path:
    """The socket of the process that serves agents for this data folder with this build of Codekin."""
    return paths.runtime_dir(data) / f"mcp-{sha256(_build().encode()).hexdigest()[:8]}.sock"


def _build() -> str:
    """What changes with the code: where it lies and when its newest file was written; CODEKIN_BUILD pins it."""
    if build := os.environ.get("CODEKIN_BUILD"):
        return build
    package = Path(__file__).parents[1]
    folders = ((folder, names) for folder, _, names in os.walk(package))
    sources = (f"{folder}/{name}" for folder, names in folders for name in names if name.endswith(".py"))
    return f"{package} {max(map(os.path.getmtime, sources))}"


def _connect(data: Path) -> socket.socket:
    """A connection to the process that serves, which is started if none runs. Raises DaemonError where it cannot be."""
    path, deadline, process = agents_socket_path(data), time.monotonic() + START_SECONDS, None
    while time.monotonic() < deadline:
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(str(path))
        except OSError:
            connection.close()
        else:
            return connection
        if process is None:
            process = _start_host(data)
        elif process.poll():
            break
        time.sleep(0.02)
    raise DaemonError(f"The server for agents did not start; see {_log_file(data)}.")


def _start_host(data: Path) -> "subprocess.Popen[bytes]":
    """The process that serves, with a session of its own: it outlives this agent. Raises DaemonError."""
    import subprocess  # noqa: PLC0415 - only the first agent starts a process

    command = [sys.executable, "-P", "-m", "codekin.mcp.host", "--data-dir", str(data)]
    try:
        with open(_log_file(data), "ab", opener=_open_private) as log:
            null = subprocess.DEVNULL
            return subprocess.Popen(command, stdin=null, stdout=log, stderr=log, cwd=data, start_new_session=True)
    except OSError as error:
        raise DaemonError(describe_os_error(error, data)) from error


def _log_file(data: Path) -> Path:
    return paths.logs_dir(data) / "mcp.log"


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _pass_input(connection: socket.socket) -> None:
    """Passes what the agent says, then its end."""
    try:
        while data := os.read(0, _CHUNK_BYTES):
            connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
    except OSError:
        connection.close()


def _write_all(data: bytes) -> None:
    while data:
        data = data[os.write(1, data) :]
