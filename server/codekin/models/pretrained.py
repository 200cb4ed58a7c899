"""Embedders of the catalogue that run through transformers' native classes: Qodo, Jina v3, others.

Loads only safetensors, never remote code, never from the network. Knows how each family is
tokenised, pooled and adapted; nothing of where its files come from.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.nn import functional

from codekin.errors import CheckpointError, ModelError
from codekin.models import adapters as lora
from codekin.models.catalogue import Model
from codekin.models.checks import check_folder
from codekin.models.cutting import SCHEME, cut_text
from codekin.models.digests import file_digest
from codekin.models.embedders import LocalEmbedder, Tokens, fingerprint
from codekin.models.kernels import fastest_kernel
from codekin.models.vocabulary import Vocabulary
from codekin.models.weights import check_finite, checked_digest, read_json
from codekin.seams import TextKind

PASSAGE_LIMIT = 2048
"""Tokens read of a text: longer fragments are split long before; a longer context costs its square."""

MOST_ATTACHED = 3
"""Learned adapters that stay beside the weights at a time."""

_DROPOUTS = ("hidden_dropout_prob", "attention_probs_dropout_prob", "attention_dropout", "hidden_dropout", "dropout")


def load_pretrained(
    model: Model, folder: Path, *, device: str = "cpu", dtype: str = "auto", dimensions: int = 0
) -> LocalEmbedder:
    """The embedder of a catalogue row from its folder.

    `dimensions` truncates (Matryoshka) where the row allows it. Raises CheckpointError or ModelError.
    """
    files = check_folder(folder, model.architecture)
    digests = [checked_digest(file) for file in (*files, folder / "tokenizer.json")]
    encoder = open_encoder(model, folder, device=device, dtype=dtype, dimensions=dimensions)
    longest = min(model.context, PASSAGE_LIMIT)
    width = encoder.width
    space = fingerprint(
        model.key,
        *digests,
        *(model.causal, model.pooling, dict(model.prompts), dict(model.adapters), width, longest, SCHEME),
    )
    embedder = LocalEmbedder(
        name=model.key,
        space=space,
        dimensions=width,
        tokenize=tokenizer_of(model, Vocabulary(folder / "tokenizer.json"), longest),
        forward=encoder.embed,
        longest=longest,
        truncations=model.truncations,
    )
    return replace(embedder, adapt=partial(_adapted, embedder, encoder), encoder=encoder)


def _adapted(embedder: LocalEmbedder, encoder: "Encoder", folder: Path) -> LocalEmbedder:
    """The same embedder under the adapter in a folder; both share the weights and may be used side by side."""
    digest = file_digest(folder / lora.WEIGHTS)
    adapter = lora.read_adapter(folder)
    name = f"learned_{digest[:16]}"
    encoder.learn(name, adapter)

    def forward(sequences: list[list[int]], kind: TextKind) -> Tensor:
        return encoder.embed(sequences, kind, name)

    space = fingerprint(embedder.space, "lora", digest)
    return replace(embedder, space=space, forward=forward, adapt=None, encoder=None, cut=0)


def open_encoder(
    model: Model, folder: Path, *, device: str = "cpu", dtype: str = "auto", dimensions: int = 0
) -> "Encoder":
    """The module of a catalogue row with its pooling and adapters, without a tokenizer."""
    module = load_module(model, folder, torch_dtype(dtype, device)).to(device).eval()
    adapters = load_adapters(module, model, folder)
    return Encoder(module, model, _truncation(model, dimensions), adapters)


class Encoder:
    """A transformers encoder with pooling, adapters and truncation; safe to call from many threads."""

    def __init__(self, module: nn.Module, model: Model, width: int, adapters: frozenset[str]) -> None:
        self.module = module
        self.model = model
        self.width = width
        self._adapters = set(adapters)
        self._still = list(module.parameters())
        self._learned: dict[str, lora.Adapter | None] = {}
        # Choosing an adapter changes the module, so the choice and the forward are one step.
        self._lock = threading.Lock()

    @torch.inference_mode()
    def embed(self, sequences: list[list[int]], kind: TextKind | str, learned: str = "") -> Tensor:
        """Unit vectors (n, width) of id sequences, under a learned adapter where one is named."""
        with self._lock:
            self.module.eval()
            return self._forward(sequences, kind, learned)

    def encode(self, sequences: Sequence[Sequence[int]], kind: TextKind | str, learned: str) -> Tensor:
        """The same with gradients for what is learned, and activations computed again where that saves memory."""
        with self._lock:
            self.module.train()
            return self._forward(sequences, kind, learned)

    def learn(self, name: str, adapter: lora.Adapter | None = None) -> dict[str, nn.Parameter]:
        """Attaches an adapter under a name, an earlier one's or a fresh one; gives its parameters.

        Of those that serve only the latest few are kept attached; an older one is attached again when it is asked for.
        """
        with self._lock:
            return self._attach(name, adapter)

    def forget(self, name: str) -> None:
        """Takes a learned adapter away."""
        with self._lock:
            if name in self._learned and name in self._adapters:
                self._detach(name)
            self._learned.pop(name, None)

    def _detach(self, name: str) -> None:
        self._adapters.discard(name)
        lora.detach(self.module, name, sorted(self._adapters))

    def save_memory(self) -> None:
        """Has training compute activations a second time rather than keep them."""
        by_its_name_of_old = "gradient_checkpointing_enable"
        enable = getattr(self.module, "activation_checkpointing_enable", None) or getattr(
            self.module, by_its_name_of_old
        )
        enable()

    def _attach(self, name: str, adapter: lora.Adapter | None) -> dict[str, nn.Parameter]:
        if name in self._adapters:
            return {}
        serving = [other for other in self._learned if self._learned[other] and other in self._adapters]
        for old in serving[: 1 - MOST_ATTACHED or None] if len(serving) >= MOST_ATTACHED else ():
            self._detach(old)
        parameters = lora.attach(self.module, self.model.architecture, name, adapter)
        self._adapters.add(name)
        self._learned[name] = adapter
        return parameters

    def _forward(self, sequences: Sequence[Sequence[int]], kind: TextKind | str, learned: str) -> Tensor:
        device = next(self.module.parameters()).device
        ids, mask = padded(sequences, self.model.end_id or 0)
        self._adapt(kind, learned)
        hidden = self.module(input_ids=ids.to(device), attention_mask=mask.to(device)).last_hidden_state
        pooled = pool(hidden.float(), mask.to(device), self.model.pooling)
        return functional.normalize(pooled[:, : self.width], dim=1)

    def _adapt(self, kind: str, learned: str) -> None:
        """Has the adapter of this kind of text count, and the learned one beside it, and no other."""
        if learned and learned not in self._adapters:
            self._attach(learned, self._learned[learned])
        task = self.model.adapters.get(kind)
        wanted = [name for name in (task, learned) if name in self._adapters]
        if wanted:
            if self._learned:
                self.module.enable_adapters()  # type: ignore[operator] # a transformers module
            self.module.set_adapter(wanted)  # type: ignore[operator]
            for parameter in self._still:  # the adapter of a task would learn too
                parameter.requires_grad_(False)
        elif self._learned:
            self.module.disable_adapters()  # type: ignore[operator]


def pool(hidden: Tensor, mask: Tensor, pooling: str) -> Tensor:
    """One vector (n, width) of hidden states (n, length, width), whatever side is padded."""
    if pooling == "last":
        length = mask.shape[1]
        last = (torch.arange(length, device=mask.device) * mask).argmax(dim=1)
        return hidden[torch.arange(len(hidden), device=mask.device), last]
    if pooling == "first":
        return hidden[torch.arange(len(hidden), device=mask.device), mask.argmax(dim=1)]
    weights = mask[:, :, None].to(hidden.dtype)
    return (hidden * weights).sum(1) / weights.sum(1).clamp(min=1)


def padded(sequences: Sequence[Sequence[int]], pad: int) -> tuple[Tensor, Tensor]:
    """Ids and mask, both (n, longest), padded on the right."""
    longest = max(len(sequence) for sequence in sequences)
    ids = torch.full((len(sequences), longest), pad, dtype=torch.long)
    mask = torch.zeros((len(sequences), longest), dtype=torch.long)
    for row, sequence in enumerate(sequences):
        ids[row, : len(sequence)] = torch.tensor(sequence)
        mask[row, : len(sequence)] = 1
    return ids, mask


def tokenizer_of(model: Model, vocabulary: Vocabulary, longest: int) -> Callable[[Sequence[str], TextKind], Tokens]:
    """Prompt and text to ids, with the begin and end ids that the model was trained with.

    A text that gives more than `longest` is cut where a fragment, a line or a word of it ends.
    """
    begin = [] if model.begin_id is None else [model.begin_id]
    end = [] if model.end_id is None else [model.end_id]
    room = longest - len(begin) - len(end)

    def tokenize(texts: Sequence[str], kind: TextKind) -> Tokens:
        prompt = model.prompts.get(kind, "")
        whole = [prompt + text for text in texts]
        found = vocabulary.encode_many(whole)
        cut = tuple(at for at, each in enumerate(found) if len(each) > room)
        for at in cut:
            found[at] = vocabulary.encode(cut_text(whole[at], room, vocabulary.tokens_before))[:room]
        return Tokens([[*begin, *each, *end] for each in found], cut)

    return tokenize


def load_module(model: Model, folder: Path, dtype: torch.dtype) -> nn.Module:
    """The native class of an architecture, its weights complete and finite."""
    transformers = quiet_transformers()
    classes = {
        "qwen2": "Qwen2Model",
        "jina_embeddings_v3": "JinaEmbeddingsV3Model",
        "bert": "BertModel",
        "xlm-roberta": "XLMRobertaModel",
    }
    config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    # Since transformers 5.2 this switches Qwen2 between causal and bidirectional attention.
    config.is_causal, config.use_cache = model.causal, False
    for name in _DROPOUTS:  # what learns here sees a text as what serves does
        if hasattr(config, name):
            setattr(config, name, 0.0)
    try:
        module, report = getattr(transformers, classes[model.architecture]).from_pretrained(
            folder,
            config=config,
            dtype=dtype,
            use_safetensors=True,
            local_files_only=True,
            attn_implementation="sdpa",
            output_loading_info=True,
        )
    except (OSError, RuntimeError, ValueError, KeyError, SafetensorError) as error:
        raise CheckpointError(f"{folder} cannot be loaded ({_first_line(error)}); fetch the model again.") from error
    missing = [name for name in report["missing_keys"] if "pooler" not in name]
    if missing or report.get("mismatched_keys"):
        raise CheckpointError(f"{folder} lacks weights or has wrong shapes ({len(missing)} missing); fetch it again.")
    check_finite(dict(module.named_parameters()), folder)
    result: nn.Module = module
    return result


def load_adapters(module: nn.Module, model: Model, folder: Path) -> frozenset[str]:
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


def torch_dtype(dtype: str, device: str) -> torch.dtype:
    """The dtype of a setting; `auto` takes bfloat16 where it is the faster one."""
    if dtype in ("int8", "int4"):
        dtype = "bfloat16"
    if dtype == "auto":
        return torch.bfloat16 if device == "cuda" else torch.float16 if device == "mps" else fastest_kernel().dtype
    found: torch.dtype = getattr(torch, dtype)
    return found


def quiet_transformers() -> Any:
    """The library, imported when first needed, without its progress bars and load reports."""
    import transformers  # noqa: PLC0415 - a second and 100 MB that the bundled encoder does without

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    return transformers


def _truncation(model: Model, dimensions: int) -> int:
    if not dimensions or dimensions == model.dimensions:
        return model.dimensions
    if dimensions not in model.truncations:
        offered = ", ".join(map(str, model.truncations)) or str(model.dimensions)
        raise ModelError(f"{model.key} has no vectors of {dimensions} dimensions; it offers {offered}.")
    return dimensions


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
