"""The protocol's terms to the daemon's, and back: the one place that knows both forms.

The daemon counts lines from 1 and names files by root and path; the protocol counts from 0,
in the client's units, and names files by URI.
"""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lsprotocol import types as lsp

from codekin.errors import UsageError
from codekin.lsp.folders import Folder
from codekin.lsp.positions import to_client_units
from codekin.lsp.session import Session, document_uri

SUFFIXES = {"elixir": "ex", "cpp": "cpp", "c": "c", "python": "py"}
FILTERS = {"languages": "languages", "kinds": "kinds", "paths": "paths", "minScore": "min_score"}
LARGEST_READ = 4 * 2**20
"""Bytes of a file that are read to learn how long a line is."""


def asked_similar(session: Session, params: Any) -> tuple[Folder, dict[str, Any]]:
    """The folder to search and the body of `POST /similar`. Raises UsageError."""
    if not isinstance(params, Mapping):
        raise UsageError("The params need textDocument and position or range, or a snippet.")
    if isinstance(snippet := params.get("snippet"), str):
        folder = any_folder(session, params)
        return folder, {"root": str(folder.root), "snippet": snippet, **_snippet_path(params), **limits(params)}
    uri = document_uri(params)
    document, place = session.documents.get(uri), session.folders.locate(uri)
    folder = place.folder if place else any_folder(session, params)
    if place is None and document is None:
        raise UsageError(f"{uri} is in no folder of the workspace: open its folder in the editor.")
    suffix = SUFFIXES.get(document.language_id, "txt") if document else ""
    path = place.path if place else f"untitled.{suffix}"
    body = {"root": str(folder.root), "path": path, **_asked_lines(params), **limits(params)}
    return folder, body | ({"text": document.text} if document else {})


def asked_search(session: Session, params: Any) -> tuple[list[Folder], dict[str, Any]]:
    """The folders to search and the body of `POST /search`, without its root. Raises UsageError."""
    if not isinstance(params, Mapping) or not isinstance(text := params.get("text", params.get("query")), str):
        raise UsageError("The params need a text to search for.")
    named = isinstance(params.get("textDocument"), Mapping) or "root" in params
    folders = [any_folder(session, params)] if named else list(session.folders)
    if not folders:
        raise UsageError("No folder is open: open one in the editor first.")
    return folders, {"text": text, **limits(params)}


def any_folder(session: Session, params: Mapping[str, Any]) -> Folder:
    """The folder that the params name by root, URI or document, else the first one. Raises UsageError."""
    folders = list(session.folders)
    root = params.get("root", params.get("uri"))
    for folder in folders:
        if root in {str(folder.root), folder.uri}:
            return folder
    if isinstance(params.get("textDocument"), Mapping) and (place := session.folders.locate(document_uri(params))):
        return place.folder
    if not folders:
        raise UsageError("No folder is open: open one in the editor first.")
    return folders[0]


async def with_places(session: Session, folder: Folder, answer: Mapping[str, Any]) -> dict[str, Any]:
    """The daemon's answer with the URI and range of each hit beside its path and lines."""
    return {**answer, "hits": await located(session, folder, answer.get("hits", ()))}


async def located(session: Session, folder: Folder, hits: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The hits, each with `uri` and `range`, which begins where the code does, below its docs."""
    lengths = await asyncio.to_thread(_last_line_lengths, session, folder, hits)
    opened = _open_uris(session, folder)
    return [
        {
            **hit,
            "uri": opened.get(hit["path"]) or folder.uri_of(hit["path"]),
            "range": _lines(hit["code_line"], hit["end_line"], length),
        }
        for hit, length in zip(hits, lengths, strict=True)
    ]


def location(hit: Mapping[str, Any]) -> lsp.Location:
    """A located hit as a location."""
    start, end = hit["range"]["start"], hit["range"]["end"]
    return lsp.Location(hit["uri"], lsp.Range(lsp.Position(**start), lsp.Position(**end)))


def line_range(number: int, length: int = 0) -> dict[str, Any]:
    """The range of a whole line, counted from 1, that is `length` client units long."""
    return _lines(number, number, length)


def position_of(params: Mapping[str, Any]) -> dict[str, int]:
    """The position in the params. Raises UsageError."""
    match params:
        case {"position": {"line": int() as line, "character": int() as character}}:
            return {"line": line, "character": character}
    raise UsageError("The params need a position with line and character.")


def _open_uris(session: Session, folder: Folder) -> dict[str, str]:
    """The URIs that the client opened the folder's documents by, which may be others than ours, by path."""
    places = ((session.folders.locate(document.uri), document.uri) for document in session.documents)
    return {place.path: uri for place, uri in places if place is not None and place.folder == folder}


def _lines(first: int, last: int, length: int) -> dict[str, Any]:
    return {"start": {"line": first - 1, "character": 0}, "end": {"line": last - 1, "character": length}}


def _asked_lines(params: Mapping[str, Any]) -> dict[str, int]:
    match params.get("range"):
        case {"start": {"line": int() as first}, "end": {"line": int() as last, "character": int() as column}}:
            # A selection of whole lines ends at the start of the line below.
            last = last - 1 if column == 0 and last > first else last
            return {"line": max(first, 0) + 1, "end_line": max(last, first, 0) + 1}
    return {"line": max(position_of(params)["line"], 0) + 1}


def limits(params: Mapping[str, Any]) -> dict[str, Any]:
    """`limit`, `filters` and `hideNoise` of the params in the daemon's terms."""
    given = params.get("filters")
    filters = {FILTERS.get(name, name): value for name, value in given.items()} if isinstance(given, Mapping) else {}
    limit = {"limit": params["limit"]} if isinstance(params.get("limit"), int) else {}
    noise = {"hide_noise": True} if params.get("hideNoise") is True else {}
    return limit | noise | ({"filters": filters} if filters else {})


def _snippet_path(params: Mapping[str, Any]) -> dict[str, str]:
    """A path that no file needs to have: its suffix tells the daemon the snippet's language."""
    suffix = SUFFIXES.get(str(params.get("language", params.get("languageId"))))
    return {"path": f"snippet.{suffix}"} if suffix else {}


def _last_line_lengths(session: Session, folder: Folder, hits: Sequence[Mapping[str, Any]]) -> list[int]:
    """Client units in each hit's last line: from the open document, else from the file."""
    texts: dict[str, list[str]] = {}
    opened = _open_uris(session, folder)
    lengths = []
    for hit in hits:
        document = session.documents.get(opened.get(hit["path"], ""))
        if document is not None:
            lengths.append(document.line_length(hit["end_line"] - 1))
            continue
        if hit["path"] not in texts:
            texts[hit["path"]] = _read_lines(folder.root / hit["path"])
        lines = texts[hit["path"]]
        line = lines[hit["end_line"] - 1] if hit["end_line"] <= len(lines) else ""
        lengths.append(to_client_units(line, len(line), session.client.encoding))
    return lengths


def _read_lines(path: Path) -> list[str]:
    try:
        with path.open("rb") as file:
            text = file.read(LARGEST_READ).decode("utf-8", "replace")
    except OSError:
        return [""]
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
