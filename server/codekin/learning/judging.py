"""Ranks candidates for questions and measures how good the ranking is, before and after a change of the vectors.

Knows vectors and questions; nothing of models or files.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from codekin.learning.queries import Question
from codekin.retrieval.metrics import average_precision, bootstrap
from codekin.seams import Vectors


@dataclass(frozen=True, slots=True)
class Ground:
    """Vectors of what is asked, of whole functions and of lower halves; `groups` is each candidate's language."""

    questions: tuple[Question, ...]
    asked: Vectors
    wholes: Vectors
    lower: Vectors
    groups: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Measured:
    """Average precision of each question, in their order."""

    kinds: tuple[str, ...]
    precisions: tuple[float, ...]

    def mean(self, kinds: Sequence[str] = ()) -> float:
        """MAP: the mean over kinds of the mean over their questions, so that no kind drowns another."""
        means = list(self.by_kind(kinds).values())
        return float(np.mean(means)) if means else 0.0

    def by_kind(self, kinds: Sequence[str] = ()) -> dict[str, float]:
        """MAP of each kind that has questions."""
        chosen = [kind for kind in dict.fromkeys(self.kinds) if not kinds or kind in kinds]
        return {
            kind: float(np.mean([p for k, p in zip(self.kinds, self.precisions, strict=True) if k == kind]))
            for kind in chosen
        }


def measure(ground: Ground) -> Measured:
    """The ranking of all candidates for each question."""
    kinds = tuple(question.kind for question in ground.questions)
    if not kinds:
        return Measured((), ())
    centre = _centres(ground.wholes, ground.groups)
    homes = np.asarray([question.answers[0] for question in ground.questions])
    asked = _unit(ground.asked - centre[homes])
    precisions = np.zeros(len(kinds))
    for side, halves in ((ground.wholes, False), (ground.lower, True)):
        rows = np.flatnonzero((np.asarray(kinds) == "half") == halves)
        for row, scores in zip(rows.tolist(), asked[rows] @ _unit(side - centre).T, strict=True):
            precisions[row] = _precision(scores, ground.questions[row])
    return Measured(kinds, tuple(precisions.tolist()))


def _precision(scores: Vectors, question: Question) -> float:
    """Average precision; a tie counts as lost."""
    if question.itself >= 0:
        scores[question.itself] = -np.inf
    answers = np.asarray(question.answers)
    right = np.sort(scores[answers])[::-1]
    better = (scores[None, :] >= right[:, None]).sum(axis=1) - 1
    return average_precision(np.maximum.accumulate(better).tolist())


def _centres(vectors: Vectors, groups: Sequence[str]) -> Vectors:
    """Each row's language mean, as the search subtracts it."""
    centres = np.empty_like(vectors)
    names = np.asarray(groups)
    for name in set(groups):
        rows = names == name
        centres[rows] = vectors[rows].mean(axis=0)
    return centres


def _unit(vectors: Vectors) -> Vectors:
    unit: Vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    return unit


@dataclass(frozen=True, slots=True)
class Gain:
    """After minus before in MAP, with the interval that holds it with 95 % confidence; by kind without one."""

    before: float
    after: float
    low: float
    high: float
    kinds: Mapping[str, tuple[float, float]]

    @property
    def mean(self) -> float:
        """How much better."""
        return self.after - self.before


def gain(before: Measured, after: Measured, kinds: Sequence[str] = ()) -> Gain:
    """Compares two measurements of the same questions, question by question."""
    chosen = [kind for kind in dict.fromkeys(before.kinds) if not kinds or kind in kinds]
    weights = {kind: 1 / (before.kinds.count(kind) * len(chosen)) for kind in chosen}
    differences = [
        (a - b) * weights[kind] * len(before.kinds)
        for kind, b, a in zip(before.kinds, before.precisions, after.precisions, strict=True)
        if kind in weights
    ]
    scale = len(differences) / max(1, len(before.kinds))
    low, high = bootstrap(differences) if differences else (0.0, 0.0)
    olds, news = before.by_kind(kinds), after.by_kind(kinds)
    return Gain(before.mean(kinds), after.mean(kinds), low * scale, high * scale, {k: (olds[k], news[k]) for k in olds})
