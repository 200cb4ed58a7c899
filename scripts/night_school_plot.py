"""Replays the last days of a repository's git history as nights of learning, and draws what came of it.

    python scripts/night_school_plot.py GIT_DIR [--nights 7] [--method head] [--retrieval FILE] [--keep FOLDER]
                                        [--out docs/pictures/night-school.png] [--json FILE]

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

from indexed import Kept, bring_up_to_date, days, files_at

from codekin.cli.evaluating import read_rows
from codekin.index import Index
from codekin.learning.gate import deciding
from codekin.learning.general import general_ground
from codekin.learning.ground import KeptVectors, lay_ground
from codekin.learning.judging import Gain, Measured, gain, measure
from codekin.learning.loop import Training
from codekin.learning.material import gather
from codekin.learning.past import earlier_texts
from codekin.learning.run import Order, learn, loaded_here
from codekin.learning.schedule import BY_SCHEDULE
from codekin.learning.triplets import Mix
from codekin.models import checkpoints, load_embedder
from codekin.models.learned import read_learned
from codekin.retrieval import evaluate
from codekin.seams import Embedder
from codekin.syntax import LANGUAGES


def main() -> None:
    """Lives through the nights, prints them and draws them."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("repository", type=Path)
    options.add_argument("--nights", type=int, default=7)
    options.add_argument("--method", choices=["head", "lora", "full"], default="head")
    options.add_argument("--retrieval", type=Path, help="rows {id, task, lang, code} to rank after the last night")
    options.add_argument("--keep", type=Path)
    options.add_argument("--out", type=Path, default=Path("docs/pictures/night-school.png"))
    options.add_argument("--json", type=Path)
    given = options.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        school = School(given.repository.resolve(), given.keep or Path(folder), load_embedder("codekin_embed"))
        nights = [school.night(*night, given.method) for night in enumerate(days(given.repository, given.nights), 1)]
        school.print_general(given.retrieval)
    if given.json:
        given.json.write_text(json.dumps(nights, indent=1))
    draw(nights, given.out)


class School:
    """The nights of one repository."""

    def __init__(self, repository: Path, folder: Path, base: Embedder) -> None:
        self.repository, self.index, self.learning, self.base = repository, folder / "index", folder / "learned", base
        kept = [path.read_bytes() for path in self.learning.glob("views-*.npz")]
        names = [path.name for path in self.learning.glob("views-*.npz")]
        shutil.rmtree(self.learning, ignore_errors=True)
        self.learning.mkdir(parents=True)
        for name, content in zip(names, kept, strict=True):
            (self.learning / name).write_bytes(content)
        self.first = checkpoints.BASE

    def night(self, number: int, commit: str, method: str) -> dict[str, Any]:
        """Learns a day's tree; prints and gives what served after it, measured against the base and the first night."""
        with Index.open(self.index, write=True) as index:
            embedded = bring_up_to_date(index, self.base, files_at(self.repository, commit))
        past = partial(earlier_texts, self.repository, self.learning, revision=commit)
        order = Order(Mix(), Training(epochs=1), method, BY_SCHEDULE, f"night {number}", keep=100)
        with Index.open(self.index) as index:
            at_hand = loaded_here(self.learning, self.base, past)
            run = learn(index, self.learning, self.base, order, lambda *_: None, at_hand)
            material = gather(index, self.base.space, self._kept(self.base).embed, 0, past)
        self.first = checkpoints.pointed(self.learning) if number == 1 else self.first
        ask = partial(lay_ground, material.held, material.learned, earlier=material.earlier)
        base, first, served = (
            measure(ask(embed=self._served(name).embed))
            for name in (checkpoints.BASE, self.first, checkpoints.pointed(self.learning))
        )
        figures = {"over_base": points(base, served), "over_first": points(first, served)}
        row = {"night": number, "commit": commit[:10], "embedded": embedded, "decision": run.decision, **figures}
        row["general"] = self._general()
        print(json.dumps(row), flush=True)
        return row

    def print_general(self, rows: Path | None) -> None:
        """What serves after the last night against the base, on sets that no night has seen."""
        print(f"bundled general set: {self._general():+.2f} points")
        if rows is None:
            return
        labelled, name = read_rows(rows), checkpoints.pointed(self.learning)
        for mode in ("fused", "dense"):
            before, after = (evaluate(labelled, self._served(each), mode) for each in (checkpoints.BASE, name))
            ways = [way for way in before if set(way.split("->")) <= LANGUAGES.keys()]
            gains = [100 * (after[way]["map"] - before[way]["map"]) for way in ways]
            each = ", ".join(f"{way} {before[way]['map']:.3f} -> {after[way]['map']:.3f}" for way in ways)
            print(f"{rows.name}, {mode}: {sum(gains) / len(gains):+.2f} points on average; {each}", flush=True)

    def _served(self, name: str) -> Embedder:
        base = self._kept(self.base)
        return base if name == checkpoints.BASE else read_learned(self.learning, name, base)

    def _kept(self, embedder: Embedder) -> "Kept":
        return Kept(KeptVectors(self.learning, embedder, lambda *_: None), embedder)

    def _general(self) -> float:
        served = self._served(checkpoints.pointed(self.learning))
        before, after = (measure(general_ground(one.embed)) for one in (self._kept(self.base), served))
        return 100 * gain(before, after).mean


def points(before: Measured, after: Measured) -> dict[str, float]:
    """Points of MAP on the kinds that decide, with their interval, of the same questions."""
    found: Gain = gain(before, after, deciding(Counter(before.kinds)))
    return {"mean": 100 * found.mean, "low": 100 * found.low, "high": 100 * found.high}


def draw(nights: list[dict[str, Any]], out: Path) -> None:
    """The gain over the base of what served after each night, and over what served after the first one."""
    import matplotlib as mpl  # noqa: PLC0415 - a development dependency

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    at = [night["night"] for night in nights]
    figure, axes = plt.subplots(figsize=(7, 3.6), layout="constrained")
    axes.axhline(0, color="#999", linewidth=1)
    for key, colour, label in (
        ("over_base", "#4c78a8", "over the model as it came (95 %)"),
        ("over_first", "#54a24b", "over the first night's model, same questions (95 %)"),
    ):
        low, mean, high = ([night[key][side] for night in nights] for side in ("low", "mean", "high"))
        axes.fill_between(at, low, high, color=colour, alpha=0.2)
        axes.plot(at, mean, "o-", color=colour, label=label)
    axes.plot(
        at,
        [night["general"] for night in nights],
        "s--",
        color="#f58518",
        label="general set, over the model as it came",
    )
    axes.set(xlabel="night", ylabel="points of MAP of what served", xticks=at)
    axes.legend(frameon=False, fontsize="small", loc="center right", bbox_to_anchor=(1, 0.36))
    figure.savefig(out, dpi=130)


if __name__ == "__main__":
    main()
