"""Where Codekin keeps its files: data, configuration, sockets, workspaces, checkpoints.

Knows paths and their permissions; nothing of what is written there. Nothing is ever kept
in a repository. Layout of the data folder:

    workspaces/<name>-<hash>/   one index for each workspace root
    checkpoints/                what learning produced
    logs/                       daemon.log and the logs of its children
"""

import os
import re
import stat
import tempfile
from hashlib import sha256
from pathlib import Path

import platformdirs

from codekin.errors import DaemonError, UsageError

SOCKET_PATH_LIMIT = 104
"""Bytes of a Unix socket's path that every platform takes (Linux 108, macOS 104, NUL included)."""

_SOCKET_NAME = "daemon.sock"


def data_dir(override: Path | None = None) -> Path:
    """The folder for everything that lasts: the argument, else CODEKIN_DATA_DIR, else the platform's."""
    chosen = override or os.environ.get("CODEKIN_DATA_DIR") or platformdirs.user_data_dir("codekin", appauthor=False)
    path = Path(chosen).expanduser().absolute()
    _make(path, "the data folder")
    return path


def config_dir() -> Path:
    """The folder of the user's settings.toml: CODEKIN_CONFIG_DIR, else the platform's; it may not exist."""
    chosen = os.environ.get("CODEKIN_CONFIG_DIR") or platformdirs.user_config_dir("codekin", appauthor=False)
    return Path(chosen).expanduser().absolute()


def runtime_dir(data: Path) -> Path:
    """The private folder (0700) of the data folder's socket and locks; each data folder has its own.

    Raises DaemonError when it belongs to another user or others may write to it.
    """
    name = sha256(os.fsencode(data.resolve())).hexdigest()[:16]
    for base in _runtime_bases():
        folder = base / name
        if len(os.fsencode(folder / _SOCKET_NAME)) < SOCKET_PATH_LIMIT:
            _make_private(base)
            _make_private(folder)
            return folder
    raise DaemonError(f"The path {folder} is too long for a socket: set CODEKIN_RUNTIME_DIR to a shorter folder.")


def socket_path(data: Path) -> Path:
    """The daemon's Unix socket for this data folder."""
    return runtime_dir(data) / _SOCKET_NAME


def workspace_folder(data: Path, root: Path) -> Path:
    """The index folder of a workspace root; the same root by another path or link has the same one."""
    real = root.resolve()
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", real.name)[:40] or "root"
    return data / "workspaces" / f"{name}-{sha256(os.fsencode(real)).hexdigest()[:16]}"


def checkpoints_folder(data: Path) -> Path:
    """The folder that holds one folder for each checkpoint."""
    return data / "checkpoints"


def learning_folder(data: Path, root: Path) -> Path:
    """Where a workspace's checkpoints and its learning history lie: apart from its index, which can be rebuilt."""
    return checkpoints_folder(data) / workspace_folder(data, root).name


def logs_folder(data: Path) -> Path:
    """The folder of the daemon's and its children's logs, made if missing."""
    folder = data / "logs"
    _make(folder, "the folder of logs")
    return folder


def _runtime_bases() -> list[Path]:
    """Candidates in order: the user's choice alone, else the login's runtime folder, else one in /tmp.

    /run/user/<uid> is tried without XDG_RUNTIME_DIR too, so that cron and an editor find the same daemon.
    """
    if chosen := os.environ.get("CODEKIN_RUNTIME_DIR"):
        return [Path(chosen).absolute()]
    user = os.getuid()
    logins = [Path(path) for path in (os.environ.get("XDG_RUNTIME_DIR"), f"/run/user/{user}") if path]
    bases = [login / "codekin" for login in logins if login.is_dir() and login.stat().st_uid == user]
    temporary = Path("/tmp") if Path("/tmp").is_dir() else Path(tempfile.gettempdir())  # noqa: S108 - made 0700 and checked
    return [*bases, temporary / f"codekin-{user}"]


def _make(path: Path, what: str) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"Cannot make {what} {path}: {error.strerror}; choose another one.") from error


def _make_private(folder: Path) -> None:
    """Makes the folder 0700, or checks that the one that stands there is ours alone."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        state = folder.lstat()
    except OSError as error:
        raise DaemonError(f"Cannot make the runtime folder {folder}: {error.strerror}.") from error
    if not stat.S_ISDIR(state.st_mode):
        raise DaemonError(f"The runtime folder {folder} is not a folder of its own (a link or a file): remove it.")
    if state.st_uid != os.getuid():
        raise DaemonError(f"The runtime folder {folder} belongs to another user: remove it or set CODEKIN_RUNTIME_DIR.")
    if state.st_mode & 0o022:
        raise DaemonError(f"Others may write to the runtime folder {folder}: run `chmod 700 {folder}` or remove it.")
    if state.st_mode & 0o077:
        folder.chmod(0o700)
