"""Embedders of the catalogue that run through transformers' native classes: Qodo, Jina v3 and others.

Loads safetensors only, never remote code, never from the network.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from torch import nn

from codekin.errors import CheckpointError, ModelError
from codekin.models.catalogue import ModelSpec, read_json
from codekin.models.checkpoints import ADAPTER_WEIGHTS, file_digest
from codekin.models.embedding import adapters as lora
from codekin.models.embedding.adapters import TransformersEncoder, to_array
from codekin.models.embedding.local import (
    TRUNCATION_SCHEME,
    LocalEmbedder,
    TokenizedTexts,
    require_known_ids,
    space_fingerprint,
    truncate_text,
)
from codekin.models.linear import resolve_dtype
from codekin.models.planner import MAX_PASSAGE_TOKENS
from codekin.models.vocabulary import ModelVocabulary
from codekin.models.weights import check_finite, check_model_folder, verified_digest
from codekin.protocols import TextKind, Vectors

_DROPOUT_SETTINGS = (
    "hidden_dropout_prob",
    "attention_probs_dropout_prob",
    "attention_dropout",
    "hidden_dropout",
    "dropout",
)

_UNLOADABLE = (
    *(ArithmeticError, AssertionError, AttributeError, ImportError, LookupError, OSError, RuntimeError, TypeError),
    *(ValueError, SafetensorError, StrictDataclassError),
)
"""What transformers raises for configs that no model has."""


def load_pretrained(
    model: ModelSpec, folder: Path, *, device: str = "cpu", dtype: str = "auto", dimensions: int = 0
) -> LocalEmbedder:
    """The embedder of a catalogue row from its folder.

    `dimensions` truncates (Matryoshka) where the row allows it. Raises CheckpointError or ModelError.
    """
    files = check_model_folder(folder, model.architecture)
    digests = [verified_digest(file) for file in (*files, folder / "tokenizer.json")]
    encoder = open_encoder(model, folder, device=device, dtype=dtype, dimensions=dimensions)
    longest = min(model.context, MAX_PASSAGE_TOKENS)
    width = encoder.width
    space = space_fingerprint(
        model.key,
        *digests,
        *(model.causal, model.pooling, dict(model.prompts), dict(model.adapters), width, longest, TRUNCATION_SCHEME),
    )
    vocabulary = ModelVocabulary(folder / "tokenizer.json")
    embedder = LocalEmbedder(
        name=model.key,
        space=space,
        dimensions=width,
        tokenize=build_tokenizer(model, vocabulary, longest),
        forward=lambda sequences, kind: to_array(encoder.embed(sequences, kind)),
        longest=longest,
        truncations=model.truncations,
        decode_ids=lambda ids: vocabulary.decode(require_known_ids(ids, vocabulary.size)),
    )
    return replace(embedder, adapt=partial(_with_adapter, embedder, encoder), encoder=encoder)


def _with_adapter(embedder: LocalEmbedder, encoder: "TransformersEncoder", folder: Path) -> LocalEmbedder:
    """The same embedder under the adapter in a folder; both share the weights and may be used side by side."""
    digest = file_digest(folder / ADAPTER_WEIGHTS)
    adapter = lora.read_adapter(folder)
    name = f"finetuned_{digest[:16]}"
    encoder.add_adapter(name, adapter)

    def forward(sequences: list[list[int]], kind: TextKind) -> Vectors:
        return to_array(encoder.embed(sequences, kind, name))

    space = space_fingerprint(embedder.space, "lora", digest)
    return replace(embedder, space=space, forward=forward, adapt=None, encoder=None, truncated=0)


def open_encoder(
    model: ModelSpec, folder: Path, *, device: str = "cpu", dtype: str = "auto", dimensions: int = 0
) -> "TransformersEncoder":
    """The module of a catalogue row with its pooling and adapters, without a tokenizer."""
    module = load_module(model, folder, resolve_dtype(dtype, device)).to(device).eval()
    adapters = load_adapters(module, model, folder)
    return TransformersEncoder(module, model, _output_dimensions(model, dimensions), adapters)


def build_tokenizer(
    model: ModelSpec, vocabulary: ModelVocabulary, longest: int
) -> Callable[[Sequence[str], TextKind], TokenizedTexts]:
    """Prompt and text to ids, with the begin and end ids that the model was trained with.

    A text that gives more than `longest` is cut where a chunk, a line or a word of it ends.
    """
    begin = [] if model.begin_id is None else [model.begin_id]
    end = [] if model.end_id is None else [model.end_id]
    limit = longest - len(begin) - len(end)

    def tokenize(texts: Sequence[str], kind: TextKind) -> TokenizedTexts:
        prompt = model.prompts.get(kind, "")
        whole = [prompt + text for text in texts]
        found = vocabulary.encode_many(whole)
        truncated = tuple(at for at, each in enumerate(found) if len(each) > limit)
        for at in truncated:
            found[at] = vocabulary.encode(truncate_text(whole[at], limit, vocabulary.tokens_before))[:limit]
        return TokenizedTexts([[*begin, *each, *end] for each in found], truncated)

    return tokenize


def load_module(model: ModelSpec, folder: Path, dtype: torch.dtype) -> nn.Module:
    """The native class of an architecture, its weights complete and finite."""
    transformers = import_transformers()
    classes = {
        "qwen2": "Qwen2Model",
        "jina_embeddings_v3": "JinaEmbeddingsV3Model",
        "bert": "BertModel",
        "xlm-roberta": "XLMRobertaModel",
    }
    try:
        config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        # Since transformers 5.2 this switches Qwen2 between causal and bidirectional attention.
        config.is_causal, config.use_cache = model.causal, False
        for name in _DROPOUT_SETTINGS:  # what is trained here sees a text as what serves does
            if hasattr(config, name):
                setattr(config, name, 0.0)
        module, report = getattr(transformers, classes[model.architecture]).from_pretrained(
            folder,
            config=config,
            dtype=dtype,
            use_safetensors=True,
            local_files_only=True,
            attn_implementation="sdpa",
            output_loading_info=True,
        )
    except _UNLOADABLE as error:
        raise CheckpointError(f"{folder} cannot be loaded ({_first_line(error)}); fetch the model again.") from error
    missing = [name for name in report["missing_keys"] if "pooler" not in name]
    if missing or report.get("mismatched_keys"):
        raise CheckpointError(f"{folder} lacks weights or has wrong shapes ({len(missing)} missing); fetch it again.")
    check_finite(dict(module.named_parameters()), folder)
    result: nn.Module = module
    return result


def load_adapters(module: nn.Module, model: ModelSpec, folder: Path) -> frozenset[str]:
    """Attach the LoRA adapters of the row that lie in subfolders; gives their names."""
    wanted = sorted(set(model.adapters.values()))
    missing = [name for name in wanted if not (folder / name / "adapter_model.safetensors").exists()]
    if missing:
        raise CheckpointError(f"{folder} lacks the adapters {', '.join(missing)}; pull {model.key} again.")
    for name in wanted:
        read_json(folder / name / "adapter_config.json")
        module.load_adapter(  # type: ignore[operator] # a transformers module
            str(folder), adapter_name=name, adapter_kwargs={"subfolder": name, "local_files_only": True}
        )
    check_finite(dict(module.named_parameters()), folder)
    return frozenset(wanted)


def import_transformers() -> Any:
    """The library, imported when first needed, without its progress bars and load reports."""
    import transformers  # noqa: PLC0415 - a second and 100 MB that the bundled encoder does without

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    return transformers


def _output_dimensions(model: ModelSpec, dimensions: int) -> int:
    if not dimensions or dimensions == model.dimensions:
        return model.dimensions
    if dimensions not in model.truncations:
        offered = ", ".join(map(str, model.truncations)) or str(model.dimensions)
        raise ModelError(f"{model.key} has no vectors of {dimensions} dimensions; it offers {offered}.")
    return dimensions


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
