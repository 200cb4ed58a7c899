"""Asks git about the history of a folder, whatever the repository's own configuration would have it run.

A repository is not trusted: its hooks, monitors, signature checkers, helpers for differences and transports stay
unused, nothing is fetched and nothing written. Each question has an end in time and size; where git is missing, refuses
or runs out of either, the answer is what came by then. Knows paths and hashes, no languages.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from threading import Timer

SECONDS = 20.0
MOST_BYTES = 64_000_000
LARGEST_FILE = 300_000
MOST_COMMITS = 3000
"""So far back a function's earlier texts are looked for."""

_HARMLESS = (
    "core.fsmonitor=false",
    f"core.hooksPath={os.devnull}",
    "core.pager=cat",
    "log.mailmap=false",
    "log.showSignature=false",
)
_ALONE = {
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_ALLOW_PROTOCOL": "",
}
"""No transport may be used, whatever the repository allows (`protocol.ext.allow` goes before `protocol.allow`), and
however old git is: before 2.39.4 it did not know how to fetch nothing."""

_LOG = (
    "log", "--raw", "-z", "--no-abbrev", "--format=", "--no-merges", "--diff-filter=MR", "--find-renames=100%",
    "--relative", "--no-ext-diff", "--no-textconv", "--ignore-submodules=all", f"-O{os.devnull}",
    f"--max-count={MOST_COMMITS}",
)  # fmt: skip


def commit_of(root: Path, revision: str = "HEAD") -> str:
    """The hash of a revision; empty where the folder has no history."""
    if not any((folder / ".git").exists() for folder in (root, *root.parents)) and not (root / "objects").is_dir():
        return ""  # on a Mac without developer tools the command itself would open a window
    return (
        _asked(root, ("rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")).decode("ascii", "replace").strip()
    )


def edits(root: Path, commit: str, patterns: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Path of today, below `root`, and hash of a file's content before an edit; the latest edits first."""
    fields = iter(_asked(root, (*_LOG, commit, "--", *patterns)).split(b"\0"))
    today: dict[str, str] = {}
    for field in fields:
        words = field.decode("ascii", "replace").split(" ")
        if not field.startswith(b":") or len(words) != 5:
            continue
        path = _path(next(fields, b""))
        if words[4].startswith("R"):
            new = _path(next(fields, b""))
            today[path] = today.get(new, new)
        else:
            yield today.get(path, path), words[2]


def contents(root: Path, hashes: Iterable[str]) -> Mapping[str, bytes]:
    """Contents by hash, without those of files that are too large."""
    listed = _asked(root, ("cat-file", "--batch-check"), hashes).decode("ascii", "replace")
    rows = [line.split(" ") for line in listed.splitlines()]
    small = [row[0] for row in rows if len(row) == 3 and row[1] == "blob" and int(row[2]) <= LARGEST_FILE]
    return dict(_cut(_asked(root, ("cat-file", "--batch"), small)))


def _cut(answer: bytes) -> Iterator[tuple[str, bytes]]:
    """The contents in an answer of `cat-file --batch`: a line with hash, type and size before each, a newline after."""
    start = 0
    while (end := answer.find(b"\n", start)) > 0:
        words = answer[start:end].decode("ascii", "replace").split(" ")
        start = end + 1
        if len(words) == 3:  # else it is missing: git tidies up meanwhile
            start += int(words[2]) + 1
            if start <= len(answer):
                yield words[0], answer[end + 1 : start - 1]


def _asked(root: Path, words: Iterable[str], lines: Iterable[str] = ()) -> bytes:
    """What git says, `lines` as its input; nothing where it cannot be run."""
    program = shutil.which("git") or ""
    if not Path(program).is_absolute():
        return b""  # by way of a relative folder in the PATH it would be the repository's own
    settings = [word for setting in _HARMLESS for word in ("-c", setting)]
    command = [program, "--no-pager", *settings, *words]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")} | _ALONE
    with tempfile.TemporaryFile() as given:
        given.write("".join(f"{line}\n" for line in lines).encode())
        given.seek(0)
        try:
            process = subprocess.Popen(
                command, cwd=root, env=environment, stdin=given, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
        except OSError:
            return b""
    return _heard(process)


def _heard(process: "subprocess.Popen[bytes]") -> bytes:
    """The output of a process up to a time and a size, at which it ends."""
    timer = Timer(SECONDS, process.kill)
    timer.start()
    try:
        with process:
            said = process.stdout.read(MOST_BYTES) if process.stdout else b""
            process.kill()
            return said
    finally:
        timer.cancel()


def _path(field: bytes) -> str:
    return field.decode("utf-8", "surrogateescape")
