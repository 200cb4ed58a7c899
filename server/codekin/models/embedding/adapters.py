"""Transformers encoders with pooling and LoRA adapters (Hu et al., 2022): a product B A added to frozen weights W.

A checkpoint of an adapter is what peft reads and writes: `adapter_config.json` and `adapter_model.safetensors`. Large
encoders keep the adapter beside their weights; in the small bundled one it is merged: W + scale * B A. peft is
imported where the first adapter is attached: it takes a second that a model without one does without.
"""

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional

from codekin.errors import CheckpointError
from codekin.models.catalogue import ModelSpec, read_json
from codekin.models.checkpoints import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from codekin.models.weights import read_tensors
from codekin.protocols import TextKind, Vectors

LORA_RANK = 8
LORA_ALPHA = 16
PEFT_PREFIX = "base_model.model."
"""What peft puts before the names of a model's modules."""

_DECODER_ATTENTION = r".*self_attn\.(q|k|v|o)_proj"
_BERT_ATTENTION = r".*attention\.(self\.(query|key|value)|output\.dense)"
LORA_TARGETS = {
    "qwen2": _DECODER_ATTENTION,
    "jina_embeddings_v3": _DECODER_ATTENTION,
    "bert": _BERT_ATTENTION,
    "xlm-roberta": _BERT_ATTENTION,
}
"""The adapted linear layers of each architecture: those of its attention."""


@dataclass(frozen=True, slots=True)
class LoraAdapter:
    """What a checkpoint holds: float32 A (rank, in) and B (out, rank) by peft's names, the factor of their product."""

    weights: Mapping[str, Tensor]
    scale: float
    rank: int


def read_adapter(folder: Path) -> LoraAdapter:
    """The adapter in a folder. Raises CheckpointError where it is damaged, or of a kind that is not LoRA."""
    config = read_json(folder / ADAPTER_CONFIG)
    rank, alpha = config.get("r"), config.get("lora_alpha")
    if config.get("peft_type") != "LORA" or not isinstance(rank, int) or not isinstance(alpha, int) or rank < 1:
        raise CheckpointError(f"{folder / ADAPTER_CONFIG} describes no LoRA adapter; roll back to another checkpoint.")
    weights = {name: tensor.float() for name, tensor in read_tensors(folder / ADAPTER_WEIGHTS).items()}
    return LoraAdapter(weights, alpha / rank, rank)


def adapter_files(
    weights: Mapping[str, Tensor], architecture: str, base: str, rank: int = LORA_RANK
) -> dict[str, bytes]:
    """The two files of an adapter, as peft writes them."""
    config: dict[str, Any] = {
        "peft_type": "LORA", "base_model_name_or_path": base, "r": rank, "lora_alpha": LORA_ALPHA, "lora_dropout": 0.0,
        "target_modules": LORA_TARGETS[architecture], "bias": "none", "inference_mode": True, "task_type": None,
    }  # fmt: skip
    tensors = {name: tensor.detach().float().contiguous() for name, tensor in weights.items()}
    return {ADAPTER_CONFIG: json.dumps(config, indent=1).encode(), ADAPTER_WEIGHTS: save(tensors)}


def merge_adapter(tensors: Mapping[str, Tensor], adapter: LoraAdapter) -> dict[str, Tensor]:
    """Tensors by name with the adapter's products added, in float32. Raises CheckpointError where one has no place."""
    found = {name: tensor.float() for name, tensor in tensors.items()}
    for name, first in adapter.weights.items():
        if not name.endswith(".lora_A.weight"):
            continue
        stem = name.removeprefix(PEFT_PREFIX).removesuffix(".lora_A.weight")
        target = next((key for key in (f"{stem}.weight", f"bert.{stem}.weight") if key in found), "")
        second = adapter.weights.get(name.replace(".lora_A.", ".lora_B."))
        if not target or second is None or (second.shape[0], first.shape[1]) != tuple(found[target].shape):
            raise CheckpointError(f"The adapter's {stem} does not belong to this model; roll back to another one.")
        found[target] = found[target] + adapter.scale * (second @ first)
    return found


def attach_adapter(
    module: nn.Module, architecture: str, name: str, adapter: LoraAdapter | None = None
) -> dict[str, nn.Parameter]:
    """Lays an adapter called `name` beside a transformers module's weights; gives its parameters by peft's names.

    Without one to take over, A is random (by torch's seed) and B zero: nothing changes until it is trained. The
    parameters are float32 whatever the module is. Raises CheckpointError where the adapter does not belong to it.
    """
    import peft  # noqa: PLC0415 - a second that a model without adapters does without

    rank = adapter.rank if adapter else LORA_RANK
    config = peft.LoraConfig(r=rank, lora_alpha=LORA_ALPHA, target_modules=LORA_TARGETS[architecture], lora_dropout=0.0)
    if adapter:
        config.lora_alpha = round(adapter.scale * rank)
    module.add_adapter(config, adapter_name=name)  # type: ignore[operator] # a transformers module
    parameters = {
        PEFT_PREFIX + key.replace(f".{name}.", "."): parameter
        for key, parameter in module.named_parameters()
        if f".lora_A.{name}." in key or f".lora_B.{name}." in key
    }
    for parameter in parameters.values():
        parameter.data = parameter.data.float()
    if adapter:
        try:
            _copy_weights(parameters, adapter)
        except CheckpointError:
            module.delete_adapter(name)  # type: ignore[operator] # a transformers module
            raise
    return parameters


def detach_adapter(module: nn.Module, name: str, others: Sequence[str]) -> None:
    """Takes an adapter away again; one of the others becomes the active one until somebody chooses."""
    if others:
        module.set_adapter(others[0])  # type: ignore[operator] # a transformers module
    module.delete_adapter(name)  # type: ignore[operator] # a transformers module


@torch.no_grad()
def _copy_weights(parameters: Mapping[str, nn.Parameter], adapter: LoraAdapter) -> None:
    fits = parameters.keys() == adapter.weights.keys() and all(
        parameter.shape == adapter.weights[name].shape for name, parameter in parameters.items()
    )
    if not fits:
        raise CheckpointError("The adapter does not belong to this model; roll back to another one.")
    for name, parameter in parameters.items():
        parameter.copy_(adapter.weights[name])


MAX_ATTACHED_ADAPTERS = 3
"""Trained adapters that stay beside the weights at a time."""


class TransformersEncoder:
    """A transformers encoder with pooling, adapters and truncation; safe to call from many threads."""

    def __init__(self, module: nn.Module, model: ModelSpec, width: int, adapters: frozenset[str]) -> None:
        self.module = module
        self.model = model
        self.width = width
        self._adapters = set(adapters)
        self._frozen_parameters = list(module.parameters())
        self._finetuned: dict[str, LoraAdapter | None] = {}
        # Choosing an adapter changes the module, so the choice and the forward are one step.
        self._lock = threading.Lock()

    @torch.inference_mode()
    def embed(self, sequences: list[list[int]], kind: TextKind | str, adapter_name: str = "") -> Tensor:
        """Unit vectors (n, width) of id sequences, under a trained adapter where one is named."""
        with self._lock:
            self.module.eval()
            return self._forward(sequences, kind, adapter_name)

    def encode(self, sequences: Sequence[Sequence[int]], kind: TextKind | str, adapter_name: str) -> Tensor:
        """The same with gradients for what is trained, and activations computed again where that saves memory."""
        with self._lock:
            self.module.train()
            return self._forward(sequences, kind, adapter_name)

    def add_adapter(self, name: str, adapter: LoraAdapter | None = None) -> dict[str, nn.Parameter]:
        """Attaches an adapter under a name, an earlier one's or a fresh one; gives its parameters.

        Of those that serve only the latest few are kept attached; an older one is attached again when it is used.
        """
        with self._lock:
            return self._attach(name, adapter)

    def remove_adapter(self, name: str) -> None:
        """Takes a trained adapter away."""
        with self._lock:
            if name in self._finetuned and name in self._adapters:
                self._detach(name)
            self._finetuned.pop(name, None)

    def _detach(self, name: str) -> None:
        self._adapters.discard(name)
        detach_adapter(self.module, name, sorted(self._adapters))

    def enable_activation_checkpointing(self) -> None:
        """Has training compute activations a second time rather than keep them."""
        old_name = "gradient_checkpointing_enable"
        enable = getattr(self.module, "activation_checkpointing_enable", None) or getattr(self.module, old_name)
        enable()

    def _attach(self, name: str, adapter: LoraAdapter | None) -> dict[str, nn.Parameter]:
        if name in self._adapters:
            return {}
        serving = [other for other in self._finetuned if self._finetuned[other] and other in self._adapters]
        for old in serving[: 1 - MAX_ATTACHED_ADAPTERS or None] if len(serving) >= MAX_ATTACHED_ADAPTERS else ():
            self._detach(old)
        parameters = attach_adapter(self.module, self.model.architecture, name, adapter)
        self._adapters.add(name)
        self._finetuned[name] = adapter
        return parameters

    def _forward(self, sequences: Sequence[Sequence[int]], kind: TextKind | str, adapter_name: str) -> Tensor:
        device = next(self.module.parameters()).device
        ids, mask = pad_sequences(sequences, self.model.end_id or 0)
        self._adapt(kind, adapter_name)
        hidden = self.module(input_ids=ids.to(device), attention_mask=mask.to(device)).last_hidden_state
        pooled = pool_hidden_states(hidden.float(), mask.to(device), self.model.pooling)
        return functional.normalize(pooled[:, : self.width], dim=1)

    def _adapt(self, kind: str, adapter_name: str) -> None:
        """Has the adapter of this kind of text count, and the trained one beside it, and no other."""
        if adapter_name and adapter_name not in self._adapters:
            self._attach(adapter_name, self._finetuned[adapter_name])
        task = self.model.adapters.get(kind)
        wanted = [name for name in (task, adapter_name) if name in self._adapters]
        if wanted:
            if self._finetuned:
                self.module.enable_adapters()  # type: ignore[operator] # a transformers module
            self.module.set_adapter(wanted)  # type: ignore[operator]
            for parameter in self._frozen_parameters:  # the adapter of a task would be trained too
                parameter.requires_grad_(False)
        elif self._finetuned:
            self.module.disable_adapters()  # type: ignore[operator]


def to_array(vectors: Tensor) -> Vectors:
    """A tensor of any device and dtype as a float32 array."""
    found: Vectors = vectors.float().cpu().numpy()
    return found


def pool_hidden_states(hidden: Tensor, mask: Tensor, pooling: str) -> Tensor:
    """One vector (n, width) of hidden states (n, length, width), whatever side is padded."""
    if pooling == "last":
        length = mask.shape[1]
        last = (torch.arange(length, device=mask.device) * mask).argmax(dim=1)
        return hidden[torch.arange(len(hidden), device=mask.device), last]
    if pooling == "first":
        return hidden[torch.arange(len(hidden), device=mask.device), mask.argmax(dim=1)]
    weights = mask[:, :, None].to(hidden.dtype)
    return (hidden * weights).sum(1) / weights.sum(1).clamp(min=1)


def pad_sequences(sequences: Sequence[Sequence[int]], pad: int) -> tuple[Tensor, Tensor]:
    """Ids and mask, both (n, longest), padded on the right."""
    longest = max(len(sequence) for sequence in sequences)
    ids = torch.full((len(sequences), longest), pad, dtype=torch.long)
    mask = torch.zeros((len(sequences), longest), dtype=torch.long)
    for row, sequence in enumerate(sequences):
        ids[row, : len(sequence)] = torch.tensor(sequence)
        mask[row, : len(sequence)] = 1
    return ids, mask
