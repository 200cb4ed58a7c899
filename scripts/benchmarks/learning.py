"""What one `codekin learn` gains on real repositories, and what it costs.

    python scripts/benchmarks/learning.py CHECKOUT ... [--method head|full] [--keep FOLDER] [--epochs 3] [--ranking]

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

from asking import MODES, inquiries, judged
from indexed import Kept, bring_up_to_date, files_below

from codekin.index import Index
from codekin.learning.gate import deciding
from codekin.learning.ground import KeptVectors
from codekin.learning.history import Run
from codekin.learning.loop import Training
from codekin.learning.material import gather
from codekin.learning.past import earlier_texts
from codekin.learning.run import Order, learn, loaded_here
from codekin.learning.triplets import Mix
from codekin.models import load_embedder
from codekin.models.learned import read_learned
from codekin.seams import Embedder

MOST_ASKED = 400
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
    options.add_argument("--ranking", action="store_true", help="judge by the product's own ranking as well")
    given = options.parse_args()
    torch.set_num_threads(1)
    embedder = load_embedder("codekin_embed")
    order = Order(Mix(given.count), Training(epochs=given.epochs, learning_rate=given.rate), given.method)
    with tempfile.TemporaryDirectory() as temporary:
        keep = given.keep or Path(temporary)
        runs = [measured(root, keep, embedder, order, given.ranking) for root in given.checkouts]
    gains = [run.report["from_base"]["after"] - run.report["from_base"]["before"] for run in runs]
    print(f"mean gain on kinds that training does not use: {100 * sum(gains) / len(gains):+.2f} points")


def measured(root: Path, keep: Path, embedder: Embedder, order: Order, ranking: bool) -> Run:
    """Indexes a checkout, learns it from the base, and prints what that gave."""
    folder = keep / f"{root.name}-{embedder.space[-8:]}"
    with Index.open(folder / "index", write=True) as index:
        print(f"{root.name}: {bring_up_to_date(index, embedder, files_below(root))} fragments embedded", flush=True)
    learning = folder / f"learning-{time.time_ns()}"
    learning.mkdir(parents=True)
    for cache in folder.glob("views-*.npz"):
        (learning / cache.name).write_bytes(cache.read_bytes())
    began = time.monotonic()
    with Index.open(folder / "index") as index:
        at_hand = loaded_here(learning, embedder, partial(earlier_texts, root, learning))
        run = learn(index, learning, embedder, order, lambda *_: None, at_hand)
        show(run, time.monotonic() - began)
        if ranking:
            show_ranking(index, learning, embedder, run)
    for cache in learning.glob("views-*.npz"):
        cache.replace(folder / cache.name)
    return run


def show_ranking(index: Index, learning: Path, embedder: Embedder, run: Run) -> None:
    """The base against what was learned, whatever the gate decided, by the product's ranking."""
    base = Kept(KeptVectors(learning, embedder, lambda *_: None), embedder)
    held = sorted(gather(index, embedder.space, base.embed, 0).held, key=lambda piece: piece.share)
    asked = inquiries(held[:MOST_ASKED])
    learned = read_learned(learning, run.checkpoint, base)
    before, after = ({kind: judged(each, model) for kind, each in asked.items()} for model in (base, learned))
    for mode in MODES:
        gains = {kind: 100 * (after[kind][mode] - before[kind][mode]) for kind in asked}
        each = ", ".join(f"{kind} {before[kind][mode]:.3f} {points:+.1f}" for kind, points in gains.items())
        chosen = [gains[kind] for kind in deciding(run.report["counts"]) if kind in gains]
        print(
            f"  by the {mode} ranking: {each}; mean of those that decide {sum(chosen) / len(chosen):+.2f}", flush=True
        )


def show(run: Run, seconds: float) -> None:
    """One repository's figures."""
    report = run.report
    for kind, (before, after) in report["all"]["kinds"].items():
        count = report["counts"][kind]
        print(f"  {kind:9} {before:.3f} -> {after:.3f}  {100 * (after - before):+.1f}  of {count} questions")
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
