"""Judges embedders on held-out functions by the product's own ranking, apart from the gate's code.

Each kind has candidates, an index of their own as `codekin index` writes it, and questions with known answers.
`fused` is the ranking that a user sees, `dense` the vectors alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from codekin.index import FileState, Index, Query, View, rank
from codekin.learning.pieces import Piece
from codekin.records import Fragment
from codekin.retrieval.metrics import average_precision
from codekin.seams import Embedder, Vectors

MODES = ("dense", "fused")


@dataclass(frozen=True)
class Inquiry:
    """Candidates, and what asks for which of them: a text, positions of the right ones, the position to leave out."""

    candidates: list[tuple[str, str]]
    asked: list[tuple[str, str, list[int], int]]


def inquiries(pieces: Sequence[Piece]) -> dict[str, Inquiry]:
    """By kind: halves, changed names, documentation, and the same role in other files."""
    codes = [(piece.fragment.language, piece.code) for piece in pieces]
    lower = [(piece.fragment.language, piece.halves[1]) for piece in pieces]
    upper = [piece.halves[0] if piece.code.count("\n") >= 5 else "" for piece in pieces]
    found = {
        "half": Inquiry(lower, _alone(pieces, upper)),
        "renamed": Inquiry(codes, _alone(pieces, [piece.renamed for piece in pieces])),
        "sentence": Inquiry(codes, _alone(pieces, [piece.sentence for piece in pieces])),
        "role": Inquiry(codes, _same_role(pieces)),
    }
    return {kind: inquiry for kind, inquiry in found.items() if inquiry.asked}


def judged(inquiry: Inquiry, embedder: Embedder) -> dict[str, float]:
    """MAP by mode."""
    fragments = [
        Fragment("rows", language, "file", "", at, at, text)
        for at, (language, text) in enumerate(inquiry.candidates, 1)
    ]
    vectors = embedder.embed([one.text for one in fragments])
    asked = embedder.embed([text for _, text, _, _ in inquiry.asked])
    with TemporaryDirectory(prefix="codekin-") as folder, Index.open(Path(folder), write=True) as index:
        index.ensure_space(embedder.space, embedder.name, embedder.dimensions)
        known = {one.digest: vector for one, vector in zip(fragments, vectors, strict=True)}
        index.replace_file("rows", FileState(0, 0, 0, ""), fragments, known)
        index.flush(force=True)
        view = index.view()
        dense = replace(view, lexis=None, lexical=None)
        return {mode: _map(each, inquiry, asked) for mode, each in zip(MODES, (dense, view), strict=True)}


def _map(view: View, inquiry: Inquiry, vectors: Vectors) -> float:
    places = view.snapshot.columns.start - 1
    names = np.array(view.snapshot.languages.words())[view.snapshot.columns.language]
    found = []
    for (language, text, answers, itself), vector in zip(inquiry.asked, vectors, strict=True):
        candidates = (names == language) & (places != itself)
        rows = rank(view, Query(text, vector, language), candidates, limit=len(places), exact=True).rows
        found.append(average_precision(np.flatnonzero(np.isin(places[rows], answers)).tolist()))
    return float(np.mean(found))


def _alone(pieces: Sequence[Piece], texts: Sequence[str]) -> list[tuple[str, str, list[int], int]]:
    rows = zip(pieces, texts, strict=True)
    return [(piece.fragment.language, text, [at], -1) for at, (piece, text) in enumerate(rows) if text]


def _same_role(pieces: Sequence[Piece]) -> list[tuple[str, str, list[int], int]]:
    found = []
    for at, piece in enumerate(pieces):
        others = [
            row
            for row, other in enumerate(pieces)
            if other.role == piece.role
            and other.fragment.path != piece.fragment.path
            and other.fragment.language == piece.fragment.language
        ]
        if others:
            found.append((piece.fragment.language, piece.code, others, at))
    return found
