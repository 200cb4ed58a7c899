"""The protocols at the seams: what a real part and its fake in the tests both offer."""

from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
"""Shape (n, dimensions), rows of unit length."""

TextKind = Literal["query", "passage"]


class Step(NamedTuple):
    """A batch of vectors: positions in the input, their vectors in the same order, and the tokens read.

    `cut` holds the positions of texts that were longer than the model reads, and were read in part.
    """

    positions: list[int]
    vectors: Vectors
    tokens: int = 0
    cut: tuple[int, ...] = ()


class Embedder(Protocol):
    """Turns texts into unit vectors of one embedding space.

    `space` is the space's fingerprint: model, revision, attention, pooling, prompt, adapter
    or head, tokenizer. Vectors of two spaces are never compared.
    """

    @property
    def name(self) -> str:
        """The model's name, for people."""
        ...

    @property
    def space(self) -> str:
        """The fingerprint of what its vectors may be compared with."""
        ...

    @property
    def dimensions(self) -> int:
        """Numbers in a vector."""
        ...

    def embed(self, texts: Sequence[str], kind: TextKind = "passage") -> Vectors:
        """Vectors of shape (len(texts), dimensions), float32, rows of unit length."""
        ...
