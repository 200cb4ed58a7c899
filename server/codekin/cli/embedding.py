"""`codekin embed`: a workspace anew, the fragments of files, or a text."""

import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from codekin import places
from codekin.cli import options
from codekin.cli.output import print_json, print_rows, say
from codekin.cli.roots import real_folder
from codekin.cli.waiting import follow, progress
from codekin.daemon.client import Client
from codekin.errors import UsageError

BATCH = 64
BYTES_LIMIT = 4_000_000


def embed(
    paths: Annotated[list[str] | None, typer.Argument(help="A workspace's folder, files, or - for a text.")] = None,
    model: Annotated[str, typer.Option(help="The model's key; the daemon's own where not given.")] = "",
    json: options.Json = False,
    data_dir: options.DataDir = None,
) -> int:
    """Embed a workspace anew (a folder), the fragments of files, or the text on standard input (-)."""
    wanted = paths or ["."]
    folders = [path for path in wanted if Path(path).is_dir()]
    if folders and len(wanted) > 1:
        raise UsageError("Give one folder, or files, or - alone.")
    with Client.connect(places.data_dir(data_dir)) as client:
        if folders:
            return _embed_workspace(client, real_folder(Path(folders[0])), json=json)
        rows = [{"text": sys.stdin.read()}] if wanted == ["-"] else [row for path in wanted for row in _fragments(path)]
        return _embed_rows(client, rows, model, json=json)


def _embed_workspace(client: Client, root: Path, *, json: bool) -> int:
    began = time.monotonic()
    result = follow(client.lines("/index", {"root": str(root), "rebuild": True}), f"Embedding {root.name}")
    rate = round(result["embedded"] / max(time.monotonic() - began, 1e-6), 1)
    if json:
        print_json({**result, "per_second": rate})
    else:
        say(f"{result['embedded']} fragments embedded, {rate:g} a second.")
    return 0 if result["embedded"] else 1


def _embed_rows(client: Client, rows: Sequence[dict[str, Any]], model: str, *, json: bool) -> int:
    if not rows or not any(row["text"].strip() for row in rows):
        raise UsageError("There is nothing to embed.")
    offered = client.get("/v1/models")["data"]
    chosen = next((row for row in offered if row["id"] == model or not model), None)
    if chosen is None:
        raise UsageError(f"The daemon has no model {model!r} loaded; it has {', '.join(row['id'] for row in offered)}.")
    vectors: list[list[float]] = []
    began = time.monotonic()
    with progress("Embedding") as report:
        for batch in _batches([row["text"] for row in rows]):
            answer = client.post("/v1/embeddings", {"model": chosen["id"], "input": batch})
            vectors += [row["embedding"] for row in answer["data"]]
            report(len(vectors), len(rows), "")
    rate = round(len(rows) / max(time.monotonic() - began, 1e-6), 1)
    about = {"model": chosen["id"], "space": chosen.get("space", ""), "dimensions": len(vectors[0]), "per_second": rate}
    if json:
        places_of = [{name: value for name, value in row.items() if name != "text"} for row in rows]
        embeddings = [{**place, "vector": vector} for place, vector in zip(places_of, vectors, strict=True)]
        print_json({**about, "embeddings": embeddings})
    else:
        print_rows(tuple(about), [tuple(about.values())])
    return 0


def _fragments(path: str) -> Iterator[dict[str, Any]]:
    """The fragments of a file, with their text. Raises UsageError where it cannot be read."""
    from codekin import syntax  # noqa: PLC0415 - brings tree-sitter

    file = Path(path)
    if not file.is_file() or file.stat().st_size > BYTES_LIMIT:
        raise UsageError(f"{path} is not a file of at most {BYTES_LIMIT} bytes.")
    for found in syntax.fragments(file.name, file.read_bytes().decode("utf-8-sig", "replace"))[0]:
        lines = {"start_line": found.start_line, "end_line": found.end_line}
        yield {"path": path, "name": found.name, **lines, "text": found.text}


def _batches(texts: Sequence[str]) -> Iterator[list[str]]:
    return (list(texts[at : at + BATCH]) for at in range(0, len(texts), BATCH))
