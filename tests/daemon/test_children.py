"""Child processes: their true exit status, whoever looks first, and a descriptor that does not leak."""

import asyncio
import os
import sys
from pathlib import Path

import pytest

from codekin.daemon.process.children import IndexerProcess, end_child, kill_child, start_child
from codekin.daemon.services.code_queries import SourceText
from codekin.errors import UsageError

ROUNDS = 40


async def start_python(folder: Path, code: str):
    with (folder / "errors").open("wb") as errors:
        return await start_child([sys.executable, "-c", code], folder, errors, 1000)


@pytest.mark.parametrize("end", [kill_child, lambda process: None])
async def test_a_child_that_ends_by_itself_keeps_its_status(tmp_path, end):
    """A kill that comes just after the end leaves the status as it is: 0 or the signal, never asyncio's 255."""
    for _ in range(ROUNDS):
        process = await start_python(tmp_path, "import os; os.close(1); os._exit(0)")
        await process.stdout.read()
        end(process)
        assert await end_child(process) in (0, -9)


async def test_a_child_that_ignores_the_end_of_its_input_is_killed(tmp_path, monkeypatch):
    """Closing the daemon never waits for a child that hangs."""
    monkeypatch.setattr("codekin.daemon.process.children.STOP_TIMEOUT_SECONDS", 0.1)
    process = await start_python(tmp_path, "import time; time.sleep(1000)")
    assert await end_child(process) == -9


async def test_an_indexer_that_restarts_on_request_is_no_problem(tmp_path):
    """A restart for another model leaves no problem in the status, however often it happens."""
    events: list[dict] = []
    starts = asyncio.Queue()
    indexer = IndexerProcess(tmp_path, tmp_path, events.append, lambda: starts.put_nowait(None) or [])
    indexer._command = [sys.executable, "-c", "import os, sys; sys.stdin.readline(); os.close(1); os._exit(0)"]
    for _ in range(ROUNDS):
        await asyncio.wait_for(starts.get(), 60)
        indexer.restart()
    await indexer.stop()
    assert [event for event in events if event["event"] == "ended"] == []


def test_a_path_that_is_no_file_leaks_no_descriptor(tmp_path):
    """Requests about folders and pipes do not use up the daemon's descriptors."""
    (tmp_path / "folder.ex").mkdir()
    os.mkfifo(tmp_path / "pipe.ex")
    before = len(list(Path("/dev/fd").iterdir()))
    for name in ("folder.ex", "pipe.ex"):
        for _ in range(20):
            with pytest.raises(UsageError, match="is not a file"):
                SourceText(tmp_path, name).read()
    assert len(list(Path("/dev/fd").iterdir())) == before
