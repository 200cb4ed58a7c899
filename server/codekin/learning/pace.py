"""How fast a run is: what is left of it, and why it is slow where it is.

Pure functions and a clock that is handed in; `machine_now` reads the machine.
"""

import os
from dataclasses import dataclass

SLOW_SECONDS = 900.0
"""A training that takes longer is worth a word."""

SETTLED = 3
"""Steps until an estimate means something."""


@dataclass(frozen=True, slots=True)
class Hardware:
    """What a training runs on: device, the dtype of its products, processors and how many programs want one."""

    device: str
    dtype: str
    processors: int
    load: float


class Pace:
    """The estimate of one phase after the other."""

    def __init__(self) -> None:
        self._phase = ""
        self._began = 0.0
        self._first = 0

    def seconds_left(self, phase: str, done: int, total: int, now: float) -> float | None:
        """What is left of a phase at its mean rate; None until that is known. `now` only grows."""
        if phase != self._phase or done < self._first:
            self._phase, self._began, self._first = phase, now, done
        steps = done - self._first
        return round((total - done) * (now - self._began) / steps, 1) if steps >= SETTLED else None


def why_slow(seconds: float, method: str, hardware: Hardware) -> str:
    """The sentence on a training that will take so long; empty for one that is quick enough."""
    if seconds < SLOW_SECONDS:
        return ""
    reasons = []
    if hardware.device == "cpu":
        reasons.append("there is no GPU")
        if hardware.dtype == "float32":
            reasons.append("this processor is not faster in bfloat16")
    if hardware.load > hardware.processors:
        reasons.append(f"other programs keep its {hardware.processors} processors busy")
    advice = "" if method == "head" else "; the method head takes seconds"
    why = f", since {' and '.join(reasons)}" if reasons else ""
    return (
        f"Learning goes on for about {seconds / 60:.0f} minutes on {hardware.device} in {hardware.dtype}{why}{advice}."
    )


def machine_now(device: str) -> Hardware:
    """The machine as it is."""
    from codekin.models.kernels import fastest_kernel  # noqa: PLC0415 - brings torch, which a training has by then

    dtype = str(fastest_kernel().dtype).removeprefix("torch.") if device == "cpu" else "bfloat16"
    return Hardware(device, dtype, os.cpu_count() or 1, os.getloadavg()[0])
