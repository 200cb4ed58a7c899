"""`codekin eval`: measures search and completion on labelled rows."""

import json as json_format
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from codekin import paths
from codekin.cli import options
from codekin.cli.output import print_json, print_rows
from codekin.cli.progress import show_progress
from codekin.completion.corpus_snapshot import build_corpus
from codekin.completion.evaluation import (
    Completer,
    evaluate_completion,
    generator_completer,
    match_row_paths,
    read_sources,
    repository_completer,
    summarize_cases,
    validate_rows,
)
from codekin.errors import UsageError
from codekin.protocols import Embedder
from codekin.ranking import evaluate_patterns, evaluate_retrieval
from codekin.settings import load_settings
from codekin.settings.schema import CompletionSettings

Threshold = Annotated[float, typer.Option(min=0, max=1, help="The confidence from which a completion is shown.")]


def completion(
    data: Annotated[Path, typer.Option("--data", help="A file of JSON lines.", show_default=False)],
    repository: Annotated[Path | None, typer.Option(help="The checkout that the rows' paths are relative to.")] = None,
    model: Annotated[str, typer.Option(help="`repository`, or a generator's key or folder beside it.")] = "repository",
    limit: Annotated[int, typer.Option(help="At most this many rows; 0 for all.", min=0)] = 0,
    threshold: Threshold | None = None,
    json: options.Json = False,
    data_dir: options.DataDir = None,
) -> int:
    """Complete the rows {id, language, path, kind, prefix, suffix, truth}: exact, similarity, times by group."""
    rows = validate_rows(read_rows(data))
    rows = rows[:limit] if limit else rows
    shown_from = CompletionSettings().threshold if threshold is None else threshold
    texts = dict(read_sources(repository)) if repository else {}
    complete = _completer(texts, model, paths.data_dir(data_dir))
    with show_progress("Completing") as report:
        outcomes = evaluate_completion(match_row_paths(rows, texts), complete, lambda done: report(done, len(rows), ""))
    found = summarize_cases(outcomes, shown_from)
    if json:
        print_json(found)
    else:
        names = ("n", "exact", "similarity", "ms_p50", "ms_p99", "shown", "shown_exact")
        print_rows(("group", *names), [(group, *(row[name] for name in names)) for group, row in found.items()])
    return 0 if rows else 1


def _completer(texts: Mapping[str, str], model: str, data: Path) -> Completer:
    corpus = build_corpus(texts.items())
    if model == "repository":
        return repository_completer(corpus)
    from codekin.models.loading import load_generator, load_options  # noqa: PLC0415 - brings onnxruntime
    from codekin.models.queues import set_thread_priority  # noqa: PLC0415 - for generators alone

    settings, _ = load_settings(data)
    set_thread_priority("query", settings.models.threads)
    return generator_completer(load_generator(model, load_options(settings.models)), corpus)


group = typer.Typer(help="Measure on labelled data.", no_args_is_help=True, add_completion=False)

group.command()(completion)

DataFile = Annotated[Path, typer.Option("--data", help="A file of JSON lines.", show_default=False)]


@group.callback()
def overview() -> None:
    """Measure on labelled data."""


EncoderKey = Annotated[str, typer.Option(help="A model's key, or its folder.")]
Mode = Annotated[Literal["fused", "dense", "text"], typer.Option(help="Which signals count.")]


@group.command()
def retrieval(
    data: DataFile,
    model: EncoderKey = "codekin_embed",
    mode: Mode = "fused",
    json: options.Json = False,
    data_dir: options.DataDir = None,
) -> int:
    """Rank the rows {id, task, lang, code} for each other: MAP, MRR@10 and recall for each direction."""
    rows = read_rows(data)
    figures = evaluate_retrieval(rows, _load_encoder(model, mode, data_dir), mode)
    return _print_figures(figures, ("direction", "queries", "map", "mrr10", "recall1", "recall10"), json=json)


@group.command()
def beam(
    data: DataFile,
    model: EncoderKey = "codekin_embed",
    mode: Mode = "fused",
    json: options.Json = False,
    data_dir: options.DataDir = None,
) -> int:
    """Find the callback that code implements, by code like it: rows {id, task, lang, code, source?}."""
    rows = read_rows(data)
    figures = evaluate_patterns(rows, _load_encoder(model, mode, data_dir), mode)
    return _print_figures(figures, ("callback", "queries", "accuracy1", "accuracy5", "triplets"), json=json)


def _load_encoder(model: str, mode: str, data_dir: Path | None) -> Embedder | None:
    """The encoder, or None where words alone count."""
    if mode == "text":
        return None
    from codekin.models.loading import load_embedder  # noqa: PLC0415 - brings onnxruntime

    return load_embedder(model, kernel_cache=paths.data_dir(data_dir) / "kernels.json")


def _print_figures(figures: Mapping[str, Mapping[str, float | int]], names: tuple[str, ...], *, json: bool) -> int:
    """Prints a row for each group; gives the exit status."""
    if json:
        print_json(figures)
    else:
        print_rows(names, [(group, *(_round(found[name]) for name in names[1:])) for group, found in figures.items()])
    return 0 if figures else 1


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The objects of a file of JSON lines. Raises UsageError that names the first wrong line."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")  # other line ends may occur within a JSON text
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


def _round(value: float) -> float:
    return value if isinstance(value, int) else round(value, 3)
