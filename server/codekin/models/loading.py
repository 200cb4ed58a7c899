"""Chooses and loads an embedder: by name, by the settings, with a stand-in where it cannot be had.

Knows the order of preference and what a stand-in has to say; nothing of tokens or batches.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from codekin.errors import CodekinError, ModelError
from codekin.models import planner
from codekin.models.architectures import build_decoder
from codekin.models.catalogue import Model, find_model
from codekin.models.checks import check_folder
from codekin.models.digests import told_digest
from codekin.models.embedders import BUNDLED, LocalEmbedder, load_bundled
from codekin.models.generation import Generator
from codekin.models.infill import with_infill
from codekin.models.kernels import fastest_kernel
from codekin.models.linears import finish_for
from codekin.models.pretrained import PASSAGE_LIMIT, load_pretrained, torch_dtype
from codekin.models.remote import RemoteEmbedder
from codekin.models.vocabulary import Vocabulary
from codekin.models.weights import checked_digest, read_json, read_tensors
from codekin.seams import Embedder
from codekin.settings import ModelSettings

PREFERRED = ("qodo", "jina_v3")
"""The embedders that `auto` takes where they were pulled and a GPU runs them, best first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to load: `memory` 0 means what is free now, `dimensions` 0 the model's own."""

    kernel_cache: Path | None = None
    models_dir: Path | None = None
    rows: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    device: str = "auto"
    dtype: str = "auto"
    dimensions: int = 0
    memory: int = 0


def options_of(settings: ModelSettings, kernel_cache: Path | None = None) -> Options:
    """The options that a user's settings ask for."""
    return Options(
        kernel_cache=kernel_cache,
        models_dir=settings.dir,
        rows=settings.catalogue,
        device=settings.device,
        dtype=settings.dtype,
        memory=int(settings.memory_gb * (1 << 30)),
    )


def choose_embedder(settings: ModelSettings, kernel_cache: Path | None = None) -> Embedder:
    """The embedder of the settings, else the next best; its `note` then says why it stands in.

    The order: the remote server of the settings, the model named, jina_v3 for qodo, the
    fallback named, the bundled encoder. Raises the first one's error where even that fails.
    """
    options = options_of(settings, kernel_cache)
    notes: list[str] = []
    if _serves_embeddings(settings):
        try:
            return _remote(settings)
        except CodekinError as error:
            notes.append(str(error))
    for name in _order(settings, options):
        try:
            return _noted(load_by_name(name, options), notes)
        except CodekinError as error:
            notes.append(str(error))
    raise ModelError(notes[0] if notes else "No embedder can be loaded; see `codekin doctor`.")


def expected_bytes(settings: ModelSettings) -> int:
    """What the first choice of the settings takes in memory here; 0 for a server elsewhere or an unknown name."""
    options = options_of(settings)
    if _serves_embeddings(settings):
        return 0
    try:
        model = find_model(_order(settings, options)[0], options.rows)
        device = planner.device_for(options.device)
        return planner.need(model, _embedder_dtype(options, device), PASSAGE_LIMIT).total
    except CodekinError:
        return 0


def load_by_name(name: str, options: Options) -> LocalEmbedder:
    """An embedder by key or by an absolute folder.

    Raises ModelError where it is unknown, not pulled or too large, CheckpointError where it is damaged.
    """
    model = find_model(name, options.rows)
    if model.role != "embedder":
        raise ModelError(f"{name} writes code; it gives no vectors: choose an embedder from `codekin models list`.")
    return _load(model, options)


def load_generator(name: str, options: Options) -> Generator:
    """A generator by key or by an absolute folder.

    Raises ModelError where it is unknown, not pulled or too large, CheckpointError where it is damaged.
    """
    model = find_model(name, options.rows)
    if model.role != "generator":
        raise ModelError(f"{name} gives vectors; it writes no code: choose a generator from `codekin models list`.")
    folder = _located(model, options)
    if folder is None:
        raise ModelError(f"{model.key} is not on this machine; `codekin models pull {model.key}` brings it.")
    device = planner.device_for(options.device)
    dtype, bits = _generator_dtype(options.dtype, device)
    finish = finish_for(bits, device)
    _require_memory(model, f"int{bits}" if bits < 16 else str(dtype).removeprefix("torch."), 4096, options, device)
    files = check_folder(folder, model.architecture)
    for file in files:
        if told_digest(file):
            checked_digest(file)
    tensors = {name: tensor for file in files for name, tensor in read_tensors(file).items()}
    decoder = build_decoder(tensors, read_json(folder / "config.json"), dtype, finish)
    vocabulary = Vocabulary(folder / "tokenizer.json")
    size = sum(file.stat().st_size for file in files)
    return Generator(model.key, with_infill(model, vocabulary), decoder.to(device), vocabulary, size)


def _generator_dtype(dtype: str, device: str) -> tuple[torch.dtype, int]:
    """The dtype of the activations, and the bits in which the weights are kept (16: as the activations)."""
    fast = fastest_kernel().dtype if device == "cpu" else torch.float16 if device == "mps" else torch.bfloat16
    if dtype in ("int8", "int4"):
        return fast, int(dtype.removeprefix("int"))
    if dtype == "auto":
        return fast, 8 if device == "cpu" and fast is torch.bfloat16 else 16
    return getattr(torch, dtype), 16


def _load(model: Model, options: Options) -> LocalEmbedder:
    if model.bundled or (model.architecture == "bert" and model.folder):
        return load_bundled(model.folder or BUNDLED, options.kernel_cache)
    folder = _located(model, options)
    if folder is None:
        raise ModelError(f"{model.key} is not on this machine; `codekin models pull {model.key}` brings it.")
    device = planner.device_for(options.device)
    _require_memory(model, _embedder_dtype(options, device), PASSAGE_LIMIT, options, device)
    return load_pretrained(model, folder, device=device, dtype=options.dtype, dimensions=options.dimensions)


def _embedder_dtype(options: Options, device: str) -> str:
    return str(torch_dtype(options.dtype, device)).removeprefix("torch.")


def _located(model: Model, options: Options) -> Path | None:
    from codekin.models.fetching import locate  # noqa: PLC0415 - huggingface_hub, which the bundled encoder does without

    return locate(model, options.models_dir)


def _require_memory(model: Model, dtype: str, context: int, options: Options, device: str) -> None:
    needed = planner.need(model, dtype, context).total
    free = options.memory or planner.free_memory(device)
    if needed > free:
        raise ModelError(
            f"{model.key} takes {planner.gigabytes(needed)} in {dtype} and {planner.gigabytes(free)} are free; "
            f"close other programs or choose a smaller model."
        )


def _order(settings: ModelSettings, options: Options) -> list[str]:
    """Names to try, each once."""
    first = settings.embedder
    names = [first] if first != "auto" else _automatic(options)
    if first == "qodo":
        names.append("jina_v3")
    return list(dict.fromkeys([*names, settings.fallback, "codekin_embed"]))


def _automatic(options: Options) -> list[str]:
    """Pulled models where a GPU can run them: on a CPU they would index for hours."""
    if planner.device_for(options.device) == "cpu":
        return []
    return [name for name in PREFERRED if _located(find_model(name, options.rows), options)]


def _noted(embedder: LocalEmbedder, notes: list[str]) -> LocalEmbedder:
    if not notes:
        return embedder
    return replace(embedder, note=f"{notes[0].rstrip('.')}; {embedder.name} takes its place until then.")


def _serves_embeddings(settings: ModelSettings) -> bool:
    return bool(settings.remote and settings.remote.url and settings.remote.serves != "completions")


def _remote(settings: ModelSettings) -> RemoteEmbedder:
    remote = settings.remote
    if remote is None:
        raise ModelError("No remote server is set.")
    key = os.environ.get(remote.api_key_env, "") if remote.api_key_env else ""
    return RemoteEmbedder(remote.url, remote.model, api_key=key, timeout=remote.timeout_seconds, texts_per_request=32)
