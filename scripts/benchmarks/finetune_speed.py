"""How fast fine-tuning trains and re-embeds an index, and what a full-size step costs.

    python scripts/benchmarks/finetune_speed.py steps|finetune|apply-head|full-size [--quick] [--json]

`steps`: triplets a second beside sentence-transformers' trainer with its TripletLoss: same weights, triplets, batch
and threads, in turns. `finetune`: one fine-tuning run on a synthetic repository whose vectors are stored, by `head`
and by `full`. `apply-head`: 50,000 vectors of 1536 dimensions through a new head, until it serves. `full-size`: a
LoRA step on the shapes of Qwen2-1.5B and of Jina v3 with random weights, each in a process of its own, with and
without checkpointing (8 GB).
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import synthetic_repository
import torch
from encoding import export
from figures import Figure, show

sys.path.insert(0, str(Path(__file__).parents[1] / "lib"))

from indexed_repository import bring_up_to_date, files_below

from codekin.finetune.dataset.triplets import TripletMix
from codekin.finetune.evaluation import general_samples
from codekin.finetune.pipeline import FinetuneConfig, finetune_workspace
from codekin.finetune.trainers.encoder import FULL, BaseModel, TextTripletEncoder, load_trainable_model
from codekin.finetune.trainers.loop import TrainingOptions
from codekin.indexing.embedding_queue import EmbeddedBatch, EmbeddingBacklog
from codekin.models.catalogue import ModelSpec, load_catalogue
from codekin.models.embedding.adapters import TransformersEncoder
from codekin.models.embedding.finetuned import EmbeddingHead, head_space
from codekin.models.embedding.local import BUNDLED_FOLDER, split_code_words
from codekin.models.loading import load_embedder
from codekin.storage import ChunkIndex, FileState
from codekin.types import Chunk

MOVED_VECTORS, WIDTH = 50_000, 1536
TOKENS, TRIPLETS = 128, 4
"""The size of a full-size step."""

BOUNDS = {"qodo": (11.0, 6.0), "jina_v3": (6.0, 4.0)}
"""Gigabytes that a full-size step may take on each shape, without checkpointing and with it."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=[*MEASURES, "one-step"])
    parser.add_argument("--quick", action="store_true", help="less of everything; bars are for the full size")
    parser.add_argument("--checkpointing", action="store_true", help="of one-step")
    parser.add_argument("--shape", choices=list(BOUNDS), default="qodo", help="of one-step")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.what == "one-step":
        print(json.dumps(one_step(options.shape, options.checkpointing, options.quick)))
        return
    show(MEASURES[options.what](options.quick), as_json=options.json)


def training_steps(quick: bool) -> list[Figure]:
    """An epoch of ours and one of theirs, in turns; in theirs all weights learn, in ours those of the upper layers."""
    torch.set_num_threads(1)
    count, rounds = (32, 1) if quick else (160, 3)
    codes = [piece.code for piece in general_samples()]
    chosen = np.random.default_rng(0).permutation(3 * count) % len(codes)
    sides = tuple([codes[at] for at in side] for side in chosen.reshape(3, count).tolist())
    with tempfile.TemporaryDirectory() as folder:
        export(Path(folder))
        engines: dict[str, Callable[[], Any]] = {
            "ours": lambda: _our_epoch(sides),
            "float32": _their_epoch(Path(folder), sides, bfloat16=False),
            "bfloat16": _their_epoch(Path(folder), sides, bfloat16=True),
        }
        taken: dict[str, list[float]] = {name: [] for name in engines}
        for _ in range(rounds):
            for name, call in engines.items():
                taken[name].append(_seconds(call))
    rate = count / statistics.median(taken["ours"])
    return [
        Figure(
            f"triplets a second / sentence-transformers in {dtype}",
            statistics.median(taken[dtype]) / statistics.median(taken["ours"]),
            "x",
            at_least=1.3,
            beside=f"{rate:.1f} triplets/s, theirs {count / statistics.median(taken[dtype]):.1f}",
        )
        for dtype in ("float32", "bfloat16")
    ]


def _our_epoch(sides: tuple[list[str], ...]) -> None:
    trainable_model = load_trainable_model(BaseModel(FULL, load_catalogue()["codekin_embed"], BUNDLED_FOLDER))
    for _ in trainable_model.train(sides, TrainingOptions(epochs=1, in_batch=0.0), lambda *_: None):
        pass


def _their_epoch(folder: Path, sides: tuple[list[str], ...], bfloat16: bool) -> Callable[[], object]:
    """An epoch of its own loop (`old_fit`, which needs no further package), the texts prepared and cut as ours."""
    os.environ["HF_HUB_OFFLINE"] = "1"  # it would ask for what a model card may say
    from sentence_transformers import InputExample, SentenceTransformer, losses  # noqa: PLC0415 - heavy
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer  # noqa: PLC0415
    from torch.utils.data import DataLoader  # noqa: PLC0415

    rows: Any = [InputExample(texts=[split_code_words(text) for text in row]) for row in zip(*sides, strict=True)]

    def epoch() -> None:
        modules = [Transformer(str(folder), max_seq_length=192), Pooling(384, "mean"), Normalize()]
        model = SentenceTransformer(modules=modules, device="cpu").float()  # the files are float16, which learns slowly
        loss = losses.TripletLoss(model, losses.TripletDistanceMetric.COSINE, 0.2)
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            batches = DataLoader(rows, batch_size=16, shuffle=True)
            model.old_fit([(batches, loss)], epochs=1, show_progress_bar=False, optimizer_params={"lr": 1e-5})

    return epoch


def finetune_run(quick: bool) -> list[Figure]:
    """From the stored vectors to a decision, the checkpoint written; a first run has embedded the questions."""
    torch.set_num_threads(2)
    embedder = load_embedder("codekin_embed")
    count = 100 if quick else 1000
    with tempfile.TemporaryDirectory(prefix="ck") as name:
        folder = Path(name)
        synthetic_repository.write_repository(folder / "repository", 600 if quick else 3000)
        with ChunkIndex.open(folder / "index", write=True) as index:
            bring_up_to_date(index, embedder, files_below(folder / "repository"))
        taken = {}
        with ChunkIndex.open(folder / "index") as index:
            for method in ("head", "head", "full"):
                order = FinetuneConfig(TripletMix(count), TrainingOptions(epochs=3 if method == "head" else 1), method)
                taken[method] = _seconds(
                    lambda: finetune_workspace(index, folder / "learned", embedder, order, lambda *_: None)  # noqa: B023
                )
    return [
        Figure(f"head, {count} triplets, 3 epochs, vectors stored", taken["head"], "s", at_most=10),
        Figure(f"full, {count} triplets, 1 epoch", taken["full"], "s", at_most=600),
    ]


def apply_head(quick: bool) -> list[Figure]:
    """As the indexer does it: read the head, move the stored vectors, make the space the serving one."""
    count = 5000 if quick else MOVED_VECTORS
    generator = np.random.default_rng(0)
    matrix = np.eye(WIDTH, dtype=np.float32) + generator.standard_normal((WIDTH, WIDTH)).astype(np.float32) / WIDTH
    with tempfile.TemporaryDirectory(prefix="ck") as name, ChunkIndex.open(Path(name), write=True) as index:
        index.ensure_space("base", "base", WIDTH)
        for start in range(0, count, 1000):
            rows = generator.standard_normal((1000, WIDTH)).astype(np.float32)
            rows /= np.linalg.norm(rows, axis=1, keepdims=True)
            found = [_fragment(start + at) for at in range(1000)]
            vectors = {chunk.digest: row for chunk, row in zip(found, rows, strict=True)}
            index.replace_file(
                f"f{start}.ex", FileState(1, 0, 0, str(start), "elixir", "", False), found, vectors, "base"
            )
        backlog = EmbeddingBacklog(
            index, lambda base: EmbeddingHead("benchmark", matrix, head_space(base, matrix), base)
        )
        seconds = _seconds(lambda: (backlog.enter(EmbeddedBatch("base", "base", WIDTH)), backlog.finish()))
        if index.status().vectors != count or index.status().space == "base":
            raise RuntimeError("The head's space does not serve.")
    return [Figure(f"{count} x {WIDTH} vectors through a new head, until it serves", seconds, "s", at_most=3)]


def _fragment(number: int) -> Chunk:
    return Chunk(f"f{number}.ex", "elixir", "function", f"f{number}/0", 1, 1, f"def f{number}, do: {number}")


def full_size(quick: bool) -> list[Figure]:
    """A step of four triplets of 128 tokens on each shape, with `--quick` of two layers."""
    return [
        figure
        for shape, bounds in BOUNDS.items()
        for checkpointing, bound in zip((False, True), bounds, strict=True)
        for figure in _full_step(shape, checkpointing, bound, quick)
    ]


def _full_step(shape: str, checkpointing: bool, bound: float, quick: bool) -> list[Figure]:
    words = [sys.executable, __file__, "one-step", "--shape", shape]
    words += ["--checkpointing"] * checkpointing + ["--quick"] * quick
    found = json.loads(subprocess.run(words, check=True, capture_output=True).stdout)
    how = "with checkpointing" if checkpointing else "without"
    name = f"a LoRA step on {shape}'s shape, {found['parameters']:.2f} B weights, {how}"
    return [
        Figure(name, found["seconds"], "s", beside=found["dtype"]),
        Figure("  its peak of memory", found["gigabytes"], "GB", at_most=bound),
    ]


def one_step(shape: str, checkpointing: bool, quick: bool) -> dict[str, Any]:
    """A step on random weights: encoder, adapter and loss as the trainer has them."""
    row = load_catalogue()[shape]
    with _dtype(torch.bfloat16):
        module = _module(row, 2 if quick else row.layers)
    encoder = TransformersEncoder(module, row, row.dimensions, frozenset())
    learning = encoder.add_adapter("practice")
    if checkpointing:
        encoder.enable_activation_checkpointing()
    generator = torch.Generator().manual_seed(0)
    sides = [torch.randint(1000, 100_000, (TRIPLETS, TOKENS), generator=generator).tolist() for _ in range(3)]
    triplet_encoder = TextTripletEncoder(
        lambda parts: [encoder.encode(part, "passage", "practice") for part in parts], sides, learning, 0.0
    )
    optimizer = torch.optim.AdamW(triplet_encoder.parameters, lr=1e-4)
    seconds = _seconds(lambda: _step(triplet_encoder, optimizer))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20)
    parameters = sum(parameter.numel() for parameter in module.parameters()) / 1e9
    return {"seconds": seconds, "gigabytes": peak, "parameters": parameters, "dtype": str(module.dtype)}


def _module(row: ModelSpec, layers: int) -> Any:
    """Random weights in the shape of a catalogue row."""
    from transformers import (  # noqa: PLC0415 - heavy
        JinaEmbeddingsV3Config,
        JinaEmbeddingsV3Model,
        Qwen2Config,
        Qwen2Model,
    )

    size = {
        "vocab_size": row.vocabulary, "hidden_size": row.hidden, "intermediate_size": row.inner,
        "num_hidden_layers": layers, "use_cache": False, "dtype": torch.bfloat16,
    }  # fmt: skip
    if row.architecture == "qwen2":
        return Qwen2Model(Qwen2Config(**size, num_attention_heads=12, num_key_value_heads=2))
    return JinaEmbeddingsV3Model(JinaEmbeddingsV3Config(**size, num_attention_heads=16))


def _step(triplet_encoder: TextTripletEncoder, optimizer: torch.optim.Optimizer) -> None:
    anchor, positive, negative = triplet_encoder.encode(torch.arange(TRIPLETS))
    torch.relu(0.2 + (anchor * negative).sum(1) - (anchor * positive).sum(1)).mean().backward()
    optimizer.step()


@contextmanager
def _dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


MEASURES: Mapping[str, Callable[[bool], list[Figure]]] = {
    "steps": training_steps, "finetune": finetune_run, "apply-head": apply_head, "full-size": full_size,
}  # fmt: skip

if __name__ == "__main__":
    main()
