"""Measures how well a model finds code: builds evaluation sets, ranks candidates, compares models.

Queries come from held-out code and need no labels. `sentence`: the first sentence of a documentation should find its
function. `renamed`: code with other identifiers, its original. `half`: the upper half of a function, its lower half.
`role`: a function, those of the same name and arity in other modules. `version`: an earlier text of a function,
today's. `general.jsonl` holds documented functions of Elixir's standard library and of Abseil (both Apache-2.0),
written by scripts/build_general_set.py and used in no triplet: it guards against forgetting.
"""

import json
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from codekin.finetune.beam_evaluation import compare_patterns
from codekin.finetune.dataset.functions import FunctionKey, FunctionSample, changed_code, select_samples
from codekin.finetune.dataset.workspace import EmbedFunction, WorkspaceDataset
from codekin.parsing import cut_chunks
from codekin.protocols import Embedder, Vectors
from codekin.ranking.evaluation import average_precision, bootstrap_interval
from codekin.util.files import replacing

MAX_SAME_ROLE = 40
"""A name that occurs in more modules than this is too generic to be a query."""


@dataclass(frozen=True, slots=True)
class EvaluationQuery:
    """`text` is the query; `relevant` are positions in the candidates, `excluded` one to leave out (-1: none).

    Queries of the kind "half" search among the lower halves, all others the whole functions.
    """

    kind: str
    text: str
    relevant: tuple[int, ...]
    excluded: int = -1


def build_evaluation_queries(
    samples: Sequence[FunctionSample], positions: Iterable[int], earlier: Mapping[FunctionKey, str] | None = None
) -> list[EvaluationQuery]:
    """All queries about the samples at `positions`; `earlier` has earlier texts."""
    by_role = _positions_by_role(samples)
    found: list[EvaluationQuery] = []
    for at in positions:
        sample = samples[at]
        found += _queries_about(sample, at)
        others = [other for other in by_role[sample.role] if _in_another_file(samples[other], sample)]
        if 1 <= len(others) <= MAX_SAME_ROLE:
            found.append(EvaluationQuery("role", sample.code, tuple(others), at))
        if old := changed_code(sample, (earlier or {}).get(sample.function_key, "")):
            found.append(EvaluationQuery("version", old, (at,)))
    return found


def _queries_about(sample: FunctionSample, at: int) -> Iterable[EvaluationQuery]:
    if sample.sentence:
        yield EvaluationQuery("sentence", sample.sentence, (at,))
    if sample.renamed:
        yield EvaluationQuery("renamed", sample.renamed, (at,))
    if sample.code.count("\n") >= 5:
        yield EvaluationQuery("half", sample.halves[0], (at,))


def _positions_by_role(samples: Sequence[FunctionSample]) -> Mapping[str, list[int]]:
    found: dict[str, list[int]] = defaultdict(list)
    for at, sample in enumerate(samples):
        found[sample.role].append(at)
    return found


def _in_another_file(other: FunctionSample, sample: FunctionSample) -> bool:
    return other.chunk.path != sample.chunk.path


@dataclass(frozen=True, slots=True)
class EvaluationSet:
    """Vectors of the queries, of whole functions and of lower halves; `languages` has each candidate's."""

    queries: tuple[EvaluationQuery, ...]
    query_vectors: Vectors
    whole_vectors: Vectors
    lower_half_vectors: Vectors
    languages: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EvaluationScores:
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


def evaluate(evaluation_set: EvaluationSet) -> EvaluationScores:
    """The ranking of all candidates for each question."""
    kinds = tuple(query.kind for query in evaluation_set.queries)
    if not kinds:
        return EvaluationScores((), ())
    centre = _language_means(evaluation_set.whole_vectors, evaluation_set.languages)
    target_positions = np.asarray([query.relevant[0] for query in evaluation_set.queries])
    query_vectors = _unit_rows(evaluation_set.query_vectors - centre[target_positions])
    precisions = np.zeros(len(kinds))
    for side, halves in ((evaluation_set.whole_vectors, False), (evaluation_set.lower_half_vectors, True)):
        rows = np.flatnonzero((np.asarray(kinds) == "half") == halves)
        for row, scores in zip(rows.tolist(), query_vectors[rows] @ _unit_rows(side - centre).T, strict=True):
            precisions[row] = _query_precision(scores, evaluation_set.queries[row])
    return EvaluationScores(kinds, tuple(precisions.tolist()))


def _query_precision(scores: Vectors, query: EvaluationQuery) -> float:
    """Average precision; a tie counts as lost."""
    if query.excluded >= 0:
        scores[query.excluded] = -np.inf
    relevant = np.asarray(query.relevant)
    right = np.sort(scores[relevant])[::-1]
    better = (scores[None, :] >= right[:, None]).sum(axis=1) - 1
    return average_precision(np.maximum.accumulate(better).tolist())


def _language_means(vectors: Vectors, languages: Sequence[str]) -> Vectors:
    """Each row's language mean, as the search subtracts it."""
    centres = np.empty_like(vectors)
    names = np.asarray(languages)
    for name in set(languages):
        rows = names == name
        centres[rows] = vectors[rows].mean(axis=0)
    return centres


def _unit_rows(vectors: Vectors) -> Vectors:
    unit: Vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    return unit


@dataclass(frozen=True, slots=True)
class EvaluationGain:
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


def compare_scores(before: EvaluationScores, after: EvaluationScores, kinds: Sequence[str] = ()) -> EvaluationGain:
    """Compares two measurements of the same questions, question by question."""
    chosen = [kind for kind in dict.fromkeys(before.kinds) if not kinds or kind in kinds]
    weights = {kind: 1 / (before.kinds.count(kind) * len(chosen)) for kind in chosen}
    differences = [
        (a - b) * weights[kind] * len(before.kinds)
        for kind, b, a in zip(before.kinds, before.precisions, after.precisions, strict=True)
        if kind in weights
    ]
    scale = len(differences) / max(1, len(before.kinds))
    low, high = bootstrap_interval(differences) if differences else (0.0, 0.0)
    olds, news = before.by_kind(kinds), after.by_kind(kinds)
    return EvaluationGain(
        before.mean(kinds), after.mean(kinds), low * scale, high * scale, {k: (olds[k], news[k]) for k in olds}
    )


MAX_CANDIDATES = 2000
MAX_QUERIED = 600
MAX_CACHED_VECTORS = 60_000
EMBEDDING_BATCH = 64
CACHE_WRITE_SECONDS = 60.0
"""Seconds of embedding that a kill may cost."""

ProgressCallback = Callable[[str, int, int], None]
"""Phase, done, total."""


def build_evaluation_set(
    held: Sequence[FunctionSample],
    rest: Sequence[FunctionSample],
    embed: EmbedFunction,
    earlier: Mapping[FunctionKey, str],
) -> EvaluationSet:
    """Questions about the held-out samples among all samples, or, in a large workspace, among a fixed sample."""
    pool = [*_sample(held, MAX_CANDIDATES // 2), *_sample(rest, MAX_CANDIDATES // 2)]
    query_positions = [at for at in range(len(pool)) if pool[at].split_position < _held_out_border(held)]
    found = tuple(build_evaluation_queries(pool, _sample_rows(query_positions, pool), earlier))
    texts = [*(query.text for query in found), *(p.code for p in pool), *(p.halves[1] for p in pool)]
    vectors = embed(texts)
    n, m = len(found), len(pool)
    languages = tuple(sample.chunk.language for sample in pool)
    return EvaluationSet(found, vectors[:n], vectors[n : n + m], vectors[n + m :], languages)


def _held_out_border(held: Sequence[FunctionSample]) -> float:
    return max((sample.split_position for sample in held), default=-1.0) + 1e-12


def _sample(samples: Sequence[FunctionSample], most: int) -> list[FunctionSample]:
    """The same samples in every run: those whose code hashes lowest."""
    return sorted(samples, key=lambda sample: sha256(sample.code.encode("utf-8", "replace")).digest())[:most]


def _sample_rows(rows: Sequence[int], pool: Sequence[FunctionSample]) -> list[int]:
    return sorted(rows, key=lambda at: sha256(pool[at].place.encode("utf-8", "replace")).digest())[:MAX_QUERIED]


class EmbeddingCache:
    """Embeds texts through an embedder, and keeps their vectors in a file for the next run."""

    def __init__(self, folder: Path, embedder: Embedder, on_progress: ProgressCallback) -> None:
        self._path = folder / f"views-{sha256(embedder.space.encode()).hexdigest()[:16]}.npz"
        self.embedder = embedder
        self._on_progress = on_progress
        self._known = self._read()

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Vectors (len(texts), dimensions) in their order."""
        keys = [sha256(text.encode("utf-8", "replace")).hexdigest()[:32] for text in texts]
        fresh = {key: text for key, text in zip(keys, texts, strict=True) if key not in self._known}
        order = sorted(fresh, key=lambda key: len(fresh[key]))
        written = time.monotonic()
        if order:
            self._on_progress("embedding", 0, len(order))
        for start in range(0, len(order), EMBEDDING_BATCH):
            part = order[start : start + EMBEDDING_BATCH]
            self._known.update(zip(part, self.embedder.embed([fresh[key] for key in part]), strict=True))
            self._on_progress("embedding", min(start + EMBEDDING_BATCH, len(order)), len(order))
            if time.monotonic() - written > CACHE_WRITE_SECONDS:
                self._write()
                written = time.monotonic()
        if fresh:
            self._write()
        if not keys:
            return np.empty((0, self.embedder.dimensions), np.float32)
        return np.asarray([self._known[key] for key in keys], np.float32)

    def _read(self) -> dict[str, Vectors]:
        """What is kept; a file that cannot be read is as good as none."""
        try:
            with np.load(self._path, allow_pickle=False) as found:
                keys, vectors = found["keys"].tolist(), found["vectors"].astype(np.float32)
        except (OSError, ValueError, KeyError):
            return {}
        if vectors.shape != (len(keys), self.embedder.dimensions) or not np.isfinite(vectors).all():
            return {}
        return dict(zip(keys, vectors, strict=True))

    def _write(self) -> None:
        keys = list(self._known)[-MAX_CACHED_VECTORS:]
        vectors = np.asarray([self._known[key] for key in keys], np.float16)
        with replacing(self._path) as part:
            np.savez(part, keys=np.array(keys), vectors=vectors)


GENERAL_SET_PATH = Path(__file__).with_name("general.jsonl")


def general_samples() -> list[FunctionSample]:
    """The set's functions; each row is a path and a text of one."""
    rows = [json.loads(line) for line in GENERAL_SET_PATH.read_text(encoding="utf-8").splitlines()]
    return select_samples(chunk for row in rows for chunk in cut_chunks(row["path"], row["text"])[0])


def general_evaluation_set(embed: EmbedFunction) -> EvaluationSet:
    """Questions about the set's functions among them all."""
    return build_evaluation_set(general_samples(), (), embed, {})


@dataclass(frozen=True, slots=True)
class ModelComparison:
    """The new model against the one that serves and against the base, on held-out code and on general code.

    `deciding` counts the kinds of query that the gate looks at, `overall` all kinds; `counts` are queries by kind,
    `deciding_queries` those that decide. `beam` says how OTP and framework patterns are told apart, as
    `beam_evaluation.compare_patterns` gives it.
    """

    deciding: EvaluationGain
    overall: EvaluationGain
    from_base: EvaluationGain
    general: EvaluationGain
    counts: Mapping[str, int]
    deciding_queries: int
    beam: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ComparedModels:
    """How each model embeds: as it came, as it serves now, and as it was just trained."""

    base: EmbedFunction
    serving: EmbedFunction
    trained: EmbedFunction
    base_general: EmbedFunction


SelectKinds = Callable[[Mapping[str, int]], Sequence[str]]
"""From the number of queries of each kind to the kinds that decide."""


def compare_models(dataset: WorkspaceDataset, models: ComparedModels, select_kinds: SelectKinds) -> ModelComparison:
    """Evaluates the models on the dataset's held-out functions, base and new model on the general set too."""
    now, new, base = (_held_out_scores(dataset, each) for each in (models.serving, models.trained, models.base))
    counts = Counter(new.kinds)
    kinds = select_kinds(counts)
    general, new_general = (evaluate(general_evaluation_set(each)) for each in (models.base_general, models.trained))
    return ModelComparison(
        compare_scores(now, new, kinds),
        compare_scores(now, new),
        compare_scores(base, new, kinds),
        compare_scores(general, new_general),
        counts,
        sum(counts[kind] for kind in kinds),
        compare_patterns(
            dataset.held_out,
            dataset.train_samples,
            {"base": models.base, "before": models.serving, "after": models.trained},
        ),
    )


def _held_out_scores(dataset: WorkspaceDataset, embed: EmbedFunction) -> EvaluationScores:
    return evaluate(build_evaluation_set(dataset.held_out, dataset.train_samples, embed, dataset.earlier))
