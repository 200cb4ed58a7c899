"""The gate: a new model takes over only if it is better beyond noise here and not worse in general.

Knows measurements, no models.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from codekin.learning.judging import Gain

JUDGED_KINDS = ("sentence", "renamed", "half")
"""Kinds of question that training does not use decide; `role` and `version`, which triplets teach, are reported."""

LEAST_OF_KIND = 30
"""A kind with fewer questions is reported, and would bring more noise than news into the decision."""

WORST_IN_GENERAL = -0.01
LEAST_QUESTIONS = 20


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether the new model takes over, and why, in a sentence."""

    activate: bool
    reason: str


def deciding(counts: Mapping[str, int]) -> tuple[str, ...]:
    """Of the kinds with so many questions those that decide; all that may, where none has enough."""
    enough = tuple(kind for kind in JUDGED_KINDS if counts.get(kind, 0) >= LEAST_OF_KIND)
    return enough or tuple(kind for kind in JUDGED_KINDS if counts.get(kind))


def decide(here: Gain, general: Gain | None, questions: int) -> Decision:
    """The default rule: the interval of the gain lies above zero, and MAP in general falls by at most a point."""
    points = f"{100 * here.mean:+.1f} points of MAP ({100 * here.low:+.1f} to {100 * here.high:+.1f})"
    if questions < LEAST_QUESTIONS:
        return Decision(
            False, f"Only {questions} held-out questions: too few to tell better from worse, the old model stays."
        )
    if here.low <= 0:
        return Decision(False, f"{points} on held-out code: not better beyond noise, the old model stays.")
    if general is not None and general.mean < WORST_IN_GENERAL:
        return Decision(False, f"{points} here, but {100 * general.mean:+.1f} in general: the old model stays.")
    return Decision(
        True, f"{points} on held-out code{'' if general is None else f', {100 * general.mean:+.1f} in general'}."
    )
