"""What one `codekin learn` gains on real repositories, and what it costs.

    python scripts/benchmarks/learning.py CHECKOUT ... [--method head|full] [--keep FOLDER] [--epochs 3]

Prints MAP on held-out files by kind of question, before and after, with the interval of the gain over the kinds that
no triplet resembles, the gain on the general set, and seconds. With `--keep` indexes and vectors stay.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "lib"))

from indexed import bring_up_to_date, files_below

from codekin.index import Index
from codekin.learning.history import Run
from codekin.learning.loop import Training
from codekin.learning.run import Order, learn
from codekin.learning.triplets import Mix
from codekin.models import load_embedder
from codekin.seams import Embedder


def main() -> None:
    """Measures each checkout, then the mean."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("checkouts", nargs="+", type=Path)
    options.add_argument("--method", choices=["head", "full"], default="head")
    options.add_argument("--keep", type=Path)
    options.add_argument("--epochs", type=int, default=3)
    options.add_argument("--rate", type=float, default=1e-5)
    given = options.parse_args()
    torch.set_num_threads(1)
    embedder = load_embedder("codekin_embed")
    order = Order(Mix(), Training(epochs=given.epochs, learning_rate=given.rate), given.method)
    with tempfile.TemporaryDirectory() as temporary:
        runs = [measured(root, given.keep or Path(temporary), embedder, order) for root in given.checkouts]
    gains = [run.report["from_base"]["after"] - run.report["from_base"]["before"] for run in runs]
    print(f"mean gain on kinds that triplets do not resemble: {100 * sum(gains) / len(gains):+.2f} points")


def measured(root: Path, keep: Path, embedder: Embedder, order: Order) -> Run:
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
        run = learn(index, learning, embedder, order, lambda *_: None)
    for cache in learning.glob("views-*.npz"):
        cache.replace(folder / cache.name)
    show(run, time.monotonic() - began)
    return run


def show(run: Run, seconds: float) -> None:
    """One repository's figures."""
    report = run.report
    for kind, (before, after) in report["all"]["kinds"].items():
        print(f"  {kind:9} {before:.3f} -> {after:.3f}  {100 * (after - before):+.1f}")
    gained, general = report["from_base"], report["general"]
    low, high = 100 * gained["low"], 100 * gained["high"]
    print(f"  kinds unlike triplets {100 * (gained['after'] - gained['before']):+.2f} ({low:+.2f} to {high:+.2f})")
    print(f"  general {100 * (general['after'] - general['before']):+.2f}")
    accuracies = [epoch.get("accuracy", 0.0) for epoch in report["epochs"]]
    print(f"  triplet accuracy {accuracies[0]:.3f} -> {accuracies[-1]:.3f} of {report['triplets']} mined", end="; ")
    print(f"{run.decision}: {run.reason} {seconds:.1f} s", flush=True)


if __name__ == "__main__":
    main()
