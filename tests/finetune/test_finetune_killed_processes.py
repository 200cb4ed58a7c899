"""Daemon, indexer and learner die together, by the real signal, through the installed command: nothing is half done."""

import json
import os
import subprocess
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from finetune_samples import module

from codekin import paths
from codekin.daemon.client import DaemonClient
from codekin.finetune.history import CONSUMING_DECISIONS
from codekin.models import checkpoints
from daemons import COMMAND, kill, processes_of

KILLS = int(os.environ.get("CODEKIN_TEST_DAEMON_KILLS", "4"))
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300 + 120 * KILLS)]


def begun(*words: object) -> subprocess.Popen:
    return subprocess.Popen([COMMAND, *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def done(*words: object) -> dict:
    process = begun(*words, "--json")
    output, trouble = process.communicate(timeout=200)
    assert process.returncode == 0, trouble
    return json.loads(output)


def test_killed_at_random_points_with_the_daemon(data, root):
    """The old model or the new one, whole, under the vectors of its own space; each change is used once."""
    start = time.monotonic()
    checkpoint = done("finetune", root, "--count", 60)["checkpoint"]
    seconds, chance = time.monotonic() - start, np.random.default_rng(2)
    commands = [
        ("finetune", root, "--count", 60),
        ("rollback", checkpoint, "--root", root),
        ("rollback", "base", "--root", root),
    ]
    for number in range(KILLS):
        (root / "lib" / f"part{number}.ex").write_text(module(100 + number))
        process = begun(*commands[number % len(commands)])
        time.sleep(chance.uniform(0, seconds))
        for each in processes_of(data):
            kill(each.pid)
        process.communicate(timeout=100)
        whole_after_death(data, root)
    latest = done("finetune", root, "--count", 60)
    assert used(data, root)[-1] == tuple(latest["range"])


def whole_after_death(data: Path, root: Path) -> None:
    """What the pointer names can be read and serves, no run is left open, and the ranges of changes join."""
    done("index", root)
    spans, folder = used(data, root), paths.finetune_dir(data, root)
    assert spans[0][0] == 0
    assert all(before[1] == after[0] for before, after in pairwise(spans))
    active = checkpoints.read_pointer(folder)
    with DaemonClient.connect(data) as client:
        status = client.get("/status", root=str(root))
        base = status["model"]["space"]
    assert status["problems"] == []
    assert status["embedded"] == status["chunks"] > 0
    assert status["space"] == (checkpoints.read_meta(folder, active)["space"] if active != "base" else base)
    found = done("similar", f"{root / 'lib' / 'part20.ex'}:5")
    assert (found["space"], found.get("degraded")) == (status["space"], None)


def used(data: Path, root: Path) -> list[tuple[int, int]]:
    """The ranges of the journal that runs have used, in their order."""
    with DaemonClient.connect(data) as client:
        past = client.get("/history", root=str(root))
    assert "running" not in {row["decision"] for row in past["runs"]}
    return [tuple(row["range"]) for row in reversed(past["runs"]) if row["decision"] in CONSUMING_DECISIONS]
