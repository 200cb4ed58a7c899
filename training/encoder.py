"""The encoder as the trainer sees it: MiniLM's six layers, fast on one CPU core.

Weights are kept in float32 and computed with in the faster of bfloat16 and float32; attention is written out, since the
fused kernel's backward pass takes half the time on a CPU. The embeddings and the two lowest layers stay
frozen: a quarter less work, and what they know of words is not forgotten.
"""

import math
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional

HEADS, LAYERS = 12, 6
FROZEN_LAYERS = 2
Weights = dict[str, Tensor]


def fastest_dtype(device: str = "cpu") -> torch.dtype:
    """bfloat16 where the processor has products for it, else float32, by trying both."""
    if device != "cpu":
        return torch.bfloat16
    seconds = {}
    for dtype in (torch.float32, torch.bfloat16):
        rows, weight = torch.ones(512, 384, dtype=dtype), torch.ones(1536, 384, dtype=dtype)
        functional.linear(rows, weight)
        start = time.perf_counter()
        functional.linear(rows, weight)
        seconds[dtype] = time.perf_counter() - start
    return min(seconds, key=seconds.__getitem__)


def load_weights(path: Path) -> Weights:
    """Named float32 tensors of a safetensors file, without the pooler that nothing uses."""
    tensors = load_file(str(path))
    return {name: t.float() for name, t in tensors.items() if "pooler" not in name and "position_ids" not in name}


def load_tokenizer(path: Path, longest: int) -> Tokenizer:
    """The tokenizer, cutting at `longest` tokens."""
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_padding()
    tokenizer.enable_truncation(longest)
    return tokenizer


def trainable(weights: Weights, frozen: int = FROZEN_LAYERS) -> list[str]:
    """Names of the tensors that learn: all but the embeddings and the lowest layers; all where `frozen` is negative."""
    layers = tuple(f"encoder.layer.{layer}." for layer in range(max(0, frozen), LAYERS))
    return [name for name in weights if frozen < 0 or name.startswith(layers)]


def encode(weights: Weights, sequences: Sequence[Sequence[int]]) -> Tensor:
    """Mean hidden states (n, 384) in float32, not normalised, of token id sequences."""
    device = weights["embeddings.word_embeddings.weight"].device
    lengths = torch.tensor([len(ids) for ids in sequences])
    longest = int(lengths.max())
    ids = torch.zeros(len(sequences), longest, dtype=torch.long)
    for row, sequence in enumerate(sequences):
        ids[row, : len(sequence)] = torch.tensor(sequence)
    ids, lengths = ids.to(device), lengths.to(device)
    mask = torch.arange(longest, device=device)[None, :] < lengths[:, None]
    hidden = _embed(weights, ids)
    bias = None
    if not bool(mask.all()):
        bias = torch.zeros(mask.shape, dtype=hidden.dtype, device=device).masked_fill_(~mask, -1e4)[:, None, None, :]
    for layer in range(LAYERS):
        hidden = _layer(weights, f"encoder.layer.{layer}", hidden, bias)
    return torch.einsum("nlh,nl->nh", hidden.float(), mask.float()) / lengths[:, None]


def _embed(weights: Weights, ids: Tensor) -> Tensor:
    at = "embeddings."
    summed = (
        weights[at + "word_embeddings.weight"][ids]
        + weights[at + "position_embeddings.weight"][: ids.shape[1]]
        + weights[at + "token_type_embeddings.weight"][0]
    )
    return _norm(weights, at + "LayerNorm", summed)


def _layer(weights: Weights, at: str, hidden: Tensor, bias: Tensor | None) -> Tensor:
    count, length, width = hidden.shape
    query, key, value = (
        _linear(weights, f"{at}.attention.self.{part}", hidden).view(count, length, HEADS, -1).transpose(1, 2)
        for part in ("query", "key", "value")
    )
    scores = (query / math.sqrt(width // HEADS)) @ key.transpose(2, 3)
    scores = scores if bias is None else scores + bias
    mixed = (scores.softmax(-1) @ value).transpose(1, 2).reshape(count, length, width)
    hidden = _norm(
        weights, f"{at}.attention.output.LayerNorm", hidden + _linear(weights, f"{at}.attention.output.dense", mixed)
    )
    wide = functional.gelu(_linear(weights, f"{at}.intermediate.dense", hidden))
    return _norm(weights, f"{at}.output.LayerNorm", hidden + _linear(weights, f"{at}.output.dense", wide))


def _linear(weights: Weights, at: str, rows: Tensor) -> Tensor:
    return functional.linear(rows, weights[at + ".weight"], weights[at + ".bias"])


def _norm(weights: Weights, at: str, rows: Tensor) -> Tensor:
    return functional.layer_norm(rows, rows.shape[-1:], weights[at + ".weight"], weights[at + ".bias"], 1e-12)
