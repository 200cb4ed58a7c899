"""LoRA adapters (Hu et al., 2022): a low product B A beside some weights W, which alone learns and alone is stored.

A checkpoint of one is what peft reads and writes: `adapter_config.json` and `adapter_model.safetensors`. A large
encoder serves with the adapter beside its weights, the small bundled one with it merged into them: W + scale * B A.
Knows which layers of which architecture are adapted; nothing of text, or of how adapters are trained.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from codekin.errors import CheckpointError
from codekin.models.weights import read_json, read_tensors

RANK = 8
ALPHA = 16
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."
"""What peft puts before the names of a model's modules."""

_ROTARY = r".*self_attn\.(q|k|v|o)_proj"
_BERT = r".*attention\.(self\.(query|key|value)|output\.dense)"
TARGETS = {"qwen2": _ROTARY, "jina_embeddings_v3": _ROTARY, "bert": _BERT, "xlm-roberta": _BERT}
"""The adapted linear layers of each architecture: those of its attention."""


@dataclass(frozen=True, slots=True)
class Adapter:
    """What a checkpoint holds: float32 A (rank, in) and B (out, rank) by peft's names, the factor of their product."""

    weights: Mapping[str, Tensor]
    scale: float
    rank: int


def read_adapter(folder: Path) -> Adapter:
    """The adapter in a folder. Raises CheckpointError where it is damaged, or of a kind that is not LoRA."""
    config = read_json(folder / CONFIG)
    rank, alpha = config.get("r"), config.get("lora_alpha")
    if config.get("peft_type") != "LORA" or not isinstance(rank, int) or not isinstance(alpha, int) or rank < 1:
        raise CheckpointError(f"{folder / CONFIG} describes no LoRA adapter; roll back to another checkpoint.")
    weights = {name: tensor.float() for name, tensor in read_tensors(folder / WEIGHTS).items()}
    return Adapter(weights, alpha / rank, rank)


def adapter_files(weights: Mapping[str, Tensor], architecture: str, base: str, rank: int = RANK) -> dict[str, bytes]:
    """The two files of an adapter, as peft writes them."""
    config: dict[str, Any] = {
        "peft_type": "LORA", "base_model_name_or_path": base, "r": rank, "lora_alpha": ALPHA, "lora_dropout": 0.0,
        "target_modules": TARGETS[architecture], "bias": "none", "inference_mode": True, "task_type": None,
    }  # fmt: skip
    tensors = {name: tensor.detach().float().contiguous() for name, tensor in weights.items()}
    return {CONFIG: json.dumps(config, indent=1).encode(), WEIGHTS: save(tensors)}


def merged(tensors: Mapping[str, Tensor], adapter: Adapter) -> dict[str, Tensor]:
    """Tensors by name with the adapter's products added, in float32. Raises CheckpointError where one has no place."""
    found = {name: tensor.float() for name, tensor in tensors.items()}
    for name, first in adapter.weights.items():
        if not name.endswith(".lora_A.weight"):
            continue
        stem = name.removeprefix(PREFIX).removesuffix(".lora_A.weight")
        target = next((key for key in (f"{stem}.weight", f"bert.{stem}.weight") if key in found), "")
        second = adapter.weights.get(name.replace(".lora_A.", ".lora_B."))
        if not target or second is None or (second.shape[0], first.shape[1]) != tuple(found[target].shape):
            raise CheckpointError(f"The adapter's {stem} does not belong to this model; roll back to another one.")
        found[target] = found[target] + adapter.scale * (second @ first)
    return found


def attach(module: nn.Module, architecture: str, name: str, adapter: Adapter | None = None) -> dict[str, nn.Parameter]:
    """Lays an adapter called `name` beside a transformers module's weights; gives its parameters by peft's names.

    Without one to take over, A is random (by torch's seed) and B zero: nothing changes until it has learned. The
    parameters are float32 whatever the module is. Raises CheckpointError where the adapter does not belong to it.
    """
    import peft  # noqa: PLC0415 - a second that a model without adapters does without

    rank = adapter.rank if adapter else RANK
    config = peft.LoraConfig(r=rank, lora_alpha=ALPHA, target_modules=TARGETS[architecture], lora_dropout=0.0)
    if adapter:
        config.lora_alpha = round(adapter.scale * rank)
    module.add_adapter(config, adapter_name=name)  # type: ignore[operator] # a transformers module
    parameters = {
        PREFIX + key.replace(f".{name}.", "."): parameter
        for key, parameter in module.named_parameters()
        if f".lora_A.{name}." in key or f".lora_B.{name}." in key
    }
    for parameter in parameters.values():
        parameter.data = parameter.data.float()
    if adapter:
        try:
            _fill(parameters, adapter)
        except CheckpointError:
            module.delete_adapter(name)  # type: ignore[operator] # a transformers module
            raise
    return parameters


def detach(module: nn.Module, name: str, others: Sequence[str]) -> None:
    """Takes an adapter away again; one of the others becomes the active one until somebody chooses."""
    if others:
        module.set_adapter(others[0])  # type: ignore[operator] # a transformers module
    module.delete_adapter(name)  # type: ignore[operator] # a transformers module


@torch.no_grad()
def _fill(parameters: Mapping[str, nn.Parameter], adapter: Adapter) -> None:
    fits = parameters.keys() == adapter.weights.keys() and all(
        parameter.shape == adapter.weights[name].shape for name, parameter in parameters.items()
    )
    if not fits:
        raise CheckpointError("The adapter does not belong to this model; roll back to another one.")
    for name, parameter in parameters.items():
        parameter.copy_(adapter.weights[name])
