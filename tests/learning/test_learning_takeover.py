"""A new model that cannot take over: the old one stays named, the history says why, and listeners hear it once."""

import asyncio
import json
from datetime import UTC, datetime
from types import SimpleNamespace

import numpy as np
import pytest
from learning_samples import NoisyEmbedder

from codekin import places
from codekin.daemon import school as nights
from codekin.daemon.engine import Engine
from codekin.daemon.guard import Activity
from codekin.daemon.school import School
from codekin.daemon.workspaces import Workspace
from codekin.errors import CheckpointError
from codekin.learning import history
from codekin.learning.gate import Decision
from codekin.learning.run import Conclusion, conclude
from codekin.models import checkpoints
from codekin.settings import Settings

BASE = NoisyEmbedder(space="base-1")


@pytest.fixture
def workspace(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    return Workspace(root, tmp_path / "data", state="ready")


@pytest.fixture
def school(workspace):
    """A school over a real engine whose model needs no loading."""
    engine = Engine(workspace.data, Settings(), lambda replaced: None)
    engine._service = SimpleNamespace(embedder=lambda *_: BASE)
    engine._imported.set()
    engine._begun.acquire()
    return School(SimpleNamespace(engine=engine, activity=Activity()))


def one_run(folder, name: str) -> history.Run:
    """A run that activates a head, as the learner's process leaves it."""
    run = history.begin_run(folder, "user", "", {})
    found = Conclusion(run, name, Decision(activate=True, reason="better"), {"epochs": []}, (run - 1, run), keep=3)
    matrix = (run + 1) * np.eye(BASE.dimensions, dtype=np.float32)
    conclude(folder, found, checkpoints.head_files(matrix), {"base_space": BASE.space})
    return history.runs(folder, 1)[0]


async def test_what_cannot_be_opened_does_not_take_over(workspace, school, monkeypatch):
    """Damaged between its writing and its reading, by a disk or a hand."""
    folder = places.learning_folder(workspace.data, workspace.root)
    one_run(folder, "sound")

    async def events(*_):
        run = one_run(folder, "rotten")
        (folder / "rotten" / checkpoints.HEAD).write_bytes(b"rot")
        yield {"event": "done", "result": history.as_row(run, "rotten")}

    monkeypatch.setattr(nights, "learner_events", events)
    async with workspace.listening() as queue:
        (told,) = [event async for event in school.events(workspace, "user", {})]
        heard = [queue.get_nowait() for _ in range(queue.qsize())]
    assert (told["result"]["decision"], told["result"]["active"]) == ("kept", False)
    assert "could not take over" in told["result"]["reason"]
    assert ["rotten is damaged" in event["problem"] for event in heard if "problem" in event] == [True]
    assert checkpoints.pointed(folder) == "sound"
    latest = history.runs(folder, 1)[0]
    assert (latest.decision, latest.reason) == ("kept", told["result"]["reason"])
    assert history.used_until(folder) == 2


async def test_a_way_back_that_cannot_be_opened_changes_nothing(workspace, school, monkeypatch):
    """What is asked for was looked through, and is damaged by the time that it is opened."""
    folder = places.learning_folder(workspace.data, workspace.root)
    one_run(folder, "older")
    one_run(folder, "newer")

    def refuse(*_):
        raise CheckpointError("Checkpoint older is damaged.")

    monkeypatch.setattr(school._daemon.engine, "learned", refuse)
    with pytest.raises(CheckpointError, match="is damaged"):
        await school.roll_back(workspace, "older")
    assert checkpoints.pointed(folder) == "newer"
    assert [run.decision for run in history.runs(folder)] == ["activated", "activated"]


async def test_only_a_run_says_its_trouble_aloud(workspace, school, monkeypatch):
    """Whoever mines triplets reads the reason where the command was given."""

    async def events(*_):
        yield {"event": "problem", "message": "Not enough BEAM code."}

    monkeypatch.setattr(nights, "learner_events", events)
    for options, expected in (({}, ["Not enough BEAM code."]), ({"triplets": True}, [])):
        async with workspace.listening() as queue:
            assert [event["event"] async for event in school.events(workspace, "user", options)] == ["problem"]
            heard = [queue.get_nowait() for _ in range(queue.qsize())]
        assert [event["problem"] for event in heard if "problem" in event] == expected
        assert "problem" not in school.status(workspace)
        assert school.status(workspace)["said"] == "Not enough BEAM code."
    await asyncio.sleep(0)


async def test_nights_that_fail_are_a_problem_with_their_reason(workspace, school):
    """Whoever opens the editor in the morning would not learn that the disk was full."""
    folder, data = places.learning_folder(workspace.data, workspace.root), workspace.data
    school._daemon.data = data
    school._daemon.workspaces = SimpleNamespace(open={workspace.root: workspace}, get=lambda _: workspace)
    roots = places.checkpoints_folder(data) / "roots.json"
    roots.parent.mkdir(parents=True, exist_ok=True)
    roots.write_text(json.dumps({str(workspace.root): ["2026-03-01T00:00:00+00:00", "2026-03-02"]}))
    run = history.begin_run(folder, "schedule", "2026-03-03", {})
    history.end_run(folder, run, history.FAILED, "The disk is full.", {})
    assert await school.look_at_clock(datetime(2026, 3, 3, 2, 5, tzinfo=UTC), quiet=True) == []
    status = school.status(workspace)
    assert (status["problem"].startswith(status["waits"]), "The disk is full." in status["problem"]) == (True, True)
    history.end_run(folder, history.begin_run(folder, "schedule", "2026-03-03", {}), history.KEPT, "", {})
    await school.look_at_clock(datetime(2026, 3, 3, 2, 10, tzinfo=UTC), quiet=True)
    assert school.status(workspace) == {"running": False, "waits": "", "problem": ""}
