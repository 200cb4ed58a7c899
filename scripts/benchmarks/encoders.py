"""Ways to run the bundled encoder on a processor, side by side: time, closeness to float32, ranks.

    python scripts/benchmarks/encoders.py REPOSITORY [--texts 300] [--rounds 2] [--only NAME …] [--retrieval FILE]

Each way embeds the same chunks of a repository in one thread (`all cores` aside), in turns; processor and wall seconds
are the least of the rounds. Cosines are to torch's float32. With rows {id, task, lang, code} the fused MAP of each way
is computed too, by what `codekin eval retrieval` runs.
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from codekin.models import queues
from codekin.models.catalogue import read_json
from codekin.models.embedding.bert import BertEncoder, build_bert
from codekin.models.embedding.local import BUNDLED_FOLDER, LocalEmbedder, bert_tokenizer, load_bundled, read_tokenizer
from codekin.models.embedding.onnx_encoder import (
    OnnxEncoder,
    map_tensors,
    read_embeddings,
    read_shape,
)
from codekin.models.embedding.onnx_graph import bert_graph
from codekin.models.linear import PLAIN_KERNEL, LinearKernel, fastest_kernel
from codekin.models.weights import read_tensors
from codekin.parsing import cut_chunks
from codekin.protocols import Embedder, Vectors
from codekin.ranking import evaluate_retrieval

CONFIG = read_json(BUNDLED_FOLDER / "config.json")
NAIVE_BATCH = 32
UNLIMITED = 1 << 30


@dataclass(frozen=True, slots=True)
class DynamicInt8Kernel(LinearKernel):
    """Torch's dynamic quantisation: weights in 8 bits a column, activations a tensor at a time (FBGEMM, AVX2)."""

    packed: dict[int, object] = field(default_factory=dict)

    def linear(self, rows: Tensor, weight: Tensor, bias: Tensor, activation: str = "none") -> Tensor:
        """The product in 8 bits; the weights are packed at the first call."""
        pack = self.packed.get(id(weight))
        if pack is None:
            scales = weight.abs().amax(dim=1) / 127
            zeros = torch.zeros(len(weight), dtype=torch.long)
            levels = torch.quantize_per_channel(weight, scales, zeros, 0, torch.qint8)
            pack = self.packed[id(weight)] = torch.ops.quantized.linear_prepack(levels, bias)
        product: Tensor = torch.ops.quantized.linear_dynamic(rows, pack, True)
        return torch.nn.functional.gelu(product) if activation == "gelu" else product


def main() -> None:
    """Prints a row for each way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("repository", type=Path)
    parser.add_argument("--texts", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--retrieval", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    texts = chunks(options.repository, options.texts)
    ways = {name: make() for name, make in WAYS.items() if not options.only or name in options.only}
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    vectors: dict[str, Vectors] = {}
    for _ in range(options.rounds):
        for name, embedder in ways.items():
            set_share(name)
            before = time.process_time(), time.perf_counter()
            vectors[name] = embedder.embed(texts)
            seconds[name].append((time.process_time() - before[0], time.perf_counter() - before[1]))
    reference = vectors.get("torch float32", next(iter(vectors.values())))
    tokens = sum(map(len, next(iter(ways.values())).tokenize(texts, "passage").ids))
    print(f"{len(texts)} chunks, {tokens} tokens, kernel {fastest_kernel().name}")
    for name, rows in seconds.items():
        processor, wall = (min(column) for column in zip(*rows, strict=True))
        cosines = (vectors[name] * reference).sum(axis=1)
        closeness = f"cosine {cosines.mean():.4f}, least {cosines.min():.4f}"
        ranks = retrieval(options.retrieval, ways[name]) if options.retrieval else ""
        print(f"  {name:34} {processor:7.2f} s {wall:7.2f} s  {tokens / processor:6.0f} tokens/s  {closeness}  {ranks}")


def chunks(root: Path, count: int) -> list[str]:
    """The texts of some chunks of a folder's files, spread by hash, in the order in which they were found."""
    found: dict[str, None] = {}
    for path in sorted(path for path in root.rglob("*") if path.is_file() and path.stat().st_size < 1 << 20):
        text = path.read_bytes().decode("utf-8", "replace")
        found |= dict.fromkeys(chunk.text for chunk in cut_chunks(str(path.relative_to(root)), text)[0])
    chosen = set(sorted(found, key=lambda text: sha256(text.encode()).digest())[:count])
    return [text for text in found if text in chosen]


def set_share(name: str) -> None:
    """One thread, or all in the background."""
    if name.endswith("all cores"):
        queues.set_thread_priority("index")
    else:
        queues.set_thread_priority("query", 1)


def retrieval(path: Path, embedder: Embedder) -> str:
    """The fused MAP of each direction."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    figures = evaluate_retrieval(rows, embedder, "fused")
    return " ".join(f"{name} {row['map']:.4f}" for name, row in figures.items())


def torch_bert(kernel: LinearKernel) -> BertEncoder:
    return build_bert(read_tensors(BUNDLED_FOLDER / "model.safetensors"), CONFIG, kernel)


def torch_way(kernel: Callable[[], LinearKernel], *, sort: bool = True) -> Callable[[], LocalEmbedder]:
    """Torch in batches sorted under a budget of tokens, or as the texts come."""

    def make() -> LocalEmbedder:
        bert = torch_bert(kernel())
        base = replace(load_bundled(), forward=lambda ids, _: bert.embed(ids).numpy())
        return base if sort else replace(base, budget=UNLIMITED, forward=lambda ids, _: as_they_come(bert, ids))

    return make


def as_they_come(bert: BertEncoder, ids: Sequence[list[int]]) -> Vectors:
    """Batches of texts in the order of their hashes, padded to the longest of each."""
    order = sorted(range(len(ids)), key=lambda at: sha256(str(ids[at]).encode()).digest())
    vectors = np.empty((len(ids), bert.dimensions), np.float32)
    for start in range(0, len(ids), NAIVE_BATCH):
        part = order[start : start + NAIVE_BATCH]
        vectors[part] = bert.embed([ids[at] for at in part]).numpy()
    return vectors


def onnx_float() -> LocalEmbedder:
    """ONNX Runtime on the same graph in float32."""
    tensors, shape = map_tensors(BUNDLED_FOLDER / "model.safetensors"), read_shape(CONFIG)
    encoder = OnnxEncoder(read_embeddings(tensors, shape), bert_graph(tensors, shape))
    return replace(load_bundled(), forward=lambda ids, _: encoder.embed(ids))


def shortened(longest: int) -> Callable[[], LocalEmbedder]:
    """The product's way on fewer tokens of each text."""
    tokenizer = read_tokenizer(BUNDLED_FOLDER / "tokenizer.json", CONFIG["vocab_size"])
    return lambda: replace(load_bundled(), tokenize=bert_tokenizer(tokenizer, longest))


WAYS: dict[str, Callable[[], LocalEmbedder]] = {
    "torch float32": torch_way(lambda: PLAIN_KERNEL),
    "torch fastest kernel": torch_way(fastest_kernel),
    "torch, 32 as they come": torch_way(fastest_kernel, sort=False),
    "torch dynamic int8": torch_way(lambda: DynamicInt8Kernel(torch.float32, onednn=False)),
    "onnx float32": onnx_float,
    "onnx int8": load_bundled,
    "onnx int8, 192 tokens": shortened(192),
    "onnx int8, 128 tokens": shortened(128),
    "onnx int8, all cores": load_bundled,  # last: a thread keeps its niceness
}


if __name__ == "__main__":
    main()
