"""`codekin similar`, `codekin search`, `codekin duplicates`."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from codekin import places
from codekin.cli import options
from codekin.cli.output import note, print_json, print_rows
from codekin.cli.roots import find_root, parse_place
from codekin.cli.waiting import wait_until_ready
from codekin.daemon.client import Client
from codekin.errors import UsageError

FOUND, NOTHING = 0, 1

PATIENCE = 45.0
"""Seconds until a question about a repository that is new is answered with what is indexed by then."""

NoWait = Annotated[bool, typer.Option("--no-wait", help="Answer with what is indexed by now.")]


def similar(
    place: Annotated[str, typer.Argument(metavar="PATH:LINE", help="Or PATH:FIRST-LAST, or - for a pasted snippet.")],
    limit: options.Limit = 10,
    min_score: options.MinScore = 0.0,
    language: options.Languages = None,
    kind: options.Kinds = None,
    path: options.Paths = None,
    snippet_language: Annotated[str, typer.Option(help="The language of a pasted snippet.")] = "",
    root: options.Root = None,
    no_wait: NoWait = False,
    json: options.Json = False,
    data_dir: options.DataDir = None,
) -> int:
    """Find code like that at a place: the function at a line, a range of lines, or a snippet on standard input."""
    asked = {"limit": limit, "filters": options.filters(min_score, language, kind, path)}
    data = places.data_dir(data_dir)
    if place == "-":
        folder = find_root(data, Path.cwd(), root)
        asked |= {"snippet": _pasted(), "language": snippet_language}
    else:
        spot = parse_place(place)
        folder = find_root(data, spot.path, root)
        asked |= {"path": str(spot.path), "line": spot.line} | ({"end_line": spot.end_line} if spot.end_line else {})
    asked["hide_noise"] = not json
    return _show(_ask(data, folder, "/similar", asked, wait=not no_wait), json=json)


def search(
    text: Annotated[str, typer.Argument(help="Words, or code; - reads standard input.")],
    limit: options.Limit = 10,
    min_score: options.MinScore = 0.0,
    language: options.Languages = None,
    kind: options.Kinds = None,
    path: options.Paths = None,
    root: options.Root = None,
    no_wait: NoWait = False,
    json: options.Json = False,
    data_dir: options.DataDir = None,
) -> int:
    """Find code by words, or by what it does, in the workspace of the current folder."""
    if text == "-":
        text = _pasted()
    elif not text.strip():
        raise UsageError("There is nothing to search for: give some words.")
    data = places.data_dir(data_dir)
    asked = {"text": text, "limit": limit, "filters": options.filters(min_score, language, kind, path)}
    return _show(_ask(data, find_root(data, Path.cwd(), root), "/search", asked, wait=not no_wait), json=json)


def duplicates(
    folder: Annotated[Path, typer.Argument(metavar="PATH", help="The workspace's folder.")] = Path(),
    limit: options.Limit = 100,
    min_score: options.MinScore = 0.0,
    language: options.Languages = None,
    kind: options.Kinds = None,
    path: options.Paths = None,
    json: options.Json = False,
    data_dir: options.DataDir = None,
) -> int:
    """List groups of places that say nearly the same."""
    data = places.data_dir(data_dir)
    root = find_root(data, folder)
    filters = options.filters(min_score, language, kind, path)
    with Client.connect(data) as client:
        wait_until_ready(client, root)
        groups = client.post("/duplicates", {"root": str(root), "limit": limit, "filters": filters})["groups"]
    if json:
        print_json(groups)
    else:
        rows = [(number, *_cells(hit)) for number, group in enumerate(groups, 1) for hit in group]
        print_rows(("group", *_HEADERS), rows)
    return FOUND if groups else NOTHING


def _ask(data: Path, root: Path, route: str, asked: Mapping[str, Any], *, wait: bool) -> Mapping[str, Any]:
    with Client.connect(data) as client:
        if wait:
            wait_until_ready(client, root, PATIENCE)
        answer: Mapping[str, Any] = client.post(route, {"root": str(root), **asked})
        return answer


def _show(answer: Mapping[str, Any], *, json: bool) -> int:
    """Prints an answer; gives the exit status."""
    hits = answer["hits"]
    if json:
        print_json(answer)
        return FOUND if hits else NOTHING
    if reason := answer.get("degraded"):
        note(f"Found by words alone: {reason}.")
    if not hits:
        note("Nothing was found.")
        return NOTHING
    query = answer["query"]
    print_rows(
        _HEADERS, [_cells(hit) for hit in hits], f"Like {query['name'] or query['path']}" if "path" in query else ""
    )
    return FOUND


_HEADERS = ("place", "score", "name", "kind", "why")


def _cells(hit: Mapping[str, Any]) -> Sequence[Any]:
    place = f"{hit['path']}:{hit['start_line']}"
    return place, hit["score"], hit["name"], f"{hit['language']} {hit['kind']}", ", ".join(hit["reasons"])


def _pasted() -> str:
    snippet = sys.stdin.read()
    if not snippet.strip():
        raise UsageError("There is no snippet on standard input.")
    return snippet
