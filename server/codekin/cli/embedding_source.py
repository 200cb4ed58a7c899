"""What embeds for a command: the daemon where it has the model loaded, else a model that is loaded here."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codekin.daemon.client import DaemonClient
from codekin.models.planner import choose_device
from codekin.settings import load_settings

if TYPE_CHECKING:
    from codekin.models.embedding.local import LocalEmbedder

EmbeddedTexts = tuple[list[list[float]], list[int]]
"""Vectors, and the positions of texts that were read in part."""


@dataclass(frozen=True, slots=True)
class EmbeddingSource:
    """The embedder: the daemon's, or a model loaded here."""

    about: dict[str, Any]
    embed: Callable[[list[str]], EmbeddedTexts]


def choose_source(client: DaemonClient, model: str, device: str, data: Path) -> EmbeddingSource:
    """The daemon where it has the model loaded, else the model itself on a device. Raises ModelError."""
    require_device(device)
    loaded = next((row for row in client.get("/v1/models")["data"] if row.get("space")), {"id": ""})
    if model in ("", loaded["id"]) and device in ("", "auto"):
        about = {"model": loaded["id"], "space": loaded.get("space", "")}
        return EmbeddingSource(about, lambda batch: _parse_response(client.post("/v1/embeddings", {"input": batch})))
    from codekin.models.loading import load_embedder, load_options  # noqa: PLC0415 - brings onnxruntime

    settings, _ = load_settings(data)
    options = load_options(settings.on_device(device).models, data / "kernels.json")
    embedder = load_embedder(model or loaded["id"], options)
    return EmbeddingSource(
        {"model": embedder.name, "space": embedder.space}, lambda batch: _embed_locally(embedder, batch)
    )


def require_device(device: str) -> None:
    """Raises ModelError where a command names a device that this machine lacks."""
    if device not in ("", "auto"):
        choose_device(device)


def _parse_response(response: Any) -> EmbeddedTexts:
    return [row["embedding"] for row in response["data"]], response["truncated"]


def _embed_locally(embedder: "LocalEmbedder", batch: list[str]) -> EmbeddedTexts:
    steps = list(embedder.embed_batches(batch))
    found = {at: vector.tolist() for step in steps for at, vector in zip(step.positions, step.vectors, strict=True)}
    return [found[at] for at in range(len(batch))], [at for step in steps for at in step.truncated]
