"""A decoder's forward pass with a preallocated key-value cache: Llama, Qwen2, StarCoder2, GPTBigCode.

Uses as few operations per layer as possible: decoding with a small model is bound by the overhead of each. Equals
transformers' classes in float32, token for token.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from codekin.models.linear import LinearLayer

INITIAL_CACHE_CAPACITY = 512

TokenPositions = slice | Tensor
"""Positions of tokens: a run of them, or one for each, shape (n,)."""


@dataclass(frozen=True, slots=True)
class DecoderShape:
    """A decoder's dimensions; `theta` 0 means learned positions, `gated` a Llama-like feed-forward.

    Rotary positions are divided by `stretch` (linear scaling, arXiv 2306.15595).
    """

    layers: int
    hidden: int
    heads: int
    groups: int
    head_width: int
    inner: int
    vocabulary: int
    context: int
    epsilon: float
    theta: float
    gated: bool
    rms: bool
    stretch: float = 1.0


@dataclass(frozen=True, slots=True)
class NormWeights:
    """A layer norm, or an RMS norm where there is no bias."""

    weight: Tensor
    bias: Tensor | None


@dataclass(frozen=True, slots=True)
class DecoderBlock:
    """One layer; `attention_in` is query, key and value stacked, `feed_in` gate and up stacked."""

    attention_norm: NormWeights
    attention_in: LinearLayer
    attention_out: LinearLayer
    feed_norm: NormWeights
    feed_in: LinearLayer
    feed_out: LinearLayer


@dataclass(slots=True)
class KeyValueCache:
    """Keys and values of a sequence's tokens, in buffers that double when full.

    `ids` are the tokens whose keys and values fill the first `len(ids)` places.
    """

    keys: list[Tensor]
    values: list[Tensor]
    ids: list[int] = field(default_factory=list)

    def cut(self, length: int) -> None:
        """Forget the tokens from `length` on; costs nothing."""
        del self.ids[length:]

    def copy(self, length: int) -> "KeyValueCache":
        """Another cache of its first `length` tokens."""
        kept = max(INITIAL_CACHE_CAPACITY, length)
        keys, values = ([tensor[:, :kept].clone() for tensor in each] for each in (self.keys, self.values))
        return KeyValueCache(keys, values, self.ids[:length])


@dataclass(frozen=True, slots=True)
class _SequencePart:
    """New tokens of one sequence behind its cache: their positions, and which they see (None: all before)."""

    ids: Sequence[int]
    cache: KeyValueCache
    positions: TokenPositions
    mask: Tensor | None


@dataclass(frozen=True, slots=True)
class Decoder:
    """The weights of a decoder, ready to run."""

    shape: DecoderShape
    token_embeddings: Tensor
    positions: Tensor | None
    rotation: tuple[Tensor, Tensor] | None
    blocks: tuple[DecoderBlock, ...]
    norm: NormWeights
    head: LinearLayer

    def to(self, device: str) -> "Decoder":
        """The same decoder with its weights on a device."""
        return self if device == "cpu" else _to_device(self, device)

    def new_cache(self) -> KeyValueCache:
        """An empty cache on the model's device."""
        shape = (self.shape.groups, INITIAL_CACHE_CAPACITY, self.shape.head_width)
        keys, values = ([self.token_embeddings.new_zeros(shape) for _ in self.blocks] for _ in range(2))
        return KeyValueCache(keys, values)

    @torch.inference_mode()
    def forward(self, ids: Sequence[int], cache: KeyValueCache, every: bool = False) -> Tensor:
        """Logits (n, vocabulary) in float32 after the tokens, of the last one or of `every` one.

        The tokens go behind those in the cache, which then holds them too.
        """
        rows = self._rows([self._part_after_cache(ids, cache)])
        cache.ids.extend(ids)
        return self._logits(rows if every else rows[-1:])

    @torch.inference_mode()
    def forward_many(self, parts: Sequence[tuple[Sequence[int], KeyValueCache]]) -> list[Tensor]:
        """The same for several sequences, each with a cache of its own: logits after every token of each.

        The weights are read once for all of them, and nothing is padded.
        """
        rows = self._rows([self._part_after_cache(ids, cache) for ids, cache in parts])
        for ids, cache in parts:
            cache.ids.extend(ids)
        return list(torch.split(self._logits(rows), [len(ids) for ids, _ in parts]))

    @torch.inference_mode()
    def branches(self, ids: Sequence[int], parents: Sequence[int], cache: KeyValueCache) -> Tensor:
        """Logits (n, vocabulary) in float32 after each token of a tree of continuations, read in one pass.

        `parents` are the places in `ids` of the tokens before, -1 for those behind the cache, which stays as it is.
        """
        cached, count = len(cache.ids), len(ids)
        seen = torch.eye(count, dtype=torch.bool)
        depths = [0] * count
        for number, parent in enumerate(parents):
            if parent >= 0:
                seen[number] |= seen[parent]
                depths[number] = depths[parent] + 1
        bias = torch.zeros(count, cached + count, dtype=self.token_embeddings.dtype)
        bias[:, cached:].masked_fill_(~seen, float("-inf"))
        device = self.token_embeddings.device
        positions = torch.tensor(depths, device=device) + cached
        return self._logits(self._rows([_SequencePart(ids, cache, positions, bias.to(device))]))

    def _part_after_cache(self, ids: Sequence[int], cache: KeyValueCache) -> "_SequencePart":
        cached, count = len(cache.ids), len(ids)
        return _SequencePart(ids, cache, slice(cached, cached + count), self._mask(cached, count))

    def _rows(self, parts: "Sequence[_SequencePart]") -> Tensor:
        """Hidden rows of all tokens of all parts; the caches hold their keys and values then."""
        ids = [number for part in parts for number in part.ids]
        rows = functional.embedding(torch.tensor(ids, device=self.token_embeddings.device), self.token_embeddings)
        if self.positions is not None:
            rows = rows + torch.cat([self.positions[part.positions] for part in parts])
        for part in parts:
            _reserve(part.cache, len(part.cache.ids) + len(part.ids))
        for number, block in enumerate(self.blocks):
            rows = self._block(block, rows, parts, number)
        return rows

    def _logits(self, rows: Tensor) -> Tensor:
        return self.head(self._normalised(rows, self.norm)).float()

    def _block(self, block: DecoderBlock, rows: Tensor, parts: "Sequence[_SequencePart]", number: int) -> Tensor:
        packed = block.attention_in(self._normalised(rows, block.attention_norm))
        if len(parts) == 1:
            mixed = self._attend(packed, parts[0], number)
        else:
            each = torch.split(packed, [len(part.ids) for part in parts])
            mixed = torch.cat([self._attend(rows, part, number) for rows, part in zip(each, parts, strict=True)])
        rows = rows + block.attention_out(mixed)
        wide = block.feed_in(self._normalised(rows, block.feed_norm))
        if self.shape.gated:
            gate, up = wide.chunk(2, dim=-1)
            wide = functional.silu(gate).mul_(up)
        else:
            wide = functional.gelu(wide, approximate="tanh")
        return rows + block.feed_out(wide)

    def _attend(self, packed: Tensor, part: "_SequencePart", number: int) -> Tensor:
        """Attention of packed rows (n, (heads + 2 groups) * width) over the part's cache and themselves.

        The heads that share a key count as further rows of it, so that no key is repeated.
        """
        cached, mask, shape, count = len(part.cache.ids), part.mask, self.shape, packed.shape[0]
        heads, groups, width = shape.heads, shape.groups, shape.head_width
        packed = packed.view(count, heads + 2 * groups, width)
        rotated = self._rotated(packed[:, : heads + groups], part.positions)
        keys, values = part.cache.keys[number], part.cache.values[number]
        keys[:, cached : cached + count] = rotated[:, heads:].transpose(0, 1)
        values[:, cached : cached + count] = packed[:, heads + groups :].transpose(0, 1)
        query = rotated[:, :heads].view(count, groups, -1, width).transpose(0, 1).reshape(groups, -1, width)
        keys, values = keys[:, : cached + count], values[:, : cached + count]
        if mask is None:
            weights = torch.bmm(query * width**-0.5, keys.transpose(1, 2)).softmax(-1)
            mixed = torch.bmm(weights, values)
        else:
            bias = mask.repeat_interleave(heads // groups, dim=0)
            mixed = functional.scaled_dot_product_attention(query[None], keys[None], values[None], attn_mask=bias)[0]
        return mixed.view(groups, count, -1, width).transpose(0, 1).reshape(count, heads * width)

    def _rotated(self, rows: Tensor, positions: TokenPositions) -> Tensor:
        """Rotary positions: the halves of each head turned by its place."""
        if self.rotation is None:
            return rows
        cosine, sine = (table[positions].unsqueeze(1) for table in self.rotation)
        return torch.addcmul(rows * cosine, rows.roll(self.shape.head_width // 2, -1), sine)

    def _mask(self, cached: int, count: int) -> Tensor | None:
        """Which of the tokens before and beside it each of several new tokens sees; None for a single one."""
        if count == 1:
            return None
        seen = torch.ones(count, cached + count, dtype=torch.bool, device=self.token_embeddings.device).tril_(cached)
        bias = torch.zeros(seen.shape, dtype=self.token_embeddings.dtype, device=self.token_embeddings.device)
        return bias.masked_fill_(~seen, float("-inf"))

    def _normalised(self, rows: Tensor, norm: NormWeights) -> Tensor:
        if self.shape.rms:
            return functional.rms_norm(rows, rows.shape[-1:], norm.weight, self.shape.epsilon)
        return functional.layer_norm(rows, rows.shape[-1:], norm.weight, norm.bias, self.shape.epsilon)


def rotation_tables(shape: DecoderShape, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Cosines and signed sines (context, head width) of rotary positions, as Llama pairs the halves."""
    steps = torch.arange(0, shape.head_width, 2, dtype=torch.float32) / shape.head_width
    angles = torch.outer(torch.arange(shape.context, dtype=torch.float32) / shape.stretch, 1.0 / shape.theta**steps)
    cosine, sine = angles.cos(), angles.sin()
    return torch.cat([cosine, cosine], -1).to(dtype), torch.cat([-sine, sine], -1).to(dtype)


def _to_device(part: Any, device: str) -> Any:
    """A copy of a frozen tree of tensors on a device."""
    if isinstance(part, Tensor):
        return part.to(device)
    if isinstance(part, tuple):
        return tuple(_to_device(item, device) for item in part)
    if is_dataclass(part) and not isinstance(part, type):
        return replace(part, **{entry.name: _to_device(getattr(part, entry.name), device) for entry in fields(part)})
    return part


def _reserve(cache: KeyValueCache, length: int) -> None:
    """Make room for so many tokens, doubling, so that the copies stay few."""
    capacity = cache.keys[0].shape[1]
    if length <= capacity:
        return
    extra = max(length, 2 * capacity) - capacity
    for buffers in (cache.keys, cache.values):
        buffers[:] = [functional.pad(tensor, (0, 0, 0, extra)) for tensor in buffers]
