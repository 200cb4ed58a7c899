"""The map of the code: every function's place in two dimensions, near to what means the same.

The two directions in which the vectors of the workspace differ most (principal components), after each language's
mean is taken out. Knows vectors and fragments, nothing of the page.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from codekin.index import Index
from codekin.records import Fragment
from codekin.seams import Vectors
from codekin.syntax import lines_before_code

MOST_POINTS = 6000


def chart(index: Index) -> dict[str, Any]:
    """`{"points": [[x, y, language, name, kind, path, line, pattern], …], "total"}` for the serving space."""
    serving = index.serving_space()
    if serving is None:
        return {"points": [], "total": 0}
    fragments = _fragments(index)
    stored = {
        digest: row
        for digests, rows in index.vectors(serving.fingerprint)
        for digest, row in zip(digests, rows, strict=True)
    }
    placed = [fragment for fragment in fragments if fragment.digest in stored]
    step = max(1, -(-len(placed) // MOST_POINTS))
    shown = placed[::step]
    places = flatten(np.asarray([stored[f.digest] for f in shown], np.float32), [f.language for f in shown])
    return {"points": [_point(f, place) for f, place in zip(shown, places, strict=True)], "total": len(placed)}


def flatten(vectors: Vectors, groups: Sequence[str]) -> Vectors:
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


def _fragments(index: Index) -> list[Fragment]:
    found = [
        fragment for path, state in index.files().items() if not state.skipped for fragment in index.fragments(path)
    ]
    return [fragment for fragment in found if fragment.part <= 1]


def _point(fragment: Fragment, place: Vectors) -> list[Any]:
    shape = fragment.shape
    pattern = next(iter((*shape.callbacks, *shape.behaviours, *shape.uses, *shape.control)), "")
    x, y = (round(float(value), 4) for value in place)
    line = fragment.start_line + lines_before_code(fragment.language, fragment.text)
    return [x, y, fragment.language, fragment.name, fragment.kind, fragment.path, line, pattern]
