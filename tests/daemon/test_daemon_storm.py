"""SIGKILL at random points, many times: nothing left behind, nothing lost, the index as a fresh one."""

import os
import random
import signal
import time
from pathlib import Path

import pytest

from codekin import places
from codekin.daemon.client import Client
from codekin.index import Index
from daemons import eventually, indexers_of, kill, processes_of

ROUNDS = 25

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def write(root: Path, number: int) -> None:
    (root / f"file_{number % 12}.ex").write_text(
        f"defmodule File{number} do\n  def work_{number}(input) do\n    input\n    |> Enum.map(&(&1 * {number}))\n"
        f"    |> Enum.filter(&(&1 > {number}))\n    |> Enum.sum()\n  end\nend\n"
    )


def content(data: Path, root: Path) -> dict[str, list[tuple[str, int, int, str]]]:
    """What an index holds: by path, the names, lines and digests of its fragments."""
    with Index.open(places.workspace_folder(data, root)) as index:
        return {
            path: [(one.name, one.start_line, one.end_line, one.digest) for one in index.fragments(path)]
            for path in index.files()
        }


def settle(root: Path) -> None:
    with Client.connect() as client:
        list(client.lines("/index", {"root": str(root)}))
        eventually(lambda: client.get("/status", root=str(root))["state"] == "ready")


def test_kills_at_random_points(data, root):
    """A crash would leave orphans, or lose or invent fragments."""
    chance = random.Random(20)
    for number in range(ROUNDS):
        with Client.connect() as client:
            client.post("/workspaces/open", {"root": str(root)})
            write(root, number)
            time.sleep(chance.uniform(0, 1.5))
            if number % 2:
                os.kill(client.greeting["pid"], signal.SIGKILL)
                eventually(lambda: not processes_of(data))
            else:
                for pid in indexers_of(data):
                    kill(pid)
    settle(root)
    found = content(data, root)
    with Client.connect() as client:
        client.post("/shutdown")
    eventually(lambda: not processes_of(data))
    for path in places.workspace_folder(data, root).rglob("*"):
        if path.is_file():
            path.unlink()
    settle(root)
    assert found == content(data, root)
    assert set(found) == {path.name for path in root.iterdir()}
