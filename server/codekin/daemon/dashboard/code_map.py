"""Projects a workspace's vectors to two dimensions by principal components, after removing each language's mean."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from codekin.parsing import count_lines_before_code
from codekin.protocols import Vectors
from codekin.storage import ChunkIndex
from codekin.types import Chunk

MAX_POINTS = 6000


def build_code_map(index: ChunkIndex) -> dict[str, Any]:
    """`{"points": [[x, y, language, name, kind, path, line, pattern], …], "total"}` for the serving space."""
    serving = index.serving_space()
    if serving is None:
        return {"points": [], "total": 0}
    chunks = _whole_chunks(index)
    stored = {
        digest: row
        for digests, rows in index.vectors(serving.fingerprint)
        for digest, row in zip(digests, rows, strict=True)
    }
    placed = [chunk for chunk in chunks if chunk.digest in stored]
    step = max(1, -(-len(placed) // MAX_POINTS))
    shown = placed[::step]
    places = project_to_plane(np.asarray([stored[f.digest] for f in shown], np.float32), [f.language for f in shown])
    return {"points": [_point_row(f, place) for f, place in zip(shown, places, strict=True)], "total": len(placed)}


def project_to_plane(vectors: Vectors, groups: Sequence[str]) -> Vectors:
    """Places (n, 2) within -1 and 1 of vectors (n, d): the first two principal components, outliers drawn in."""
    if len(vectors) < 3:
        return np.zeros((len(vectors), 2), np.float32)
    centred, names = vectors.copy(), np.asarray(groups)
    for name in set(groups):
        centred[names == name] -= centred[names == name].mean(axis=0)
    _, basis = np.linalg.eigh(centred.T @ centred)
    places = centred @ basis[:, -2:]
    places /= np.maximum(np.quantile(np.abs(places), 0.98, axis=0), 1e-9)
    places = np.tanh(places)
    return np.asarray(places / np.maximum(np.abs(places).max(axis=0), 1e-9), np.float32)


def _whole_chunks(index: ChunkIndex) -> list[Chunk]:
    found = [chunk for path, state in index.files().items() if not state.skipped for chunk in index.chunks(path)]
    return [chunk for chunk in found if chunk.part <= 1]


def _point_row(chunk: Chunk, place: Vectors) -> list[Any]:
    shape = chunk.shape
    pattern = next(iter((*shape.callbacks, *shape.behaviours, *shape.uses, *shape.control)), "")
    x, y = (round(float(value), 4) for value in place)
    line = chunk.start_line + count_lines_before_code(chunk.language, chunk.text)
    return [x, y, chunk.language, chunk.name, chunk.kind, chunk.path, line, pattern]
