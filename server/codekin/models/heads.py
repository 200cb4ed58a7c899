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

LARGE_PRODUCT = 5_000_000_000
"""Multiplications above which a product is worth a second of importing torch."""


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

    A large product runs in bfloat16 where that is faster here. Its rounding turns a vector by a thousandth, in a
    direction of its own: less than the encoder's own does.
    """
    if vectors.size * len(matrix) > LARGE_PRODUCT and (moved := _product_in_bfloat16(matrix, vectors)) is not None:
        return moved
    moved = vectors @ matrix.T
    return np.asarray(moved / np.maximum(np.linalg.norm(moved, axis=1, keepdims=True), 1e-9), np.float32)


def _product_in_bfloat16(matrix: Vectors, vectors: Vectors) -> Vectors | None:
    """The same by torch; None where its bfloat16 is not the faster one."""
    import torch  # noqa: PLC0415 - the indexer does without it for all but wide vectors

    from codekin.models.kernels import fastest_kernel  # noqa: PLC0415

    if fastest_kernel().dtype is not torch.bfloat16:
        return None
    rows = torch.from_numpy(np.ascontiguousarray(vectors)).bfloat16() @ torch.from_numpy(matrix).bfloat16().T
    found: Vectors = torch.nn.functional.normalize(rows.float(), dim=1).numpy()
    return found


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
