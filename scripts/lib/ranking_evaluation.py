"""Judges embedders on held-out functions by the product's own ranking, apart from the gate's code.

Each kind has candidates, an index of their own as `codekin index` writes it, and questions with known answers.
`fused` is the ranking that a user sees, `dense` the vectors alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from codekin.finetune.dataset.functions import FunctionSample
from codekin.protocols import Embedder, Vectors
from codekin.ranking.evaluation import average_precision
from codekin.ranking.scoring import RankingQuery, rank_chunks
from codekin.storage import ChunkIndex, FileState
from codekin.storage.reader import IndexView
from codekin.types import Chunk

MODES = ("dense", "fused")


@dataclass(frozen=True)
class RankingTask:
    """Candidates, and what asks for which of them: a text, positions of the right ones, the position to leave out."""

    candidates: list[tuple[str, str]]
    queries: list[tuple[str, str, list[int], int]]


def ranking_tasks(samples: Sequence[FunctionSample]) -> dict[str, RankingTask]:
    """By kind: halves, changed names, documentation, and the same role in other files."""
    codes = [(sample.chunk.language, sample.code) for sample in samples]
    lower = [(sample.chunk.language, sample.halves[1]) for sample in samples]
    upper = [sample.halves[0] if sample.code.count("\n") >= 5 else "" for sample in samples]
    found = {
        "half": RankingTask(lower, _alone(samples, upper)),
        "renamed": RankingTask(codes, _alone(samples, [sample.renamed for sample in samples])),
        "sentence": RankingTask(codes, _alone(samples, [sample.sentence for sample in samples])),
        "role": RankingTask(codes, _same_role(samples)),
    }
    return {kind: task for kind, task in found.items() if task.queries}


def evaluate_ranking(task: RankingTask, embedder: Embedder) -> dict[str, float]:
    """MAP by mode."""
    chunks = [
        Chunk("rows", language, "file", "", at, at, text) for at, (language, text) in enumerate(task.candidates, 1)
    ]
    vectors = embedder.embed([one.text for one in chunks])
    queries = embedder.embed([text for _, text, _, _ in task.queries])
    with TemporaryDirectory(prefix="codekin-") as folder, ChunkIndex.open(Path(folder), write=True) as index:
        index.ensure_space(embedder.space, embedder.name, embedder.dimensions)
        known = {one.digest: vector for one, vector in zip(chunks, vectors, strict=True)}
        index.replace_file("rows", FileState(0, 0, 0, ""), chunks, known)
        index.flush(force=True)
        view = index.view()
        dense = replace(view, term_statistics=None, text_index=None)
        return {mode: _map(each, task, queries) for mode, each in zip(MODES, (dense, view), strict=True)}


def _map(view: IndexView, task: RankingTask, vectors: Vectors) -> float:
    places = view.snapshot.columns.start - 1
    names = np.array(view.snapshot.languages.words())[view.snapshot.columns.language]
    found = []
    for (language, text, relevant, excluded), vector in zip(task.queries, vectors, strict=True):
        candidates = (names == language) & (places != excluded)
        rows = rank_chunks(view, RankingQuery(text, vector, language), candidates, limit=len(places), exact=True).rows
        found.append(average_precision(np.flatnonzero(np.isin(places[rows], relevant)).tolist()))
    return float(np.mean(found))


def _alone(samples: Sequence[FunctionSample], texts: Sequence[str]) -> list[tuple[str, str, list[int], int]]:
    rows = zip(samples, texts, strict=True)
    return [(sample.chunk.language, text, [at], -1) for at, (sample, text) in enumerate(rows) if text]


def _same_role(samples: Sequence[FunctionSample]) -> list[tuple[str, str, list[int], int]]:
    found = []
    for at, sample in enumerate(samples):
        others = [
            row
            for row, other in enumerate(samples)
            if other.role == sample.role
            and other.chunk.path != sample.chunk.path
            and other.chunk.language == sample.chunk.language
        ]
        if others:
            found.append((sample.chunk.language, sample.code, others, at))
    return found
