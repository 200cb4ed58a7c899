"""Measures encoders on labelled rows with the product's own retrieval code.

    python training/evaluate.py --data .training/functions.jsonl --models server/codekin/models/codekin_embed FOLDER

Prints mean average precision for each direction: without a model, then for each folder (of
config.json, tokenizer.json, model.safetensors) the encoder alone and fused with the words.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import torch

from codekin.models.embedders import load_bundled
from codekin.retrieval.evaluate import Mode, evaluate
from codekin.seams import Embedder


def figures(rows: list[dict[str, Any]], embedder: Embedder | None, mode: Mode) -> str:
    """One line: each direction with its mean average precision, where it has queries."""
    found = evaluate(rows, embedder, mode)
    return "  ".join(f"{direction} {values['map']:.3f}" for direction, values in found.items() if values["queries"])


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    options.add_argument("--data", type=Path, required=True)
    options.add_argument("--models", type=Path, nargs="*", default=[])
    options.add_argument("--languages", nargs="+", default=["elixir", "cpp"])
    chosen = options.parse_args()
    torch.set_num_threads(1)
    lines = chosen.data.read_text(encoding="utf-8").splitlines()
    rows = [row for row in map(json.loads, lines) if row["lang"] in chosen.languages]
    print(f"{len(rows)} rows\nlexical  {figures(rows, None, 'lexical')}", flush=True)
    for folder in chosen.models:
        embedder = load_bundled(folder)
        print(f"{folder}\n  dense  {figures(rows, embedder, 'dense')}", flush=True)
        print(f"  fused  {figures(rows, embedder, 'fused')}", flush=True)


if __name__ == "__main__":
    main()
