"""Converts protocol values to daemon requests, and daemon responses back.

The daemon counts lines from 1 and names files by root and path; the protocol counts from 0 in the client's units and
names files by URI.
"""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lsprotocol import types as lsp

from codekin.errors import UsageError
from codekin.lsp.documents import WorkspaceFolder, read_saved_text, to_client_units
from codekin.lsp.session import Session, document_uri

SUFFIXES = {
    "elixir": "ex",
    "cpp": "cpp",
    "c": "c",
    "python": "py",
    "erlang": "erl",
    "gleam": "gleam",
    "markdown": "md",
    "phoenix-heex": "heex",
    "heex": "heex",
    "html-eex": "eex",
    "eelixir": "eex",
    "surface": "sface",
    "livebook": "livemd",
    "cuda-cpp": "cu",
    "cuda": "cu",
    "objective-cpp": "mm",
    "objcpp": "mm",
    "rust": "rs",
    "go": "go",
    "java": "java",
    "kotlin": "kt",
    "csharp": "cs",
    "javascript": "js",
    "javascriptreact": "jsx",
    "typescript": "ts",
    "typescriptreact": "tsx",
    "ruby": "rb",
    "php": "php",
    "swift": "swift",
    "scala": "scala",
    "lua": "lua",
    "zig": "zig",
    "haskell": "hs",
    "ocaml": "ml",
    "julia": "jl",
    "r": "r",
    "shellscript": "sh",
    "sql": "sql",
    "proto": "proto",
    "proto3": "proto",
    "terraform": "tf",
    "yaml": "yaml",
}
"""What a text without a file would end with, by the editor's name of its language."""

FILTER_NAMES = {"languages": "languages", "kinds": "kinds", "paths": "paths", "minScore": "min_score"}


def similar_request(session: Session, params: Any) -> tuple[WorkspaceFolder, dict[str, Any]]:
    """The folder to search and the body of `POST /similar`. Raises UsageError."""
    if not isinstance(params, Mapping):
        raise UsageError("The params need textDocument and position or range, or a snippet.")
    if isinstance(snippet := params.get("snippet"), str):
        folder = resolve_folder(session, params)
        return folder, {"root": str(folder.root), "snippet": snippet, **_snippet_path(params), **read_limits(params)}
    uri = document_uri(params)
    document, place = session.documents.get(uri), session.folders.locate(uri)
    if place is None and document is None:
        raise UsageError(f"{uri} is in no folder of the workspace: open its folder in the editor.")
    if place is None and not list(session.folders):
        place = session.locate_alone(uri)
    folder = place.folder if place else resolve_folder(session, params)
    suffix = SUFFIXES.get(document.language_id, "txt") if document else ""
    path = place.path if place else f"untitled.{suffix}"
    body = {"root": str(folder.root), "path": path, **_requested_lines(params), **read_limits(params)}
    return folder, body | ({"text": document.text} if document else {})


def search_request(session: Session, params: Any) -> tuple[list[WorkspaceFolder], dict[str, Any]]:
    """The folders to search and the body of `POST /search`, without its root. Raises UsageError."""
    if not isinstance(params, Mapping) or not isinstance(text := params.get("text", params.get("query")), str):
        raise UsageError("The params need a text to search for.")
    named = isinstance(params.get("textDocument"), Mapping) or "root" in params
    folders = [resolve_folder(session, params)] if named else list(session.folders)
    if not folders:
        raise UsageError("No folder is open: open one in the editor first.")
    grep = {"grep": params["grep"]} if isinstance(params.get("grep"), str) else {}
    return folders, {"text": text, **grep, **read_limits(params)}


def near_path(session: Session, folder: WorkspaceFolder, params: Any) -> dict[str, str]:
    """`near` of a search's body: the document that is open while it is made, where it lies in the folder."""
    near = params.get("near") if isinstance(params, Mapping) else None
    place = session.folders.locate(near) if isinstance(near, str) else None
    return {"near": place.path} if place is not None and place.folder is folder else {}


def resolve_folder(session: Session, params: Mapping[str, Any]) -> WorkspaceFolder:
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


async def add_locations(session: Session, folder: WorkspaceFolder, response: Mapping[str, Any]) -> dict[str, Any]:
    """The daemon's answer with the URI and range of each hit beside its path and lines."""
    return {**response, "hits": await locate_hits(session, folder, response.get("hits", ()))}


async def locate_hits(
    session: Session, folder: WorkspaceFolder, hits: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """The hits, each with `uri` and `range`, which begins where the code does, below its docs."""
    lengths = await asyncio.to_thread(_last_line_lengths, session, folder, hits)
    opened = open_uris(session, folder)
    return [
        {
            **hit,
            "uri": opened.get(hit["path"]) or folder.uri_of(hit["path"]),
            "range": _to_range(hit["code_line"], hit["end_line"], length),
        }
        for hit, length in zip(hits, lengths, strict=True)
    ]


def to_location(hit: Mapping[str, Any]) -> lsp.Location:
    """A located hit as a location."""
    start, end = hit["range"]["start"], hit["range"]["end"]
    return lsp.Location(hit["uri"], lsp.Range(lsp.Position(**start), lsp.Position(**end)))


def line_range(number: int, length: int = 0) -> dict[str, Any]:
    """The range of a whole line, counted from 1, that is `length` client units long."""
    return _to_range(number, number, length)


def read_position(params: Mapping[str, Any]) -> dict[str, int]:
    """The position in the params. Raises UsageError."""
    match params:
        case {"position": {"line": int() as line, "character": int() as character}}:
            return {"line": line, "character": character}
    raise UsageError("The params need a position with line and character.")


def open_uris(session: Session, folder: WorkspaceFolder) -> dict[str, str]:
    """The URIs that the client opened the folder's documents by, which may be others than ours, by path."""
    places = ((session.folders.locate(document.uri), document.uri) for document in session.documents)
    return {place.path: uri for place, uri in places if place is not None and place.folder == folder}


def _to_range(first: int, last: int, length: int) -> dict[str, Any]:
    return {"start": {"line": first - 1, "character": 0}, "end": {"line": last - 1, "character": length}}


def _requested_lines(params: Mapping[str, Any]) -> dict[str, int]:
    match params.get("range"):
        case {"start": {"line": int() as first}, "end": {"line": int() as last, "character": int() as column}}:
            # A selection of whole lines ends at the start of the line below.
            last = last - 1 if column == 0 and last > first else last
            return {"line": max(first, 0) + 1, "end_line": max(last, first, 0) + 1}
    return {"line": max(read_position(params)["line"], 0) + 1}


def read_limits(params: Mapping[str, Any]) -> dict[str, Any]:
    """`limit`, `filters`, `hideNoise`, `history` and `since` of the params in the daemon's terms."""
    given = params.get("filters")
    filters = (
        {FILTER_NAMES.get(name, name): value for name, value in given.items()} if isinstance(given, Mapping) else {}
    )
    limit = {"limit": params["limit"]} if isinstance(params.get("limit"), int) else {}
    noise = {"hide_noise": True} if params.get("hideNoise") is True else {}
    past: dict[str, Any] = {"history": True} if params.get("history") is True else {}
    past |= {"since": since} if isinstance(since := params.get("since"), str) else {}
    return limit | noise | past | ({"filters": filters} if filters else {})


def _snippet_path(params: Mapping[str, Any]) -> dict[str, str]:
    """A path, of no existing file, whose suffix gives the snippet's language."""
    suffix = SUFFIXES.get(str(params.get("language", params.get("languageId"))))
    return {"path": f"snippet.{suffix}"} if suffix else {}


def _last_line_lengths(session: Session, folder: WorkspaceFolder, hits: Sequence[Mapping[str, Any]]) -> list[int]:
    """Client units in each hit's last line: from the open document, else from the file."""
    texts: dict[str, list[str]] = {}
    opened = open_uris(session, folder)
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
    text = read_saved_text(path) or ""
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
