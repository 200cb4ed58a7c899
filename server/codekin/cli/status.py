"""`codekin status`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from codekin import places
from codekin.cli import options
from codekin.cli.output import print_json, print_rows, say
from codekin.cli.roots import find_root
from codekin.daemon.client import Client

OUTCOMES = ("shown", "accepted", "partial", "rejected")


def status(
    path: Annotated[Path, typer.Argument(help="A file or folder of the workspace.")] = Path(),
    files: Annotated[bool, typer.Option("--files", help="List every file, and why it is left out.")] = False,
    json: options.Json = False,
    data_dir: options.DataDir = None,
) -> int:
    """Show how a workspace is doing: what is indexed, with which model, and what is wrong."""
    data = places.data_dir(data_dir)
    root = find_root(data, path)
    with Client.connect(data) as client:
        found = client.get("/status", root=str(root))
        listed = client.get("/files", root=str(root))["files"] if files else None
    if json:
        print_json(found if listed is None else {**found, "file_list": listed})
        return 0
    if listed is not None:
        print_rows(("path", "language", "left out because"), [_file_cells(row) for row in listed])
        return 0
    for line in lines(found):
        say(line)
    return 0


def lines(status: Mapping[str, Any]) -> list[str]:
    """A workspace's status in words."""
    model, progress = status["model"], status["progress"]
    found = [
        f"workspace  {status['root']}",
        f"state      {status['state']}" + (f" ({progress['done']} of {progress['total']})" if progress else ""),
        f"files      {status['files']} indexed, {status['skipped']} left out",
        f"fragments  {status['fragments']}, {status['embedded']} embedded",
        f"model      {model['name'] or 'none'} ({model['phase']})" + _cut(model.get("cut", 0)),
        f"space      {status['space'] or 'none yet'}",
    ]
    if completion := status.get("completion"):
        found.append(f"completion {_completion(completion)}")
    if learning := status.get("learning"):
        found.append(f"learning   {_learning(learning)}")
    return found + [f"problem    {problem}" for problem in status["problems"]]


def _cut(count: int) -> str:
    return f", {count} long texts read up to where a fragment or line ends" if count else ""


def _completion(state: Mapping[str, Any]) -> str:
    """Which model answers and how fast, what the repository model has read, and how suggestions fared."""
    outcomes = {name: state[name] for name in OUTCOMES if state.get(name)}
    parts = [f"by the {state['model']}" if state["model"] == "repository" else f"by {state['model']}"]
    parts += [f"{state['ms']} ms an answer"] if state.get("ms") else []
    parts += [f"{state['tokens']:,} tokens read"] if "tokens" in state else []
    parts += [f"{count} {name}" for name, count in outcomes.items()]
    return ", ".join(parts) + (f"; {state['problem']}" if state.get("problem") else "")


def _learning(state: Mapping[str, Any]) -> str:
    if state.get("running"):
        return f"{state['phase']} ({state['done']} of {state['total']})" if state["total"] else str(state["phase"])
    why = state.get("waits") or state.get("said")
    return f"at rest: {why}" if why else "at rest"


def _file_cells(row: Mapping[str, Any]) -> tuple[str, str, str]:
    return row["path"], row["language"], row["skipped"] or ("unsaved" if row["buffer"] else "")
