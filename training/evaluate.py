"""Measures encoders on labelled rows with the product's own retrieval code.

    python training/evaluate.py --data .training/functions.jsonl --models server/codekin/models/codekin_embed FOLDER

Prints mean average precision for each direction: without a model, then for each folder (of
config.json, tokenizer.json, model.safetensors) the encoder alone and fused with the words. Where rows
are `words` (questions.jsonl) it prints how well they find their functions by cosine alone.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from codekin.models.embedding.local import load_bundled
from codekin.protocols import Embedder
from codekin.ranking.evaluation import RetrievalMode, evaluate_retrieval


def figures(rows: list[dict[str, Any]], embedder: Embedder | None, mode: RetrievalMode) -> str:
    """One line: each direction with its mean average precision, where it has queries."""
    found = evaluate_retrieval(rows, embedder, mode)
    return "  ".join(f"{direction} {values['map']:.3f}" for direction, values in found.items() if values["queries"])


def question_figures(rows: list[dict[str, Any]], embedder: Embedder) -> str:
    """Mean reciprocal rank among ten and recall at 1 and 10 of the functions that the words are about."""
    asked = [row for row in rows if row["lang"] == "words"]
    functions = [row for row in rows if row["lang"] != "words"]
    questions, answers = (_embedded(some, embedder) for some in (asked, functions))
    scores = questions @ answers.T
    own = {row["task"]: at for at, row in enumerate(functions)}
    right = np.array([scores[at, own[row["task"]]] for at, row in enumerate(asked)])
    ranks = (scores > right[:, None]).sum(1) + 1
    mrr = np.where(ranks <= 10, 1 / ranks, 0).mean()
    return f"mrr10 {mrr:.3f}  recall1 {(ranks == 1).mean():.3f}  recall10 {(ranks <= 10).mean():.3f}"


def _embedded(rows: list[dict[str, Any]], embedder: Embedder) -> NDArray[np.float32]:
    return np.concatenate(
        [embedder.embed([row["code"] for row in rows[at : at + 128]]) for at in range(0, len(rows), 128)]
    )


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    options.add_argument("--data", type=Path, required=True)
    options.add_argument("--models", type=Path, nargs="*", default=[])
    options.add_argument("--languages", nargs="+", default=["elixir", "cpp"])
    chosen = options.parse_args()
    torch.set_num_threads(1)
    everything = list(map(json.loads, chosen.data.read_text(encoding="utf-8").splitlines()))
    if any(row["lang"] == "words" for row in everything):
        for folder in chosen.models:
            print(f"{folder}\n  {question_figures(everything, load_bundled(folder))}", flush=True)
        return
    rows = [row for row in everything if row["lang"] in chosen.languages]
    print(f"{len(rows)} rows\ntext     {figures(rows, None, 'text')}", flush=True)
    for folder in chosen.models:
        embedder = load_bundled(folder)
        print(f"{folder}\n  dense  {figures(rows, embedder, 'dense')}", flush=True)
        print(f"  fused  {figures(rows, embedder, 'fused')}", flush=True)


if __name__ == "__main__":
    main()
