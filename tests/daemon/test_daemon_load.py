"""SIGKILL at random points, many times: nothing left behind, nothing lost, the index as a fresh one."""

import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from codekin import paths
from codekin.daemon.client import DaemonClient
from codekin.storage import ChunkIndex
from daemons import COMMAND, eventually, indexers_of, kill, processes_of
from fakes import frame_message

ROUNDS = 50

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    # httpcore leaves the socket of a connection that was refused to the garbage collector.
    pytest.mark.filterwarnings("ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning"),
]


def write(root: Path, number: int) -> None:
    (root / f"file_{number % 12}.ex").write_text(
        f"defmodule File{number} do\n  def work_{number}(input) do\n    input\n    |> Enum.map(&(&1 * {number}))\n"
        f"    |> Enum.filter(&(&1 > {number}))\n    |> Enum.sum()\n  end\nend\n"
    )


def content(data: Path, root: Path) -> dict[str, list[tuple[str, int, int, str]]]:
    """What an index holds: by path, the names, lines and digests of its fragments."""
    with ChunkIndex.open(paths.index_dir(data, root)) as index:
        return {
            path: [(one.name, one.start_line, one.end_line, one.digest) for one in index.chunks(path)]
            for path in index.files()
        }


def settle(root: Path) -> None:
    with DaemonClient.connect() as client:
        list(client.lines("/index", {"root": str(root)}))
        eventually(lambda: client.get("/status", root=str(root))["state"] == "ready")


def open_window(root: Path, number: int) -> subprocess.Popen[bytes]:
    """A window with an unsaved text over one of the files, whose function nothing else holds."""
    window = subprocess.Popen([COMMAND, "lsp"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    uri = (root / f"file_{number % 12}.ex").as_uri()
    phantom = (
        f"defmodule Phantom do\n  def phantom_{number}(x) do\n    x\n    |> a()\n    |> b()\n    |> c()\n  end\nend\n"
    )
    opened = {"uri": uri, "languageId": "elixir", "version": 1, "text": phantom}
    for message in (
        {"id": 1, "method": "initialize", "params": {"capabilities": {}, "rootUri": root.as_uri()}},
        {"method": "initialized", "params": {}},
        {"method": "textDocument/didOpen", "params": {"textDocument": opened}},
    ):
        window.stdin.write(frame_message(json.dumps({"jsonrpc": "2.0", **message}).encode()))
    window.stdin.flush()
    return window


def test_kills_at_random_points(data, root):
    """After crashes of daemon, indexer and window the index holds exactly the chunks of the files."""
    chance = random.Random(20)
    for number in range(ROUNDS):
        with DaemonClient.connect() as client:
            client.post("/workspaces/open", {"root": str(root)})
            write(root, number)
            window = open_window(root, number)
            time.sleep(chance.uniform(0, 1.2))
            if number % 3 == 0:
                os.kill(client.greeting["pid"], signal.SIGKILL)
                window.kill()
                eventually(lambda: not processes_of(data))
            elif number % 3 == 1:
                for pid in indexers_of(data):
                    kill(pid)
            window.kill()
            window.wait()
            window.stdin.close()
    settle(root)
    found = content(data, root)
    with DaemonClient.connect() as client:
        client.post("/shutdown")
    eventually(lambda: not processes_of(data))
    for path in paths.index_dir(data, root).rglob("*"):
        if path.is_file():
            path.unlink()
    settle(root)
    assert found == content(data, root)
    assert set(found) == {path.name for path in root.iterdir()}
