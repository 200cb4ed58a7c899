"""Bare mirrors of the team's repositories, read by git's plumbing; nothing of a repository is checked out or run."""

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import IO

from codekin.errors import UsageError
from codekin.util.files import acquire_lock

_FETCH_SECONDS = 3600.0
_READ_SECONDS = 600.0
_LOCK_SECONDS = 3600.0
_REGULAR = ("100644", "100755")
_SAFE = ("-c", "protocol.ext.allow=never", "-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false")


@dataclass(frozen=True, slots=True)
class TreeEntry:
    """A regular file of a revision: its path, git's object id, its size in bytes."""

    path: str
    object: str
    size: int


@dataclass(frozen=True, slots=True)
class Mirror:
    """One repository's mirror in a folder of the worker."""

    source: str
    folder: Path

    @classmethod
    def of(cls, data: Path, source: str) -> "Mirror":
        """The mirror of a repository; its folder is named by the hash of where it comes from."""
        return cls(source, data / "mirrors" / f"{sha256(source.encode()).hexdigest()[:32]}.git")

    def update(self) -> None:
        """Fetches what is new. Raises UsageError where the repository cannot be read."""
        self.folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = acquire_lock(self.folder.with_suffix(".lock"), _LOCK_SECONDS)
        try:
            if not (self.folder / "HEAD").exists():
                self._git("init", "--quiet", "--bare", str(self.folder), inside=False)
            self._git("fetch", "--quiet", "--prune", "--no-tags", "--", self.source, "+refs/heads/*:refs/heads/*")
        finally:
            lock.release()

    def revision(self, branch: str) -> str:
        """The commit of a branch. Raises UsageError without one."""
        found = self._git("rev-parse", "--verify", "--quiet", "--end-of-options", f"refs/heads/{branch}", check=False)
        if not found.strip():
            raise UsageError(f"{self.source} has no branch {branch}.")
        return found.decode().strip()

    def files(self, revision: str) -> list[TreeEntry]:
        """The regular files of a revision; links and submodules are left out, and names that are not UTF-8."""
        found = []
        for row in self._git("ls-tree", "-r", "-l", "-z", revision).split(b"\0"):
            head, _, name = row.partition(b"\t")
            parts = head.decode().split()
            if len(parts) == 4 and parts[0] in _REGULAR and parts[3].isdigit():
                found.append(TreeEntry(name.decode("utf-8", "surrogateescape"), parts[2], int(parts[3])))
        return found

    def read(self, objects: Sequence[str]) -> Iterator[bytes]:
        """The bytes of some objects, in order."""
        command = ["git", *_SAFE, "-C", str(self.folder), "cat-file", "--batch", "--buffer"]
        with _running(command) as (reading, writing):
            writing.write("".join(f"{one}\n" for one in objects).encode())
            writing.close()
            for one in objects:
                head = reading.readline().decode().split()
                if len(head) != 3:
                    raise UsageError(f"The mirror of {self.source} lacks the object {one}: delete {self.folder}.")
                yield reading.read(int(head[2]))
                reading.read(1)

    def _git(self, *arguments: str, inside: bool = True, check: bool = True) -> bytes:
        command = ["git", *_SAFE, *(("-C", str(self.folder)) if inside else ()), *arguments]
        seconds = _FETCH_SECONDS if "fetch" in arguments else _READ_SECONDS
        try:
            done = subprocess.run(command, env=_environment(), capture_output=True, check=False, timeout=seconds)
        except (OSError, subprocess.SubprocessError) as error:
            raise UsageError(f"{self.source} cannot be read by git ({type(error).__name__}).") from error
        if check and done.returncode:
            said = done.stderr.decode("utf-8", "replace").strip().split("\n")[-1]
            raise UsageError(f"{self.source} cannot be read by git: {said or 'see the log'}")
        return done.stdout


def default_branch(source: str) -> str:
    """The branch that a repository's HEAD names. Raises UsageError where the repository cannot be read."""
    if source.startswith("-"):
        raise UsageError(f"{source} is no repository: give a URL or a folder.")
    command = ["git", *_SAFE, "ls-remote", "--symref", "--", source, "HEAD"]
    try:
        done = subprocess.run(command, env=_environment(), capture_output=True, check=False, timeout=_READ_SECONDS)
    except (OSError, subprocess.SubprocessError) as error:
        raise UsageError(f"{source} cannot be read by git ({type(error).__name__}).") from error
    for line in done.stdout.decode("utf-8", "replace").splitlines():
        if line.startswith("ref: refs/heads/"):
            return line.removeprefix("ref: refs/heads/").split("\t")[0]
    raise UsageError(f"{source} is no git repository that can be read here: check the address and your rights.")


def repository_name(source: str) -> str:
    """What a repository is called: the last part of its address."""
    return source.rstrip("/").removesuffix(".git").rstrip("/").replace(":", "/").rpartition("/")[2] or source


def _environment() -> dict[str, str]:
    """Git asks no questions, and reads no repository that the environment names."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("GIT_DIR", "GIT_WORK", "GIT_INDEX"))
    }
    return {**kept, "GIT_TERMINAL_PROMPT": "0", "GIT_NO_LAZY_FETCH": "1", "LC_ALL": "C"}


@contextmanager
def _running(command: Sequence[str]) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    process = subprocess.Popen(
        command, env=_environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    if process.stdin is None or process.stdout is None:
        raise UsageError("Git cannot be started.")
    try:
        yield process.stdout, process.stdin
    finally:
        process.stdout.close()
        process.kill()
        process.wait()
