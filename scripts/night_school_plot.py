"""Replays the last days of a repository's git history as nights of learning, and draws what came of it.

    python scripts/night_school_plot.py GIT_DIR [--nights 7] [--out docs/pictures/night-school.png] [--json FILE]

Each night sees the tree of one day; the first one learns it all, the others what changed and a replay of the rest.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parent / "lib"))

from indexed import bring_up_to_date, days, files_at

from codekin.index import Index
from codekin.learning.loop import Training
from codekin.learning.run import Order, learn
from codekin.learning.schedule import BY_SCHEDULE
from codekin.learning.triplets import Mix
from codekin.models import load_embedder


def main() -> None:
    """Lives through the nights, prints them and draws them."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("repository", type=Path)
    options.add_argument("--nights", type=int, default=7)
    options.add_argument("--out", type=Path, default=Path("docs/pictures/night-school.png"))
    options.add_argument("--json", type=Path)
    given = options.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        nights = replay(given.repository, given.nights, Path(folder))
    if given.json:
        given.json.write_text(json.dumps(nights, indent=1))
    draw(nights, given.out)


def replay(repository: Path, count: int, folder: Path) -> list[dict[str, Any]]:
    """One row for each night: MAP of the base, before and after, on the questions of that night."""
    embedder = load_embedder("codekin_embed")
    rows = []
    for number, commit in enumerate(days(repository, count), 1):
        with Index.open(folder / "index", write=True) as index:
            embedded = bring_up_to_date(index, embedder, files_at(repository, commit))
        order = Order(Mix(), Training(epochs=1), asked_by=BY_SCHEDULE, date=f"night {number}")
        with Index.open(folder / "index") as index:
            run = learn(index, folder / "learning", embedder, order, lambda *_: None)
        rows.append({"night": number, "commit": commit[:10], "embedded": embedded, **figures(run)})
        print(json.dumps(rows[-1]), flush=True)
    return rows


def figures(run: Any) -> dict[str, Any]:
    """What is drawn of a run."""
    if not run.report:
        return {"decision": run.decision}
    judged, base, general = (run.report[name] for name in ("judged", "from_base", "general"))
    served = judged["after"] if run.decision == "activated" else judged["before"]
    return {
        "decision": run.decision,
        "base": base["before"],
        "served": served,
        "offered": judged["after"],
        "low": base["low"],
        "high": base["high"],
        "general": general["after"] - general["before"],
    }


def draw(nights: list[dict[str, Any]], out: Path) -> None:
    """The gain over the base of what served after each night, with the interval of what was offered."""
    import matplotlib as mpl  # noqa: PLC0415 - a development dependency

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    seen = [night for night in nights if "base" in night]
    at = [night["night"] for night in seen]
    figure, axes = plt.subplots(figsize=(7, 3.6), layout="constrained")
    axes.axhline(0, color="#999", linewidth=1)
    low, high = ([100 * night[side] for night in seen] for side in ("low", "high"))
    axes.fill_between(at, low, high, color="#4c78a8", alpha=0.2, label="95 % interval of what was offered")
    axes.plot(
        at,
        [100 * (n["served"] - n["base"]) for n in seen],
        "o-",
        color="#4c78a8",
        label="what served, held-out code here",
    )
    axes.plot(at, [100 * n["general"] for n in seen], "s--", color="#f58518", label="what was offered, general set")
    axes.set(xlabel="night", ylabel="points of MAP over the model as it came", xticks=at)
    axes.set_ylim(bottom=min(-0.5, *low))
    axes.legend(frameon=False, loc="center right", fontsize="small", bbox_to_anchor=(1, 0.36))
    figure.savefig(out, dpi=130)


if __name__ == "__main__":
    main()
