"""What was learned in a workspace as an embedder: the base under a head or an adapter, or an encoder of its own.

Knows checkpoints; nothing of how they came to be.
"""

from dataclasses import replace
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
        return read_encoder(folder, name, base)
    return HeadedEmbedder(base, read_head(folder, name, base.space))


def name_of_space(folder: Path, space: str) -> str:
    """The latest kept checkpoint that opens this space, whatever the pointer names by now; empty without one."""
    for name in reversed(checkpoints.names(folder)):
        try:
            if checkpoints.read_meta(folder, name).get("space") == space:
                return name
        except CheckpointError:
            continue
    return ""


def is_encoder(folder: Path, name: str) -> bool:
    """Whether a checkpoint holds an encoder or an adapter. Raises CheckpointError where it is damaged."""
    return name != checkpoints.BASE and checkpoints.read_meta(folder, name).get("method") in checkpoints.ENCODERS


def read_encoder(folder: Path, name: str, base: Embedder) -> Embedder:
    """The encoder of a checkpoint, checked against its manifest.

    Raises CheckpointError, also where the base is not in this process and so takes no adapter.
    """
    from codekin.models.embedders import load_bundled  # noqa: PLC0415 - brings torch

    meta = checkpoints.read_meta(folder, name)
    if meta.get("base_space") != base.space:
        raise CheckpointError(f"Checkpoint {name} was trained for another base model: learn again with this one.")
    adapt = load_bundled if meta.get("method") == checkpoints.FULL else getattr(base, "adapt", None)
    if adapt is None:
        raise CheckpointError(f"Checkpoint {name} is an adapter, which {base.name} does not take: roll back.")
    embedder = adapt(folder / name)
    if embedder.space != meta.get("space", embedder.space):
        raise CheckpointError(f"Checkpoint {name} gives other vectors than when it was judged: learn again.")
    return replace(embedder, name=f"{base.name} + {name}")
