"""Builds a decoder from a checkpoint's tensors: which name is which part, family by family.

Knows the config keys and tensor names of Llama, Qwen2, StarCoder2 and GPTBigCode; nothing of
text or sampling.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from codekin.errors import CheckpointError
from codekin.models.decoder import Block, Decoder, Norm, Shape, rotation_tables
from codekin.models.linears import Finish, Linear, Plain, as_it_is


def build_decoder(
    tensors: Mapping[str, Tensor], config: Mapping[str, Any], dtype: torch.dtype, finish: Finish = as_it_is
) -> Decoder:
    """A decoder of the family that `config["model_type"]` names; `finish` makes its linear layers.

    Raises CheckpointError where a tensor is missing, has the wrong shape, or the config asks
    for something that is not supported.
    """
    family = str(config.get("model_type"))
    if family not in _FAMILIES:
        raise CheckpointError(f"A {family} cannot generate here; there are {', '.join(_FAMILIES)}.")
    try:
        shape = _SHAPES[family](config)
    except (KeyError, ValueError, TypeError, ArithmeticError) as error:
        raise CheckpointError(
            f"The config of the {family} cannot be used ({error!r}); fetch the model again."
        ) from error
    names = _FAMILIES[family]
    parts = _Parts(tensors, shape, dtype, finish)
    words = parts.tensor(names.words, (shape.vocabulary, shape.hidden))
    tied = bool(config.get("tie_word_embeddings", family == "gpt_bigcode")) or "lm_head.weight" not in tensors
    head = Plain(words) if tied else Plain(parts.tensor("lm_head.weight", (shape.vocabulary, shape.hidden)))
    return Decoder(
        shape=shape,
        words=words,
        places=None if shape.theta else parts.tensor("transformer.wpe.weight", (shape.context, shape.hidden)),
        rotation=rotation_tables(shape, dtype) if shape.theta else None,
        blocks=tuple(_block(parts, names, number) for number in range(shape.layers)),
        norm=parts.norm(names.norm),
        head=parts.finished(head),
    )


@dataclass(frozen=True, slots=True)
class _Names:
    """Where a family keeps its parts; a tuple of names is stacked."""

    words: str
    layer: str
    norm: str
    attention_norm: str
    attention_in: tuple[str, ...]
    attention_out: str
    feed_norm: str
    feed_in: tuple[str, ...]
    feed_out: str


_LLAMA = _Names(
    words="model.embed_tokens.weight",
    layer="model.layers.{}.",
    norm="model.norm",
    attention_norm="input_layernorm",
    attention_in=("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    attention_out="self_attn.o_proj",
    feed_norm="post_attention_layernorm",
    feed_in=("mlp.gate_proj", "mlp.up_proj"),
    feed_out="mlp.down_proj",
)
_STARCODER2 = _Names(
    words=_LLAMA.words,
    layer=_LLAMA.layer,
    norm=_LLAMA.norm,
    attention_norm=_LLAMA.attention_norm,
    attention_in=_LLAMA.attention_in,
    attention_out=_LLAMA.attention_out,
    feed_norm=_LLAMA.feed_norm,
    feed_in=("mlp.c_fc",),
    feed_out="mlp.c_proj",
)
_BIGCODE = _Names(
    words="transformer.wte.weight",
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
class _Parts:
    tensors: Mapping[str, Tensor]
    shape: Shape
    dtype: torch.dtype
    finish: Finish

    def tensor(self, name: str, shape: tuple[int, ...]) -> Tensor:
        found = self.tensors.get(name)
        if found is None:
            raise CheckpointError(f"The weights lack {name}; fetch the model again.")
        if tuple(found.shape) != shape:
            raise CheckpointError(f"{name} has shape {tuple(found.shape)}, the config says {shape}; fetch it again.")
        return found.to(self.dtype)

    def norm(self, name: str) -> Norm:
        weight = self.tensor(f"{name}.weight", (self.shape.hidden,))
        return Norm(weight, None if self.shape.rms else self.tensor(f"{name}.bias", (self.shape.hidden,)))

    def linear(self, names: tuple[str, ...], outs: tuple[int, ...], width: int) -> Linear:
        weights = [self.tensor(f"{name}.weight", (out, width)) for name, out in zip(names, outs, strict=True)]
        bias = None
        if f"{names[0]}.bias" in self.tensors:
            bias = torch.cat([self.tensor(f"{name}.bias", (out,)) for name, out in zip(names, outs, strict=True)])
        return self.finished(Plain(torch.cat(weights) if len(weights) > 1 else weights[0], bias))

    def finished(self, layer: Plain) -> Linear:
        return self.finish(layer)


def _block(parts: _Parts, names: _Names, number: int) -> Block:
    shape, at = parts.shape, names.layer.format(number)
    query, key = shape.heads * shape.head_width, shape.groups * shape.head_width
    attention_outs = (query, key, key) if len(names.attention_in) == 3 else (query + 2 * key,)
    return Block(
        attention_norm=parts.norm(at + names.attention_norm),
        attention_in=parts.linear(tuple(at + name for name in names.attention_in), attention_outs, shape.hidden),
        attention_out=parts.linear((at + names.attention_out,), (shape.hidden,), query),
        feed_norm=parts.norm(at + names.feed_norm),
        feed_in=parts.linear(
            tuple(at + name for name in names.feed_in), (shape.inner,) * len(names.feed_in), shape.hidden
        ),
        feed_out=parts.linear((at + names.feed_out,), (shape.hidden,), shape.inner),
    )


def _rotary_shape(config: Mapping[str, Any], gated: bool, rms: bool) -> Shape:
    heads = int(config["num_attention_heads"])
    hidden = int(config["hidden_size"])
    window = config.get("sliding_window") if config.get("use_sliding_window", not gated) else None
    context = int(config["max_position_embeddings"])
    return Shape(
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
        theta=_theta(config),
        gated=gated,
        rms=rms,
    )


def _theta(config: Mapping[str, Any]) -> float:
    rotary = config.get("rope_parameters") or config.get("rope_scaling") or {}
    kind = rotary.get("rope_type") or rotary.get("type") or "default"
    if kind != "default":
        raise CheckpointError(f"Positions of type {kind!r} are not supported; choose another model.")
    return float(rotary.get("rope_theta") or config.get("rope_theta") or 10000.0)


def _bigcode_shape(config: Mapping[str, Any]) -> Shape:
    if not config.get("multi_query", True):
        raise CheckpointError("A GPTBigCode without multi-query attention is not supported; choose another model.")
    hidden, heads = int(config["n_embd"]), int(config["n_head"])
    return Shape(
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


_SHAPES: dict[str, Callable[[Mapping[str, Any]], Shape]] = {
    "llama": lambda config: _rotary_shape(config, gated=True, rms=True),
    "qwen2": lambda config: _rotary_shape(config, gated=True, rms=True),
    "starcoder2": lambda config: _rotary_shape(config, gated=False, rms=False),
    "gpt_bigcode": _bigcode_shape,
}
