"""`codekin eval completion`: measures the product's own completion on rows with a hidden rest of the line."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from codekin import places
from codekin.cli import options
from codekin.cli.output import print_json, print_rows
from codekin.cli.waiting import progress
from codekin.settings import load_settings

if TYPE_CHECKING:
    from codekin.completion.evaluation import Completer

Threshold = Annotated[float, typer.Option(min=0, max=1, help="The confidence from which a completion is shown.")]


def completion(
    data: Annotated[Path, typer.Option("--data", help="A file of JSON lines.", show_default=False)],
    repository: Annotated[Path | None, typer.Option(help="The checkout that the rows' paths are relative to.")] = None,
    model: Annotated[str, typer.Option(help="`repository`, or a generator's key or folder beside it.")] = "repository",
    limit: Annotated[int, typer.Option(help="At most so many rows; 0 for all.", min=0)] = 0,
    threshold: Threshold | None = None,
    json: options.Json = False,
    data_dir: options.DataDir = None,
) -> int:
    """Complete the rows {id, language, path, kind, prefix, suffix, truth}: exact, similarity, times by group."""
    from codekin.cli.evaluating import read_rows  # noqa: PLC0415 - it imports this module
    from codekin.completion.evaluation import checked, evaluate, figures, located, texts_of  # noqa: PLC0415 - brings numpy
    from codekin.settings.schema import CompletionSettings  # noqa: PLC0415

    rows = checked(read_rows(data))
    rows = rows[:limit] if limit else rows
    shown_from = CompletionSettings().threshold if threshold is None else threshold
    texts = dict(texts_of(repository)) if repository else {}
    complete = _completer(texts, model, places.data_dir(data_dir))
    with progress("Completing") as report:
        outcomes = evaluate(located(rows, texts), complete, lambda done: report(done, len(rows), ""))
    found = figures(outcomes, shown_from)
    if json:
        print_json(found)
    else:
        names = ("n", "exact", "similarity", "ms_p50", "ms_p99", "shown", "shown_exact")
        print_rows(("group", *names), [(group, *(row[name] for name in names)) for group, row in found.items()])
    return 0 if rows else 1


def _completer(texts: Mapping[str, str], model: str, data: Path) -> "Completer":
    from codekin.completion.corpus import corpus_of  # noqa: PLC0415
    from codekin.completion.evaluation import generator_completer, repository_completer  # noqa: PLC0415

    corpus = corpus_of(texts.items())
    if model == "repository":
        return repository_completer(corpus)
    from codekin.models import load_generator  # noqa: PLC0415 - bring torch
    from codekin.models.lanes import prepare_thread  # noqa: PLC0415
    from codekin.models.loading import options_of  # noqa: PLC0415

    settings, _ = load_settings(data)
    prepare_thread("query")
    return generator_completer(load_generator(model, options_of(settings.models)), corpus)
