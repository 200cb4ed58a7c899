"""Judges embedders on held-out functions by the product's own ranking, apart from the gate's code.

Each kind is a set of rows as `codekin eval retrieval` reads them: two texts of one function share a task, and every
text is a candidate for every other of its language. `fused` is what a user sees, `dense` the vectors alone.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from codekin.learning.pieces import Piece
from codekin.retrieval import evaluate
from codekin.seams import Embedder

MODES = ("dense", "fused")


def rows_of(held: Sequence[Piece], most: int) -> dict[str, list[dict[str, Any]]]:
    """By kind: halves, changed names, documentation, and the same role in other files."""
    pieces = sorted(held, key=lambda piece: piece.share)[:most]
    pairs = {
        "half": [(piece, *piece.halves) for piece in pieces if piece.code.count("\n") >= 5],
        "renamed": [(piece, piece.renamed, piece.code) for piece in pieces if piece.renamed],
        "sentence": [(piece, piece.sentence, piece.code) for piece in pieces if piece.sentence],
    }
    found = {
        kind: [_row(piece, str(at), text) for at, (piece, *texts) in enumerate(rows) for text in texts]
        for kind, rows in pairs.items()
    }
    return {**found, "role": [_row(piece, piece.role, piece.code) for piece in pieces]}


def judged(rows: Mapping[str, Sequence[Mapping[str, Any]]], embedder: Embedder) -> dict[str, dict[str, float]]:
    """MAP by mode and kind, over all queries that have an answer in their language."""
    return {mode: {kind: _map(each, embedder, mode) for kind, each in rows.items() if each} for mode in MODES}


def _map(rows: Sequence[Mapping[str, Any]], embedder: Embedder, mode: Any) -> float:
    found = [row for pair, row in evaluate(rows, embedder, mode).items() if len(set(pair.split("->"))) == 1]
    count = sum(row["queries"] for row in found)
    return sum(row["map"] * row["queries"] for row in found) / max(1, count)


def _row(piece: Piece, task: str, text: str) -> dict[str, Any]:
    return {"id": piece.place, "task": task, "lang": piece.fragment.language, "code": text}
