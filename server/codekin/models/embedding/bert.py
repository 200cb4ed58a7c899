"""The forward pass of a small BERT encoder, on plain tensors read from a safetensors file.

Equals transformers' BertModel in evaluation mode without importing transformers, so that a daemon with the bundled
encoder starts fast and stays small.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from codekin.errors import CheckpointError
from codekin.models.embedding.adapters import merge_adapter, read_adapter
from codekin.models.linear import PLAIN_KERNEL, LinearKernel, fastest_kernel
from codekin.models.weights import read_tensors

ATTENTION_SCORE_LIMIT = 80.0
"""Attention scores beyond this would overflow an exponential; a trained encoder's stay below 30."""


@dataclass(frozen=True, slots=True)
class AffineWeights:
    """Weight (out, in) and bias (out,) of a linear layer; or both (d,) of a layer norm."""

    weight: Tensor
    bias: Tensor


@dataclass(frozen=True, slots=True)
class BertLayer:
    """One transformer block; `attention_in` is query, key and value stacked."""

    attention_in: AffineWeights
    attention_out: AffineWeights
    attention_norm: AffineWeights
    feed_in: AffineWeights
    feed_out: AffineWeights
    feed_norm: AffineWeights


@dataclass(frozen=True, slots=True)
class BertEncoder:
    """The weights of an encoder, ready to run with one kernel."""

    token_embeddings: Tensor
    positions: Tensor
    norm: AffineWeights
    layers: tuple[BertLayer, ...]
    heads: int
    epsilon: float
    kernel: LinearKernel = PLAIN_KERNEL

    @property
    def dimensions(self) -> int:
        """The width of the vectors."""
        return self.token_embeddings.shape[1]

    @property
    def longest(self) -> int:
        """The most tokens a text may have."""
        return self.positions.shape[0]

    @torch.inference_mode()
    def embed(self, sequences: Sequence[Sequence[int]]) -> Tensor:
        """Unit vectors (n, dimensions) in float32: the masked mean of the last hidden states."""
        return self.encode(sequences)

    def encode(self, sequences: Sequence[Sequence[int]]) -> Tensor:
        """The same, with gradients where the weights have them."""
        lengths = torch.tensor([len(ids) for ids in sequences])
        longest = int(lengths.max())
        ids = torch.zeros(len(sequences), longest, dtype=torch.long)
        for row, sequence in enumerate(sequences):
            ids[row, : len(sequence)] = torch.tensor(sequence)
        mask = torch.arange(longest)[None, :] < lengths[:, None]
        hidden = self._forward(ids, mask)
        summed = torch.einsum("nlh,nl->nh", hidden.float(), mask.float())
        return functional.normalize(summed / lengths[:, None], dim=1)

    def _forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Hidden states (n, length, width) of ids (n, length); mask is True at each token."""
        count, length = ids.shape
        embedded = self.token_embeddings[ids] + self.positions[:length]
        rows = self._normalised(embedded.view(count * length, -1), self.norm)
        attend = exponential_attention if self.kernel.dtype is torch.bfloat16 else fused_attention
        for layer in self.layers:
            packed = self._linear(rows, layer.attention_in).view(count, length, 3, self.heads, -1)
            mixed = attend(packed, mask).reshape(rows.shape)
            rows = self._normalised(rows + self._linear(mixed, layer.attention_out), layer.attention_norm)
            wide = self._linear(rows, layer.feed_in, "gelu")
            rows = self._normalised(rows + self._linear(wide, layer.feed_out), layer.feed_norm)
        return rows.view(count, length, -1)

    def _linear(self, rows: Tensor, layer: AffineWeights, activation: str = "none") -> Tensor:
        return self.kernel.linear(rows, layer.weight, layer.bias, activation)

    def _normalised(self, rows: Tensor, norm: AffineWeights) -> Tensor:
        return functional.layer_norm(rows, rows.shape[-1:], norm.weight, norm.bias, self.epsilon)


def fused_attention(packed: Tensor, mask: Tensor) -> Tensor:
    """Torch's own attention; packed is (n, length, 3, heads, width) and the result (n, length, heads, width)."""
    query, key, value = packed.permute(2, 0, 3, 1, 4)
    bias = None
    if not bool(mask.all()):
        bias = torch.zeros(mask.shape, dtype=packed.dtype).masked_fill_(~mask, float("-inf"))
        bias = bias[:, None, None, :].expand(-1, 1, mask.shape[1], -1)
    return functional.scaled_dot_product_attention(query, key, value, attn_mask=bias).transpose(1, 2)


def exponential_attention(packed: Tensor, mask: Tensor) -> Tensor:
    """The same through two batched products, four times as fast in bfloat16 with narrow heads.

    The softmax is an exponential whose row sums come out of the second product, as a column of
    ones beside the values; where both are zero a padded key counts for nothing.
    """
    count, length, _, heads, width = packed.shape
    query, key, value = packed.permute(2, 0, 3, 1, 4).reshape(3, count * heads, length, width)
    scores = torch.bmm(query * width**-0.5, key.transpose(1, 2))
    weights = scores.clamp_(-ATTENTION_SCORE_LIMIT, ATTENTION_SCORE_LIMIT).exp_()
    counted = functional.pad(value, (0, 1), value=1.0).view(count, heads, length, -1)
    counted = (counted * mask[:, None, :, None]).view(count * heads, length, -1)
    mixed = torch.bmm(weights, counted)
    mixed = mixed[..., :-1] / mixed[..., -1:]
    return mixed.view(count, heads, length, width).transpose(1, 2)


def open_bert(
    folder: Path,
    config: Mapping[str, Any],
    kernel_cache: Path | None = None,
    kernel: LinearKernel | None = None,
    adapter_folder: Path | None = None,
) -> BertEncoder:
    """The encoder in a folder, with an adapter merged into its weights, by a kernel or the fastest one here."""
    tensors = read_tensors(folder / "model.safetensors")
    if adapter_folder is not None:
        tensors = merge_adapter(tensors, read_adapter(adapter_folder))
    return build_bert(tensors, config, kernel or fastest_kernel(kernel_cache))


def merged_arrays(folder: Path, adapter_folder: Path) -> dict[str, NDArray[Any]]:
    """The weights in a folder with an adapter's products added, in float32, for what runs without torch."""
    merged = merge_adapter(read_tensors(folder / "model.safetensors"), read_adapter(adapter_folder))
    return {name: tensor.numpy() for name, tensor in merged.items()}


def build_bert(
    tensors: Mapping[str, Tensor], config: Mapping[str, Any], kernel: LinearKernel = PLAIN_KERNEL
) -> BertEncoder:
    """An encoder from named tensors and a `config.json` of model type bert.

    Raises CheckpointError where a tensor is missing or its shape differs from the config's.
    """
    if config.get("model_type", "bert") != "bert" or config.get("hidden_act", "gelu") != "gelu":
        raise CheckpointError("The encoder's config.json is not a BERT with gelu; use a checkpoint of that kind.")
    if not isinstance(config.get("layer_norm_eps", 1e-12), float | int):
        raise CheckpointError("The encoder's layer_norm_eps is no number; fetch the model again.")
    read = _BertTensorReader(tensors, kernel.dtype)
    width, inner = int(config["hidden_size"]), int(config["intermediate_size"])
    token_embeddings = read.tensor("embeddings.word_embeddings.weight", (int(config["vocab_size"]), width))
    kinds = read.tensor("embeddings.token_type_embeddings.weight", (int(config.get("type_vocab_size", 2)), width))
    positions = read.tensor("embeddings.position_embeddings.weight", (int(config["max_position_embeddings"]), width))
    return BertEncoder(
        token_embeddings=token_embeddings,
        # All tokens are of the first kind, so its embedding is added to the positions once.
        positions=(positions.float() + kinds[0].float()).to(kernel.dtype),
        norm=read.norm("embeddings.LayerNorm", width),
        layers=tuple(read.layer(number, width, inner) for number in range(int(config["num_hidden_layers"]))),
        heads=int(config["num_attention_heads"]),
        epsilon=float(config.get("layer_norm_eps", 1e-12)),
        kernel=kernel,
    )


@dataclass(frozen=True, slots=True)
class _BertTensorReader:
    tensors: Mapping[str, Tensor]
    dtype: torch.dtype

    def tensor(self, name: str, shape: tuple[int, ...]) -> Tensor:
        found = self.tensors.get(name, self.tensors.get(f"bert.{name}"))
        if found is None:
            raise CheckpointError(f"The encoder's weights lack {name}; fetch the checkpoint again.")
        if tuple(found.shape) != shape:
            raise CheckpointError(f"{name} has shape {tuple(found.shape)}, the config says {shape}; fetch it again.")
        return found.to(self.dtype)

    def affine(self, name: str, out: int, width: int) -> AffineWeights:
        return AffineWeights(self.tensor(f"{name}.weight", (out, width)), self.tensor(f"{name}.bias", (out,)))

    def norm(self, name: str, width: int) -> AffineWeights:
        return AffineWeights(self.tensor(f"{name}.weight", (width,)), self.tensor(f"{name}.bias", (width,)))

    def layer(self, number: int, width: int, inner: int) -> BertLayer:
        at = f"encoder.layer.{number}"
        parts = [self.affine(f"{at}.attention.self.{part}", width, width) for part in ("query", "key", "value")]
        return BertLayer(
            attention_in=AffineWeights(torch.cat([p.weight for p in parts]), torch.cat([p.bias for p in parts])),
            attention_out=self.affine(f"{at}.attention.output.dense", width, width),
            attention_norm=self.norm(f"{at}.attention.output.LayerNorm", width),
            feed_in=self.affine(f"{at}.intermediate.dense", inner, width),
            feed_out=self.affine(f"{at}.output.dense", width, inner),
            feed_norm=self.norm(f"{at}.output.LayerNorm", width),
        )
