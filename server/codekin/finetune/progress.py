"""What a run tells while it works: progress with the time left, and why it is slower than expected, with a remedy.

Every event is one JSON line on standard output. A scheduled run pauses between two steps while the user works.
"""

import json
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from codekin.models.linear import fastest_kernel
from codekin.models.planner import choose_device
from codekin.util.process import ProgressEstimator

SLOW_SECONDS = 300.0
"""A phase that takes longer is worth a word."""

MIN_STEPS_FOR_ESTIMATE = 3
"""Steps until an estimate means something."""

MIN_SECONDS_FOR_WARNING = 5.0
"""Seconds of a phase before it is called slow: its first steps warm up."""

RESUMED = threading.Event()
"""Cleared while the user works."""


@dataclass(frozen=True, slots=True)
class TrainingHardware:
    """What a run works on: device, the dtype of its products, processors and how many programs want one.

    `idle_gpu` is a GPU that is not used: "unused" where the settings leave it out, "unsupported" where this build of
    torch cannot reach it, empty where there is none.
    """

    device: str
    dtype: str
    processors: int
    load: float
    idle_gpu: str = ""


def explain_slow_training(seconds: float, method: str, hardware: TrainingHardware) -> str:
    """The sentence on a training that will take so long; empty for one that is quick enough."""
    if seconds < SLOW_SECONDS:
        return ""
    remedies = [*_remedies(hardware), *([] if method == "head" else ["the method head takes seconds"])]
    return _slow_sentence("training", seconds, hardware, _reasons(hardware), remedies)


def explain_slow_embedding(seconds: float, texts: int, hardware: TrainingHardware) -> str:
    """The sentence on embedding so many texts that no run has embedded before; empty where it is quick enough."""
    if seconds < SLOW_SECONDS:
        return ""
    reasons = [f"{texts} texts are embedded for the first time", *_reasons(hardware)]
    remedies = [*_remedies(hardware), "the next run embeds only what changed"]
    return _slow_sentence("embedding", seconds, hardware, reasons, remedies)


def _slow_sentence(
    phase: str, seconds: float, hardware: TrainingHardware, reasons: list[str], remedies: list[str]
) -> str:
    why = f", since {' and '.join(reasons)}" if reasons else ""
    advice = f"; {'; '.join(remedies)}" if remedies else ""
    took = f"{phase} takes about {seconds / 60:.0f} minutes on {hardware.device} in {hardware.dtype}"
    return f"Slower than expected: {took}{why}{advice}."


def _reasons(hardware: TrainingHardware) -> list[str]:
    found = []
    if hardware.device == "cpu":
        gpu = {"unused": "models.device leaves the GPU out", "unsupported": "this build of PyTorch has no CUDA"}
        found.append(gpu.get(hardware.idle_gpu, "there is no GPU"))
        if hardware.dtype == "float32":
            found.append("this processor is not faster in bfloat16")
    if hardware.load > hardware.processors:
        found.append(f"other programs keep its {hardware.processors} processors busy")
    return found


def _remedies(hardware: TrainingHardware) -> list[str]:
    gpu = {"unused": "set models.device to auto", "unsupported": "install a CUDA build of PyTorch"}
    found = [gpu[hardware.idle_gpu]] if hardware.device == "cpu" and hardware.idle_gpu else []
    return [*found, *(["close other programs"] if hardware.load > hardware.processors else [])]


def read_hardware(device: str) -> TrainingHardware:
    """The machine as it is, with work on this device."""
    dtype = str(fastest_kernel().dtype).removeprefix("torch.") if device == "cpu" else "bfloat16"
    idle_gpu = ""
    if device == "cpu":
        idle_gpu = "unused" if choose_device() != "cpu" else "unsupported" if shutil.which("nvidia-smi") else ""
    return TrainingHardware(device, dtype, os.cpu_count() or 1, os.getloadavg()[0], idle_gpu)


class ProgressReporter:
    """Reports progress and time left, once a phase why it is slow, and pauses while the user works."""

    def __init__(self, method: str, device: str = "cpu") -> None:
        self._method, self._device = method, device
        self._estimator = ProgressEstimator(MIN_STEPS_FOR_ESTIMATE)
        self._warned: set[str] = set()

    def __call__(self, phase: str, done: int, total: int) -> None:
        """A step is done."""
        estimate = self._estimator.update(phase, done, total, time.monotonic())
        left = estimate.seconds_left
        emit_event({"event": "progress", "phase": phase, "done": done, "total": total, "seconds_left": left})
        is_known = left is not None and estimate.elapsed >= MIN_SECONDS_FOR_WARNING
        if left and is_known and left >= SLOW_SECONDS and phase not in self._warned:
            self._warned.add(phase)
            if said := self._explain(phase, left, total):
                emit_event({"event": "note", "message": said})
        paused = time.monotonic()
        RESUMED.wait()
        self._estimator.skip(time.monotonic() - paused)

    def _explain(self, phase: str, left: float, total: int) -> str:
        hardware = read_hardware(self._device)
        if phase == "training":
            return explain_slow_training(left, self._method, hardware)
        return explain_slow_embedding(left, total, hardware) if phase == "embedding" else ""


class EpochReporter:
    """Emits one event an epoch: its figures, how many there are, and the seconds left by the mean epoch so far."""

    def __init__(self, epochs: int, emit: Callable[[Mapping[str, Any]], None]) -> None:
        self._epochs, self._emit = epochs, emit
        self._began = time.monotonic()

    def __call__(self, figures: Mapping[str, Any]) -> None:
        """An epoch is over; number 0 holds the figures from before."""
        number = int(figures["epoch"])
        if number == 0:
            self._began = time.monotonic()
        mean = (time.monotonic() - self._began) / max(1, number)
        left = round(mean * (self._epochs - number), 1) if number else None
        self._emit({"event": "epoch", "epochs": self._epochs, "seconds_left": left, **figures})


def emit_event(event: Mapping[str, Any]) -> None:
    """Writes an event for the parent process."""
    sys.stdout.write(json.dumps(event, default=str) + "\n")
    sys.stdout.flush()
