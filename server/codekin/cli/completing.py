"""`codekin complete`: what ghost text would show at a place, from the terminal."""

import re
import sys
from collections.abc import Iterable
from typing import Annotated, Any

import typer

from codekin import places
from codekin.cli import options
from codekin.cli.finding import FOUND, NOTHING
from codekin.cli.output import note, print_json, printable, say
from codekin.cli.roots import Place, find_root, parse_place
from codekin.daemon.client import Client
from codekin.errors import ModelError, UsageError

Alternatives = Annotated[int, typer.Option(min=1, max=20, help="At most so many completions.")]


def complete(
    place: Annotated[str, typer.Argument(metavar="PATH:LINE:COL", help="Lines and columns count from 1.")],
    alternatives: Alternatives = 1,
    model: Annotated[str, typer.Option(help="A generator's key, or `repository`; the settings decide otherwise.")] = "",
    stream: Annotated[
        bool, typer.Option("--stream", help="Print lines as they become certain; with --json one object a line.")
    ] = False,
    root: options.Root = None,
    json: options.Json = False,
    data_dir: options.DataDir = None,
) -> int:
    """Complete the code at a place. The rest of the cursor's line stays as it is."""
    data = places.data_dir(data_dir)
    spot = parse_place(place)
    if not spot.column:
        raise UsageError(f"{place} names no column: write PATH:LINE:COL, both from 1.")
    _check_place(spot)
    folder = find_root(data, spot.path, root)
    asked: dict[str, Any] = {
        "root": str(folder),
        "path": str(spot.path),
        "line": spot.line,
        "column": spot.column - 1,
        "trigger": "invoked",
        "alternatives": alternatives,
        "window": "terminal",
        "wait": True,
    }
    if model:
        asked["model"] = model
    with Client.connect(data) as client:
        if stream:
            return _streamed(client.lines("/complete", asked | {"stream": True}), json=json)
        answer = client.post("/complete", asked)
    return _show(answer, json=json)


def _streamed(answers: Iterable[dict[str, Any]], *, json: bool) -> int:
    """Each answer as it comes; what is certain of the best text only grows, and is printed piece by piece."""
    printed = ""
    answer: dict[str, Any] = {"items": []}
    for answer in answers:
        if "error" in answer:
            raise ModelError(answer["error"])
        if json:
            print_json(answer)
            continue
        text = answer["text"] if "text" in answer else "".join(item["text"] for item in answer["items"][:1])
        if text.startswith(printed):
            sys.stdout.write(_shown(text[len(printed) :]))
            sys.stdout.flush()
            printed = text
    if json:
        return FOUND if answer["items"] else NOTHING
    if printed:
        say("")
        for item in answer["items"][1:]:
            say(_shown(item["text"]))
        return FOUND
    return _show(answer, json=False)


def _check_place(spot: Place) -> None:
    """Editors may ask past the end while a text changes, so the daemon takes the nearest place; here it is a slip."""
    lines = spot.path.read_bytes().split(b"\n")
    if spot.line > len(lines):
        raise UsageError(f"{spot.path.name} has {len(lines)} lines; there is no line {spot.line}.")
    end = len(lines[spot.line - 1].decode("utf-8", "replace").rstrip("\r")) + 1
    if spot.column > end:
        raise UsageError(
            f"Line {spot.line} of {spot.path.name} ends at column {end}; there is no column {spot.column}."
        )


def _show(answer: dict[str, Any], *, json: bool) -> int:
    if json:
        print_json(answer)
        return FOUND if answer["items"] else NOTHING
    if problem := answer.get("problem"):
        note(problem)
    if not answer["items"]:
        note("There is nothing to suggest here.")
    numbered = sys.stdout.isatty() and len(answer["items"]) > 1
    for number, item in enumerate(answer["items"], 1):
        say(f"{number}  {_shown(item['text'])}" if numbered else _shown(item["text"]))
    return FOUND if answer["items"] else NOTHING


def _shown(text: str) -> str:
    """The text itself in a pipe; on a terminal no character of it drives the terminal."""
    if not sys.stdout.isatty():
        return text
    return re.sub(r"[^\n\t]+", lambda match: printable(match.group()), text)
