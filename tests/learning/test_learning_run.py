"""A run comes to a decision, keeps what it must and leaves a way back."""

import errno
import json
from datetime import UTC, datetime

import numpy as np
import pytest
from learning_samples import NoisyEmbedder, built_index, module, no_progress, write_files

from codekin.errors import CheckpointError, LearningError
from codekin.index import Index
from codekin.learning import history
from codekin.learning.loop import Training
from codekin.learning.rollback import go_back
from codekin.learning.run import Order, learn
from codekin.learning.schedule import BY_SCHEDULE
from codekin.learning.triplets import Mix
from codekin.models import checkpoints
from codekin.models.heads import active_head, read_head
from codekin.models.learned import name_of_space

ORDER = Order(Mix(count=300), Training(epochs=2), date="2026-03-01")


def test_a_better_model_takes_over(shared_index, embedder, folder):
    """The pointer names the run's checkpoint, the history its figures, and the head can be read."""
    run = learn(shared_index, folder, embedder, ORDER, no_progress)
    assert run.decision == history.ACTIVATED
    assert checkpoints.pointed(folder) == run.checkpoint == checkpoints.pointed(folder, "latest")
    assert active_head(folder, embedder.space).matrix.shape == (64, 64)
    assert checkpoints.names(folder) == [f"{run.checkpoint}-e1", f"{run.checkpoint}-e2", run.checkpoint]
    assert go_back(folder, f"{run.checkpoint}-e1", embedder) == f"{run.checkpoint}-e1"
    assert name_of_space(folder, active_head(folder, embedder.space).space) == f"{run.checkpoint}-e1"
    assert go_back(folder, run.checkpoint, embedder) == run.checkpoint
    row = history.as_row(run, run.checkpoint)
    assert row["active"]
    assert row["after"]["map"] > row["before"]["map"] + 0.03
    assert datetime.fromisoformat(row["started"]) <= datetime.now(UTC)
    assert len(row["losses"]) == ORDER.training.epochs
    assert history.used_until(folder) == run.to_seq > 0


def test_a_night_after_a_damaged_checkpoint_learns_from_the_base(shared_index, embedder, folder):
    """The base serves then, so it is what a new model must beat; the nights would fail until somebody went back."""
    rotten = learn(shared_index, folder, embedder, ORDER, no_progress)
    (folder / rotten.checkpoint / checkpoints.HEAD).write_bytes(b"rot")
    run = learn(shared_index, folder, embedder, ORDER, no_progress)
    assert (run.decision, checkpoints.pointed(folder)) == (history.ACTIVATED, run.checkpoint)
    assert run.report["note"].startswith(f"Checkpoint {rotten.checkpoint} is damaged")
    assert run.report["judged"]["before"] == run.report["from_base"]["before"]
    assert active_head(folder, embedder.space) is not None


def test_a_dry_run_changes_nothing(shared_index, embedder, folder):
    """Only the history may know of it; the changes stay unused."""
    run = learn(shared_index, folder, embedder, Order(Mix(100), Training(1), dry_run=True), no_progress)
    assert run.decision == history.DRY_RUN
    assert run.reason
    assert run.report["better"] == ("old model stays" not in run.reason)
    assert checkpoints.names(folder) == []
    assert checkpoints.pointed(folder) == checkpoints.BASE
    assert history.used_until(folder) == 0


def test_a_model_that_is_not_better_does_not_take_over(tmp_path, folder):
    """On vectors that are right already, nothing beyond noise can be gained."""
    clear = NoisyEmbedder(noise=0.0, space="clear-1")
    with built_index(tmp_path / "index", clear) as index:
        learn(index, folder, clear, ORDER, no_progress)
        again = learn(index, folder, clear, ORDER, no_progress)
    assert again.decision == history.KEPT
    assert "the old model stays" in again.reason
    assert checkpoints.pointed(folder) != again.checkpoint


def test_too_little_elixir_is_said_and_nothing_trained(tmp_path, embedder, folder):
    """Three functions or five hundred lines are the least."""
    small = {"lib/a.ex": module(1)}
    refused = pytest.raises(LearningError, match="Not enough BEAM code: 3 Elixir functions")
    with built_index(tmp_path / "index", embedder, small) as index, refused:
        learn(index, folder, embedder, ORDER, no_progress)
    (run,) = history.runs(folder)
    assert (run.decision, checkpoints.names(folder)) == (history.SKIPPED, [])
    assert "Not enough BEAM code" in run.reason


def test_a_night_with_too_little_elixir_passes_without_trouble(tmp_path, embedder, folder):
    """Nobody reads a warning every morning; the history says why nothing was learned."""
    night = Order(Mix(300), Training(1), asked_by=BY_SCHEDULE, date="2026-03-02")
    with built_index(tmp_path / "index", embedder, {"lib/a.ex": module(1)}) as index:
        run = learn(index, folder, embedder, night, no_progress)
    assert (run.decision, "Not enough BEAM code" in run.reason) == (history.SKIPPED, True)


def test_the_next_run_sees_what_changed_since(tmp_path, embedder, folder):
    """The range of each run begins where the last one that ended left off, and is used once."""
    place = tmp_path / "index"
    with built_index(place, embedder) as index:
        first = learn(index, folder, embedder, ORDER, no_progress)
    with Index.open(place, write=True) as index:
        write_files(index, {"lib/part1.ex": module(1).replace("10)", "12)")}, embedder)
    with Index.open(place) as index:
        second = learn(index, folder, embedder, ORDER, no_progress)
        assert second.from_seq == first.to_seq < second.to_seq
        night = Order(Mix(300), Training(1), asked_by=BY_SCHEDULE, date="2026-03-02")
        quiet = learn(index, folder, embedder, night, no_progress)
    assert (quiet.decision, quiet.reason) == (history.SKIPPED, "Nothing changed since the last run.")


@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "is full: free some space and learn again"),
        (MemoryError(), "Memory ran out even for one triplet at a time: close other programs"),
    ],
)
def test_a_trouble_is_named_and_the_old_model_serves_on(shared_index, embedder, folder, monkeypatch, trouble, said):
    """Wherever it happens, one sentence says what to do, in the history as well."""
    checkpoints.write_head(folder, "old", np.eye(64, dtype=np.float32), {"base_space": embedder.space})
    checkpoints.point(folder, "active", "old")

    def fail(*_: object) -> None:
        raise trouble

    monkeypatch.setattr(checkpoints, "_write_durably", fail)
    with pytest.raises(LearningError, match=said):
        learn(shared_index, folder, embedder, ORDER, no_progress)
    (run,) = history.runs(folder)
    assert (run.decision, history.used_until(folder)) == (history.FAILED, 0)
    assert said in run.reason
    assert "the old model serves on" in run.reason
    assert active_head(folder, embedder.space).name == "old"


def test_a_failed_run_uses_no_changes(shared_index, embedder, folder):
    """What went wrong is in the history, and the next run begins at the same place."""

    def fail(*_: object) -> None:
        raise OSError("No space left on device")

    with pytest.raises(OSError, match="No space left"):
        learn(shared_index, folder, embedder, ORDER, fail)
    (run,) = history.runs(folder)
    assert (run.decision, history.used_until(folder)) == (history.FAILED, 0)
    assert "No space left on device" in run.reason


def test_the_way_back(shared_index, embedder, folder):
    """Back to the one before without a name, to any checkpoint by its name or its run, and to the base."""
    matrix = np.eye(64, dtype=np.float32)
    for number, name in enumerate(("one", "two"), 1):
        checkpoints.write_head(folder, name, matrix * number, {"base_space": embedder.space})
        run = history.begin_run(folder, "user", "", {})
        history.end_run(folder, run, history.ACTIVATED, "better", {}, name, (0, number))
    checkpoints.point(folder, "active", "two")
    assert go_back(folder, None, embedder) == "one"
    assert go_back(folder, "two", embedder) == "two"
    assert go_back(folder, "base", embedder) == "base"
    assert go_back(folder, "1", embedder) == "one"  # as the history numbers its runs
    history.note_rollback(folder, "one")
    with pytest.raises(CheckpointError, match="Run 3 left no checkpoint"):
        go_back(folder, "3", embedder)
    assert go_back(folder, "base", embedder) == "base"
    with pytest.raises(CheckpointError, match="There is no checkpoint 'three'"):
        go_back(folder, "three", embedder)
    assert checkpoints.pointed(folder) == "base"


@pytest.mark.parametrize("damage", ["flip", "truncate", "link", "shape", "nan", "foreign", "pickle", "header"])
def test_a_bad_checkpoint_is_refused_and_the_old_one_serves_on(folder, damage, tmp_path):
    """Whatever is wrong with it, the reason is said and the pointer stays."""
    good = np.eye(8, dtype=np.float32)
    checkpoints.write_head(folder, "good", good, {"base_space": "s"})
    checkpoints.point(folder, "active", "good")
    matrix = {"shape": good[:4], "nan": good * np.nan}.get(damage, good)
    checkpoints.write_head(folder, "bad", matrix, {"base_space": "other" if damage == "foreign" else "s"})
    spoil(folder / "bad", damage, tmp_path)
    with pytest.raises(CheckpointError, match="bad"):
        go_back(folder, "bad", NoisyEmbedder(space="s"))
    assert checkpoints.pointed(folder) == "good"
    assert np.array_equal(active_head(folder, "s").matrix, good)


def spoil(place, damage, tmp_path) -> None:
    """Damages a checkpoint's weights on disk."""
    file = place / checkpoints.HEAD
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

        manifest = json.loads((place / checkpoints.MANIFEST).read_text())
        manifest[checkpoints.HEAD] = hashlib.sha256(bad).hexdigest()
        (place / checkpoints.MANIFEST).write_text(json.dumps(manifest))


@pytest.mark.parametrize("name", ["../good", "/etc", "", ".good.part", "a" * 80, "good\0"])
def test_names_that_lead_elsewhere_are_no_checkpoints(folder, name):
    """A pointer or a command may name folders of checkpoints alone."""
    checkpoints.write_head(folder, "good", np.eye(2, dtype=np.float32), {"base_space": "s"})
    with pytest.raises(CheckpointError):
        read_head(folder, name, "s")
    (folder / "active").write_text(name)
    assert checkpoints.pointed(folder) == "base"


def test_old_checkpoints_go_but_never_the_active_one(folder):
    """Retention counts from the newest and spares what serves."""
    for number in range(6):
        checkpoints.write_head(folder, f"c{number}", np.eye(2, dtype=np.float32), {"base_space": "s"})
        if number == 0:
            checkpoints.point(folder, "active", "c0")
    (folder / ".c9.part").mkdir()
    checkpoints.retain(folder, 2)
    assert checkpoints.names(folder) == ["c0", "c4", "c5"]
    for name in ("c6-e1", "c6", "c7-e1", "c7-e2", "c7"):
        checkpoints.write_head(folder, name, np.eye(2, dtype=np.float32), {"base_space": "s"})
    checkpoints.retain(folder, 2)
    assert checkpoints.names(folder) == ["c0", "c6", "c7-e1", "c7-e2", "c7"]
    assert not (folder / ".c9.part").exists()
