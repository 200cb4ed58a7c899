"""Fine-tuned embedders: a base model under a linear head or a LoRA adapter, or a fine-tuned encoder.

A head is a square matrix over the encoder's vectors, v -> normalise(W v), with an embedding space of its own.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import numpy as np

from codekin.errors import CheckpointError
from codekin.models import checkpoints
from codekin.protocols import Embedder, EmbeddingBatch, TextKind, Vectors


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddingHead:
    """A checked matrix (dimensions, dimensions), the space that it opens and its base space."""

    name: str
    matrix: Vectors
    space: str
    base_space: str

    def apply(self, vectors: Vectors) -> Vectors:
        """normalise(W v) of each row; (n, dimensions) float32."""
        return apply_head(self.matrix, vectors)


@dataclass(frozen=True, slots=True, eq=False)
class HeadedEmbedder:
    """An Embedder that moves the vectors of another one."""

    base: Embedder
    head: EmbeddingHead

    @property
    def name(self) -> str:
        """The base model's name, and what was trained on it."""
        return f"{self.base.name} + {self.head.name}"

    @property
    def space(self) -> str:
        """The head's space."""
        return self.head.space

    @property
    def dimensions(self) -> int:
        """As many as the base has."""
        return self.base.dimensions

    @property
    def base_space(self) -> str:
        """The space of the model under the head."""
        return self.head.base_space

    @property
    def truncations(self) -> tuple[int, ...]:
        """None: the head mixes all numbers of a vector."""
        return ()

    @property
    def truncated(self) -> int:
        """As many as the base has read in part."""
        return self.base.truncated

    @property
    def note(self) -> str:
        """The base model's."""
        return self.base.note

    def embed(self, texts: Sequence[str], kind: TextKind = "passage") -> Vectors:
        """Vectors of shape (len(texts), dimensions), float32, rows of unit length."""
        return self.head.apply(self.base.embed(texts, kind))

    def embed_batches(self, texts: Sequence[str], kind: TextKind = "passage") -> Iterator[EmbeddingBatch]:
        """The same, one batch of the base at a time."""
        for batch in self.base.embed_batches(texts, kind):
            yield batch._replace(vectors=self.head.apply(batch.vectors))

    def decode(self, ids: Sequence[int]) -> str:
        """As the embedder below it."""
        return self.base.decode(ids)

    def with_adapter(self, folder: Path, name: str) -> Embedder:
        """Refuses: the head belongs to the model as it is."""
        raise CheckpointError(f"{self.name} takes no adapter: roll back to another checkpoint ({folder.name}, {name}).")


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


def active_head(folder: Path, base_space: str) -> EmbeddingHead | None:
    """The head that a workspace's pointer names; None for the base or a trained encoder.

    Raises CheckpointError for one that is refused.
    """
    name = checkpoints.read_pointer(folder)
    if name == checkpoints.BASE or checkpoints.read_meta(folder, name).get("method") in checkpoints.ENCODER_METHODS:
        return None
    return read_head(folder, name, base_space)


def read_head(folder: Path, name: str, base_space: str) -> EmbeddingHead:
    """The head of a checkpoint, made for this base. Raises CheckpointError."""
    matrix = checkpoints.read_head_matrix(folder, name, base_space)
    return EmbeddingHead(name, matrix, head_space(base_space, matrix), base_space)


def load_active_embedder(folder: Path, base: Embedder) -> Embedder:
    """What the workspace's pointer names, on this base. Raises CheckpointError where it is refused."""
    name = checkpoints.read_pointer(folder)
    return base if name == checkpoints.BASE else load_checkpoint(folder, name, base)


def load_checkpoint(folder: Path, name: str, base: Embedder) -> Embedder:
    """The embedder of a checkpoint that was trained on this base. Raises CheckpointError."""
    if is_encoder_checkpoint(folder, name):
        return load_encoder_checkpoint(folder, name, base)
    return HeadedEmbedder(base, read_head(folder, name, base.space))


def checkpoint_of_space(folder: Path, space: str) -> str:
    """The latest kept checkpoint that opens this space, whatever the pointer names by now; empty without one."""
    for name in reversed(checkpoints.list_checkpoints(folder)):
        try:
            if checkpoints.read_meta(folder, name).get("space") == space:
                return name
        except CheckpointError:
            continue
    return ""


def is_encoder_checkpoint(folder: Path, name: str) -> bool:
    """Whether a checkpoint holds an encoder or an adapter. Raises CheckpointError where it is damaged."""
    return name != checkpoints.BASE and checkpoints.read_meta(folder, name).get("method") in checkpoints.ENCODER_METHODS


def load_encoder_checkpoint(folder: Path, name: str, base: Embedder) -> Embedder:
    """The encoder of a checkpoint, checked against its manifest.

    Raises CheckpointError, also where the base is not in this process and so takes no adapter.
    """
    from codekin.models.embedding.local import load_bundled  # noqa: PLC0415 - brings onnxruntime

    meta = checkpoints.read_meta(folder, name)
    if meta.get("base_space") != base.space:
        raise CheckpointError(f"Checkpoint {name} was trained for another base model: fine-tune again with this one.")
    label = f"{base.name} + {name}"
    if meta.get("method") == checkpoints.FULL_METHOD:
        embedder: Embedder = replace(load_bundled(folder / name), name=label)
    else:
        embedder = base.with_adapter(folder / name, label)
    if embedder.space != meta.get("space", embedder.space):
        raise CheckpointError(f"Checkpoint {name} gives other vectors than when it was evaluated: fine-tune again.")
    return embedder
