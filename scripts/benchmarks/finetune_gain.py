"""What one `codekin finetune` run gains on real repositories, and what it costs.

    python scripts/benchmarks/finetune_gain.py CHECKOUT ... [--method head|full] [--keep DIR] [--epochs 3] [--ranking]

Prints MAP on held-out files by kind of question, before and after, with the interval of the gain over the kinds that
training does not use, the gain on the general set, and seconds. With `--ranking` the same held-out functions are asked
for once more through the product's own ranking, by vectors alone and fused with words, without the gate's code. With
`--keep` indexes and vectors stay.
"""

import argparse
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "lib"))

from indexed_repository import CachedEmbedder, bring_up_to_date, files_below
from ranking_evaluation import MODES, evaluate_ranking, ranking_tasks

from codekin.finetune.dataset.commits import find_commits
from codekin.finetune.dataset.git_history import find_earlier_texts
from codekin.finetune.dataset.triplets import TripletMix
from codekin.finetune.dataset.workspace import load_dataset
from codekin.finetune.evaluation import EmbeddingCache
from codekin.finetune.gate import select_gate_kinds
from codekin.finetune.history import FinetuneRun
from codekin.finetune.pipeline import FinetuneConfig, finetune_workspace, local_dependencies
from codekin.finetune.trainers.loop import TrainingOptions
from codekin.models.embedding.finetuned import load_checkpoint
from codekin.models.loading import load_embedder
from codekin.protocols import Embedder
from codekin.storage import ChunkIndex

MAX_QUERIES = 400
"""So many held-out functions are asked for by the product's ranking."""


def main() -> None:
    """Measures each checkout, then the mean."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("checkouts", nargs="+", type=Path)
    options.add_argument("--method", choices=["head", "full"], default="head")
    options.add_argument("--keep", type=Path)
    options.add_argument("--epochs", type=int, default=3)
    options.add_argument("--rate", type=float, default=1e-5)
    options.add_argument("--count", type=int, default=1000)
    options.add_argument("--sources", nargs="*", default=[], help="pairs to train on beside triplets and views")
    options.add_argument("--ranking", action="store_true", help="judge by the product's own ranking as well")
    given = options.parse_args()
    torch.set_num_threads(1)
    embedder = load_embedder("codekin_embed")
    training = TrainingOptions(epochs=given.epochs, learning_rate=given.rate)
    config = FinetuneConfig(TripletMix(given.count, sources=tuple(given.sources)), training, given.method)
    with tempfile.TemporaryDirectory() as temporary:
        keep = given.keep or Path(temporary)
        runs = [finetune_checkout(root, keep, embedder, config, given.ranking) for root in given.checkouts]
    gains = [run.report["from_base"]["after"] - run.report["from_base"]["before"] for run in runs]
    print(f"mean gain on kinds that training does not use: {100 * sum(gains) / len(gains):+.2f} points")


def finetune_checkout(root: Path, keep: Path, embedder: Embedder, config: FinetuneConfig, ranking: bool) -> FinetuneRun:
    """Indexes a checkout, learns it from the base, and prints what that gave."""
    folder = keep / f"{root.name}-{embedder.space[-8:]}"
    with ChunkIndex.open(folder / "index", write=True) as index:
        print(f"{root.name}: {bring_up_to_date(index, embedder, files_below(root))} chunks embedded", flush=True)
    finetune_dir = folder / f"run-{time.time_ns()}" / "finetune"  # without siblings, whose heads would count
    finetune_dir.mkdir(parents=True)
    for cache in folder.glob("views-*.npz"):
        (finetune_dir / cache.name).write_bytes(cache.read_bytes())
    began = time.monotonic()
    with ChunkIndex.open(folder / "index") as index:
        readers = partial(find_earlier_texts, root, finetune_dir), partial(find_commits, root, finetune_dir)
        dependencies = local_dependencies(finetune_dir, embedder, *readers)
        run = finetune_workspace(index, finetune_dir, embedder, config, lambda *_: None, dependencies)
        show(run, time.monotonic() - began)
        if ranking:
            show_ranking(index, finetune_dir, embedder, run)
    for cache in finetune_dir.glob("views-*.npz"):
        cache.replace(folder / cache.name)
    return run


def show_ranking(index: ChunkIndex, finetune_dir: Path, embedder: Embedder, run: FinetuneRun) -> None:
    """The base against what was learned, whatever the gate decided, by the product's ranking."""
    base = CachedEmbedder(EmbeddingCache(finetune_dir, embedder, lambda *_: None), embedder)
    held_out = sorted(
        load_dataset(index, embedder.space, base.embed, 0).held_out, key=lambda piece: piece.split_position
    )
    tasks = ranking_tasks(held_out[:MAX_QUERIES])
    train_samples = load_checkpoint(finetune_dir, run.checkpoint, base)
    before, after = (
        {kind: evaluate_ranking(each, model) for kind, each in tasks.items()} for model in (base, train_samples)
    )
    for mode in MODES:
        gains = {kind: 100 * (after[kind][mode] - before[kind][mode]) for kind in tasks}
        each = ", ".join(f"{kind} {before[kind][mode]:.3f} {points:+.1f}" for kind, points in gains.items())
        chosen = [gains[kind] for kind in select_gate_kinds(run.report["counts"]) if kind in gains]
        print(
            f"  by the {mode} ranking: {each}; mean of those that decide {sum(chosen) / len(chosen):+.2f}", flush=True
        )


def beam_of(report: dict) -> str:
    """Accuracy at 1 of the base and of what was trained, and how many callbacks were asked for."""
    beam = report.get("beam")
    names = ("accuracy1", "accuracy5", "triplets")
    return (
        ", ".join(f"{name} {beam['base'][name]:.3f} -> {beam['after'][name]:.3f}" for name in names)
        + (f" of {beam['queries']}")
        if beam
        else "too few"
    )


def show(run: FinetuneRun, seconds: float) -> None:
    """One repository's figures."""
    report = run.report
    for kind, (before, after) in report["all"]["kinds"].items():
        count = report["counts"][kind]
        print(f"  {kind:9} {before:.3f} -> {after:.3f}  {100 * (after - before):+.1f}  of {count} questions")
    print(f"  pairs by source: {report['sources']}; BEAM patterns: {beam_of(report)}")
    gained, general = report["from_base"], report["general"]
    points, low, high = (100 * each for each in (gained["after"] - gained["before"], gained["low"], gained["high"]))
    print(f"  kinds that training does not use {points:+.2f} ({low:+.2f} to {high:+.2f})")
    print(f"  general {100 * (general['after'] - general['before']):+.2f}")
    accuracies = [epoch["accuracy"] for epoch in report["epochs"] if "accuracy" in epoch]
    if accuracies:
        print(f"  triplet accuracy {accuracies[0]:.3f} -> {accuracies[-1]:.3f} of {report['triplets']} mined", end="; ")
    print(f"{run.decision}: {run.reason} {seconds:.1f} s", flush=True)


if __name__ == "__main__":
    main()
