"""Heads: a square matrix over an encoder's vectors, v -> normalise(W v), that moves a whole index in one product.

A head opens a space of its own beside the one of its base. Knows checkpoints; nothing of how heads are trained.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np

from codekin.models import checkpoints
from codekin.seams import Embedder, TextKind, Vectors


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """A checked matrix (dimensions, dimensions), the space that it opens and the one that it stands on."""

    name: str
    matrix: Vectors
    space: str
    base_space: str

    def move(self, vectors: Vectors) -> Vectors:
        """normalise(W v) of each row; (n, dimensions) float32."""
        return apply_head(self.matrix, vectors)


@dataclass(frozen=True, slots=True, eq=False)
class HeadedEmbedder:
    """An Embedder that moves the vectors of another one."""

    base: Embedder
    head: Head

    @property
    def name(self) -> str:
        """The base model's name, and what was learned on it."""
        return f"{self.base.name} + {self.head.name}"

    @property
    def space(self) -> str:
        """The head's space."""
        return self.head.space

    @property
    def dimensions(self) -> int:
        """As many as the base has."""
        return self.base.dimensions

    def embed(self, texts: Sequence[str], kind: TextKind = "passage") -> Vectors:
        """Vectors of shape (len(texts), dimensions), float32, rows of unit length."""
        return self.head.move(self.base.embed(texts, kind))


def apply_head(matrix: Vectors, vectors: Vectors) -> Vectors:
    """normalise(W v) of each row; (n, dimensions) float32.

    By numpy: torch's bfloat16 is half as long at it, and takes longer than that to be imported.
    """
    moved = np.asarray(vectors, np.float32) @ matrix.T
    moved /= np.maximum(np.sqrt(np.einsum("ij,ij->i", moved, moved)), 1e-9)[:, None]
    return moved


def head_space(base_space: str, matrix: Vectors) -> str:
    """The fingerprint of the space that a head opens on a base."""
    return f"{base_space}+head-{sha256(np.ascontiguousarray(matrix, np.float32).tobytes()).hexdigest()[:16]}"


def active_head(folder: Path, base_space: str) -> Head | None:
    """The head that a workspace's pointer names; None for the base or a trained encoder.

    Raises CheckpointError for one that is refused.
    """
    name = checkpoints.pointed(folder)
    if name == checkpoints.BASE or checkpoints.read_meta(folder, name).get("method") in checkpoints.ENCODERS:
        return None
    return read_head(folder, name, base_space)


def read_head(folder: Path, name: str, base_space: str) -> Head:
    """The head of a checkpoint, made for this base. Raises CheckpointError."""
    matrix = checkpoints.read_matrix(folder, name, base_space)
    return Head(name, matrix, head_space(base_space, matrix), base_space)
