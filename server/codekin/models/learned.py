"""What was learned in a workspace as an embedder: the base under a head, or an encoder with weights of its own.

Knows checkpoints; nothing of how they came to be.
"""

from pathlib import Path

from codekin.errors import CheckpointError
from codekin.models import checkpoints
from codekin.models.heads import HeadedEmbedder, read_head
from codekin.seams import Embedder


def active_embedder(folder: Path, base: Embedder) -> Embedder:
    """What the workspace's pointer names, on this base. Raises CheckpointError where it is refused."""
    name = checkpoints.pointed(folder)
    return base if name == checkpoints.BASE else read_learned(folder, name, base)


def read_learned(folder: Path, name: str, base: Embedder) -> Embedder:
    """The embedder of a checkpoint that was learned on this base. Raises CheckpointError."""
    if is_encoder(folder, name):
        return read_encoder(folder, name, base.space)
    return HeadedEmbedder(base, read_head(folder, name, base.space))


def active_encoder(folder: Path, base_space: str) -> Embedder | None:
    """The encoder that the pointer names; None for a head or the base. Raises CheckpointError where it is refused."""
    name = checkpoints.pointed(folder)
    return read_encoder(folder, name, base_space) if is_encoder(folder, name) else None


def learned_of_space(folder: Path, space: str, base: Embedder) -> Embedder | None:
    """The kept checkpoint that opens this space, whatever the pointer names by now."""
    for name in reversed(checkpoints.names(folder)):
        try:
            if checkpoints.read_meta(folder, name).get("space") == space:
                return read_learned(folder, name, base)
        except CheckpointError:
            continue
    return None


def is_encoder(folder: Path, name: str) -> bool:
    """Whether a checkpoint holds an encoder. Raises CheckpointError where it is damaged."""
    return name != checkpoints.BASE and checkpoints.read_meta(folder, name).get("method") == checkpoints.FULL


def read_encoder(folder: Path, name: str, base_space: str) -> Embedder:
    """The encoder of a checkpoint, checked against its manifest.

    Raises CheckpointError.
    """
    from codekin.models.embedders import load_bundled  # noqa: PLC0415 - brings torch

    meta = checkpoints.read_meta(folder, name)
    if meta.get("base_space") != base_space:
        raise CheckpointError(f"Checkpoint {name} was trained for another base model: learn again with this one.")
    embedder = load_bundled(folder / name)
    if embedder.space != meta.get("space"):
        raise CheckpointError(f"Checkpoint {name} gives other vectors than when it was judged: learn again.")
    embedder.name = f"{embedder.name} + {name}"
    return embedder
