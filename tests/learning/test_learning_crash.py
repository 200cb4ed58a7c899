"""Killed at whatever step, a run leaves the old model or the new one, whole, and its changes are used once."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from codekin.errors import LearningError
from codekin.learning import history
from codekin.learning.gate import Decision
from codekin.learning.lock import one_learner
from codekin.learning.run import Conclusion, conclude
from codekin.models import checkpoints
from codekin.models.heads import active_head

SPACE = "space-1"
OLD, NEW = np.eye(4, dtype=np.float32), 2 * np.eye(4, dtype=np.float32)
DURABLE_STEPS = ((os, "fsync"), (Path, "rename"), (Path, "replace"), (history, "end_run"), (checkpoints, "retain"))


class Killed(BaseException):
    """What no `except Exception` catches: the end of the process."""


def one_run(folder: Path, matrix: np.ndarray, name: str, span: tuple[int, int]) -> None:
    run = history.begin_run(folder, "user", "", {})
    found = Conclusion(run, name, Decision(activate=True, reason="better"), {"epochs": []}, span, keep=3)
    conclude(folder, found, checkpoints.head_files(matrix), {"base_space": SPACE})


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
    history.settle(folder)
    matrix = active_head(folder, SPACE).matrix
    latest = history.runs(folder)[0]
    if np.array_equal(matrix, OLD):
        assert (latest.checkpoint == "old") or latest.decision == history.INTERRUPTED
        assert history.used_until(folder) == 5
        return "a: old"
    assert np.array_equal(matrix, NEW)
    assert (latest.decision, latest.checkpoint, latest.from_seq, latest.to_seq) == ("activated", "new", 5, 9)
    assert history.used_until(folder) == 9
    return "b: new"


KILLED = """
import os, sys, signal, threading, time
from pathlib import Path
import numpy as np
sys.path[:0] = sys.argv[3:]
from test_learning_crash import NEW, one_run
threading.Timer(float(sys.argv[2]), lambda: os.kill(os.getpid(), signal.SIGKILL)).start()
number = 0
while True:
    number += 1
    one_run(Path(sys.argv[1]), NEW * number, f"run{number}", (number - 1, number))
"""


@pytest.mark.slow
@pytest.mark.parametrize("attempt", range(int(os.environ.get("CODEKIN_TEST_KILLS", "3"))))
def test_sigkill_at_a_random_moment(tmp_path, attempt):
    """The real signal, in the middle of runs that follow each other without pause."""
    delay = np.random.default_rng(attempt).uniform(0.02, 0.4)
    script = [sys.executable, "-c", KILLED, str(tmp_path), str(delay), *sys.path]
    assert subprocess.run(script, check=False).returncode == -signal.SIGKILL
    history.settle(tmp_path)
    past = history.runs(tmp_path, 100_000)
    activated = [run for run in past if run.decision == history.ACTIVATED]
    assert {run.decision for run in past} <= {history.ACTIVATED, history.INTERRUPTED}
    assert [(run.from_seq, run.to_seq) for run in reversed(activated)] == [(n, n + 1) for n in range(len(activated))]
    if activated:
        assert checkpoints.pointed(tmp_path) == activated[0].checkpoint
        assert np.array_equal(active_head(tmp_path, SPACE).matrix, NEW * len(activated))


def test_two_learners_do_not_run_at_a_time(tmp_path, monkeypatch):
    """The lock dies with its holder, so the next one begins at once."""
    monkeypatch.setattr("codekin.learning.lock.PATIENCE", 0.0)
    with one_learner(tmp_path), pytest.raises(LearningError, match="under way"), one_learner(tmp_path):
        pass
    with one_learner(tmp_path):
        pass
