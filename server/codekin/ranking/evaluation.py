"""Evaluates retrieval on labelled rows: average precision, reciprocal rank, recall, bootstrap intervals.

Rows are put into a temporary index; every query ranks all rows of the candidate language with the code that serves
users. Ranks are 0-based positions in a ranking of all candidates.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from codekin.errors import UsageError
from codekin.protocols import Embedder, Vectors
from codekin.ranking.scoring import Ranking, RankingQuery, RowMask, rank_chunks
from codekin.storage import ChunkIndex, FileState
from codekin.storage.reader import IndexView
from codekin.types import Chunk


def average_precision(ranks: Sequence[int]) -> float:
    """Mean of the precisions at each right answer, all of which must be ranked."""
    ordered = np.sort(np.asarray(ranks))
    return float(np.mean(np.arange(1, len(ordered) + 1) / (ordered + 1)))


def reciprocal_rank(ranks: Sequence[int], within: int = 10) -> float:
    """1 / position of the first right answer, 0 beyond `within`."""
    first = min(ranks)
    return 1.0 / (first + 1) if first < within else 0.0


def recall_at(ranks: Sequence[int], within: int) -> float:
    """The share of right answers among the first `within`, of those that could be there."""
    return sum(rank < within for rank in ranks) / min(len(ranks), within)


def summarize_rankings(rankings: Sequence[Sequence[int]]) -> dict[str, float | int]:
    """Means over queries, each given by the ranks of its right answers."""
    count = max(1, len(rankings))
    return {
        "queries": len(rankings),
        "map": sum(map(average_precision, rankings)) / count,
        "mrr10": sum(map(reciprocal_rank, rankings)) / count,
        "recall1": sum(recall_at(ranks, 1) for ranks in rankings) / count,
        "recall10": sum(recall_at(ranks, 10) for ranks in rankings) / count,
    }


def bootstrap_interval(
    values: Sequence[float], samples: int = 1000, seed: int = 0, level: float = 0.95
) -> tuple[float, float]:
    """The interval that holds the mean with probability `level`, by resampling queries."""
    table = np.asarray(values, np.float64)
    generator = np.random.default_rng(seed)
    means: NDArray[np.float64] = np.array([generator.choice(table, len(table)).mean() for _ in range(samples)])
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


RetrievalMode = Literal["fused", "dense", "text"]
_EMBEDDING_BATCH = 256


def evaluate_retrieval(
    rows: Sequence[Mapping[str, Any]], embedder: Embedder | None, mode: RetrievalMode = "fused"
) -> dict[str, dict[str, float | int]]:
    """Figures for each direction `a->b` of the languages present.

    A row is `{id, task, lang, code}`. Every row of a that has another row of its task in b
    is a query; the candidates are all rows of b but itself.
    """
    with _indexed_rows(rows, embedder, mode) as indexed:
        return _evaluate_directions(indexed)


def evaluate_patterns(
    rows: Sequence[Mapping[str, Any]], embedder: Embedder | None, mode: RetrievalMode = "fused"
) -> dict[str, dict[str, float | int]]:
    """Whether code that plays a role in a framework is answered by code of the same role: figures by role, and of all.

    A row is `{id, task, lang, code}`, its task the callback that the code implements; its own name should be masked.
    Accuracy at 1 and 5 say how often a hit of the same callback is there; triplet accuracy how often one of the same
    callback scores higher than one of another, both drawn at random. A row may have a `source`, the repository that it
    comes from: hits of the same source do not count and are left out.
    """
    with _indexed_rows(rows, embedder, mode) as indexed:
        sources = np.array([str(row.get("source", number)) for number, row in enumerate(rows)])
        outcomes: dict[str, list[tuple[bool, bool, bool]]] = defaultdict(list)
        generator = np.random.default_rng(0)
        for row in range(len(rows)):
            if outcome := _judge_pattern(indexed, row, sources, generator):
                outcomes[str(indexed.tasks[row])].append(outcome)
    every = [outcome for found in outcomes.values() for outcome in found]
    return {name: _pattern_figures(found) for name, found in [("all", every), *sorted(outcomes.items())]}


@dataclass(frozen=True, slots=True)
class _IndexedRows:
    """Labelled rows in an index; the tasks are in the order of the view's rows, which is that of the data."""

    view: IndexView
    chunks: Sequence[Chunk]
    tasks: NDArray[np.str_]
    vectors: Vectors | None


@contextmanager
def _indexed_rows(
    rows: Sequence[Mapping[str, Any]], embedder: Embedder | None, mode: RetrievalMode
) -> Iterator[_IndexedRows]:
    chunks = [_read_row(number, row) for number, row in enumerate(rows)]
    if embedder is None and mode != "text":
        raise UsageError(f"the mode {mode} needs a model: name one, or use the mode text")
    vectors = _embed_chunks(chunks, embedder) if embedder is not None and mode != "text" else None
    tasks = np.array([str(row["task"]) for row in rows])
    with TemporaryDirectory(prefix="codekin-eval-") as folder, ChunkIndex.open(Path(folder), write=True) as index:
        _fill_index(index, chunks, vectors, embedder)
        view = index.view()
        if mode == "dense":
            view = replace(view, term_statistics=None, text_index=None)
        order = view.snapshot.columns.start - 1
        ordered = [chunks[place] for place in order.tolist()]
        yield _IndexedRows(view, ordered, tasks[order], None if vectors is None else vectors[order])


def _judge_pattern(
    indexed: _IndexedRows, row: int, sources: NDArray[np.str_], generator: np.random.Generator
) -> tuple[bool, bool, bool] | None:
    """Right at 1, right at 5 and the triplet's verdict; None where no other row has the callback."""
    candidates = np.ones(len(indexed.tasks), bool)
    candidates[row] = False
    if len(set(sources.tolist())) < len(sources):
        candidates &= sources != sources[row]
    is_right = indexed.tasks == indexed.tasks[row]
    if not (is_right & candidates).any() or (is_right | ~candidates).all():
        return None
    ranking = _rank_row(indexed, row, candidates)
    right = is_right[ranking.rows]
    position = {number: place for place, number in enumerate(ranking.rows.tolist())}
    positive, negative = (generator.choice(np.flatnonzero(candidates & wanted)) for wanted in (is_right, ~is_right))
    return bool(right[0]), bool(right[:5].any()), position[int(positive)] < position[int(negative)]


def _pattern_figures(outcomes: Sequence[tuple[bool, bool, bool]]) -> dict[str, float | int]:
    names = ("accuracy1", "accuracy5", "triplets")
    count = max(1, len(outcomes))
    means = {name: sum(outcome[at] for outcome in outcomes) / count for at, name in enumerate(names)}
    return {"queries": len(outcomes), **means}


def _read_row(number: int, row: Mapping[str, Any]) -> Chunk:
    """A row as a chunk; its line says which row it is."""
    try:
        language, code, _ = str(row["lang"]), str(row["code"]), row["task"]
    except (KeyError, TypeError) as error:
        raise UsageError(f"row {number + 1} of the data lacks {error}: rows are {{id, task, lang, code}}") from error
    return Chunk("rows", language, "file", "", number + 1, number + 1, code)


def _embed_chunks(chunks: Sequence[Chunk], embedder: Embedder) -> Vectors:
    parts = [embedder.embed([one.text for one in part]) for part in _batches(chunks)]
    return np.concatenate(parts) if parts else np.zeros((0, embedder.dimensions), np.float32)


def _batches(chunks: Sequence[Chunk]) -> Iterable[Sequence[Chunk]]:
    return (chunks[at : at + _EMBEDDING_BATCH] for at in range(0, len(chunks), _EMBEDDING_BATCH))


def _fill_index(index: ChunkIndex, chunks: Sequence[Chunk], vectors: Vectors | None, embedder: Embedder | None) -> None:
    by_digest = None
    if vectors is not None and embedder is not None:
        index.ensure_space(embedder.space, embedder.name, embedder.dimensions)
        by_digest = {chunk.digest: vector for chunk, vector in zip(chunks, vectors, strict=True)}
    index.replace_file("rows", FileState(0, 0, 0, ""), chunks, by_digest)
    index.flush(force=True)


def _evaluate_directions(indexed: _IndexedRows) -> dict[str, dict[str, float | int]]:
    languages = np.array([chunk.language for chunk in indexed.chunks])
    found: dict[str, dict[str, float | int]] = {}
    for source in sorted(set(languages.tolist())):
        for target in sorted(set(languages.tolist())):
            queries = np.flatnonzero(languages == source).tolist()
            ranks = [_rank_relevant(indexed, row, languages == target) for row in queries]
            found[f"{source}->{target}"] = summarize_rankings([each for each in ranks if each])
    return found


def _rank_relevant(indexed: _IndexedRows, row: int, candidates: RowMask) -> list[int]:
    """The ranks of one query's right answers among all candidates but itself."""
    candidates = candidates.copy()
    candidates[row] = False
    is_right = indexed.tasks == indexed.tasks[row]
    if not (is_right & candidates).any():
        return []
    ranks: list[int] = np.flatnonzero(is_right[_rank_row(indexed, row, candidates).rows]).tolist()
    return ranks


def _rank_row(indexed: _IndexedRows, row: int, candidates: RowMask) -> Ranking:
    """All candidates, best first."""
    vector = None if indexed.vectors is None else indexed.vectors[row]
    query = RankingQuery(indexed.chunks[row].text, vector, indexed.chunks[row].language)
    return rank_chunks(indexed.view, query, candidates, limit=len(indexed.tasks), exact=True)
