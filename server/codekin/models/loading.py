"""Loads a generator by name, and an embedder by name or by the settings, with a fallback when the first choice fails.

The bundled encoder and GGUF files need no torch; others need the extra `codekin[models]`, which has it.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codekin.errors import CodekinError, ModelError
from codekin.models import planner
from codekin.models.catalogue import ModelSpec, find_model
from codekin.models.checkpoints import expected_digest
from codekin.models.embedding.local import BUNDLED_FOLDER, LocalEmbedder, load_bundled
from codekin.models.embedding.remote import RemoteEmbedder
from codekin.models.gguf_files import require_engine
from codekin.models.weights import check_model_folder, verified_digest
from codekin.protocols import Embedder
from codekin.settings import ModelSettings

if TYPE_CHECKING:
    from codekin.models.generation.prompts import TokenGenerator

PREFERRED_EMBEDDERS = ("qodo", "jina_v3")
"""The embedders that `auto` takes where they were pulled and a GPU runs them, best first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOptions:
    """How to load: `memory` 0 means what is free now, `dimensions` 0 the model's own, `threads` 0 as many as suit."""

    kernel_cache: Path | None = None
    models_dir: Path | None = None
    rows: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    device: str = "auto"
    dtype: str = "auto"
    dimensions: int = 0
    memory: int = 0
    threads: int = 0


def load_options(settings: ModelSettings, kernel_cache: Path | None = None) -> LoadOptions:
    """The options that a user's settings ask for."""
    return LoadOptions(
        kernel_cache=kernel_cache,
        models_dir=settings.dir,
        rows=settings.catalogue,
        device=settings.device,
        dtype=settings.dtype,
        memory=int(settings.memory_gb * (1 << 30)),
        threads=settings.threads,
    )


def choose_embedder(settings: ModelSettings, kernel_cache: Path | None = None) -> Embedder:
    """The embedder of the settings, else the next best; its `note` then says why.

    The order: the remote server of the settings, the model named, jina_v3 for qodo, the
    fallback named, the bundled encoder. Raises the first one's error where even that fails.
    """
    options = load_options(settings, kernel_cache)
    notes: list[str] = []
    if _has_remote_embeddings(settings):
        try:
            return _open_remote(settings)
        except CodekinError as error:
            notes.append(str(error))
    for name in _candidate_names(settings, options):
        try:
            return _with_note(load_embedder(name, options), notes)
        except CodekinError as error:
            notes.append(str(error))
    raise ModelError(notes[0] if notes else "No embedder can be loaded; see `codekin doctor`.")


def estimate_embedder_bytes(settings: ModelSettings) -> int:
    """What the first choice of the settings takes in memory here; 0 for a server elsewhere or an unknown name."""
    options = load_options(settings)
    if _has_remote_embeddings(settings):
        return 0
    try:
        model = find_model(_candidate_names(settings, options)[0], options.rows)
        device = planner.choose_device(options.device)
        return planner.memory_need(model, _embedder_dtype(model, options, device), planner.MAX_PASSAGE_TOKENS).total
    except CodekinError:
        return 0


def load_embedder(name: str, options: LoadOptions | None = None, *, kernel_cache: Path | None = None) -> LocalEmbedder:
    """An embedder by key or by an absolute folder; `kernel_cache` remembers which kernel is fastest here.

    Raises ModelError where it is unknown, not pulled or too large, CheckpointError where it is damaged.
    """
    options = options or LoadOptions(kernel_cache=kernel_cache)
    model = find_model(name, options.rows)
    if model.role != "embedder":
        raise ModelError(f"{name} writes code; it gives no vectors: choose an embedder from `codekin models list`.")
    return _load_local(model, options)


def load_generator(name: str, options: LoadOptions | None = None) -> "TokenGenerator":
    """A generator by key, by an absolute folder or by a GGUF file.

    Raises ModelError where it is unknown, not pulled or too large, CheckpointError where it is damaged.
    """
    options = options or LoadOptions()
    model = find_model(name, options.rows)
    if model.role != "generator":
        raise ModelError(f"{name} gives vectors; it writes no code: choose a generator from `codekin models list`.")
    path = find_model_folder(model, options)
    if path is None:
        raise ModelError(f"{model.key} is not on this machine; `codekin models pull {model.key}` brings it.")
    if model.file:
        return _load_gguf(model, path, options)
    planner.require_torch(model.key)
    from codekin.models.generation.architectures import load_decoder  # noqa: PLC0415 - torch

    return load_decoder(model, path, device=options.device, dtype=options.dtype, memory=options.memory)


def _load_gguf(model: ModelSpec, path: Path, options: LoadOptions) -> "TokenGenerator":
    """A hub cache's file is checked against the digest that it was fetched with."""
    require_engine()
    from codekin.models.generation.gguf import load_gguf  # noqa: PLC0415 - llguidance

    if expected_digest(path.resolve()):
        verified_digest(path.resolve())
    return load_gguf(model, path, options.memory or planner.free_memory(), options.threads)


def _load_local(model: ModelSpec, options: LoadOptions) -> LocalEmbedder:
    if model.bundled:
        return load_bundled(BUNDLED_FOLDER, options.kernel_cache)
    if model.architecture == "bert" and model.folder and model.pooling == "mean":
        check_model_folder(model.folder, model.architecture)
        return load_bundled(model.folder, options.kernel_cache)
    folder = find_model_folder(model, options)
    if folder is None:
        raise ModelError(f"{model.key} is not on this machine; `codekin models pull {model.key}` brings it.")
    device = planner.choose_device(options.device)
    dtype = _embedder_dtype(model, options, device)
    planner.require_memory(model, dtype, planner.MAX_PASSAGE_TOKENS, device, options.memory)
    from codekin.models.embedding.pretrained import load_pretrained  # noqa: PLC0415 - torch and transformers

    return load_pretrained(model, folder, device=device, dtype=options.dtype, dimensions=options.dimensions)


def _embedder_dtype(model: ModelSpec, options: LoadOptions, device: str) -> str:
    if model.bundled:
        return "int8"
    planner.require_torch(model.key)
    from codekin.models.linear import resolve_dtype  # noqa: PLC0415 - torch

    return str(resolve_dtype(options.dtype, device)).removeprefix("torch.")


def find_model_folder(model: ModelSpec, options: LoadOptions) -> Path | None:
    """Where a pulled model lies; None where it was not pulled."""
    from codekin.models.fetching import locate_model  # noqa: PLC0415 - huggingface_hub, which the bundled encoder does without

    return locate_model(model, options.models_dir)


def _candidate_names(settings: ModelSettings, options: LoadOptions) -> list[str]:
    """Names to try, each once."""
    first = settings.embedder
    names = [first] if first != "auto" else _preferred_names(options)
    if first == "qodo":
        names.append("jina_v3")
    return list(dict.fromkeys([*names, settings.fallback, "codekin_embed"]))


def _preferred_names(options: LoadOptions) -> list[str]:
    """Pulled models where a GPU can run them: on a CPU they would index for hours."""
    if planner.choose_device(options.device) == "cpu":
        return []
    return [name for name in PREFERRED_EMBEDDERS if find_model_folder(find_model(name, options.rows), options)]


def _with_note(embedder: LocalEmbedder, notes: list[str]) -> LocalEmbedder:
    if not notes:
        return embedder
    return replace(embedder, note=f"{notes[0].rstrip('.')}; {embedder.name} takes its place until then.")


def _has_remote_embeddings(settings: ModelSettings) -> bool:
    return bool(settings.remote and settings.remote.url and settings.remote.serves != "completions")


def _open_remote(settings: ModelSettings) -> RemoteEmbedder:
    remote = settings.remote
    if remote is None:
        raise ModelError("No remote server is set.")
    key = os.environ.get(remote.api_key_env, "") if remote.api_key_env else ""
    return RemoteEmbedder(remote.url, remote.model, api_key=key, timeout=remote.timeout_seconds, texts_per_request=32)
