"""A new model that cannot take over: the old one stays named, the history says why, and listeners hear it once."""

import asyncio
import json
from datetime import UTC, datetime
from types import SimpleNamespace

import numpy as np
import pytest
from finetune_samples import NoisyEmbedder

from codekin import paths
from codekin.daemon.services import finetune as nights
from codekin.daemon.services.context import ServiceContext
from codekin.daemon.services.embedding import EmbeddingEngine
from codekin.daemon.services.finetune import FinetuneService
from codekin.daemon.services.workspaces import OpenWorkspace, WorkspaceRegistry
from codekin.errors import CheckpointError
from codekin.finetune import history
from codekin.finetune.gate import GateDecision
from codekin.finetune.publication import FinetuneOutcome, record_outcome
from codekin.models import checkpoints
from codekin.settings import Settings, load_settings

BASE = NoisyEmbedder(space="base-1")


@pytest.fixture
def workspace(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    return OpenWorkspace(root, tmp_path / "data", state="ready")


@pytest.fixture
def finetune_service(workspace):
    """A service over a real engine whose model needs no loading."""
    engine = EmbeddingEngine(workspace.data, Settings(), lambda replaced: None)
    engine._service = SimpleNamespace(embedder=lambda *_: BASE)
    engine._imports_done.set()
    engine._load_started.acquire()
    workspaces = WorkspaceRegistry(workspace.data, lambda: None)
    return FinetuneService(ServiceContext(workspace.data, Settings(), engine, workspaces))


def one_run(folder, name: str) -> history.FinetuneRun:
    """A run that activates a head, as the learner's process leaves it."""
    run = history.begin_run(folder, "user", "", {})
    found = FinetuneOutcome(
        run, name, GateDecision(activate=True, reason="better"), {"epochs": []}, (run - 1, run), keep=3
    )
    matrix = (run + 1) * np.eye(BASE.dimensions, dtype=np.float32)
    record_outcome(folder, found, checkpoints.head_files(matrix), {"base_space": BASE.space})
    return history.list_runs(folder, 1)[0]


async def test_what_cannot_be_opened_does_not_take_over(workspace, finetune_service, monkeypatch):
    """Damaged between its writing and its reading, by a disk or a hand."""
    folder = paths.finetune_dir(workspace.data, workspace.root)
    one_run(folder, "sound")

    async def events(*_):
        run = one_run(folder, "rotten")
        (folder / "rotten" / checkpoints.HEAD_FILE).write_bytes(b"rot")
        yield {"event": "done", "result": history.run_to_json(run, "rotten")}

    monkeypatch.setattr(nights, "finetune_events", events)
    async with workspace.subscribe() as queue:
        (told,) = [event async for event in finetune_service.events(workspace, "user", {})]
        handle_event = [queue.get_nowait() for _ in range(queue.qsize())]
    assert (told["result"]["decision"], told["result"]["active"]) == ("kept", False)
    assert "could not take over" in told["result"]["reason"]
    assert ["rotten is damaged" in event["problem"] for event in handle_event if "problem" in event] == [True]
    assert checkpoints.read_pointer(folder) == "sound"
    latest = history.list_runs(folder, 1)[0]
    assert (latest.decision, latest.reason) == ("kept", told["result"]["reason"])
    assert history.last_used_change(folder) == 2


async def test_a_way_back_that_cannot_be_opened_changes_nothing(workspace, finetune_service, monkeypatch):
    """What is asked for was looked through, and is damaged by the time that it is opened."""
    folder = paths.finetune_dir(workspace.data, workspace.root)
    one_run(folder, "older")
    one_run(folder, "newer")

    def refuse(*_):
        raise CheckpointError("Checkpoint older is damaged.")

    monkeypatch.setattr(finetune_service._context.engine, "finetuned_embedder", refuse)
    with pytest.raises(CheckpointError, match="is damaged"):
        await finetune_service.roll_back(workspace, "older")
    assert checkpoints.read_pointer(folder) == "newer"
    assert [run.decision for run in history.list_runs(folder)] == ["activated", "activated"]


async def test_only_a_run_reports_its_problem(workspace, finetune_service, monkeypatch):
    """Whoever mines triplets reads the reason where the command was given."""

    async def events(*_):
        yield {"event": "problem", "message": "Not enough BEAM code."}

    monkeypatch.setattr(nights, "finetune_events", events)
    for options, expected in (({}, ["Not enough BEAM code."]), ({"triplets": True}, [])):
        async with workspace.subscribe() as queue:
            assert [event["event"] async for event in finetune_service.events(workspace, "user", options)] == [
                "problem"
            ]
            handle_event = [queue.get_nowait() for _ in range(queue.qsize())]
        assert [event["problem"] for event in handle_event if "problem" in event] == expected
        assert "problem" not in finetune_service.status(workspace)
        assert finetune_service.status(workspace)["last_problem"] == "Not enough BEAM code."
    await asyncio.sleep(0)


async def test_scheduled_runs_that_fail_are_a_problem_with_their_reason(workspace, finetune_service):
    """The status shows why scheduled runs failed, for example that the disk is full."""
    folder, data = paths.finetune_dir(workspace.data, workspace.root), workspace.data
    finetune_service._context.data = data
    finetune_service._context.workspaces = SimpleNamespace(open={workspace.root: workspace}, get=lambda _: workspace)
    roots = paths.checkpoints_dir(data) / "roots.json"
    roots.parent.mkdir(parents=True, exist_ok=True)
    roots.write_text(json.dumps({str(workspace.root): ["2026-03-01T00:00:00+00:00", "2026-03-02"]}))
    run = history.begin_run(folder, "schedule", "2026-03-03", {})
    history.end_run(folder, run, history.FAILED, "The disk is full.", {})
    assert await finetune_service.start_due_runs(datetime(2026, 3, 3, 2, 5, tzinfo=UTC), quiet=True) == []
    status = finetune_service.status(workspace)
    assert (status["problem"].startswith(status["waiting_for"]), "The disk is full." in status["problem"]) == (
        True,
        True,
    )
    history.end_run(folder, history.begin_run(folder, "schedule", "2026-03-03", {}), history.KEPT, "", {})
    await finetune_service.start_due_runs(datetime(2026, 3, 3, 2, 10, tzinfo=UTC), quiet=True)
    assert finetune_service.status(workspace) == {"running": False, "waiting_for": "", "problem": ""}


async def test_one_window_with_an_impossible_cron_line_stops_no_other_run(workspace, finetune_service, tmp_path):
    """Its own status has the sentence; the run of the other workspace begins, though its clock was a year ahead."""
    data, other = workspace.data, tmp_path / "other"
    other.mkdir()
    overrides = {"finetune": {"cron": "0 2 31 2 *"}}
    bad = SimpleNamespace(root=other, settings=load_settings(data, other, overrides)[0])
    opened = {other: bad, workspace.root: workspace}
    finetune_service._context.data = data
    finetune_service._context.workspaces = SimpleNamespace(open=opened, get=opened.__getitem__)
    roots = paths.checkpoints_dir(data) / "roots.json"
    roots.parent.mkdir(parents=True, exist_ok=True)
    roots.write_text(json.dumps({str(root): ["2027-03-01T00:00:00+00:00", "2027-03-02"] for root in opened}))
    begun: list[str] = []
    finetune_service.start = lambda started, *_: begun.append(started.root)
    assert await finetune_service.start_due_runs(datetime(2026, 3, 2, 12, 0, tzinfo=UTC), quiet=True) == []
    await finetune_service.start_due_runs(datetime(2026, 3, 3, 2, 5, tzinfo=UTC), quiet=True)
    assert begun == [workspace.root]
    assert "is no cron line" in finetune_service.status(bad)["problem"]
    assert finetune_service.status(workspace)["problem"] == ""


async def test_a_damaged_checkpoint_is_a_problem_until_another_model_serves(workspace, finetune_service):
    """It stays through the indexer's runs, and goes with the rollback."""
    folder = paths.finetune_dir(workspace.data, workspace.root)
    one_run(folder, "older")
    workspace.report_refused("Checkpoint newer is damaged: roll back to another one.")
    for _ in range(3):
        workspace.handle_event({"event": "ready"})
    assert workspace.problems == ["Checkpoint newer is damaged: roll back to another one."]
    workspace.forget_refused()
    assert workspace.problems == []
    workspace.handle_event({"event": "ready"})
    assert workspace.problems == []
