"""`codekin finetune`, `triplets`, `history` and `rollback`."""

import csv as csv_text
import json as json_text
import sys
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

import typer

from codekin import paths
from codekin.cli import options
from codekin.cli.comparison import show_comparison
from codekin.cli.output import print_json, print_line, print_note, print_rows
from codekin.cli.progress import follow_events, format_seconds, wait_until_ready
from codekin.daemon.client import DaemonClient
from codekin.paths import find_workspace_root

WorkspacePath = Annotated[Path, typer.Argument(metavar="PATH", help="The workspace's folder.")]
Method = Annotated[str, typer.Option("--method", help="head, lora or full; the setting otherwise.", show_default=False)]
Epochs = Annotated[
    int, typer.Option("--epochs", min=0, max=100, help="Passes over the triplets; 0: as set.", show_default=False)
]
Count = Annotated[
    int, typer.Option("--count", min=0, max=1_000_000, help="How many triplets; 0: as set.", show_default=False)
]
LearningRate = Annotated[
    float | None,
    typer.Option("--learning-rate", min=1e-8, max=1.0, help="Step size; the setting otherwise.", show_default=False),
]
BatchSize = Annotated[
    int, typer.Option("--batch-size", min=0, max=1024, help="Triplets a step; 0: as set.", show_default=False)
]
BeamRatio = Annotated[
    float | None,
    typer.Option("--beam-ratio", min=0, max=1, help="Share of BEAM triplets within one language.", show_default=False),
]
CrossLanguageRatio = Annotated[
    float | None,
    typer.Option("--cross-language-ratio", min=0, max=1, help="Share across languages.", show_default=False),
]
TripletFile = Annotated[
    Path | None,
    typer.Option("--triplets", metavar="FILE", help="Train on these triplets (JSON Lines).", show_default=False),
]
Show = Annotated[
    bool,
    typer.Option("--show", help="Train nothing: answer your own questions by the base and by the tuned model."),
]
Questions = Annotated[
    Path | None,
    typer.Option(
        "--questions", metavar="FILE", help="Your questions for --show, one a line; remembered.", show_default=False
    ),
]
EPOCH_COLUMNS = {"loss": "loss", "accuracy": "accuracy", "MAP": "map", "validation MAP": "validation"}
"""What is shown of an epoch: accuracy is that of held-out triplets, MAP that of held-out queries."""

BARS = "▁▂▃▄▅▆▇█"
MIN_CHART_RANGE = 0.01
"""Of MAP: less than a point is not drawn as tall as a leap."""


def finetune(
    path: WorkspacePath = Path(),
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Train and measure as usual, but publish nothing.")
    ] = False,
    background: Annotated[bool, typer.Option("--background", help="Hand it to the daemon and leave.")] = False,
    method: Method = "",
    epochs: Epochs = 0,
    count: Count = 0,
    learning_rate: LearningRate = None,
    batch_size: BatchSize = 0,
    beam_ratio: BeamRatio = None,
    cross_language_ratio: CrossLanguageRatio = None,
    device: options.Device = "",
    triplets: TripletFile = None,
    show: Show = False,
    questions: Questions = None,
    json: options.Json = False,
    data_dir: options.DataDir = None,
) -> int:
    """Fine-tune the model on this workspace now; activate it if it ranks held-out code better."""
    data = paths.data_dir(data_dir)
    root = find_workspace_root(data, path)
    if show or questions:
        return show_comparison(data, root, questions, json=json)
    training = {"method": method, "epochs": epochs, "learning_rate": learning_rate, "batch_size": batch_size}
    mix = {"count": count, "beam_ratio": beam_ratio, "cross_language_ratio": cross_language_ratio}
    given = {"device": device, "triplets_file": str(triplets.absolute()) if triplets else ""}
    request = {"root": str(root), "dry_run": dry_run, **training, **mix, **given}
    with DaemonClient.connect(data) as client:
        if background:
            response = client.post("/finetune", {**request, "background": True})
            print_json(response) if json else print_line(response["message"])
            return 0
        client.post("/workspaces/open", {"root": str(root)})
        wait_until_ready(client, root)
        on_event = (lambda _: None) if json else show_event
        run = follow_events(client.lines("/finetune", request), f"Fine-tuning {root.name}", on_event)
    if json:
        print_json(run)
    else:
        _show_run(run)
    return 0


def triplets(
    path: WorkspacePath = Path(),
    count: Annotated[int, typer.Option(min=1, max=1_000_000, help="How many at most.")] = 1000,
    beam_ratio: Annotated[float, typer.Option(min=0, max=1, help="Share of Elixir within one language.")] = 0.7,
    cross_language_ratio: Annotated[float, typer.Option(min=0, max=1, help="Share from one to the other.")] = 0.3,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write JSON Lines here, for `finetune --triplets`.")
    ] = None,
    json: options.Json = False,
    data_dir: options.DataDir = None,
) -> int:
    """Mine the triplets that fine-tuning would use and summarise them."""
    data = paths.data_dir(data_dir)
    root = find_workspace_root(data, path)
    ratios = {"beam_ratio": beam_ratio, "cross_language_ratio": cross_language_ratio}
    with DaemonClient.connect(data) as client:
        client.post("/workspaces/open", {"root": str(root)})
        wait_until_ready(client, root)
        request = {"root": str(root), "count": count, **ratios}
        response = follow_events(client.lines("/triplets", request), f"Mining {root.name}")
    lines = [json_text.dumps(row) for row in response["triplets"]]
    if output is not None:
        output.write_text("\n".join([*lines, ""]), encoding="utf-8")
    if json:
        print_json(response)
        return 0 if lines else 1
    _show_analysis(response["analysis"])
    if response["note"]:
        print_note(response["note"])
    return 0 if lines else 1


def history(
    path: WorkspacePath = Path(),
    csv: Annotated[bool, typer.Option("--csv", help="Print a table of comma-separated values.")] = False,
    json: options.Json = False,
    data_dir: options.DataDir = None,
) -> int:
    """Show every fine-tuning run, its figures and the decision."""
    data = paths.data_dir(data_dir)
    root = find_workspace_root(data, path)
    with DaemonClient.connect(data) as client:
        response = client.get("/history", root=str(root))
    if json or csv:
        _print_csv(response["runs"]) if csv else print_json(response)
        return 0
    if not response["runs"]:
        print_line("No fine-tuning run yet: the first is scheduled for tonight; `codekin finetune` starts one now.")
        return 1
    columns = ("", "run", "when", "by", "method", "decision", "MAP", "BEAM", "why")
    print_rows(columns, [_run_cells(run) for run in response["runs"]], always_headed=True)
    judged = [run for run in reversed(response["runs"]) if run["decision"] in {"activated", "kept"} and "after" in run]
    if chart := _bar_chart([run["after"]["map"] for run in judged]):
        print_line(chart)
    print_line(f"Active: {'the model as it came' if response['active'] == 'base' else response['active']}.")
    return 0


CSV_COLUMNS = ("id", "started", "finished", "triggered_by", "method", "decision", "active", "checkpoint", "reason")
"""What is printed of a run as it is; its figures come behind."""


def _print_csv(runs: Sequence[Mapping[str, Any]]) -> None:
    """One line a run, oldest first: MAP between 0 and 1, gains with their intervals, and MAP by kind of query."""
    rows = [_csv_row(run) for run in reversed(runs)]
    columns = list(dict.fromkeys(chain(CSV_COLUMNS, *rows)))
    writer = csv_text.DictWriter(sys.stdout, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)


def _csv_row(run: Mapping[str, Any]) -> dict[str, Any]:
    report = run["report"]
    row = {name: "" if run[name] is None else run[name] for name in CSV_COLUMNS}
    for name, title in (("evaluation", ""), ("from_base", "base_"), ("general", "general_")):
        if found := report.get(name):
            row |= {f"{title}{key}": found[key] for key in ("before", "after", "low", "high")}
    for kind, (before, after) in (report.get("all") or {}).get("kinds", {}).items():
        row |= {f"{kind}_before": before, f"{kind}_after": after}
    if beam := run.get("beam"):
        row |= {f"beam_{when}": beam[when]["accuracy1"] for when in ("base", "before", "after")}
    losses = run["losses"]
    return row | {"triplets": report.get("triplets", ""), "loss": losses[-1] if losses else ""}


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
    data = paths.data_dir(data_dir)
    root = find_workspace_root(data, path)
    with DaemonClient.connect(data) as client:
        response = client.post("/rollback", {"root": str(root), "checkpoint": checkpoint})
    print_json(response) if json else print_line(response["message"])
    return 0


def _show_run(run: Mapping[str, Any]) -> None:
    report = run["report"]
    if run["decision"] == "skipped":
        print_line(run["reason"])
        return
    if report.get("note"):
        print_note(report["note"])
    kinds = [
        (kind, f"{old:.3f}", f"{new:.3f}", f"{100 * (new - old):+.1f}")
        for kind, (old, new) in report["all"]["kinds"].items()
    ]
    print_rows(("held-out queries", "before", "after", "points"), kinds, always_headed=True)
    if sources := {name: count for name, count in report.get("sources", {}).items() if count}:
        print_line(f"Also learned from pairs: {', '.join(f'{count} {name}' for name, count in sources.items())}.")
    if run["beam"]:
        print_line(beam_line(run["beam"]))
        rows = [(name, *_percentages(found), found["queries"]) for name, found in run["beam"]["families"].items()]
        print_rows(("BEAM patterns, right at first", "base", "before", "after", "queries"), rows, always_headed=True)
    would = "Nothing was changed; the new model would take over: " if report["better"] else "Nothing was changed: "
    took = "took over" if run["method"] == "head" else "takes over as soon as all is embedded anew"
    said = {"activated": f"The new model {took}: ", "dry run": would}
    print_line(said.get(run["decision"], "") + run["reason"])


LANGUAGE_TITLES = {"elixir": "Elixir", "erlang": "Erlang", "cpp": "C++", "c": "C", "python": "Python"}


def show_event(event: Mapping[str, Any]) -> None:
    """A line for what a run found, and one for each epoch."""
    if event.get("event") == "dataset":
        for line in _header_lines(event):
            print_line(line)
    elif event.get("event") == "epoch":
        print_line(_epoch_line(event))


def _header_lines(event: Mapping[str, Any]) -> list[str]:
    training, languages = event["training"], event["languages"]
    shown = {name: languages.get(name, 0) for name in ("elixir", "erlang", "cpp")} | languages
    found = ", ".join(f"{count} {LANGUAGE_TITLES.get(name, name)}" for name, count in shown.items())
    rate, batch = f"learning rate {training['learning_rate']:g}", f"batch size {training['batch_size']}"
    what = f"{event['triplets']} triplets, {training['epochs']} epochs, {rate}, {batch}"
    split = f"{event['train']} to train on, {event['held_out']} held out"
    return [
        f"Model {event['model']}, method {event['method']} on {event['device']}: {what}.",
        f"Snippets: {found}; {split}.",
    ]


def _epoch_line(event: Mapping[str, Any]) -> str:
    """Loss, triplet accuracy, MAP on held-out code and the time left; the figures from before have no loss."""
    number = event["epoch"]
    head = f"Epoch {number}/{event['epochs']}" if number else "Before"
    figures = ", ".join(f"{title} {event[key]:.4f}" for title, key in EPOCH_COLUMNS.items() if key in event)
    left = event.get("seconds_left")
    time_left = "" if left is None else f", {format_seconds(left)} left"
    return f"{head}: {figures}{time_left}"


def beam_line(beam: Mapping[str, Any]) -> str:
    """`BEAM patterns: 71 % -> 83 %` and what that is measured on."""
    before, after = beam["before"], beam["after"]
    parts = [
        f"{title} {100 * before[name]:.0f} % -> {100 * after[name]:.0f} %"
        for name, title in (("accuracy5", "among five"), ("triplets", "triplets"))
    ]
    gain = f"{100 * before['accuracy1']:.0f} % -> {100 * after['accuracy1']:.0f} %"
    return f"BEAM patterns: {gain} right at first ({', '.join(parts)}; {beam['queries']} held-out callbacks)."


def _percentages(found: Mapping[str, Any]) -> list[str]:
    return [f"{100 * found[name]:.0f} %" for name in ("base", "before", "after")]


def _show_analysis(analysis: Mapping[str, Any]) -> None:
    print_line(
        f"{analysis['total']} triplets: {analysis['beam_ratio']:.0%} BEAM and {analysis['cpp_ratio']:.0%} C++ within a"
        f" language, {analysis['cross_language_ratio']:.0%} across; {analysis['hardness']['hard']:.0%} are hard"
        " (the negative is nearer than the positive)."
    )
    kinds = sorted(analysis["kinds"].items(), key=lambda row: -row[1])
    print_rows(("kind", "triplets"), kinds, always_headed=True)
    for sample in analysis["sample"]:
        print_line(
            f"{sample['kind']}: {sample['anchor_place']} is like {sample['positive_place']},"
            f" unlike {sample['negative_place']}"
        )


def _run_cells(run: Mapping[str, Any]) -> tuple[Any, ...]:
    gain = f"{run['before']['map']:.3f} → {run['after']['map']:.3f}" if "after" in run else ""
    beam = "{before[accuracy1]:.0%} → {after[accuracy1]:.0%}".format(**run["beam"]) if run.get("beam") else ""
    when = run["started"][:16].replace("T", " ")
    active, method = "*" if run["active"] else "", run["method"] if run["settings"] else ""
    return (active, run["id"], when, run["triggered_by"], method, run["decision"], gain, beam, run["reason"])


def _bar_chart(values: list[float]) -> str:
    """One bar for each run's held-out MAP, oldest first."""
    if len(values) < 2:
        return ""
    low, high = min(values), max(values)
    step = max(high - low, MIN_CHART_RANGE) / (len(BARS) - 1)
    return f"{low:.3f} {''.join(BARS[round((value - low) / step)] for value in values)} {high:.3f}"
