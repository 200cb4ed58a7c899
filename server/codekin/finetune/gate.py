"""Decides whether a new model may be activated: better here beyond noise, and not worse in general or than the base.

Where it is not better beyond noise, the reason says how many questions would show a gain of two points.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from codekin.finetune.evaluation import EvaluationGain

GATE_QUERY_KINDS = ("sentence", "renamed", "half")
"""The kinds of query that decide: training does not use them. `role` and `version`, which triplets teach, do not."""


MIN_QUERIES_PER_KIND = 30
"""A kind with fewer queries is reported but does not decide: it would add more noise than evidence."""


MIN_QUERIES = 20


MAX_GENERAL_LOSS = -0.01

SHOWN_GAIN = 0.02
"""The gain in MAP that a workspace's questions should be able to show."""

POWER_DEVIATIONS = 1.96 + 0.84
"""Standard errors that a gain must have to be found with 80 % power at a level of 5 % (two-sided)."""


@dataclass(frozen=True, slots=True)
class GateDecision:
    """Whether the new model takes over, and why, in a sentence."""

    activate: bool
    reason: str


def decide_activation(
    here: EvaluationGain, general: EvaluationGain | None, query_count: int, from_base: EvaluationGain | None = None
) -> GateDecision:
    """Activates if the gain's interval lies above zero, and neither general MAP nor that over the base falls.

    The base is compared with so that many small steps, each better than the last, lead nowhere worse.
    """
    points = f"{100 * here.mean:+.1f} points of MAP ({100 * here.low:+.1f} to {100 * here.high:+.1f})"
    if query_count < MIN_QUERIES:
        return GateDecision(
            False, f"Only {query_count} held-out questions: too few to compare the models, the old model stays."
        )
    if here.low <= 0:
        power = describe_power(here, query_count)
        return GateDecision(False, f"{points} on held-out code: not better beyond noise, the old model stays{power}.")
    if from_base is not None and from_base.mean < 0:
        lost = f"{100 * from_base.mean:+.1f} points against the model as it came"
        return GateDecision(False, f"{points} on held-out code, but {lost}: the old model stays.")
    if general is not None and general.mean < MAX_GENERAL_LOSS:
        return GateDecision(False, f"{points} here, but {100 * general.mean:+.1f} in general: the old model stays.")
    return GateDecision(
        True, f"{points} on held-out code{'' if general is None else f', {100 * general.mean:+.1f} in general'}."
    )


def needed_queries(gain: EvaluationGain, query_count: int, shown: float = SHOWN_GAIN) -> int:
    """How many questions of the same kinds would find a gain of `shown` MAP, by the width of this interval.

    n (z / shown)^2 s^2 with s the standard error of the mean over n questions, a quarter of the width of 95 %.
    """
    error = (gain.high - gain.low) / (2 * 1.96)
    return math.ceil(query_count * (POWER_DEVIATIONS * error / shown) ** 2)


def describe_power(gain: EvaluationGain, query_count: int) -> str:
    """What goes behind a refusal: how many questions would be needed; empty where there are enough."""
    needed = needed_queries(gain, query_count)
    if needed <= query_count:
        return ""
    return f"; to show a gain of two points takes about {needed} questions, and {query_count} decide here"


def select_gate_kinds(counts: Mapping[str, int]) -> tuple[str, ...]:
    """The deciding kinds that have enough queries; if none has, all deciding kinds that have any."""
    enough = tuple(kind for kind in GATE_QUERY_KINDS if counts.get(kind, 0) >= MIN_QUERIES_PER_KIND)
    return enough or tuple(kind for kind in GATE_QUERY_KINDS if counts.get(kind))
