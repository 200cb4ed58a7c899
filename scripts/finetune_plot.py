"""Replays the last days of a repository's git history as daily fine-tuning runs, and plots the gains.

    python scripts/finetune_plot.py GIT_DIR [--runs 7] [--method head] [--retrieval FILE] [--keep FOLDER]
                                        [--out docs/pictures/finetune-runs.png] [--json FILE]

Each night sees the tree of one day; the first one learns it all, the others what changed and a replay of the rest. The
questions of a night are those of its day, so the models are compared within a night, question by question: what serves
after it with the base, and with what served after the first night. After the last night the bundled general set is
asked, and with `--retrieval` a set of labelled rows as `codekin eval retrieval` asks it. With `--keep` the vectors
stay for another time.
"""

import argparse
import json
import shutil
import sys
import tempfile
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parent / "lib"))

from indexed_repository import CachedEmbedder, bring_up_to_date, days, files_at

from codekin.cli.evaluation import read_rows
from codekin.finetune.dataset.git_history import find_earlier_texts
from codekin.finetune.dataset.triplets import TripletMix
from codekin.finetune.dataset.workspace import load_dataset
from codekin.finetune.evaluation import (
    EmbeddingCache,
    EvaluationGain,
    EvaluationScores,
    build_evaluation_set,
    compare_scores,
    evaluate,
    general_evaluation_set,
)
from codekin.finetune.gate import select_gate_kinds
from codekin.finetune.pipeline import FinetuneConfig, finetune_workspace, local_dependencies
from codekin.finetune.scheduler import BY_SCHEDULE
from codekin.finetune.trainers.loop import TrainingOptions
from codekin.models import checkpoints
from codekin.models.embedding.finetuned import load_checkpoint
from codekin.models.loading import load_embedder
from codekin.parsing import LANGUAGES
from codekin.protocols import Embedder
from codekin.ranking import evaluate_retrieval
from codekin.storage import ChunkIndex


def main() -> None:
    """Lives through the nights, prints them and draws them."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("repository", type=Path)
    options.add_argument("--runs", type=int, default=7)
    options.add_argument("--method", choices=["head", "lora", "full"], default="head")
    options.add_argument("--retrieval", type=Path, help="rows {id, task, lang, code} to rank after the last run")
    options.add_argument("--keep", type=Path)
    options.add_argument("--out", type=Path, default=Path("docs/pictures/finetune-runs.png"))
    options.add_argument("--json", type=Path)
    given = options.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        replay = FinetuneReplay(given.repository.resolve(), given.keep or Path(folder), load_embedder("codekin_embed"))
        runs = [replay.run(*run, given.method) for run in enumerate(days(given.repository, given.runs), 1)]
        replay.print_general(given.retrieval)
    if given.json:
        given.json.write_text(json.dumps(runs, indent=1))
    draw(runs, given.out)


class FinetuneReplay:
    """The nights of one repository."""

    def __init__(self, repository: Path, folder: Path, base: Embedder) -> None:
        self.repository, self.index, self.finetune_dir, self.base = (
            repository,
            folder / "index",
            folder / "learned",
            base,
        )
        kept = [path.read_bytes() for path in self.finetune_dir.glob("views-*.npz")]
        names = [path.name for path in self.finetune_dir.glob("views-*.npz")]
        shutil.rmtree(self.finetune_dir, ignore_errors=True)
        self.finetune_dir.mkdir(parents=True)
        for name, content in zip(names, kept, strict=True):
            (self.finetune_dir / name).write_bytes(content)
        self.first = checkpoints.BASE

    def run(self, number: int, commit: str, method: str) -> dict[str, Any]:
        """Learns a day's tree; prints and gives what served after it, measured against the base and the first night."""
        with ChunkIndex.open(self.index, write=True) as index:
            embedded = bring_up_to_date(index, self.base, files_at(self.repository, commit))
        read_earlier_texts = partial(find_earlier_texts, self.repository, self.finetune_dir, revision=commit)
        config = FinetuneConfig(TripletMix(), TrainingOptions(epochs=1), method, BY_SCHEDULE, f"run {number}", keep=100)
        with ChunkIndex.open(self.index) as index:
            dependencies = local_dependencies(self.finetune_dir, self.base, read_earlier_texts)
            result = finetune_workspace(index, self.finetune_dir, self.base, config, lambda *_: None, dependencies)
            dataset = load_dataset(index, self.base.space, self._kept(self.base).embed, 0, read_earlier_texts)
        self.first = checkpoints.read_pointer(self.finetune_dir) if number == 1 else self.first
        evaluation_of = partial(build_evaluation_set, dataset.held_out, dataset.train_samples, earlier=dataset.earlier)
        base, first, served = (
            evaluate(evaluation_of(embed=self._served(name).embed))
            for name in (checkpoints.BASE, self.first, checkpoints.read_pointer(self.finetune_dir))
        )
        figures = {"over_base": points(base, served), "over_first": points(first, served)}
        row = {"run": number, "commit": commit[:10], "embedded": embedded, "decision": result.decision, **figures}
        row["general"] = self._general()
        print(json.dumps(row), flush=True)
        return row

    def print_general(self, rows: Path | None) -> None:
        """What serves after the last night against the base, on sets that no night has seen."""
        print(f"bundled general set: {self._general():+.2f} points")
        if rows is None:
            return
        labelled, name = read_rows(rows), checkpoints.read_pointer(self.finetune_dir)
        for mode in ("fused", "dense"):
            before, after = (
                evaluate_retrieval(labelled, self._served(each), mode) for each in (checkpoints.BASE, name)
            )
            ways = [way for way in before if set(way.split("->")) <= LANGUAGES.keys()]
            gains = [100 * (after[way]["map"] - before[way]["map"]) for way in ways]
            each = ", ".join(f"{way} {before[way]['map']:.3f} -> {after[way]['map']:.3f}" for way in ways)
            print(f"{rows.name}, {mode}: {sum(gains) / len(gains):+.2f} points on average; {each}", flush=True)

    def _served(self, name: str) -> Embedder:
        base = self._kept(self.base)
        return base if name == checkpoints.BASE else load_checkpoint(self.finetune_dir, name, base)

    def _kept(self, embedder: Embedder) -> "CachedEmbedder":
        return CachedEmbedder(EmbeddingCache(self.finetune_dir, embedder, lambda *_: None), embedder)

    def _general(self) -> float:
        served = self._served(checkpoints.read_pointer(self.finetune_dir))
        before, after = (evaluate(general_evaluation_set(one.embed)) for one in (self._kept(self.base), served))
        return 100 * compare_scores(before, after).mean


def points(before: EvaluationScores, after: EvaluationScores) -> dict[str, float]:
    """Points of MAP on the kinds that decide, with their interval, of the same questions."""
    found: EvaluationGain = compare_scores(before, after, select_gate_kinds(Counter(before.kinds)))
    return {"mean": 100 * found.mean, "low": 100 * found.low, "high": 100 * found.high}


def draw(runs: list[dict[str, Any]], out: Path) -> None:
    """The gain over the base of what served after each night, and over what served after the first one."""
    import matplotlib as mpl  # noqa: PLC0415 - a development dependency

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    at = [run["run"] for run in runs]
    figure, axes = plt.subplots(figsize=(7, 3.6), layout="constrained")
    axes.axhline(0, color="#999", linewidth=1)
    for key, colour, label in (
        ("over_base", "#4c78a8", "over the base model (95 %)"),
        ("over_first", "#54a24b", "over the first run's model, same queries (95 %)"),
    ):
        low, mean, high = ([run[key][side] for run in runs] for side in ("low", "mean", "high"))
        axes.fill_between(at, low, high, color=colour, alpha=0.2)
        axes.plot(at, mean, "o-", color=colour, label=label)
    axes.plot(
        at,
        [run["general"] for run in runs],
        "s--",
        color="#f58518",
        label="general set, over the base model",
    )
    axes.set(xlabel="run", ylabel="points of MAP of what served", xticks=at)
    axes.legend(frameon=False, fontsize="small", loc="center right", bbox_to_anchor=(1, 0.36))
    figure.savefig(out, dpi=130)


if __name__ == "__main__":
    main()
