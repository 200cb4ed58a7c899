"""`codekin embed`: a workspace anew, the fragments of files, or a text."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from codekin import places
from codekin.cli import options
from codekin.cli.output import note, print_json, print_rows, say
from codekin.cli.roots import real_folder
from codekin.cli.waiting import follow, progress
from codekin.daemon.client import Client
from codekin.errors import UsageError
from codekin.settings import load_settings

if TYPE_CHECKING:
    from codekin.models.embedders import LocalEmbedder

BATCH = 64
BYTES_LIMIT = 4_000_000


def embed(
    paths: Annotated[list[str] | None, typer.Argument(help="A workspace's folder, files, or - for a text.")] = None,
    model: Annotated[str, typer.Option(help="A model's key or folder; the daemon's own where not given.")] = "",
    device: Annotated[Literal["auto", "cuda", "mps", "cpu"], typer.Option(help="Where another model runs.")] = "auto",
    json: options.Json = False,
    data_dir: options.DataDir = None,
) -> int:
    """Embed a workspace anew (a folder), the fragments of files, or the text on standard input (-)."""
    wanted = paths or ["."]
    folders = [path for path in wanted if Path(path).is_dir()]
    if folders and len(wanted) > 1:
        raise UsageError("Give one folder, or files, or - alone.")
    data = places.data_dir(data_dir)
    with Client.connect(data) as client:
        if folders:
            _require_loaded(client, model)
            return _embed_workspace(client, real_folder(Path(folders[0])), json=json)
        rows = [{"text": sys.stdin.read()}] if wanted == ["-"] else [row for path in wanted for row in _fragments(path)]
        return _embed_rows(_source(client, model, device, data), rows, json=json)


def _embed_workspace(client: Client, root: Path, *, json: bool) -> int:
    began = time.monotonic()
    result = follow(client.lines("/index", {"root": str(root), "rebuild": True}), f"Embedding {root.name}")
    rate = round(result["embedded"] / max(time.monotonic() - began, 1e-6), 1)
    if json:
        print_json({**result, "per_second": rate})
    else:
        say(f"{result['embedded']} fragments embedded, {rate:g} a second.")
    return 0 if result["embedded"] else 1


@dataclass(frozen=True, slots=True)
class _Source:
    """Who embeds: the daemon, or a model loaded here."""

    about: dict[str, Any]
    embed: Callable[[list[str]], "Answered"]


Answered = tuple[list[list[float]], list[int]]
"""Vectors, and the positions of texts that were read in part."""


def _source(client: Client, model: str, device: str, data: Path) -> _Source:
    """The daemon where it has the model loaded, else the model itself. Raises ModelError."""
    loaded = next((row for row in client.get("/v1/models")["data"] if row.get("space")), {"id": ""})
    if model in ("", loaded["id"]):
        about = {"model": loaded["id"], "space": loaded.get("space", "")}
        return _Source(about, lambda batch: _answered(client.post("/v1/embeddings", {"input": batch})))
    from codekin.models.loading import load_by_name, options_of  # noqa: PLC0415 - brings torch

    settings, _ = load_settings(data)
    options = replace(options_of(settings.models, data / "kernels.json"), device=device)
    embedder = load_by_name(model, options)
    return _Source({"model": embedder.name, "space": embedder.space}, lambda batch: _embedded(embedder, batch))


def _answered(answer: Any) -> Answered:
    return [row["embedding"] for row in answer["data"]], answer["cut"]


def _embedded(embedder: "LocalEmbedder", batch: list[str]) -> Answered:
    steps = list(embedder.steps(batch))
    found = {at: vector.tolist() for step in steps for at, vector in zip(step.positions, step.vectors, strict=True)}
    return [found[at] for at in range(len(batch))], [at for step in steps for at in step.cut]


def _require_loaded(client: Client, model: str) -> None:
    """A workspace is embedded by the daemon's model alone: queries have to be of the same space."""
    loaded = next((row["id"] for row in client.get("/v1/models")["data"] if row.get("space")), "")
    if model not in ("", loaded):
        raise UsageError(
            f"A workspace is embedded with the daemon's model, {loaded}; set models.embedder to {model!r}."
        )


def _embed_rows(source: _Source, rows: Sequence[dict[str, Any]], *, json: bool) -> int:
    if not rows or not any(row["text"].strip() for row in rows):
        raise UsageError("There is nothing to embed.")
    vectors: list[list[float]] = []
    cut: set[int] = set()
    began = time.monotonic()
    with progress("Embedding") as report:
        for batch in _batches([row["text"] for row in rows]):
            found, shortened = source.embed(batch)
            cut |= {len(vectors) + at for at in shortened}
            vectors += found
            report(len(vectors), len(rows), "")
    rate = round(len(rows) / max(time.monotonic() - began, 1e-6), 1)
    if cut:
        note(f"{len(cut)} of {len(rows)} texts are longer than {source.about['model']} reads: their beginnings count.")
    about = {**source.about, "dimensions": len(vectors[0]), "per_second": rate}
    if json:
        places_of = [
            {**{name: value for name, value in row.items() if name != "text"}, "cut": at in cut}
            for at, row in enumerate(rows)
        ]
        embeddings = [{**place, "vector": vector} for place, vector in zip(places_of, vectors, strict=True)]
        print_json({**about, "embeddings": embeddings})
    else:
        print_rows(tuple(about), [tuple(about.values())])
    return 0


def _fragments(path: str) -> Iterator[dict[str, Any]]:
    """The fragments of a file, with their text. Raises UsageError where it cannot be read."""
    from codekin import syntax  # noqa: PLC0415 - brings tree-sitter

    file = Path(path)
    if not file.is_file():
        raise UsageError(f"There is no file or folder {path}.")
    if file.stat().st_size > BYTES_LIMIT:
        raise UsageError(f"{path} has more than {BYTES_LIMIT} bytes: give a smaller file.")
    for found in syntax.fragments(file.name, file.read_bytes().decode("utf-8-sig", "replace"))[0]:
        lines = {"start_line": found.start_line, "end_line": found.end_line}
        yield {"path": path, "name": found.name, **lines, "text": found.text}


def _batches(texts: Sequence[str]) -> Iterator[list[str]]:
    return (list(texts[at : at + BATCH]) for at in range(0, len(texts), BATCH))
