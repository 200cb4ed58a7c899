"""A run comes to a decision, keeps what it must and leaves a way back."""

import errno
import json
from datetime import UTC, datetime

import numpy as np
import pytest
from finetune_samples import NoisyEmbedder, built_index, module, no_progress, write_files

from codekin.errors import CheckpointError, FinetuneError
from codekin.finetune import history
from codekin.finetune.dataset.triplets import TripletMix
from codekin.finetune.gate import GateDecision
from codekin.finetune.pipeline import FinetuneConfig, finetune_workspace
from codekin.finetune.publication import FinetuneOutcome, record_outcome, roll_back
from codekin.finetune.scheduler import BY_SCHEDULE
from codekin.finetune.trainers.loop import TrainingOptions
from codekin.models import checkpoints
from codekin.models.embedding.finetuned import active_head, checkpoint_of_space, read_head
from codekin.storage import ChunkIndex
from fakes import write_head

ORDER = FinetuneConfig(TripletMix(count=300), TrainingOptions(epochs=2), date="2026-03-01")


def test_a_better_model_takes_over(shared_index, embedder, folder):
    """The pointer names the run's checkpoint, the history its figures, and the head can be read."""
    run = finetune_workspace(shared_index, folder, embedder, ORDER, no_progress)
    assert run.decision == history.ACTIVATED
    assert checkpoints.read_pointer(folder) == run.checkpoint == checkpoints.read_pointer(folder, "latest")
    assert active_head(folder, embedder.space).matrix.shape == (64, 64)
    assert checkpoints.list_checkpoints(folder) == [f"{run.checkpoint}-e1", f"{run.checkpoint}-e2", run.checkpoint]
    assert roll_back(folder, f"{run.checkpoint}-e1", embedder) == f"{run.checkpoint}-e1"
    assert checkpoint_of_space(folder, active_head(folder, embedder.space).space) == f"{run.checkpoint}-e1"
    assert roll_back(folder, run.checkpoint, embedder) == run.checkpoint
    row = history.run_to_json(run, run.checkpoint)
    assert row["active"]
    assert row["after"]["map"] > row["before"]["map"] + 0.03
    assert datetime.fromisoformat(row["started"]) <= datetime.now(UTC)
    assert len(row["losses"]) == ORDER.training.epochs
    assert history.last_used_change(folder) == run.to_seq > 0


def test_a_run_after_a_damaged_checkpoint_starts_from_the_base(shared_index, embedder, folder):
    """The base serves then, so a new model must beat the base, and later runs succeed."""
    rotten = finetune_workspace(shared_index, folder, embedder, ORDER, no_progress)
    (folder / rotten.checkpoint / checkpoints.HEAD_FILE).write_bytes(b"rot")
    run = finetune_workspace(shared_index, folder, embedder, ORDER, no_progress)
    assert (run.decision, checkpoints.read_pointer(folder)) == (history.ACTIVATED, run.checkpoint)
    assert run.report["note"].startswith(f"Checkpoint {rotten.checkpoint} is damaged")
    assert run.report["evaluation"]["before"] == run.report["from_base"]["before"]
    assert active_head(folder, embedder.space) is not None


def test_a_dry_run_changes_nothing(shared_index, embedder, folder):
    """Only the history may know of it; the changes stay unused."""
    run = finetune_workspace(
        shared_index, folder, embedder, FinetuneConfig(TripletMix(100), TrainingOptions(1), dry_run=True), no_progress
    )
    assert run.decision == history.DRY_RUN
    assert run.reason
    assert run.report["better"] == ("old model stays" not in run.reason)
    assert checkpoints.list_checkpoints(folder) == []
    assert checkpoints.read_pointer(folder) == checkpoints.BASE
    assert history.last_used_change(folder) == 0


def test_a_model_that_is_not_better_does_not_take_over(tmp_path, folder):
    """On vectors that are right already, nothing beyond noise can be gained."""
    clear = NoisyEmbedder(noise=0.0, space="clear-1")
    with built_index(tmp_path / "index", clear) as index:
        finetune_workspace(index, folder, clear, ORDER, no_progress)
        again = finetune_workspace(index, folder, clear, ORDER, no_progress)
    assert again.decision == history.KEPT
    assert "the old model stays" in again.reason
    assert checkpoints.read_pointer(folder) != again.checkpoint


def test_too_little_elixir_is_reported_and_nothing_trained(tmp_path, embedder, folder):
    """Three functions or five hundred lines are the least."""
    small = {"lib/a.ex": module(1)}
    refused = pytest.raises(FinetuneError, match="Not enough BEAM code: 3 Elixir or Erlang functions")
    with built_index(tmp_path / "index", embedder, small) as index, refused:
        finetune_workspace(index, folder, embedder, ORDER, no_progress)
    (run,) = history.list_runs(folder)
    assert (run.decision, checkpoints.list_checkpoints(folder)) == (history.SKIPPED, [])
    assert "Not enough BEAM code" in run.reason


def test_a_scheduled_run_with_too_little_elixir_is_no_problem(tmp_path, embedder, folder):
    """A scheduled run without enough data is recorded as skipped, with the reason."""
    config = FinetuneConfig(TripletMix(300), TrainingOptions(1), trigger=BY_SCHEDULE, date="2026-03-02")
    with built_index(tmp_path / "index", embedder, {"lib/a.ex": module(1)}) as index:
        run = finetune_workspace(index, folder, embedder, config, no_progress)
    assert (run.decision, "Not enough BEAM code" in run.reason) == (history.SKIPPED, True)


def test_the_next_run_sees_what_changed_since(tmp_path, embedder, folder):
    """The range of each run begins where the last one that ended left off, and is used once."""
    place = tmp_path / "index"
    with built_index(place, embedder) as index:
        first = finetune_workspace(index, folder, embedder, ORDER, no_progress)
    with ChunkIndex.open(place, write=True) as index:
        write_files(index, {"lib/part1.ex": module(1).replace("10)", "12)")}, embedder)
    with ChunkIndex.open(place) as index:
        second = finetune_workspace(index, folder, embedder, ORDER, no_progress)
        assert second.from_seq == first.to_seq < second.to_seq
        config = FinetuneConfig(TripletMix(300), TrainingOptions(1), trigger=BY_SCHEDULE, date="2026-03-02")
        quiet = finetune_workspace(index, folder, embedder, config, no_progress)
    assert (quiet.decision, quiet.reason) == (history.SKIPPED, "Nothing changed since the last run.")


@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "is full: free some space and fine-tune again"),
        (MemoryError(), "Memory ran out even for one triplet at a time: close other programs"),
    ],
)
def test_a_trouble_is_named_and_the_old_model_serves_on(shared_index, embedder, folder, monkeypatch, trouble, said):
    """A failed write gives one sentence with the remedy, in the history as well."""
    write_head(folder, "old", np.eye(64, dtype=np.float32), {"base_space": embedder.space})
    checkpoints.set_pointer(folder, "active", "old")

    def fail(*_: object) -> None:
        raise trouble

    monkeypatch.setattr(checkpoints, "_write_durably", fail)
    with pytest.raises(FinetuneError, match=said):
        finetune_workspace(shared_index, folder, embedder, ORDER, no_progress)
    (run,) = history.list_runs(folder)
    assert (run.decision, history.last_used_change(folder)) == (history.FAILED, 0)
    assert said in run.reason
    assert "the previous model stays active" in run.reason
    assert active_head(folder, embedder.space).name == "old"


def test_a_failed_run_uses_no_changes(shared_index, embedder, folder):
    """What went wrong is in the history, and the next run begins at the same place."""

    def fail(*_: object) -> None:
        raise OSError("No space left on device")

    with pytest.raises(OSError, match="No space left"):
        finetune_workspace(shared_index, folder, embedder, ORDER, fail)
    (run,) = history.list_runs(folder)
    assert (run.decision, history.last_used_change(folder)) == (history.FAILED, 0)
    assert "No space left on device" in run.reason


def test_the_way_back(shared_index, embedder, folder):
    """Back to the one before without a name, to any checkpoint by its name or its run, and to the base."""
    matrix = np.eye(64, dtype=np.float32)
    for number, name in enumerate(("one", "two"), 1):
        write_head(folder, name, matrix * number, {"base_space": embedder.space})
        run = history.begin_run(folder, "user", "", {})
        history.end_run(folder, run, history.ACTIVATED, "better", {}, name, (0, number))
    checkpoints.set_pointer(folder, "active", "two")
    assert roll_back(folder, None, embedder) == "one"
    assert roll_back(folder, None, embedder) == "base"
    with pytest.raises(CheckpointError, match="There is no earlier model"):
        roll_back(folder, None, embedder)
    assert roll_back(folder, "two", embedder) == "two"
    assert roll_back(folder, "base", embedder) == "base"
    assert roll_back(folder, "1", embedder) == "one"  # as the history numbers its runs
    history.record_rollback(folder, "one")
    with pytest.raises(CheckpointError, match="Run 3 left no checkpoint"):
        roll_back(folder, "3", embedder)
    assert roll_back(folder, "base", embedder) == "base"
    with pytest.raises(CheckpointError, match="There is no checkpoint 'three'"):
        roll_back(folder, "three", embedder)
    assert checkpoints.read_pointer(folder) == "base"


@pytest.mark.parametrize("damage", ["flip", "truncate", "link", "shape", "nan", "foreign", "pickle", "header"])
def test_a_bad_checkpoint_is_refused_and_the_old_one_serves_on(folder, damage, tmp_path):
    """A bad checkpoint is refused with its reason, and the pointer stays."""
    good = np.eye(8, dtype=np.float32)
    write_head(folder, "good", good, {"base_space": "s"})
    checkpoints.set_pointer(folder, "active", "good")
    matrix = {"shape": good[:4], "nan": good * np.nan}.get(damage, good)
    write_head(folder, "bad", matrix, {"base_space": "other" if damage == "foreign" else "s"})
    spoil(folder / "bad", damage, tmp_path)
    with pytest.raises(CheckpointError, match="bad"):
        roll_back(folder, "bad", NoisyEmbedder(space="s"))
    assert checkpoints.read_pointer(folder) == "good"
    assert np.array_equal(active_head(folder, "s").matrix, good)


def spoil(place, damage, tmp_path) -> None:
    """Damages a checkpoint's weights on disk."""
    file = place / checkpoints.HEAD_FILE
    content = file.read_bytes()
    if damage == "flip":
        file.write_bytes(content[:-3] + bytes([content[-3] ^ 1]) + content[-2:])
    elif damage == "truncate":
        file.write_bytes(content[: len(content) // 2])
    elif damage == "link":
        (tmp_path / "elsewhere").write_bytes(content)
        file.unlink()
        file.symlink_to(tmp_path / "elsewhere")
    elif damage in {"pickle", "header"}:
        bad = b"\x80\x04N." if damage == "pickle" else (10**12).to_bytes(8, "little") + content[8:]
        file.write_bytes(bad)
        import hashlib

        manifest = json.loads((place / checkpoints.MANIFEST_FILE).read_text())
        manifest[checkpoints.HEAD_FILE] = hashlib.sha256(bad).hexdigest()
        (place / checkpoints.MANIFEST_FILE).write_text(json.dumps(manifest))


@pytest.mark.parametrize("name", ["../good", "/etc", "", ".good.part", "a" * 80, "good\0"])
def test_names_that_lead_elsewhere_are_no_checkpoints(folder, name):
    """A pointer or a command may name folders of checkpoints alone."""
    write_head(folder, "good", np.eye(2, dtype=np.float32), {"base_space": "s"})
    with pytest.raises(CheckpointError):
        read_head(folder, name, "s")
    (folder / "active").write_text(name)
    assert checkpoints.read_pointer(folder) == "base"


def test_old_checkpoints_go_but_never_the_active_one(folder):
    """Retention counts from the newest and spares what serves."""
    for number in range(6):
        write_head(folder, f"c{number}", np.eye(2, dtype=np.float32), {"base_space": "s"})
        if number == 0:
            checkpoints.set_pointer(folder, "active", "c0")
    (folder / ".c9.part").mkdir()
    checkpoints.prune_checkpoints(folder, 2)
    assert checkpoints.list_checkpoints(folder) == ["c0", "c4", "c5"]
    for name in ("c6-e1", "c6", "c7-e1", "c7-e2", "c7"):
        write_head(folder, name, np.eye(2, dtype=np.float32), {"base_space": "s"})
    checkpoints.prune_checkpoints(folder, 2)
    assert checkpoints.list_checkpoints(folder) == ["c0", "c6", "c7-e1", "c7-e2", "c7"]
    assert not (folder / ".c9.part").exists()


def test_what_has_served_outlives_any_number_of_refused_runs(folder, embedder):
    """The user goes back to a run that served, however many refused ones followed; a deleted one is named as such."""
    matrix = np.eye(embedder.dimensions, dtype=np.float32)

    def record(name: str, *, activate: bool) -> None:
        run = history.begin_run(folder, "user", "", {})
        decision = GateDecision(activate, "as the gate says")
        outcome = FinetuneOutcome(run, name, decision, {}, (run - 1, run), keep=3)
        record_outcome(folder, outcome, checkpoints.head_files(matrix), {"base_space": embedder.space})

    record("served", activate=True)
    checkpoints.set_pointer(folder, "active", checkpoints.BASE)
    for number in range(5):
        record(f"refused{number}", activate=False)
    assert checkpoints.list_checkpoints(folder) == ["served", "refused2", "refused3", "refused4"]
    assert roll_back(folder, "1", embedder) == "served"
    with pytest.raises(CheckpointError, match=r"run 2 .* has been deleted"):
        roll_back(folder, "2", embedder)
