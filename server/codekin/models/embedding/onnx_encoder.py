"""Runs a small BERT encoder in 8-bit integers by ONNX Runtime, without torch.

Texts of one length are run together, so that nothing is padded or masked and a vector does not depend on its batch. The
table of token embeddings stays mapped from its file. In background work every core runs a part of a batch in one
thread, at the priority of the thread that asked; a query has one run that several cores share.
"""

import json
import os
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codekin.errors import CheckpointError
from codekin.models.embedding.onnx_graph import (
    HIDDEN,
    PRODUCTS,
    ActivationRange,
    ActivationScales,
    BertShape,
    bert_graph,
)
from codekin.models.queues import processor_share
from codekin.models.weights import check_safetensors
from codekin.protocols import Vectors

# The official builds report to Microsoft unless this is set before they are loaded (their Privacy.md).
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
import onnxruntime

SCALES_FILE = "activations.safetensors"
"""Beside an encoder's weights: the scales of its activations in 8 bits, from `training/calibrate.py`."""

MIN_PART_TOKENS = 192
"""Fewer tokens are not worth a thread of their own."""

_DTYPES = {"F32": np.float32, "F16": np.float16}


@dataclass(frozen=True, slots=True)
class TokenEmbeddings:
    """Tables (vocabulary, width) and (positions, width), and the layer norm of their sum."""

    tokens: NDArray[Any]
    positions: NDArray[np.float32]
    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    epsilon: float

    def look_up(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """The rows (n, length, width) of ids (n, length)."""
        rows: NDArray[np.float32] = self.tokens[ids].astype(np.float32) + self.positions[: ids.shape[1]]
        rows -= rows.mean(axis=-1, keepdims=True)
        deviation = np.sqrt(np.einsum("nlh,nlh->nl", rows, rows)[..., None] / rows.shape[-1] + self.epsilon)
        rows *= self.weight / deviation
        rows += self.bias
        return rows


@dataclass(slots=True)
class OnnxEncoder:
    """An encoder ready to run; safe to call from many threads."""

    embeddings: TokenEmbeddings
    graph: bytes
    _sessions: dict[int, onnxruntime.InferenceSession] = field(default_factory=dict)
    _pools: dict[int, ThreadPoolExecutor] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def embed(self, sequences: Sequence[Sequence[int]]) -> Vectors:
        """Unit vectors (n, width) in float32: the mean of the last hidden states."""
        share = processor_share()
        vectors = np.empty((len(sequences), self.embeddings.tokens.shape[1]), np.float32)
        if share.background and share.threads > 1:
            parts = split_by_length([len(ids) for ids in sequences], share.threads)
            session, pool = self._session(1), self._pool(share.threads)
            for part, rows in zip(parts, pool.map(lambda at: self._run(session, sequences, at), parts), strict=True):
                vectors[part] = rows
        else:
            session = self._session(share.threads)
            for part in split_by_length([len(ids) for ids in sequences]):
                vectors[part] = self._run(session, sequences, part)
        return vectors

    def _run(
        self, session: onnxruntime.InferenceSession, sequences: Sequence[Sequence[int]], part: Sequence[int]
    ) -> Vectors:
        rows = self.embeddings.look_up(np.array([sequences[at] for at in part], np.int64))
        pooled = session.run(None, {HIDDEN: rows})[0]
        unit: Vectors = pooled / np.maximum(np.linalg.norm(pooled, axis=1, keepdims=True), 1e-12)
        return unit

    def _session(self, threads: int) -> onnxruntime.InferenceSession:
        with self._lock:
            if threads not in self._sessions:
                self._sessions[threads] = open_session(self.graph, threads)
            return self._sessions[threads]

    def _pool(self, threads: int) -> ThreadPoolExecutor:
        """Its threads are started by the one that calls, and so have its niceness."""
        with self._lock:
            if threads not in self._pools:
                self._pools[threads] = ThreadPoolExecutor(threads, thread_name_prefix="encoder")
            return self._pools[threads]


def open_session(graph: bytes, threads: int) -> onnxruntime.InferenceSession:
    """A graph ready to run in so many threads, which wait without turning."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # an idle daemon uses no processor
    options.enable_cpu_mem_arena = False  # it would keep what the longest batch took
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def split_by_length(lengths: Sequence[int], parts: int = 1) -> list[list[int]]:
    """Positions of texts of one length together, longest first; `parts` threads get them cut, large ones first."""
    groups: dict[int, list[int]] = {}
    for at in sorted(range(len(lengths)), key=lambda at: -lengths[at]):
        groups.setdefault(lengths[at], []).append(at)
    if parts == 1:
        return list(groups.values())
    most = max(MIN_PART_TOKENS, -(-sum(lengths) // parts))
    sizes = {length: max(1, most // max(1, length)) for length in groups}
    pieces = [
        (length, group[start : start + sizes[length]])
        for length, group in groups.items()
        for start in range(0, len(group), sizes[length])
    ]
    return [piece for _, piece in sorted(pieces, key=lambda one: -one[0] * len(one[1]))]


def load_onnx_encoder(folder: Path, config: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> OnnxEncoder:
    """The encoder of a folder with an `activations.safetensors`, from its weights or others of the same shapes."""
    shape = read_shape(config)
    named = {name.removeprefix("bert."): tensor for name, tensor in tensors.items()}
    _check_shapes(folder, named, shape, int(config["intermediate_size"]))
    try:
        embeddings = read_embeddings(named, shape)
        graph = bert_graph(named, shape, read_scales(folder / SCALES_FILE, shape.layers))
    except (KeyError, IndexError, ValueError) as error:
        raise CheckpointError(f"{folder} lacks weights or has wrong shapes ({error}); fetch it again.") from error
    return OnnxEncoder(embeddings, graph)


def read_shape(config: Mapping[str, Any]) -> BertShape:
    """The shape that a `config.json` describes."""
    return BertShape(
        layers=int(config["num_hidden_layers"]),
        heads=int(config["num_attention_heads"]),
        epsilon=float(config.get("layer_norm_eps", 1e-12)),
        width=int(config["hidden_size"]),
    )


def read_embeddings(tensors: Mapping[str, NDArray[Any]], shape: BertShape) -> TokenEmbeddings:
    """The tables by BERT's names. All tokens are of the first kind, so its embedding is added to the positions once."""
    first = tensors["embeddings.token_type_embeddings.weight"][0].astype(np.float32)
    return TokenEmbeddings(
        tensors["embeddings.word_embeddings.weight"],
        tensors["embeddings.position_embeddings.weight"].astype(np.float32) + first,
        tensors["embeddings.LayerNorm.weight"].astype(np.float32),
        tensors["embeddings.LayerNorm.bias"].astype(np.float32),
        shape.epsilon,
    )


def _check_shapes(folder: Path, tensors: Mapping[str, NDArray[Any]], shape: BertShape, inner: int) -> None:
    """Raise CheckpointError where a layer's weight is missing or of another shape than the config says."""
    width = shape.width
    sizes = {f"attention.self.{part}": (width, width) for part in ("query", "key", "value")}
    sizes |= {"attention.output.dense": (width, width), "intermediate.dense": (inner, width)}
    sizes["output.dense"] = (width, inner)
    for number in range(shape.layers):
        for name, size in sizes.items():
            at = f"encoder.layer.{number}.{name}"
            found = [tensors[f"{at}.{kind}"].shape for kind in ("weight", "bias") if f"{at}.{kind}" in tensors]
            if found != [size, size[:1]]:
                raise CheckpointError(f"{folder}: {at} has shapes {found}, the config says {size}; fetch it again.")


def read_scales(path: Path, layers: int) -> ActivationScales:
    """What `training/calibrate.py` wrote. Raises CheckpointError where it is damaged, KeyError where a layer lacks."""
    found = map_tensors(path)
    ranges = [
        [ActivationRange(*map(float, found[f"layer.{number}.ranges"][place])) for place in range(PRODUCTS)]
        for number in range(layers)
    ]
    factors = {
        (number, place): np.array(found[name])
        for number in range(layers)
        for place in range(PRODUCTS)
        if (name := f"layer.{number}.factors.{place}") in found
    }
    return ActivationScales(ranges, factors)


def map_tensors(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of a safetensors file, mapped from it, all of them finite. Raises CheckpointError."""
    check_safetensors(path)
    try:
        data = np.memmap(path, np.uint8, "r")
        size = int.from_bytes(data[:8].tobytes(), "little")
        rows = json.loads(data[8 : 8 + size].tobytes())
        found = {name: _view(data[8 + size :], row) for name, row in rows.items() if name != "__metadata__"}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"{path} is damaged ({error}); fetch it again.") from error
    for name, array in found.items():
        if not _is_finite(array):
            raise CheckpointError(f"{path}: {name} holds values that are not finite; use another checkpoint.")
    return found


def _is_finite(array: NDArray[Any]) -> bool:
    """Whether no number is NaN or infinite, which the bits of the exponent tell many times faster in 16 bits."""
    if array.dtype == np.float16:
        return bool((array.view(np.uint16) & 0x7FFF).max(initial=0) < 0x7C00)
    return bool(np.isfinite(array.sum(dtype=np.float64)))


def _view(data: NDArray[np.uint8], row: Mapping[str, Any]) -> NDArray[Any]:
    start, end = row["data_offsets"]
    if not 0 <= start <= end <= len(data):
        raise ValueError("a tensor lies outside of the file")
    return np.asarray(data[start:end]).view(_DTYPES[row["dtype"]]).reshape(row["shape"])
