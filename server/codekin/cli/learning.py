"""`codekin learn`, `triplets`, `history`, `rollback`, `schedule`."""

import json as json_text
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from codekin import places
from codekin.cli import options
from codekin.cli.output import note, print_json, print_rows, say
from codekin.cli.roots import find_root
from codekin.cli.waiting import follow, wait_until_ready
from codekin.daemon.client import Client

Workspace = Annotated[Path, typer.Argument(metavar="PATH", help="The workspace's folder.")]
Method = Annotated[str, typer.Option("--method", help="head, lora or full; the setting otherwise.", show_default=False)]
Epochs = Annotated[
    int, typer.Option("--epochs", min=0, max=100, help="Passes over the triplets; 0: as set.", show_default=False)
]
Count = Annotated[
    int, typer.Option("--count", min=0, max=1_000_000, help="How many triplets; 0: as set.", show_default=False)
]
EPOCH = {"loss": "loss", "triplet accuracy": "accuracy", "held-out MAP": "map", "validation MAP": "validation"}
"""What is shown of an epoch, by column."""

BARS = "▁▂▃▄▅▆▇█"
LEAST_HEIGHT = 0.01
"""Of MAP: less than a point is not drawn as tall as a leap."""


def learn(
    path: Workspace = Path(),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would happen; change nothing.")] = False,
    background: Annotated[bool, typer.Option("--background", help="Hand it to the daemon and leave.")] = False,
    method: Method = "",
    epochs: Epochs = 0,
    count: Count = 0,
    json: options.Json = False,
    data_dir: options.DataDir = None,
) -> int:
    """Learn this workspace now: the new model takes over if it finds held-out code better."""
    data = places.data_dir(data_dir)
    root = find_root(data, path)
    asked = {"root": str(root), "dry_run": dry_run, "method": method, "epochs": epochs, "count": count}
    with Client.connect(data) as client:
        if background:
            answer = client.post("/learn", {**asked, "background": True})
            print_json(answer) if json else say(answer["message"])
            return 0
        wait_until_ready(client, root)
        run = follow(client.lines("/learn", asked), f"Learning {root.name}")
    if json:
        print_json(run)
    else:
        _show_run(run)
    return 0


def triplets(
    path: Workspace = Path(),
    count: Annotated[int, typer.Option(min=1, max=1_000_000, help="How many at most.")] = 1000,
    beam_ratio: Annotated[float, typer.Option(min=0, max=1, help="Share of Elixir within one language.")] = 0.7,
    cross_language_ratio: Annotated[float, typer.Option(min=0, max=1, help="Share from one to the other.")] = 0.3,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write JSON Lines here.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON Lines.")] = False,
    data_dir: options.DataDir = None,
) -> int:
    """Mine the triplets that learning would use, and say what they are like."""
    data = places.data_dir(data_dir)
    root = find_root(data, path)
    ratios = {"beam_ratio": beam_ratio, "cross_language_ratio": cross_language_ratio}
    with Client.connect(data) as client:
        wait_until_ready(client, root)
        asked = {"root": str(root), "count": count, **ratios}
        answer = follow(client.lines("/triplets", asked), f"Mining {root.name}")
    lines = [json_text.dumps(row) for row in answer["triplets"]]
    if output is not None:
        output.write_text("\n".join([*lines, ""]), encoding="utf-8")
    if json:
        sys.stdout.write("\n".join([*lines, ""]))
        return 0 if lines else 1
    _show_analysis(answer["analysis"])
    if answer["note"]:
        note(answer["note"])
    return 0 if lines else 1


def history(path: Workspace = Path(), json: options.Json = False, data_dir: options.DataDir = None) -> int:
    """Show what was learned, night after night, and how well."""
    data = places.data_dir(data_dir)
    root = find_root(data, path)
    with Client.connect(data) as client:
        answer = client.get("/history", root=str(root))
    if json:
        print_json(answer)
        return 0
    if not answer["runs"]:
        say("Nothing has been learned yet: the first run is tonight, or now by `codekin learn`.")
        return 1
    columns = ("", "run", "when", "by", "method", "decision", "MAP", "why")
    print_rows(columns, [_cells(run) for run in answer["runs"]], always_headed=True)
    judged = [run for run in reversed(answer["runs"]) if run["decision"] in {"activated", "kept"} and "after" in run]
    if chart := _chart([run["after"]["map"] for run in judged]):
        say(chart)
    say(f"Active: {'the model as it came' if answer['active'] == 'base' else answer['active']}.")
    return 0


def rollback(
    checkpoint: Annotated[
        str | None,
        typer.Argument(
            metavar="RUN",
            help='A run by its number in `codekin history`, a checkpoint, or "base"; else the model before.',
        ),
    ] = None,
    path: Annotated[Path, typer.Option("--root", help="The workspace's folder.")] = Path(),
    json: options.Json = False,
    data_dir: options.DataDir = None,
) -> int:
    """Go back to the model before, to that of a run of the history, or to the model as it came ("base")."""
    data = places.data_dir(data_dir)
    root = find_root(data, path)
    with Client.connect(data) as client:
        answer = client.post("/rollback", {"root": str(root), "checkpoint": checkpoint})
    print_json(answer) if json else say(answer["message"])
    return 0


def _show_run(run: Mapping[str, Any]) -> None:
    report = run["report"]
    if run["decision"] == "skipped":
        say(run["reason"])
        return
    if report.get("note"):
        note(report["note"])
    print_rows(("epoch", *EPOCH), [_figures(epoch) for epoch in report["epochs"]], always_headed=True)
    kinds = [
        (kind, f"{old:.3f}", f"{new:.3f}", f"{100 * (new - old):+.1f}")
        for kind, (old, new) in report["all"]["kinds"].items()
    ]
    print_rows(("held-out question", "before", "after", "points"), kinds, always_headed=True)
    would = "Nothing was changed; the new model would take over: " if report["better"] else "Nothing was changed: "
    took = "took over" if run["method"] == "head" else "takes over as soon as all is embedded anew"
    said = {"activated": f"The new model {took}: ", "dry run": would}
    say(said.get(run["decision"], "") + run["reason"])


def _figures(epoch: Mapping[str, Any]) -> tuple[Any, ...]:
    return (epoch["epoch"], *(f"{epoch[key]:.4f}" if key in epoch else "-" for key in EPOCH.values()))


def _show_analysis(analysis: Mapping[str, Any]) -> None:
    say(
        f"{analysis['total']} triplets: {analysis['beam_ratio']:.0%} BEAM and {analysis['cpp_ratio']:.0%} C++ within a"
        f" language, {analysis['cross_language_ratio']:.0%} across; {analysis['hardness']['hard']:.0%} are hard"
        " (the negative is nearer than the positive)."
    )
    kinds = sorted(analysis["kinds"].items(), key=lambda row: -row[1])
    print_rows(("kind", "triplets"), kinds, always_headed=True)
    for sample in analysis["sample"]:
        say(
            f"{sample['kind']}: {sample['anchor_place']} is like {sample['positive_place']},"
            f" unlike {sample['negative_place']}"
        )


def _cells(run: Mapping[str, Any]) -> tuple[Any, ...]:
    gain = f"{run['before']['map']:.3f} → {run['after']['map']:.3f}" if "after" in run else ""
    when = run["started"][:16].replace("T", " ")
    active, method = "*" if run["active"] else "", run["method"] if run["settings"] else ""
    return (active, run["id"], when, run["asked_by"], method, run["decision"], gain, run["reason"])


def _chart(values: list[float]) -> str:
    """One bar for each run's held-out MAP, oldest first."""
    if len(values) < 2:
        return ""
    low, high = min(values), max(values)
    step = max(high - low, LEAST_HEIGHT) / (len(BARS) - 1)
    return f"{low:.3f} {''.join(BARS[round((value - low) / step)] for value in values)} {high:.3f}"
