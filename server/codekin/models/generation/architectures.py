"""Builds a decoder from a checkpoint's tensors: Llama, Qwen2, StarCoder2 and GPTBigCode."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from codekin.errors import CheckpointError
from codekin.models import planner
from codekin.models.catalogue import MAX_CONTEXT, ModelSpec, read_json
from codekin.models.checkpoints import expected_digest
from codekin.models.generation.decoder import Decoder, DecoderBlock, DecoderShape, NormWeights, rotation_tables
from codekin.models.generation.generator import LocalGenerator
from codekin.models.generation.prompts import detect_infill
from codekin.models.linear import LinearLayer, PlainLinear, Quantiser, choose_quantiser, fastest_kernel, keep_precision
from codekin.models.vocabulary import ModelVocabulary
from codekin.models.weights import check_model_folder, read_tensors, verified_digest


def build_decoder(
    tensors: Mapping[str, Tensor], config: Mapping[str, Any], dtype: torch.dtype, quantise: Quantiser = keep_precision
) -> Decoder:
    """A decoder of the family that `config["model_type"]` names; `quantise` makes its linear layers.

    Raises CheckpointError where a tensor is missing, has the wrong shape, or the config asks
    for something that is not supported.
    """
    family = str(config.get("model_type"))
    if family not in _FAMILIES:
        raise CheckpointError(f"A {family} cannot generate here; there are {', '.join(_FAMILIES)}.")
    try:
        shape = _SHAPES[family](config)
    except (KeyError, ValueError, TypeError, AttributeError, ArithmeticError) as error:
        raise CheckpointError(
            f"The config of the {family} cannot be used ({error!r}); fetch the model again."
        ) from error
    _require_activation(family, config)
    names = _FAMILIES[family]
    parts = _TensorReader(tensors, shape, dtype, quantise)
    token_embeddings = parts.tensor(names.token_embeddings, (shape.vocabulary, shape.hidden))
    tied = bool(config.get("tie_word_embeddings", family == "gpt_bigcode")) or "lm_head.weight" not in tensors
    head = (
        PlainLinear(token_embeddings)
        if tied
        else PlainLinear(parts.tensor("lm_head.weight", (shape.vocabulary, shape.hidden)))
    )
    return Decoder(
        shape=shape,
        token_embeddings=token_embeddings,
        positions=None if shape.theta else parts.tensor("transformer.wpe.weight", (shape.context, shape.hidden)),
        rotation=rotation_tables(shape, dtype) if shape.theta else None,
        blocks=tuple(_build_block(parts, names, number) for number in range(shape.layers)),
        norm=parts.norm(names.norm),
        head=parts.quantised(head),
    )


def _require_activation(family: str, config: Mapping[str, Any]) -> None:
    """Raises CheckpointError for an activation that the decoder does not compute."""
    known = _SILU if family in ("llama", "qwen2") else _TANH_GELU
    found = config.get("activation_function" if family == "gpt_bigcode" else "hidden_act", known[0])
    if found not in known:
        raise CheckpointError(f"Activations of type {found!r} are not supported in a {family}; choose another model.")


_SILU = ("silu", "swish")
_TANH_GELU = ("gelu_pytorch_tanh", "gelu_new", "gelu_fast")
"""Names of one function in transformers."""


@dataclass(frozen=True, slots=True)
class _TensorNames:
    """Where a family keeps its parts; a tuple of names is stacked."""

    token_embeddings: str
    layer: str
    norm: str
    attention_norm: str
    attention_in: tuple[str, ...]
    attention_out: str
    feed_norm: str
    feed_in: tuple[str, ...]
    feed_out: str


_LLAMA = _TensorNames(
    token_embeddings="model.embed_tokens.weight",  # noqa: S106 - a tensor's name
    layer="model.layers.{}.",
    norm="model.norm",
    attention_norm="input_layernorm",
    attention_in=("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    attention_out="self_attn.o_proj",
    feed_norm="post_attention_layernorm",
    feed_in=("mlp.gate_proj", "mlp.up_proj"),
    feed_out="mlp.down_proj",
)
_STARCODER2 = _TensorNames(
    token_embeddings=_LLAMA.token_embeddings,
    layer=_LLAMA.layer,
    norm=_LLAMA.norm,
    attention_norm=_LLAMA.attention_norm,
    attention_in=_LLAMA.attention_in,
    attention_out=_LLAMA.attention_out,
    feed_norm=_LLAMA.feed_norm,
    feed_in=("mlp.c_fc",),
    feed_out="mlp.c_proj",
)
_BIGCODE = _TensorNames(
    token_embeddings="transformer.wte.weight",  # noqa: S106 - a tensor's name
    layer="transformer.h.{}.",
    norm="transformer.ln_f",
    attention_norm="ln_1",
    attention_in=("attn.c_attn",),
    attention_out="attn.c_proj",
    feed_norm="ln_2",
    feed_in=("mlp.c_fc",),
    feed_out="mlp.c_proj",
)
_FAMILIES = {"llama": _LLAMA, "qwen2": _LLAMA, "starcoder2": _STARCODER2, "gpt_bigcode": _BIGCODE}


@dataclass(frozen=True, slots=True)
class _TensorReader:
    tensors: Mapping[str, Tensor]
    shape: DecoderShape
    dtype: torch.dtype
    quantise: Quantiser

    def tensor(self, name: str, shape: tuple[int, ...]) -> Tensor:
        found = self.tensors.get(name)
        if found is None:
            raise CheckpointError(f"The weights lack {name}; fetch the model again.")
        if tuple(found.shape) != shape:
            raise CheckpointError(f"{name} has shape {tuple(found.shape)}, the config says {shape}; fetch it again.")
        return found.to(self.dtype)

    def norm(self, name: str) -> NormWeights:
        weight = self.tensor(f"{name}.weight", (self.shape.hidden,))
        return NormWeights(weight, None if self.shape.rms else self.tensor(f"{name}.bias", (self.shape.hidden,)))

    def linear(self, names: tuple[str, ...], outs: tuple[int, ...], width: int) -> LinearLayer:
        weights = [self.tensor(f"{name}.weight", (out, width)) for name, out in zip(names, outs, strict=True)]
        bias = None
        if f"{names[0]}.bias" in self.tensors:
            bias = torch.cat([self.tensor(f"{name}.bias", (out,)) for name, out in zip(names, outs, strict=True)])
        return self.quantised(PlainLinear(torch.cat(weights) if len(weights) > 1 else weights[0], bias))

    def quantised(self, layer: PlainLinear) -> LinearLayer:
        return self.quantise(layer)


def _build_block(parts: _TensorReader, names: _TensorNames, number: int) -> DecoderBlock:
    shape, at = parts.shape, names.layer.format(number)
    query, key = shape.heads * shape.head_width, shape.groups * shape.head_width
    attention_outs = (query, key, key) if len(names.attention_in) == 3 else (query + 2 * key,)
    return DecoderBlock(
        attention_norm=parts.norm(at + names.attention_norm),
        attention_in=parts.linear(tuple(at + name for name in names.attention_in), attention_outs, shape.hidden),
        attention_out=parts.linear((at + names.attention_out,), (shape.hidden,), query),
        feed_norm=parts.norm(at + names.feed_norm),
        feed_in=parts.linear(
            tuple(at + name for name in names.feed_in), (shape.inner,) * len(names.feed_in), shape.hidden
        ),
        feed_out=parts.linear((at + names.feed_out,), (shape.hidden,), shape.inner),
    )


def _rotary_shape(config: Mapping[str, Any], gated: bool, rms: bool) -> DecoderShape:
    heads = int(config["num_attention_heads"])
    hidden = int(config["hidden_size"])
    window = config.get("sliding_window") if config.get("use_sliding_window", not gated) else None
    context = min(int(config["max_position_embeddings"]), MAX_CONTEXT)
    theta, stretch = _rotation(config)
    return DecoderShape(
        layers=int(config["num_hidden_layers"]),
        hidden=hidden,
        heads=heads,
        groups=int(config.get("num_key_value_heads") or heads),
        head_width=int(config.get("head_dim") or hidden // heads),
        inner=int(config["intermediate_size"]),
        vocabulary=int(config["vocab_size"]),
        # Within its window a sliding attention is a full one; beyond it this forward does not go.
        context=min(context, int(window)) if window else context,
        epsilon=float(config.get("rms_norm_eps" if rms else "norm_epsilon", 1e-5)),
        theta=theta,
        gated=gated,
        rms=rms,
        stretch=stretch,
    )


def _rotation(config: Mapping[str, Any]) -> tuple[float, float]:
    """Base and stretch of the rotary positions."""
    given = [config.get("rope_parameters") or {}, config.get("rope_scaling") or {}]
    rotary = {**given[0], **given[1]}
    kinds = {found.get("rope_type") or found.get("type") or "default" for found in given if found}
    if not kinds <= {"default", "linear"} or rotary.get("partial_rotary_factor", 1) != 1:
        raise CheckpointError(
            f"Positions of type {', '.join(sorted(map(repr, kinds)))} are not supported; choose another model."
        )
    stretch = float(rotary["factor"]) if "linear" in kinds else 1.0
    return float(rotary.get("rope_theta") or config.get("rope_theta") or 10000.0), stretch


def _bigcode_shape(config: Mapping[str, Any]) -> DecoderShape:
    if not config.get("multi_query", True):
        raise CheckpointError("A GPTBigCode without multi-query attention is not supported; choose another model.")
    if not config.get("scale_attn_weights", True):
        raise CheckpointError("A GPTBigCode without scaled attention is not supported; choose another model.")
    hidden, heads = int(config["n_embd"]), int(config["n_head"])
    return DecoderShape(
        layers=int(config["n_layer"]),
        hidden=hidden,
        heads=heads,
        groups=1,
        head_width=hidden // heads,
        inner=int(config.get("n_inner") or 4 * hidden),
        vocabulary=int(config["vocab_size"]),
        context=int(config["n_positions"]),
        epsilon=float(config.get("layer_norm_epsilon", 1e-5)),
        theta=0.0,
        gated=False,
        rms=False,
    )


_SHAPES: dict[str, Callable[[Mapping[str, Any]], DecoderShape]] = {
    "llama": lambda config: _rotary_shape(config, gated=True, rms=True),
    "qwen2": lambda config: _rotary_shape(config, gated=True, rms=True),
    "starcoder2": lambda config: _rotary_shape(config, gated=False, rms=False),
    "gpt_bigcode": _bigcode_shape,
}


def load_decoder(model: ModelSpec, folder: Path, *, device: str, dtype: str, memory: int) -> LocalGenerator:
    """The generator in a checkpoint's folder; `memory` 0 means what is free.

    Raises ModelError where it is too large, CheckpointError where it is damaged.
    """
    device = planner.choose_device(device)
    weights, bits = _generator_dtype(dtype, device)
    finish = choose_quantiser(bits, device)
    kept = f"int{bits}" if bits < 16 else str(weights).removeprefix("torch.")
    planner.require_memory(model, kept, 4096, device, memory)
    files = check_model_folder(folder, model.architecture)
    for file in files:
        if expected_digest(file):
            verified_digest(file)
    tensors = {name: tensor for file in files for name, tensor in read_tensors(file).items()}
    decoder = build_decoder(tensors, read_json(folder / "config.json"), weights, finish)
    vocabulary = ModelVocabulary(folder / "tokenizer.json")
    size = sum(file.stat().st_size for file in files)
    return LocalGenerator(model.key, detect_infill(model, vocabulary), decoder.to(device), vocabulary, size)


def _generator_dtype(dtype: str, device: str) -> tuple[torch.dtype, int]:
    """The dtype of the activations, and the bits in which the weights are kept (16: as the activations)."""
    fast = fastest_kernel().dtype if device == "cpu" else torch.float16 if device == "mps" else torch.bfloat16
    if dtype in ("int8", "int4"):
        return fast, int(dtype.removeprefix("int"))
    if dtype == "auto":
        return fast, 8 if device == "cpu" and fast is torch.bfloat16 else 16
    return getattr(torch, dtype), 16
