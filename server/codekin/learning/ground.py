"""Lays the ground on which models are judged: candidates, questions, and the vectors of all their texts.

The held-out files are the same every night, so the vectors of their texts are kept, by content hash and space.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np

from codekin.learning.judging import Ground
from codekin.learning.pieces import Known, Piece
from codekin.learning.queries import questions
from codekin.seams import Embedder, Vectors

MOST_CANDIDATES = 2000
MOST_ASKED = 600
KEPT_VECTORS = 60_000
BATCH = 64
WRITTEN_EVERY = 60.0
"""Seconds of embedding that a kill may cost."""

Told = Callable[[str, int, int], None]
"""Phase, done, total."""


def lay_ground(
    held: Sequence[Piece],
    rest: Sequence[Piece],
    embed: Callable[[Sequence[str]], Vectors],
    earlier: Mapping[Known, str],
) -> Ground:
    """Questions about the held-out pieces among all pieces, or, in a large workspace, among a fixed sample."""
    pool = [*_sample(held, MOST_CANDIDATES // 2), *_sample(rest, MOST_CANDIDATES // 2)]
    asked = [at for at in range(len(pool)) if pool[at].share < _border(held)]
    found = tuple(questions(pool, _sample_rows(asked, pool), earlier))
    texts = [*(question.text for question in found), *(p.code for p in pool), *(p.halves[1] for p in pool)]
    vectors = embed(texts)
    n, m = len(found), len(pool)
    languages = tuple(piece.fragment.language for piece in pool)
    return Ground(found, vectors[:n], vectors[n : n + m], vectors[n + m :], languages)


def _border(held: Sequence[Piece]) -> float:
    return max((piece.share for piece in held), default=-1.0) + 1e-12


def _sample(pieces: Sequence[Piece], most: int) -> list[Piece]:
    """The same pieces every night: those whose code hashes lowest."""
    return sorted(pieces, key=lambda piece: sha256(piece.code.encode("utf-8", "replace")).digest())[:most]


def _sample_rows(rows: Sequence[int], pool: Sequence[Piece]) -> list[int]:
    return sorted(rows, key=lambda at: sha256(pool[at].place.encode("utf-8", "replace")).digest())[:MOST_ASKED]


class KeptVectors:
    """Embeds texts through an embedder, and keeps their vectors in a file for the next night."""

    def __init__(self, folder: Path, embedder: Embedder, told: Told) -> None:
        self._path = folder / f"views-{sha256(embedder.space.encode()).hexdigest()[:16]}.npz"
        self.embedder = embedder
        self._told = told
        self._known = self._read()

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Vectors (len(texts), dimensions) in their order."""
        keys = [sha256(text.encode("utf-8", "replace")).hexdigest()[:32] for text in texts]
        fresh = {key: text for key, text in zip(keys, texts, strict=True) if key not in self._known}
        order = sorted(fresh, key=lambda key: len(fresh[key]))
        written = time.monotonic()
        for start in range(0, len(order), BATCH):
            part = order[start : start + BATCH]
            self._known.update(zip(part, self.embedder.embed([fresh[key] for key in part]), strict=True))
            self._told("embedding", min(start + BATCH, len(order)), len(order))
            if time.monotonic() - written > WRITTEN_EVERY:
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
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        keys = list(self._known)[-KEPT_VECTORS:]
        part = self._path.with_suffix(".part.npz")
        np.savez(part, keys=np.array(keys), vectors=np.asarray([self._known[key] for key in keys], np.float16))
        part.replace(self._path)
