"""Measures retrieval on labelled rows through the product's own index, vectors and fusion.

Rows are put into a temporary index as fragments without a name, each a whole candidate;
every query ranks all rows of the candidate language with the code that answers users.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from codekin.errors import UsageError
from codekin.index import FileState, Index, Query, View, rank
from codekin.records import Fragment
from codekin.retrieval.metrics import summary
from codekin.seams import Embedder, Vectors

Mode = Literal["fused", "dense", "lexical"]
_EMBEDDED_AT_ONCE = 256


def evaluate(
    rows: Sequence[Mapping[str, Any]], embedder: Embedder | None, mode: Mode = "fused"
) -> dict[str, dict[str, float | int]]:
    """Figures for each direction `a->b` of the languages present.

    A row is `{id, task, lang, code}`. Every row of a that has another row of its task in b
    is a query; the candidates are all rows of b but itself.
    """
    fragments = [_fragment(number, row) for number, row in enumerate(rows)]
    if embedder is None and mode != "lexical":
        raise UsageError(f"the mode {mode} needs a model: name one, or use the mode lexical")
    vectors = _embed(fragments, embedder) if embedder is not None and mode != "lexical" else None
    tasks = np.array([str(row["task"]) for row in rows])
    with TemporaryDirectory(prefix="codekin-eval-") as folder, Index.open(Path(folder), write=True) as index:
        _fill(index, fragments, vectors, embedder)
        return _directions(index, fragments, tasks, vectors, mode)


def _fragment(number: int, row: Mapping[str, Any]) -> Fragment:
    """A row as a fragment; its line says which row it is."""
    try:
        language, code, _ = str(row["lang"]), str(row["code"]), row["task"]
    except (KeyError, TypeError) as error:
        raise UsageError(f"row {number + 1} of the data lacks {error}: rows are {{id, task, lang, code}}") from error
    return Fragment("rows", language, "file", "", number + 1, number + 1, code)


def _embed(fragments: Sequence[Fragment], embedder: Embedder) -> Vectors:
    parts = [embedder.embed([one.text for one in part]) for part in _batched(fragments)]
    return np.concatenate(parts) if parts else np.zeros((0, embedder.dimensions), np.float32)


def _batched(fragments: Sequence[Fragment]) -> Iterable[Sequence[Fragment]]:
    return (fragments[at : at + _EMBEDDED_AT_ONCE] for at in range(0, len(fragments), _EMBEDDED_AT_ONCE))


def _fill(index: Index, fragments: Sequence[Fragment], vectors: Vectors | None, embedder: Embedder | None) -> None:
    by_digest = None
    if vectors is not None and embedder is not None:
        index.ensure_space(embedder.space, embedder.name, embedder.dimensions)
        by_digest = {fragment.digest: vector for fragment, vector in zip(fragments, vectors, strict=True)}
    index.replace_file("rows", FileState(0, 0, 0, ""), fragments, by_digest)
    index.flush(force=True)


def _directions(
    index: Index, fragments: Sequence[Fragment], tasks: NDArray[np.str_], vectors: Vectors | None, mode: Mode
) -> dict[str, dict[str, float | int]]:
    view = index.view()
    if mode == "dense":
        view = replace(view, lexis=None, lexical=None)
    number = view.snapshot.columns.start - 1
    names = np.array(view.snapshot.languages.words())[view.snapshot.columns.language] if fragments else np.array([])
    found: dict[str, dict[str, float | int]] = {}
    for source in sorted(set(names.tolist())):
        for target in sorted(set(names.tolist())):
            queries = np.flatnonzero(names == source).tolist()
            candidates = names == target
            ranks = [_ranks(view, fragments, tasks[number], (row, candidates), vectors) for row in queries]
            found[f"{source}->{target}"] = summary([each for each in ranks if each])
    return found


def _ranks(
    view: View,
    fragments: Sequence[Fragment],
    tasks: NDArray[np.str_],
    asked: tuple[int, NDArray[np.bool_]],
    vectors: Vectors | None,
) -> list[int]:
    """Where the right answers of one query stand among all candidates but itself."""
    row, candidates = asked
    candidates = candidates.copy()
    candidates[row] = False
    if not (tasks[candidates] == tasks[row]).any():
        return []
    place = int(view.snapshot.columns.start[row]) - 1
    fragment = fragments[place]
    query = Query(fragment.text, None if vectors is None else vectors[place], fragment.language)
    ranking = rank(view, query, candidates, limit=len(tasks), exact=True)
    ranks: list[int] = np.flatnonzero(tasks[ranking.rows] == tasks[row]).tolist()
    return ranks
