"""`codekin eval`: measures the product's own search, and its completion, on labelled rows."""

import json as json_format
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from codekin import places
from codekin.cli import options
from codekin.cli.evaluating_completion import completion
from codekin.cli.output import print_json, print_rows
from codekin.errors import UsageError

group = typer.Typer(help="Measure on labelled data.", no_args_is_help=True, add_completion=False)

group.command()(completion)

Data = Annotated[Path, typer.Option("--data", help="A file of JSON lines.", show_default=False)]


@group.callback()
def overview() -> None:
    """Measure on labelled data."""


@group.command()
def retrieval(
    data: Data,
    model: Annotated[str, typer.Option(help="A model's key, or its folder.")] = "codekin_embed",
    mode: Annotated[Literal["fused", "dense", "lexical"], typer.Option(help="Which signals count.")] = "fused",
    json: options.Json = False,
    data_dir: options.DataDir = None,
) -> int:
    """Rank the rows {id, task, lang, code} for each other: MAP, MRR@10 and recall for each direction."""
    rows = read_rows(data)
    folder = places.data_dir(data_dir)
    from codekin.models import load_embedder  # noqa: PLC0415 - brings torch
    from codekin.retrieval import evaluate  # noqa: PLC0415

    embedder = None if mode == "lexical" else load_embedder(model, kernel_cache=folder / "kernels.json")
    figures = evaluate(rows, embedder, mode)
    if json:
        print_json(figures)
    else:
        names = ("queries", "map", "mrr10", "recall1", "recall10")
        cells = [(direction, *(_rounded(found[name]) for name in names)) for direction, found in figures.items()]
        print_rows(("direction", *names), cells)
    return 0 if figures else 1


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The objects of a file of JSON lines. Raises UsageError that names the first wrong line."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")  # other line ends may stand within a JSON text
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"{path} cannot be read ({getattr(error, 'strerror', error)}): give a file of JSON lines."
        ) from error
    rows = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json_format.loads(line)
        except ValueError as error:
            raise UsageError(f"Line {number} of {path} is not JSON.") from error
        if not isinstance(row, dict):
            raise UsageError(f"Line {number} of {path} is not a JSON object.")
        rows.append(row)
    return rows


def _rounded(value: float) -> float:
    return value if isinstance(value, int) else round(value, 3)
