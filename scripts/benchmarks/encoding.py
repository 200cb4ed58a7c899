"""Encoding speed against sentence-transformers: same weights, texts and threads, paired in one run.

Usage: python scripts/benchmarks/encoding.py [--texts 512] [--rounds 3] [--threads 1] [--json]
Prints the ratio of medians; sentence-transformers runs in float32 (batches of 32) and again in bfloat16, each as
the model comes (512 tokens) and reading no more tokens than ours. The texts are functions of Python's standard
library; both sides read them prepared for the encoder, and only ours pays for the preparing.
"""

import argparse
import ast
import itertools
import json
import statistics
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer

from codekin.models.embedding.local import BUNDLED_FOLDER, load_bundled, split_code_words
from codekin.models.linear import fastest_kernel

AS_IT_COMES = 512


def main() -> None:
    arguments = read_arguments()
    torch.set_num_threads(arguments.threads)
    texts = list(functions(arguments.texts))
    ours = load_bundled()
    with tempfile.TemporaryDirectory() as folder:
        engines: dict[str, Callable[[], object]] = {"codekin": lambda: ours.embed(texts)}
        for dtype, longest in itertools.product((torch.float32, torch.bfloat16), (AS_IT_COMES, ours.longest)):
            name = f"sentence-transformers {str(dtype).removeprefix('torch.')}, {longest} tokens"
            engines[name] = sentence_transformers(Path(folder), texts, dtype, longest)
        seconds = paired(engines, arguments.rounds)
    report(seconds, len(texts), arguments.json)


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def functions(count: int) -> Iterator[str]:
    """Source of `count` functions, spread over the standard library."""
    found: list[str] = []
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        text = path.read_text(encoding="utf-8", errors="replace")
        nodes = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)]
        found += [ast.get_source_segment(text, node) or "" for node in nodes]
    step = max(1, len(found) // count)
    yield from found[::step][:count]


def sentence_transformers(folder: Path, texts: list[str], dtype: torch.dtype, longest: int) -> Callable[[], object]:
    """Its `encode` on the bundled weights, reading up to `longest` tokens, as a call without arguments."""
    export(folder)
    transformer = Transformer(str(folder), max_seq_length=longest)
    model = SentenceTransformer(modules=[transformer, Pooling(384, "mean"), Normalize()], device="cpu").to(dtype)
    prepared = [split_code_words(text) for text in texts]
    if dtype is torch.float32:
        return lambda: model.encode(prepared)
    # NumPy knows no bfloat16.
    return lambda: model.encode(prepared, convert_to_tensor=True)


def export(folder: Path) -> None:
    """The bundled weights in float32, in the layout transformers reads."""
    tensors = {name: tensor.float() for name, tensor in load_file(BUNDLED_FOLDER / "model.safetensors").items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    for name in ("config.json", "tokenizer.json"):
        (folder / name).write_bytes((BUNDLED_FOLDER / name).read_bytes())


def paired(engines: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median seconds of each engine, run in turns so that interference hits all alike."""
    taken: dict[str, list[float]] = {name: [] for name in engines}
    for number in range(rounds + 1):
        for name, call in engines.items():
            start = time.perf_counter()
            call()
            if number:
                taken[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in taken.items()}


def report(seconds: dict[str, float], count: int, as_json: bool) -> None:
    ours = seconds["codekin"]
    rows = {
        name: {"texts_per_second": count / taken, "codekin_is_faster_by": taken / ours}
        for name, taken in seconds.items()
    }
    if as_json:
        print(json.dumps({"kernel": fastest_kernel().name, "engines": rows}))
        return
    print(f"encoding {count} functions, kernel {fastest_kernel().name}, {torch.get_num_threads()} thread(s)")
    for name, row in rows.items():
        print(f"  {name:44} {row['texts_per_second']:8.1f} texts/s   codekin is {row['codekin_is_faster_by']:.2f}x")


if __name__ == "__main__":
    main()
