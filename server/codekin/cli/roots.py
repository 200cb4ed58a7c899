"""Finds the workspace of a path, and reads places such as PATH:LINE.

The nearest folder upwards counts that is indexed already or holds .codekin.toml or a
repository; else the topmost one with a build file; else the path's own folder, unless that is
the user's home or one of the system's.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from codekin import places
from codekin.errors import UsageError

REPOSITORY_MARKS = (".codekin.toml", ".git", ".hg", ".jj", ".svn")
BUILD_MARKS = ("mix.exs", "rebar.config", "CMakeLists.txt", "compile_commands.json", "meson.build", "pyproject.toml")

_SYSTEM_NAMES = """bin boot dev etc home lib lib64 media mnt opt private proc root run sbin srv sys tmp usr var
Applications Library System Users Volumes"""
SYSTEM_FOLDERS = frozenset(_SYSTEM_NAMES.split())
_PLACE = re.compile(r"(?P<path>.+?):(?P<line>\d+)(?:-(?P<end>\d+)|:(?P<column>\d+))?")


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a file: a line, a range of lines, or a line and a column; all count from 1, 0 where not given."""

    path: Path
    line: int
    end_line: int = 0
    column: int = 0


def parse_place(text: str) -> Place:
    """PATH:LINE, PATH:FIRST-LAST or PATH:LINE:COLUMN. Raises UsageError where it is none or there is no such file."""
    match = _PLACE.fullmatch(text)
    if match is None:
        raise UsageError(f"{text} is no place: write PATH:LINE or PATH:FIRST-LAST.")
    path, line = Path(match["path"]), int(match["line"])
    end_line, column = int(match["end"] or 0), int(match["column"] or 0)
    if not path.is_file():
        raise UsageError(f"There is no file {path}.")
    if line < 1 or (match["end"] and end_line < line):
        raise UsageError(f"{text} is no place: lines count from 1, the last is not before the first.")
    return Place(path.absolute(), line, end_line, column)


def find_root(data: Path, start: Path, given: Path | None = None) -> Path:
    """The workspace's real folder for a file or folder, or the one given. Raises UsageError if that is none."""
    if given is not None:
        return real_folder(given)
    if not start.exists():
        raise UsageError(f"There is no file or folder {start}.")
    folder = real_folder(start if start.is_dir() else start.parent)
    home = Path.home().resolve()
    upwards = [one for one in (folder, *folder.parents) if one == folder or one not in (home, Path(one.anchor))]
    for one in upwards:
        if _is_indexed(data, one) or any((one / mark).exists() for mark in REPOSITORY_MARKS):
            return one
    built = [one for one in upwards if any((one / mark).exists() for mark in BUILD_MARKS)]
    if built:
        return built[-1]
    if folder in {home, Path(folder.anchor)} or _is_of_the_system(folder):
        raise UsageError(f"{start} is in no workspace, and {folder} is too much for one: name a folder with --root.")
    return folder


def _is_of_the_system(folder: Path) -> bool:
    """Whether a folder is one of the file system's own, such as /etc or /tmp; a user's folder below it is not."""
    return folder.parent == Path(folder.anchor) and folder.name in SYSTEM_FOLDERS


def real_folder(path: Path) -> Path:
    """The real path of a folder. Raises UsageError where there is none."""
    if not path.is_dir():
        raise UsageError(f"{path} is not a folder: give the folder of a workspace.")
    return path.resolve()


def _is_indexed(data: Path, folder: Path) -> bool:
    return places.workspace_folder(data, folder).is_dir()
