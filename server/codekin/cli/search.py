"""`codekin similar`, `codekin search`, `codekin duplicates` and `codekin complete`."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from codekin import paths
from codekin.cli import options
from codekin.cli.options import SourceLocation, parse_location
from codekin.cli.output import print_json, print_line, print_note, print_rows, print_text
from codekin.cli.progress import wait_until_ready
from codekin.daemon.client import DaemonClient
from codekin.errors import ModelError, UsageError
from codekin.paths import find_workspace_root

EXIT_FOUND, EXIT_NOTHING = 0, 1

INDEX_TIMEOUT = 45.0
"""Seconds after which a search of a new repository uses what is indexed by then."""

NoWait = Annotated[bool, typer.Option("--no-wait", help="Search what is indexed now.")]


def similar(
    place: Annotated[str, typer.Argument(metavar="PATH:LINE", help="Or PATH:FIRST-LAST, or - for a pasted snippet.")],
    limit: options.Limit = 10,
    min_score: options.MinScore = None,
    language: options.Languages = None,
    kind: options.Kinds = None,
    path: options.Paths = None,
    snippet_language: Annotated[str, typer.Option(help="The language of a pasted snippet.")] = "",
    history: options.History = False,
    since: options.Since = "",
    root: options.Root = None,
    no_wait: NoWait = False,
    json: options.Json = False,
    data_dir: options.DataDir = None,
) -> int:
    """Find code like that at a place: the function at a line, a range of lines, or a snippet on standard input."""
    filters = options.build_filters(min_score, language, kind, path)
    request: dict[str, Any] = {"limit": limit, "filters": filters, "history": history, "since": since}
    data = paths.data_dir(data_dir)
    if place == "-":
        folder = find_workspace_root(data, Path.cwd(), root)
        request |= {"snippet": _read_snippet(), "language": snippet_language}
    else:
        location = parse_location(place)
        folder = find_workspace_root(data, location.path, root)
        request |= {"path": str(location.path), "line": location.line} | (
            {"end_line": location.end_line} if location.end_line else {}
        )
    request["hide_noise"] = not json
    return _print_hits(_post(data, folder, "/similar", request, wait=not no_wait), json=json)


def search(
    text: Annotated[
        str,
        typer.Argument(help="A name, words or code; - reads standard input. lang:, kind:, path: and -word narrow it."),
    ] = "",
    grep: Annotated[str, typer.Option("--grep", metavar="REGEX", help="Only code with a line that matches.")] = "",
    limit: options.Limit = 10,
    min_score: options.MinScore = None,
    language: options.Languages = None,
    kind: options.Kinds = None,
    path: options.Paths = None,
    history: options.History = False,
    since: options.Since = "",
    root: options.Root = None,
    no_wait: NoWait = False,
    snippet: Annotated[bool, typer.Option("--snippet/--no-snippet", help="Show the code of the best hit.")] = True,
    json: options.Json = False,
    data_dir: options.DataDir = None,
) -> int:
    """Find code by its name, by words, or by what it does, in the workspace of the current folder."""
    if text == "-":
        text = _read_snippet()
    elif not text.strip() and not grep:
        raise UsageError("There is nothing to search for: give some words.")
    data = paths.data_dir(data_dir)
    filters = options.build_filters(min_score, language, kind, path)
    folder = find_workspace_root(data, Path.cwd(), root)
    request = {"text": text, "grep": grep, "limit": limit, "filters": filters, "history": history, "since": since}
    response = _post(data, folder, "/search", request, wait=not no_wait)
    if json or history or since or not response["hits"] or not sys.stdout.isatty():
        return _print_hits(response, json=json)
    if reason := response.get("degraded"):
        print_note(f"Found by words alone: {reason}.")
    from codekin.cli.hit_listing import print_by_file  # noqa: PLC0415 - brings rich, which a pipe never needs

    print_by_file(folder, response["hits"], snippet=snippet)
    return EXIT_FOUND


def duplicates(
    folder: Annotated[Path, typer.Argument(metavar="PATH", help="The workspace's folder.")] = Path(),
    limit: options.Limit = 100,
    min_score: options.MinScore = None,
    language: options.Languages = None,
    kind: options.Kinds = None,
    path: options.Paths = None,
    json: options.Json = False,
    data_dir: options.DataDir = None,
) -> int:
    """List groups of places that say nearly the same."""
    data = paths.data_dir(data_dir)
    root = find_workspace_root(data, folder)
    filters = options.build_filters(min_score, language, kind, path)
    with DaemonClient.connect(data) as client:
        wait_until_ready(client, root)
        groups = client.post("/duplicates", {"root": str(root), "limit": limit, "filters": filters})["groups"]
    if json:
        print_json(groups)
    else:
        rows = [(number, *_hit_cells(hit)) for number, group in enumerate(groups, 1) for hit in group]
        print_rows(("group", *_HIT_HEADERS), rows)
    return EXIT_FOUND if groups else EXIT_NOTHING


def _post(data: Path, root: Path, route: str, request: Mapping[str, Any], *, wait: bool) -> Mapping[str, Any]:
    with DaemonClient.connect(data) as client:
        if wait:
            wait_until_ready(client, root, INDEX_TIMEOUT)
        response: Mapping[str, Any] = client.post(route, {"root": str(root), **request})
        return response


def _print_hits(response: Mapping[str, Any], *, json: bool) -> int:
    """Prints an answer; gives the exit status."""
    hits = response["hits"]
    if json:
        print_json(response)
        return EXIT_FOUND if hits else EXIT_NOTHING
    if reason := response.get("degraded"):
        print_note(f"Found by words alone: {reason}.")
    if deleted := response.get("deleted"):
        print_note(_describe_deleted(deleted))
    if not hits:
        print_note("Nothing was found.")
        return EXIT_NOTHING
    query = response["query"]
    print_rows(
        (*_HIT_HEADERS, *(["changed"] if "changed" in hits[0] else ())),
        [_hit_cells(hit) for hit in hits],
        f"Like {query['name'] or query['path']}" if "path" in query else "",
    )
    return EXIT_FOUND


_HIT_HEADERS = ("place", "score", "name", "kind", "why")


def _hit_cells(hit: Mapping[str, Any]) -> Sequence[Any]:
    place = f"{hit['path']}:{hit['code_line']}"
    cells = place, hit["score"], hit["name"], f"{hit['language']} {hit['kind']}", ", ".join(hit["reasons"])
    return (*cells, _describe_change(hit["changed"])) if "changed" in hit else cells


def _describe_change(changed: Mapping[str, Any] | None) -> str:
    if changed is None:
        return "not committed"
    return f"{changed['date'][:10]} {changed['author']} {changed['commit'][:9]}"


def _describe_deleted(deleted: Mapping[str, Any]) -> str:
    """One sentence about code that is there no more."""
    place = f"{deleted['path']}:{deleted['start_line']}-{deleted['end_line']}"
    removed = deleted["removed"]
    return (
        f"{deleted['name']} existed in {place} until {_describe_change(removed)} ({removed['subject']}): "
        f"git show {removed['commit'][:9]}^:{deleted['path']}"
    )


def _read_snippet() -> str:
    snippet = sys.stdin.read()
    if not snippet.strip():
        raise UsageError("There is no snippet on standard input.")
    return snippet


Alternatives = Annotated[int, typer.Option(min=1, max=20, help="At most this many completions.")]


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
    data = paths.data_dir(data_dir)
    location = parse_location(place)
    if not location.column:
        raise UsageError(f"{place} names no column: write PATH:LINE:COL, both from 1.")
    _check_location(location)
    folder = find_workspace_root(data, location.path, root)
    request: dict[str, Any] = {
        "root": str(folder),
        "path": str(location.path),
        "line": location.line,
        "column": location.column - 1,
        "trigger": "invoked",
        "alternatives": alternatives,
        "window": "terminal",
        "wait": True,
    }
    if model:
        request["model"] = model
    with DaemonClient.connect(data) as client:
        if stream:
            return _print_stream(client.lines("/complete", request | {"stream": True}), json=json)
        response = client.post("/complete", request)
    return _print_completions(response, json=json)


def _print_stream(responses: Iterable[dict[str, Any]], *, json: bool) -> int:
    """Each response as it comes; the confirmed text of the best suggestion only grows, and is printed as it does."""
    printed = ""
    response: dict[str, Any] = {"items": []}
    for response in responses:
        if "error" in response:
            raise ModelError(response["error"])
        if json:
            print_json(response)
            continue
        text = response["text"] if "text" in response else "".join(item["text"] for item in response["items"][:1])
        if text.startswith(printed):
            print_text(text[len(printed) :], end="")
            printed = text
    if json:
        return EXIT_FOUND if response["items"] else EXIT_NOTHING
    if printed:
        print_line("")
        for item in response["items"][1:]:
            print_text(item["text"])
        return EXIT_FOUND
    return _print_completions(response, json=False)


def _check_location(location: SourceLocation) -> None:
    """Editors may ask past the end while a text changes, so the daemon takes the nearest place; here it is a slip."""
    lines = location.path.read_bytes().split(b"\n")
    if location.line > len(lines):
        raise UsageError(f"{location.path.name} has {len(lines)} lines; there is no line {location.line}.")
    end = len(lines[location.line - 1].decode("utf-8", "replace").rstrip("\r")) + 1
    if location.column > end:
        raise UsageError(
            f"Line {location.line} of {location.path.name} ends at column {end}; there is no column {location.column}."
        )


def _print_completions(response: dict[str, Any], *, json: bool) -> int:
    if json:
        print_json(response)
        return EXIT_FOUND if response["items"] else EXIT_NOTHING
    if problem := response.get("problem"):
        print_note(problem)
    if not response["items"]:
        print_note("There is nothing to suggest here.")
    numbered = sys.stdout.isatty() and len(response["items"]) > 1
    for number, item in enumerate(response["items"], 1):
        print_text(f"{number}  {item['text']}" if numbered else item["text"])
    return EXIT_FOUND if response["items"] else EXIT_NOTHING
