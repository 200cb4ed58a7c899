"""A data folder with daemons of its own and the installed command, for tests that start real processes."""

import asyncio
import inspect
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

COMMAND = Path(sys.executable).with_name("codekin")
BUILD = "1.0.0+100+tests"
PATIENCE = 60.0
"""Seconds until what must happen counts as not happening, on a machine that is busy."""


@contextmanager
def private_data(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A short data folder, named in the environment; all its processes are gone afterwards."""
    base = Path(tempfile.mkdtemp(prefix="ck"))
    data = base / "data"
    data.mkdir()
    for name, value in (("DATA_DIR", data), ("RUNTIME_DIR", base / "run"), ("CONFIG_DIR", base / "config")):
        monkeypatch.setenv(f"CODEKIN_{name}", str(value))
    monkeypatch.setenv("CODEKIN_BUILD", BUILD)
    try:
        yield data
    finally:
        for process in processes_of(data):
            process.kill()
        eventually(lambda: not processes_of(data))
        shutil.rmtree(base, ignore_errors=True)


def processes_of(data: Path, module: str = "codekin") -> list[psutil.Process]:
    """The living processes that were started for a data folder, zombies left out."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        words = process.info["cmdline"] or []
        alive = process.info["status"] != psutil.STATUS_ZOMBIE
        if alive and process.pid != os.getpid() and str(data) in words and any(module in word for word in words):
            found.append(process)
    return found


def daemons_of(data: Path) -> list[int]:
    """The process ids of a data folder's daemons."""
    return [process.pid for process in processes_of(data, "codekin.daemon")]


def indexers_of(data: Path) -> list[int]:
    """The process ids of a data folder's indexers."""
    return [process.pid for process in processes_of(data, "codekin.indexing.process")]


def eventually(holds: Callable[[], object]) -> None:
    """Waits until a condition holds."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.05)


async def eventually_async(holds: Callable[[], Any]) -> Any:
    """What a condition gives, awaited if need be, once it gives something."""
    async with asyncio.timeout(PATIENCE):
        while True:
            found = holds()
            if found := await found if inspect.isawaitable(found) else found:
                return found
            await asyncio.sleep(0.05)


def kill(pid: int) -> None:
    """SIGKILL, to a process that may have gone already."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


@dataclass(frozen=True)
class Done:
    """What a command left behind."""

    status: int
    out: str
    err: str


def run_codekin(*arguments: object, cwd: Path | None = None, stdin: str = "") -> Done:
    """Runs the installed command in a pipe."""
    words = [str(COMMAND), *map(str, arguments)]
    done = subprocess.run(words, check=False, capture_output=True, text=True, cwd=cwd, input=stdin, timeout=280)
    return Done(done.returncode, done.stdout, done.stderr)
