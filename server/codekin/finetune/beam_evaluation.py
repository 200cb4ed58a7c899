"""Measures how well a model tells OTP and framework patterns apart: BEAM callbacks of held-out files.

A held-out function asks, its own name masked, for functions that implement the same callback in other files. Accuracy
at 1 and 5: how often one is the nearest, or among the five nearest. Triplet accuracy: how often one of the same
callback is nearer than one of another, both drawn at random by a fixed seed.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codekin.finetune.dataset.functions import FunctionSample
from codekin.finetune.dataset.training_set import centre_by_language
from codekin.finetune.dataset.workspace import EmbedFunction
from codekin.protocols import Vectors
from codekin.ranking.beam_patterns import is_informative, mask_own_name, pattern_family, pattern_of

MAX_PATTERN_QUERIES = 300
MAX_PATTERN_CANDIDATES = 900
MIN_PATTERN_QUERIES = 5
"""With fewer there is no figure: one answer would move it by more than it says."""


@dataclass(frozen=True, slots=True)
class PatternSet:
    """Labelled functions with masked texts; `queries` are rows of held-out ones that another file can answer."""

    samples: list[FunctionSample]
    texts: list[str]
    patterns: NDArray[np.str_]
    paths: NDArray[np.str_]
    queries: list[int]


def build_pattern_set(held_out: Sequence[FunctionSample], others: Sequence[FunctionSample]) -> PatternSet:
    """The same functions in every run: those whose code hashes lowest."""
    asking = _labelled(held_out, MAX_PATTERN_QUERIES)
    samples = [*asking, *_labelled(others, MAX_PATTERN_CANDIDATES)]
    patterns = np.array([pattern_of(sample.chunk) for sample in samples])
    paths = np.array([sample.chunk.path for sample in samples])
    queries = [row for row in range(len(asking)) if _is_answerable(row, patterns, paths)]
    return PatternSet(samples, [mask_own_name(sample.chunk) for sample in samples], patterns, paths, queries)


def _labelled(samples: Sequence[FunctionSample], most: int) -> list[FunctionSample]:
    found = [sample for sample in samples if pattern_of(sample.chunk) and is_informative(sample.chunk)]
    return sorted(found, key=lambda sample: sha256(sample.code.encode("utf-8", "replace")).digest())[:most]


def _is_answerable(row: int, patterns: NDArray[np.str_], paths: NDArray[np.str_]) -> bool:
    """Whether other files hold both the same callback and another one."""
    elsewhere, same = paths != paths[row], patterns == patterns[row]
    return bool((elsewhere & same).any() and (elsewhere & ~same).any())


def evaluate_patterns(found: PatternSet, embed: EmbedFunction) -> dict[str, NDArray[np.float64]]:
    """Whether each query is answered right: `accuracy1`, `accuracy5` and `triplets`, each (queries,) of 0 and 1."""
    vectors = centre_by_language(embed(found.texts), found.samples)
    unit: Vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    outcomes = np.array([_judge(found, row, unit[row] @ unit.T) for row in found.queries], np.float64).reshape(-1, 3)
    return {name: outcomes[:, at] for at, name in enumerate(("accuracy1", "accuracy5", "triplets"))}


def _judge(found: PatternSet, row: int, scores: Vectors) -> tuple[bool, bool, bool]:
    candidates = np.flatnonzero(found.paths != found.paths[row])
    right = found.patterns[candidates] == found.patterns[row]
    order = np.argsort(-scores[candidates], kind="stable")
    generator = np.random.default_rng(row)
    positive, negative = (generator.choice(candidates[wanted]) for wanted in (right, ~right))
    return bool(right[order[0]]), bool(right[order[:5]].any()), bool(scores[positive] > scores[negative])


def compare_patterns(
    held_out: Sequence[FunctionSample], others: Sequence[FunctionSample], models: Mapping[str, EmbedFunction]
) -> dict[str, Any]:
    """Figures of each model, and accuracy at 1 by family of patterns; empty where too few queries can be answered.

    Gives {"queries", name of a model: {"accuracy1", "accuracy5", "triplets"}, "families": {family: {"queries", name:
    accuracy at 1}}}.
    """
    found = build_pattern_set(held_out, others)
    if len(found.queries) < MIN_PATTERN_QUERIES:
        return {}
    outcomes = {name: evaluate_patterns(found, embed) for name, embed in models.items()}
    figures = {
        name: {kind: float(values.mean()) for kind, values in measured.items()} for name, measured in outcomes.items()
    }
    families = np.array([pattern_family(str(found.patterns[row])) for row in found.queries])
    by_family = {
        family: {"queries": count}
        | {name: float(measured["accuracy1"][families == family].mean()) for name, measured in outcomes.items()}
        for family, count in Counter(families.tolist()).most_common()
    }
    return {"queries": len(found.queries), **figures, "families": by_family}
