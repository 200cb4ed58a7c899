"""A run that was killed goes on from where its state was kept, and ends as if nothing had happened."""

import os
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from codekin.errors import FinetuneError
from codekin.finetune.trainers import resume_state
from codekin.finetune.trainers.loop import TrainingContext, TrainingOptions, train_epochs
from codekin.finetune.trainers.resume_state import ResumeState, delete_resume_state

TRAINING = TrainingOptions(epochs=3, learning_rate=0.05, batch_size=4)
COUNT = 18


class Killed(BaseException):
    """What no `except Exception` catches: the end of the process."""


class Matrix:
    """A student of one matrix; it dies at the step it is told to."""

    def __init__(self, dies_at: int = 0, broken: bool = False) -> None:
        self.weight = torch.eye(6).requires_grad_(True)
        self.parameters = [self.weight]
        self.steps, self.dies_at, self.broken = 0, dies_at, broken
        self._sides = torch.nn.functional.normalize(
            torch.randn(3, COUNT, 6, generator=torch.Generator().manual_seed(7)), dim=2
        )

    def encode(self, rows):
        self.steps += 1
        if self.steps == self.dies_at:
            raise Killed
        sides = self._sides[:, rows] @ self.weight.T * (float("nan") if self.broken else 1.0)
        return tuple(torch.nn.functional.normalize(sides, dim=2))

    def penalty(self):
        return ((self.weight - torch.eye(6)) ** 2).sum() * 0.01


def trained(triplet_encoder: Matrix, kept: ResumeState) -> tuple[list[float], list[torch.Tensor]]:
    """Losses and weights after each epoch."""
    epochs = [
        (passed.loss, triplet_encoder.weight.detach().clone())
        for passed in train_epochs(triplet_encoder, COUNT, TRAINING, 0.05, context=TrainingContext(kept))
    ]
    return [loss for loss, _ in epochs], [weight for _, weight in epochs]


@pytest.mark.parametrize("dies_at", [1, 3, 5, 6, 7, 11, 15])
def test_killed_at_a_step_it_goes_on_from_there(tmp_path, monkeypatch, dies_at):
    """Weights, the optimiser's moments, the order of the rest and the losses are those of a run without a kill."""
    monkeypatch.setattr(resume_state, "SAVE_INTERVAL_SECONDS", 0.0)
    losses, weights = trained(Matrix(), ResumeState(None))
    with pytest.raises(Killed):
        trained(Matrix(dies_at), ResumeState(tmp_path, "run"))
    again = Matrix()
    resumed_losses, resumed = trained(again, ResumeState(tmp_path, "run"))
    assert again.steps == 15 - (dies_at - 1)
    np.testing.assert_allclose(resumed_losses, losses, rtol=1e-6)
    for mine, whole in zip(resumed, weights, strict=True):
        torch.testing.assert_close(mine, whole)


def test_between_two_saves_little_is_lost(tmp_path, monkeypatch):
    """The state is kept at the end of each epoch whatever the time, and otherwise now and then."""
    monkeypatch.setattr(resume_state, "SAVE_INTERVAL_SECONDS", 3600.0)
    with pytest.raises(Killed):
        trained(Matrix(dies_at=8), ResumeState(tmp_path, "run"))
    again = Matrix()
    trained(again, ResumeState(tmp_path, "run"))
    assert again.steps == 10


@pytest.mark.parametrize("harm", ["other run", "cut", "garbage", "forgotten"])
def test_a_state_that_is_not_of_this_run_is_left_alone(tmp_path, monkeypatch, harm):
    """Other triplets or a damaged file: the run begins anew and comes to the same end."""
    monkeypatch.setattr(resume_state, "SAVE_INTERVAL_SECONDS", 0.0)
    with pytest.raises(Killed):
        trained(Matrix(dies_at=9), ResumeState(tmp_path, "run"))
    state = tmp_path / "resume" / "state.safetensors"
    if harm == "cut":
        state.write_bytes(state.read_bytes()[:-40])
    elif harm == "garbage":
        state.write_bytes(b"\x80\x04" * 100)
    elif harm == "forgotten":
        delete_resume_state(tmp_path)
    again = Matrix()
    losses, _ = trained(again, ResumeState(tmp_path, "other" if harm == "other run" else "run"))
    assert again.steps == 15
    np.testing.assert_allclose(losses, trained(Matrix(), ResumeState(None))[0], rtol=1e-6)


def test_a_state_that_cannot_be_written_does_not_end_the_run(tmp_path, monkeypatch):
    """A full disk costs the resume state, and the run goes on."""
    monkeypatch.setattr(resume_state, "SAVE_INTERVAL_SECONDS", 0.0)
    (tmp_path / "resume").write_text("a file in the place of the folder")
    assert len(trained(Matrix(), ResumeState(tmp_path, "run"))[0]) == 3


def test_a_loss_that_is_no_number_ends_the_run(tmp_path):
    """Training that diverges is an error that names the learning rate; its weights are dropped."""
    with pytest.raises(FinetuneError, match=r"lower finetune\.learning_rate"):
        trained(Matrix(broken=True), ResumeState(tmp_path, "run"))


KILLED = """
import os, signal, sys
sys.path[:0] = sys.argv[2:]
from pathlib import Path
from codekin.finetune.trainers import resume_state
from codekin.finetune.trainers.resume_state import ResumeState
from test_finetune_resume_state import Matrix, trained
resume_state.SAVE_INTERVAL_SECONDS = 0.0
student = Matrix()
encode = student.encode
def dying(rows):
    if student.steps == 9:
        os.kill(os.getpid(), signal.SIGKILL)
    return encode(rows)
student.encode = dying
trained(student, ResumeState(Path(sys.argv[1]), "run"))
"""


def test_the_real_signal(tmp_path):
    """A process that SIGKILL ends leaves a state that another one takes up."""
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path), *sys.path], check=False, env=os.environ)
    assert done.returncode == -signal.SIGKILL
    again = Matrix()
    losses, _ = trained(again, ResumeState(tmp_path, "run"))
    assert again.steps == 6
    np.testing.assert_allclose(losses, trained(Matrix(), ResumeState(None))[0], rtol=1e-6)


def test_the_order_is_another_each_epoch_and_the_same_each_time(tmp_path):
    """The seed decides it."""
    one, two = (trained(Matrix(), ResumeState(None))[1][-1] for _ in range(2))
    assert torch.equal(one, two)
    other = Matrix()
    list(train_epochs(other, COUNT, replace(TRAINING, seed=1), 0.05))
    assert not torch.equal(other.weight, one)
