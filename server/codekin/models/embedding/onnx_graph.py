"""Writes the graph of a small BERT encoder in ONNX's format, in float32 or with products of 8-bit integers.

Only numpy is needed: a model is a protobuf message of some thirty fields (onnx.proto3 of github.com/onnx/onnx), written
here field by field. The embeddings stay outside, so that their table can be mapped from its file.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

HIDDEN, POOLED = "hidden", "pooled"
"""The graph's input (n, length, width), the embedded tokens; its output (n, width), their mean at the end."""

ZEROS, ONES = "zeros", "ones"
"""A number for each place of a text."""

_IR_VERSION, _OPSET = 10, 21
_MICROSOFT = "com.microsoft"
_FLOAT, _UINT8, _INT8, _INT64 = 1, 2, 3, 7
_DATA_TYPES = {"float32": _FLOAT, "uint8": _UINT8, "int8": _INT8, "int64": _INT64}
_ATTRIBUTE_FLOAT, _ATTRIBUTE_INT = 1, 2

QUANTISATION_SCHEME = "int8-3"
"""Part of an embedding space's fingerprint: change it with anything here that changes vectors."""

MAX_WEIGHT, MAX_PAIR = 127, 128
"""The largest level of a weight, and the most that those of two neighbours with one sign may make together: AVX2 adds
the products of two signed levels with two of a row, up to 255, in 16 bits, where more would saturate."""

LARGE_CHANNELS = {2: 8, 3: 32}
"""By place how many channels stay in float32 (LLM.int8, arXiv 2208.07339): the largest leave few levels to the rest."""


@dataclass(frozen=True, slots=True)
class ActivationRange:
    """The least and the greatest activation that 255 levels are spread over; what lies outside is clipped."""

    low: float
    high: float

    @property
    def scale(self) -> float:
        """The distance of two levels."""
        return (self.high - self.low) / 255

    @property
    def zero(self) -> int:
        """The level that stands for 0."""
        return round(-self.low / self.scale)


PRODUCTS = 4
"""Places of a layer where rows are multiplied: its input, the mixed values, the normalised sum, the inner rows."""


@dataclass(frozen=True, slots=True)
class ActivationScales:
    """What calibration found: a range for each layer and place, and by place what each channel is divided by first.

    The weights are multiplied by the same factors (SmoothQuant, arXiv 2211.10438): a few channels are ten times as
    large as the others, and would leave these few of the levels.
    """

    ranges: Sequence[Sequence[ActivationRange]]
    factors: Mapping[tuple[int, int], NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class BertShape:
    """What the graph needs to know beside the weights."""

    layers: int
    heads: int
    width: int
    epsilon: float


def bert_graph(
    tensors: Mapping[str, NDArray[Any]],
    shape: BertShape,
    scales: ActivationScales | None = None,
    *,
    observed: Sequence[str] = (),
) -> bytes:
    """An ONNX model of the layers whose weights `tensors` holds by BERT's names; with scales in 8-bit integers.

    The tensors named in `observed` are outputs too, for a calibration.
    """
    graph = _GraphWriter()
    length = graph.add("Shape", [HIDDEN], "places", start=1, end=2)
    graph.add("Exp", [graph.add("ConstantOfShape", [length], ZEROS)], ONES)
    hidden = HIDDEN
    for number in range(shape.layers):
        hidden = _LayerWriter(graph, tensors, number, scales).write(hidden, shape)
    graph.add("ReduceMean", [hidden, graph.constant("axes", np.array([1], np.int64))], POOLED, keepdims=0)
    return graph.model(shape.width, observed)


def product_inputs(layers: int) -> list[tuple[str, ...]]:
    """The names of what the products of each layer read, by place."""
    names = [f"encoder.layer.{number}" for number in range(layers)]
    firsts = [HIDDEN, *(f"{name}.output.normalised" for name in names)]
    rest = ("attention.self.mixed", "attention.output.normalised", "active")
    return [(first, *(f"{name}.{part}" for part in rest)) for first, name in zip(firsts, names, strict=False)]


@dataclass(slots=True)
class _GraphWriter:
    """The nodes and constants so far, as protobuf messages."""

    nodes: list[bytes] = field(default_factory=list)
    constants: list[bytes] = field(default_factory=list)

    def add(self, operator: str, inputs: Sequence[str], output: str, domain: str = "", **attributes: float) -> str:
        """Appends a node; gives the name of its output."""
        fields = [*((1, name) for name in inputs), (2, output), (4, operator), (7, domain)]
        written = [(5, _attribute(name, value)) for name, value in attributes.items()]
        self.nodes.append(_message([*fields, *written]))
        return output

    def constant(self, name: str, values: NDArray[Any]) -> str:
        """Appends an array; gives its name."""
        dims = [(1, size) for size in values.shape]
        kind = _DATA_TYPES[values.dtype.name]
        self.constants.append(_message([*dims, (2, kind), (8, name), (9, values.tobytes())]))
        return name

    def model(self, width: int, observed: Sequence[str] = ()) -> bytes:
        """The whole model; some tensors inside may be outputs beside the last."""
        graph = _message(
            [
                *((1, node) for node in self.nodes),
                (2, "bert"),
                *((5, constant) for constant in self.constants),
                (11, _value(HIDDEN, ["n", "length", width])),
                (12, _value(POOLED, ["n", width])),
                *((12, _message([(1, name)])) for name in observed),
            ]
        )
        opsets = [_message([(1, ""), (2, _OPSET)]), _message([(1, _MICROSOFT), (2, 1)])]
        return _message([(1, _IR_VERSION), (7, graph), *((8, opset) for opset in opsets)])


@dataclass(slots=True)
class _LayerWriter:
    """Writes one transformer block; every name in it begins with the layer's."""

    graph: _GraphWriter
    tensors: Mapping[str, NDArray[Any]]
    number: int
    scales: ActivationScales | None

    @property
    def at(self) -> str:
        """What the names of this layer's weights begin with."""
        return f"encoder.layer.{self.number}"

    def write(self, hidden: str, shape: BertShape) -> str:
        """Appends the block that reads `hidden`; gives the name of what it gives."""
        own, given = f"{self.at}.attention.self", self._activation(hidden, 0)
        parts = [self._product(given, f"{own}.{part}", 0) for part in ("query", "key", "value")]
        mixed = self.graph.add("MultiHeadAttention", parts, f"{own}.mixed", _MICROSOFT, num_heads=shape.heads)
        summed = self._product(self._activation(mixed, 1), f"{self.at}.attention.output.dense", 1)
        middle = self._normalised(summed, hidden, f"{self.at}.attention.output", shape.epsilon)
        wide = self._product(self._activation(middle, 2), f"{self.at}.intermediate.dense", 2, exact=middle)
        active = self.graph.add("Gelu" if self.scales is None else "FastGelu", [wide], f"{self.at}.active", _MICROSOFT)
        narrow = self._product(self._activation(active, 3), f"{self.at}.output.dense", 3, exact=active)
        return self._normalised(narrow, middle, f"{self.at}.output", shape.epsilon)

    def _activation(self, name: str, place: int) -> str:
        """What a product reads: the rows themselves, or their levels."""
        if self.scales is None:
            return name
        known, factors = self.scales.ranges[self.number][place], self.scales.factors.get((self.number, place))
        scale = self.graph.constant(f"{self.at}.scale{place}", np.array(known.scale, np.float32))
        zero = self.graph.constant(f"{self.at}.zero{place}", np.array(known.zero, np.uint8))
        if factors is not None:
            inverse = 1 / factors
            inverse[self._large_channels(place)] = 0
            constant = self.graph.constant(f"{self.at}.inverse{place}", inverse.astype(np.float32))
            name = self.graph.add("Mul", [name, constant], f"{self.at}.smooth{place}")
        return self.graph.add("QuantizeLinear", [name, scale, zero], f"{self.at}.levels{place}")

    def _product(self, rows: str, name: str, place: int, *, exact: str = "") -> str:
        """The product with a weight, and its bias; `exact` names the rows as they were before they were rounded."""
        weight, bias = self.tensors[f"{name}.weight"].astype(np.float32), self._float(f"{name}.bias")
        if self.scales is None:
            product = self.graph.add("MatMul", [rows, self.graph.constant(f"{name}.weight", weight.T)], f"{name}.rows")
            return self.graph.add("Add", [product, bias], f"{name}.biased")
        factors, large = self.scales.factors.get((self.number, place)), self._large_channels(place)
        rounded = weight if factors is None else weight * factors
        rounded[:, large] = 0
        levels, steps = quantise_rows(rounded)
        constants = [self.graph.constant(f"{name}.levels", levels.T), f"{self.at}.scale{place}"]
        given = [rows, *constants, self.graph.constant(f"{name}.steps", steps), f"{self.at}.zero{place}", "", bias]
        product = self.graph.add("MatMulIntegerToFloat", given, f"{name}.rows", _MICROSOFT)
        if not exact or not len(large):
            return product
        part = self.graph.add("Gather", [exact, self.graph.constant(f"{name}.large", large)], f"{name}.part", axis=-1)
        rest = self.graph.constant(f"{name}.exact", weight[:, large].T)
        return self.graph.add("Add", [product, self.graph.add("MatMul", [part, rest], f"{name}.rest")], f"{name}.sum")

    def _large_channels(self, place: int) -> NDArray[np.int64]:
        """The channels that stay in float32, those with the largest values; all of the rest share one range."""
        factors = self.scales.factors.get((self.number, place)) if self.scales else None
        count = LARGE_CHANNELS.get(place, 0)
        return np.sort(np.argsort(factors)[-count:]) if factors is not None and count else np.empty(0, np.int64)

    def _normalised(self, rows: str, residual: str, name: str, epsilon: float) -> str:
        """The layer norm of a product and what went past it.

        An instance norm over the places of a text is the same, and four times as fast as ONNX Runtime's layer norm.
        """
        weight, bias = self._float(f"{name}.LayerNorm.weight"), self._float(f"{name}.LayerNorm.bias")
        given = [self.graph.add("Add", [rows, residual], f"{name}.whole"), ONES, ZEROS]
        even = self.graph.add("InstanceNormalization", given, f"{name}.even", epsilon=epsilon)
        scaled = self.graph.add("Mul", [even, weight], f"{name}.scaled")
        return self.graph.add("Add", [scaled, bias], f"{name}.normalised")

    def _float(self, name: str) -> str:
        return self.graph.constant(name, self.tensors[name].astype(np.float32))


def quantise_rows(weight: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Levels (out, in) of a weight and the step (out,) of each row, as fine as MAX_WEIGHT and MAX_PAIR allow."""
    pairs = np.pad(weight, ((0, 0), (0, weight.shape[1] % 2))).reshape(len(weight), -1, 2)
    sums = np.maximum(np.maximum(pairs, 0).sum(axis=2), np.maximum(-pairs, 0).sum(axis=2)).max(axis=1)
    # Two levels are rounded up by a half each at most.
    steps = np.maximum(np.maximum(np.abs(weight).max(axis=1) / MAX_WEIGHT, sums / (MAX_PAIR - 1)), 1e-8 / MAX_WEIGHT)
    return np.rint(weight / steps[:, None]).astype(np.int8), steps.astype(np.float32)


def _attribute(name: str, value: float) -> bytes:
    if isinstance(value, float):
        return _message([(1, name), (2, np.float32(value)), (20, _ATTRIBUTE_FLOAT)])
    return _message([(1, name), (3, value), (20, _ATTRIBUTE_INT)])


def _value(name: str, dims: Sequence[str | int]) -> bytes:
    """A float tensor's name and shape; a dimension with a name may have any size."""
    shape = _message([(1, _message([(2 if isinstance(size, str) else 1, size)])) for size in dims])
    tensor = _message([(1, _FLOAT), (2, shape)])
    return _message([(1, name), (2, _message([(1, tensor)]))])


def _message(fields: Iterable[tuple[int, Any]]) -> bytes:
    """A protobuf message: whole numbers as varints, np.float32 as 32 bits, text and bytes with their length."""
    written: list[bytes] = []
    for number, value in fields:
        if isinstance(value, np.float32):
            written += _varint(number << 3 | 5), value.tobytes()
        elif isinstance(value, int):
            written += _varint(number << 3), _varint(value)
        else:
            data = value.encode() if isinstance(value, str) else value
            written += _varint(number << 3 | 2), _varint(len(data)), data
    return b"".join(written)


def _varint(number: int) -> bytes:
    number &= (1 << 64) - 1  # a negative number takes all 64 bits
    written = bytearray()
    while number > 127:
        written.append(number & 127 | 128)
        number >>= 7
    written.append(number)
    return bytes(written)
