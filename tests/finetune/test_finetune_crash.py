"""Killed at whatever step, a run leaves the old model or the new one, whole, and its changes are used once."""

import multiprocessing
import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from finetune_samples import NoisyEmbedder, application, built_index

from codekin.errors import FinetuneError
from codekin.finetune import history
from codekin.finetune.gate import GateDecision
from codekin.finetune.history import finetune_lock
from codekin.finetune.publication import FinetuneOutcome, record_outcome
from codekin.indexing.embedding_queue import EmbeddedBatch, EmbeddingBacklog
from codekin.models import checkpoints
from codekin.models.embedding.finetuned import active_head, head_space
from codekin.storage import ChunkIndex
from daemons import eventually

SPACE = "space-1"
OLD, NEW = np.eye(4, dtype=np.float32), 2 * np.eye(4, dtype=np.float32)
DURABLE_STEPS = (
    (os, "fsync"),
    (Path, "rename"),
    (Path, "replace"),
    (history, "end_run"),
    (checkpoints, "prune_checkpoints"),
)


class Killed(BaseException):
    """What no `except Exception` catches: the end of the process."""


def one_run(folder: Path, matrix: np.ndarray, name: str, span: tuple[int, int]) -> None:
    run = history.begin_run(folder, "user", "", {})
    found = FinetuneOutcome(run, name, GateDecision(activate=True, reason="better"), {"epochs": []}, span, keep=3)
    record_outcome(folder, found, checkpoints.head_files(matrix), {"base_space": SPACE})


def dying_after(monkeypatch, steps: int) -> list[str]:
    """From now on the process dies before the step after so many; gives the list of those that were done."""
    done: list[str] = []

    def guarded(real, name):
        def step(*given, **more):
            if len(done) == steps:
                raise Killed
            done.append(name)
            return real(*given, **more)

        return step

    for owner, name in DURABLE_STEPS:
        monkeypatch.setattr(owner, name, guarded(getattr(owner, name), name))
    return done


def test_killed_at_every_durable_step(tmp_path, monkeypatch):
    """Write, sync, rename, point, note: between any two of them the power may fail."""
    outcomes = []
    for steps in range(100):
        folder = tmp_path / str(steps)
        one_run(folder, OLD, "old", (0, 5))
        with monkeypatch.context() as patch:
            done = dying_after(patch, steps)
            try:
                one_run(folder, NEW, "new", (5, 9))
            except Killed:
                pass
            finished = len(done) < steps
        outcomes.append(recovered(folder))
        if finished:
            break
    assert len(outcomes) > 12
    assert outcomes == sorted(outcomes)  # old for a while, new from one step on
    assert {outcomes[0], outcomes[-1]} == {"a: old", "b: new"}


def recovered(folder: Path) -> str:
    """What serves after a death, checked against what the history says of it."""
    history.close_interrupted_runs(folder)
    matrix = active_head(folder, SPACE).matrix
    latest = history.list_runs(folder)[0]
    if np.array_equal(matrix, OLD):
        assert (latest.checkpoint == "old") or latest.decision == history.INTERRUPTED
        assert history.last_used_change(folder) == 5
        return "a: old"
    assert np.array_equal(matrix, NEW)
    assert (latest.decision, latest.checkpoint, latest.from_seq, latest.to_seq) == ("activated", "new", 5, 9)
    assert history.last_used_change(folder) == 9
    return "b: new"


KILLS = int(os.environ.get("CODEKIN_TEST_KILLS", "100"))


def learn_without_end(data: Path, begun) -> None:
    """Run after run: a new head takes over, and the index moves into its space as the indexer moves it."""
    folder = data / "finetune"
    base = NoisyEmbedder(space=SPACE)
    begun.set()
    while True:
        history.close_interrupted_runs(folder)
        number = history.last_used_change(folder)
        matrix = turned(base.dimensions, number + 1)
        run = history.begin_run(folder, "user", "", {})
        found = FinetuneOutcome(
            run, f"run{run}", GateDecision(activate=True, reason="better"), {}, (number, number + 1), keep=3
        )
        about = {"base_space": SPACE, "space": head_space(SPACE, matrix), "number": number + 1}
        record_outcome(folder, found, checkpoints.head_files(matrix), about)
        with ChunkIndex.open(data / "index", write=True) as index:
            backlog = EmbeddingBacklog(index, lambda space: active_head(folder, space))
            backlog.enter(EmbeddedBatch(SPACE, base.name, base.dimensions))
            backlog.promote_space()


def turned(dimensions: int, number: int) -> np.ndarray:
    """A head of its own for each number."""
    return np.roll(np.eye(dimensions, dtype=np.float32), number, axis=0)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_at_a_hundred_random_points(tmp_path):
    """Learner and indexer die by the real signal: the old or the new model is whole, and each change is used once."""
    with built_index(tmp_path / "index", NoisyEmbedder(space=SPACE), application(3)):
        pass
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["pytest", "psutil", "codekin.indexing.embedding_queue", "codekin.finetune.pipeline"]
    )
    chance, outcomes = np.random.default_rng(1), Counter()
    seconds = begin_and_kill(
        context, tmp_path, lambda: eventually(lambda: len(history.list_runs(tmp_path / "finetune")) > 1)
    )
    for _ in range(KILLS):
        begin_and_kill(context, tmp_path, partial(time.sleep, chance.uniform(0.0, seconds)))
        outcome = whole_after_death(tmp_path)
        outcomes[outcome] += 1
        seconds *= 1.1 if outcome == "behind" else 0.9  # however busy the machine is, about half come through
    assert len(outcomes) > 1  # some died between the pointer and the switch, some did not


def begin_and_kill(context, data: Path, wait: Callable[[], object]) -> float:
    """A learner that SIGKILL ends after a wait; gives the seconds of that."""
    begun = context.Event()
    process = context.Process(target=learn_without_end, args=(data, begun), daemon=True)
    process.start()
    assert begun.wait(60)
    start = time.monotonic()
    wait()
    lived = time.monotonic() - start
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    return lived


def whole_after_death(data: Path) -> str:
    """What is active and what serves, each checked against the truth; gives whether the index has followed."""
    folder, base = data / "finetune", NoisyEmbedder(space=SPACE)
    history.close_interrupted_runs(folder)
    past = [run for run in reversed(history.list_runs(folder, 100_000)) if run.decision != history.INTERRUPTED]
    assert [(run.from_seq, run.to_seq) for run in past] == [(number, number + 1) for number in range(len(past))]
    head = active_head(folder, SPACE)
    assert checkpoints.read_pointer(folder) == (past[-1].checkpoint if past else checkpoints.BASE)
    if head is not None:
        assert np.array_equal(head.matrix, turned(base.dimensions, len(past)))
    with ChunkIndex.open(data / "index") as index:
        serving, status = index.serving_space(), index.status()
        assert status.vectors == status.chunks > 0
        chunk = index.chunks(next(iter(index.files())))[0]
        plain, stored = base.embed([chunk.text])[0], index.vector(chunk.digest)
        shifts = [shift for shift in range(len(past) + 1) if np.allclose(np.roll(plain, shift), stored, atol=2e-3)]
        assert shifts
        assert serving.fingerprint in {SPACE, *(head_space(SPACE, turned(base.dimensions, n)) for n in shifts)}
        return "followed" if head and serving.fingerprint == head.space else "behind"


def test_two_learners_do_not_run_at_a_time(tmp_path, monkeypatch):
    """The lock dies with its holder, so the next one begins at once."""
    monkeypatch.setattr("codekin.finetune.history.LOCK_TIMEOUT_SECONDS", 0.0)
    with finetune_lock(tmp_path), pytest.raises(FinetuneError, match="under way"), finetune_lock(tmp_path):
        pass
    with finetune_lock(tmp_path):
        pass
