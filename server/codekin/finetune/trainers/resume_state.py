"""Saves the state of a run in progress, so that a killed run resumes from a few minutes earlier.

    <folder>/resume/state.safetensors     weights, optimiser moments, progress, losses, torch's random state
    <folder>/resume/epoch-1.safetensors   the weights after each finished epoch

Each file is replaced by rename. A key names the data and the options: with another key, or an unreadable file, the
run starts anew.
"""

import json
import shutil
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from codekin.util.files import replacing

SAVE_INTERVAL_SECONDS = 120.0
"""A killed run goes back by this, and the step it was at."""


@dataclass(slots=True)
class TrainingPosition:
    """How far a run is: epochs that are through with their losses and seconds, batches and loss of the current one."""

    losses: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    batches: int = 0
    steps: int = 0
    total: float = 0.0
    elapsed: float = 0.0


class ResumeState:
    """The state of one run in `folder`; a None folder keeps nothing."""

    def __init__(self, folder: Path | None, *about: Any) -> None:
        """`about` is what makes a run this run: anything, which is only hashed, or the `key` of such a run."""
        self.run_folder = folder
        self.key = about[0] if len(about) == 1 and isinstance(about[0], str) else _hash_key(about)
        self._folder = folder / "resume" if folder else None
        self._saved = time.monotonic()

    def restore(self, parameters: Sequence[Tensor], optimizer: torch.optim.Optimizer) -> TrainingPosition:
        """Loads the weights and moments of the interrupted run, and returns its position."""
        found = self._read("state.safetensors", parameters)
        if found is None:
            return TrainingPosition()
        tensors, about = found
        with torch.no_grad():
            for at, parameter in enumerate(parameters):
                parameter.copy_(tensors[f"weight.{at}"])
                moments = {"exp_avg": tensors[f"mean.{at}"], "exp_avg_sq": tensors[f"square.{at}"]}
                optimizer.state[parameter] = {"step": torch.tensor(float(about["steps"])), **moments}
        torch.set_rng_state(tensors["random"])
        return TrainingPosition(**about)

    def epoch(self, number: int, parameters: Sequence[Tensor]) -> bool:
        """Fills in the weights after an epoch that is through; False where they are lost."""
        found = self._read(f"epoch-{number}.safetensors", parameters)
        if found is None:
            return False
        with torch.no_grad():
            for at, parameter in enumerate(parameters):
                parameter.copy_(found[0][f"weight.{at}"])
        return True

    def save(
        self, position: TrainingPosition, parameters: Sequence[Tensor], optimizer: torch.optim.Optimizer, ended: bool
    ) -> None:
        """Keeps the state after a step, now and then; `ended`: an epoch is through, which is always kept."""
        if self._folder is None or not (ended or time.monotonic() - self._saved > SAVE_INTERVAL_SECONDS):
            return
        weights = {f"weight.{at}": parameter.detach().clone() for at, parameter in enumerate(parameters)}
        state = {"random": torch.get_rng_state()}
        for at, parameter in enumerate(parameters):
            moments = optimizer.state[parameter]
            state |= {f"mean.{at}": moments["exp_avg"], f"square.{at}": moments["exp_avg_sq"]}
        if ended:
            self._write(f"epoch-{len(position.losses)}.safetensors", weights, position)
        self._write("state.safetensors", {**weights, **state}, position)
        self._saved = time.monotonic()

    def _write(self, name: str, tensors: dict[str, Tensor], position: TrainingPosition) -> None:
        """A state that cannot be kept, on a full disk for instance, costs only the way back to it."""
        if self._folder is None:
            return
        with suppress(OSError, SafetensorError), replacing(self._folder / name, durable=True) as part:
            save_file(tensors, part, {"key": self.key, "position": json.dumps(asdict(position))})

    def _read(self, name: str, parameters: Sequence[Tensor]) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """A file of this very run whose tensors fit."""
        if self._folder is None:
            return None
        try:
            with safe_open(self._folder / name, "pt") as file:
                about = file.metadata() or {}
            tensors = load_file(self._folder / name)
        except (OSError, SafetensorError, ValueError):
            return None
        fits = all(
            f"weight.{at}" in tensors and tensors[f"weight.{at}"].shape == parameter.shape
            for at, parameter in enumerate(parameters)
        )
        return (tensors, json.loads(about["position"])) if fits and about.get("key") == self.key else None


def delete_resume_state(folder: Path) -> None:
    """The run is over."""
    shutil.rmtree(folder / "resume", ignore_errors=True)


def _hash_key(about: tuple[Any, ...]) -> str:
    return sha256(repr(about).encode("utf-8", "replace")).hexdigest()


NO_RESUME_STATE = ResumeState(None)
