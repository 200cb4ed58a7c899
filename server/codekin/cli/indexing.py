"""`codekin index` and `codekin embed`."""

import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from codekin import parsing, paths
from codekin.cli import options
from codekin.cli.embedding_source import EmbeddingSource, choose_source, require_device
from codekin.cli.output import print_json, print_line, print_note, print_rows
from codekin.cli.progress import follow_events, show_progress, wait_until_ready
from codekin.daemon.client import DaemonClient
from codekin.errors import UsageError
from codekin.paths import real_folder


def index(
    path: Annotated[Path, typer.Argument(help="The workspace's folder.")] = Path(),
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Throw the index away and build it anew.")] = False,
    json: options.Json = False,
    data_dir: options.DataDir = None,
) -> int:
    """Bring a workspace's index up to date with its files; it then follows them by itself."""
    root = real_folder(path)
    with DaemonClient.connect(paths.data_dir(data_dir)) as client:
        events = client.lines("/index", {"root": str(root), "rebuild": rebuild})
        result = follow_events(events, f"Indexing {root.name}")
        status = wait_until_ready(client, root)
    if json:
        print_json(result)
        return 0
    print_line(
        f"{_count(result['files'], 'file')}, {_count(result['chunks'], 'chunk')}: {result['embedded']} embedded, "
        f"{result['reused']} reused, {_count(result['skipped'], 'file')} left out, {result['seconds']:.1f} seconds."
    )
    for problem in status["problems"]:
        print_line(problem)
    return 0


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


BATCH_SIZE = 64
MAX_FILE_BYTES = 4_000_000


def embed(
    inputs: Annotated[list[str] | None, typer.Argument(help="A workspace's folder, files, or - for a text.")] = None,
    model: Annotated[str, typer.Option(help="A model's key or folder; the daemon's own where not given.")] = "",
    device: options.Device = "",
    verbose: Annotated[bool, typer.Option("--verbose", help="Print each chunk, and the rate.")] = False,
    json: options.Json = False,
    data_dir: options.DataDir = None,
) -> int:
    """Embed a workspace anew (a folder), the chunks of files, or the text on standard input (-)."""
    wanted = inputs or ["."]
    folders = [path for path in wanted if Path(path).is_dir()]
    if folders and len(wanted) > 1:
        raise UsageError("Give one folder, or files, or - alone.")
    data = paths.data_dir(data_dir)
    with DaemonClient.connect(data) as client:
        if folders:
            _require_loaded(client, model, device)
            return _embed_workspace(client, real_folder(Path(folders[0])), json=json, verbose=verbose)
        rows = (
            [{"text": sys.stdin.read()}] if wanted == ["-"] else [row for path in wanted for row in _read_chunks(path)]
        )
        return _embed_rows(choose_source(client, model, device, data), rows, json=json, verbose=verbose)


def _embed_workspace(client: DaemonClient, root: Path, *, json: bool, verbose: bool) -> int:
    began = time.monotonic()
    result = follow_events(client.lines("/index", {"root": str(root), "rebuild": True}), f"Embedding {root.name}")
    rate = round(result["embedded"] / max(time.monotonic() - began, 1e-6), 1)
    if verbose and not json:
        for row in client.get("/files", root=str(root))["files"]:
            if not row["skipped"]:
                print_line(f"{row['path']}\t{row['language']}")
    if json:
        print_json({**result, "per_second": rate})
    else:
        print_line(f"{result['embedded']} chunks embedded, {rate:g} a second.")
    return 0 if result["embedded"] else 1


def _require_loaded(client: DaemonClient, model: str, device: str) -> None:
    """A workspace is embedded by the daemon's model alone: queries have to be of the same space."""
    require_device(device)
    if device not in ("", "auto"):
        raise UsageError(f"A workspace is embedded where the daemon's model runs: set models.device to {device!r}.")
    loaded = next((row["id"] for row in client.get("/v1/models")["data"] if row.get("space")), "")
    if model not in ("", loaded):
        raise UsageError(
            f"A workspace is embedded with the daemon's model, {loaded}; set models.embedder to {model!r}."
        )


def _embed_rows(source: EmbeddingSource, rows: Sequence[dict[str, Any]], *, json: bool, verbose: bool) -> int:
    if not rows or not any(row["text"].strip() for row in rows):
        raise UsageError("There is nothing to embed.")
    vectors: list[list[float]] = []
    cut: set[int] = set()
    began = time.monotonic()
    with show_progress("Embedding") as report:
        for batch in _batches([row["text"] for row in rows]):
            found, shortened = source.embed(batch)
            cut |= {len(vectors) + at for at in shortened}
            vectors += found
            report(len(vectors), len(rows), "")
            if verbose:
                _print_embedded(
                    rows[len(vectors) - len(found) : len(vectors)], len(vectors) / (time.monotonic() - began)
                )
    rate = round(len(rows) / max(time.monotonic() - began, 1e-6), 1)
    if cut:
        print_note(
            f"{len(cut)} of {len(rows)} texts are longer than {source.about['model']} reads: their beginnings count."
        )
    about = {**source.about, "dimensions": len(vectors[0]), "per_second": rate}
    if json:
        rows_without_text = [
            {**{name: value for name, value in row.items() if name != "text"}, "truncated": at in cut}
            for at, row in enumerate(rows)
        ]
        embeddings = [{**row, "vector": vector} for row, vector in zip(rows_without_text, vectors, strict=True)]
        print_json({**about, "embeddings": embeddings})
    else:
        print_rows(tuple(about), [tuple(about.values())])
    return 0


def _print_embedded(rows: Sequence[dict[str, Any]], rate: float) -> None:
    """The items of a batch beside the answer, and how many a second so far."""
    for row in rows:
        place = f"{row['path']}:{row['start_line']} {row['name']}" if "path" in row else "standard input"
        print_note(place)
    print_note(f"{rate:.1f} a second")


def _read_chunks(path: str) -> Iterator[dict[str, Any]]:
    """The chunks of a file, with their text. Raises UsageError where it cannot be read."""
    file = Path(path)
    if not file.is_file():
        raise UsageError(f"There is no file or folder {path}.")
    if file.stat().st_size > MAX_FILE_BYTES:
        raise UsageError(f"{path} has more than {MAX_FILE_BYTES} bytes: give a smaller file.")
    for found in parsing.cut_chunks(file.name, file.read_bytes().decode("utf-8-sig", "replace"))[0]:
        lines = {"start_line": found.start_line, "end_line": found.end_line}
        yield {"path": path, "name": found.name, **lines, "text": found.text}


def _batches(texts: Sequence[str]) -> Iterator[list[str]]:
    return (list(texts[at : at + BATCH_SIZE]) for at in range(0, len(texts), BATCH_SIZE))
