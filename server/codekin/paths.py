"""Where Codekin keeps its files: data, configuration, sockets, indexes, checkpoints, logs.

Nothing is ever written to a repository. Layout of the data folder:

    workspaces/<name>-<hash>/   one index for each workspace root
    checkpoints/                what fine-tuning produced
    logs/                       daemon.log and the logs of its child processes
"""

import os
import re
import stat
from hashlib import sha256
from pathlib import Path

from codekin.errors import DaemonError, UsageError

SOCKET_PATH_LIMIT = 104
"""Bytes of a Unix socket's path that every platform takes (Linux 108, macOS 104, NUL included)."""

_SOCKET_NAME = "daemon.sock"


REPOSITORY_MARKERS = (".codekin.toml", ".git", ".hg", ".jj", ".svn")
BUILD_MARKERS = ("mix.exs", "rebar.config", "CMakeLists.txt", "compile_commands.json", "meson.build", "pyproject.toml")

_SYSTEM_NAMES = """bin boot dev etc home lib lib64 media mnt opt private proc root run sbin srv sys tmp usr var
Applications Library System Users Volumes"""
SYSTEM_FOLDERS = frozenset(_SYSTEM_NAMES.split())


def data_dir(override: Path | None = None) -> Path:
    """The folder for everything that lasts: the argument, else CODEKIN_DATA_DIR, else the platform's."""
    chosen = override or os.environ.get("CODEKIN_DATA_DIR") or _platform_dir("user_data_dir")
    path = Path(chosen).expanduser().absolute()
    _make_dir(path, "the data folder")
    return path


def _platform_dir(kind: str) -> str:
    import platformdirs  # noqa: PLC0415 - not needed where the user chose, and an agent waits for it

    return str(getattr(platformdirs, kind)("codekin", appauthor=False))


def config_dir() -> Path:
    """The folder of the user's settings.toml: CODEKIN_CONFIG_DIR, else the platform's; it may not exist."""
    chosen = os.environ.get("CODEKIN_CONFIG_DIR") or _platform_dir("user_config_dir")
    return Path(chosen).expanduser().absolute()


def runtime_dir(data: Path) -> Path:
    """The private folder (0700) of the data folder's socket and locks; each data folder has its own.

    Raises DaemonError when it belongs to another user or others may write to it.
    """
    name = sha256(os.fsencode(data.resolve())).hexdigest()[:16]
    for base in _runtime_bases():
        folder = base / name
        if len(os.fsencode(folder / _SOCKET_NAME)) < SOCKET_PATH_LIMIT:
            _make_private_dir(base)
            _make_private_dir(folder)
            return folder
    raise DaemonError(f"The path {folder} is too long for a socket: set CODEKIN_RUNTIME_DIR to a shorter folder.")


def socket_path(data: Path) -> Path:
    """The daemon's Unix socket for this data folder."""
    return runtime_dir(data) / _SOCKET_NAME


def index_dir(data: Path, root: Path) -> Path:
    """The index folder of a workspace root; the same root by another path or link has the same one."""
    real = root.resolve()
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", real.name)[:40] or "root"
    return data / "workspaces" / f"{name}-{sha256(os.fsencode(real)).hexdigest()[:16]}"


def find_workspace_root(data: Path, start: Path, given: Path | None = None) -> Path:
    """The workspace's real folder for a file or folder, or the one given. Raises UsageError if that is none.

    It is the nearest folder upwards that is indexed already or holds .codekin.toml or a repository; else the topmost
    one with a build file; else the path's own folder, unless that is the home folder or a system folder.
    """
    if given is not None:
        return real_folder(given)
    if not start.exists():
        raise UsageError(f"There is no file or folder {start}.")
    folder = real_folder(start if start.is_dir() else start.parent)
    home = Path.home().resolve()
    upwards = [one for one in (folder, *folder.parents) if one == folder or one not in (home, Path(one.anchor))]
    for one in upwards:
        if index_dir(data, one).is_dir() or any((one / mark).exists() for mark in REPOSITORY_MARKERS):
            return one
    built = [one for one in upwards if any((one / mark).exists() for mark in BUILD_MARKERS)]
    if built:
        return built[-1]
    if folder in {home, Path(folder.anchor)} or _is_system_folder(folder):
        raise UsageError(f"{start} is in no workspace, and {folder} is too much for one: name a folder with --root.")
    return folder


def _is_system_folder(folder: Path) -> bool:
    """Whether a folder is one of the file system's own, such as /etc or /tmp; a user's folder below it is not."""
    return folder.parent == Path(folder.anchor) and folder.name in SYSTEM_FOLDERS


def real_folder(path: Path) -> Path:
    """The real path of a folder. Raises UsageError where there is none."""
    if not path.is_dir():
        raise UsageError(f"{path} is not a folder: give the folder of a workspace.")
    return path.resolve()


def checkpoints_dir(data: Path) -> Path:
    """The folder that holds one folder for each checkpoint."""
    return data / "checkpoints"


def finetune_dir(data: Path, root: Path) -> Path:
    """The folder of a workspace's checkpoints and run history, apart from its index, which can be rebuilt."""
    return checkpoints_dir(data) / index_dir(data, root).name


def logs_dir(data: Path) -> Path:
    """The folder of the daemon's and its children's logs, made if missing."""
    folder = data / "logs"
    _make_dir(folder, "the folder of logs")
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
    temporary = next(path for path in (Path("/tmp"), Path(os.environ.get("TMPDIR", "/var/tmp"))) if path.is_dir())  # noqa: S108 - made 0700 and checked
    return [*bases, temporary / f"codekin-{user}"]


def _make_dir(path: Path, what: str) -> None:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"Cannot make {what} {path}: {error.strerror}; choose another one.") from error


def _make_private_dir(folder: Path) -> None:
    """Makes the folder 0700, or checks that the existing one is accessible to this user only."""
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
