"""Similar code, near-duplicates and search: requests, code action, code lens, hints and workspace symbols.

A client with a view of its own names its command in `initializationOptions.showSimilarCommand`; it is called with one
argument, `{uri, position | range, hits?}`. Other clients are shown a message with choices.
"""

import asyncio
import logging
from collections.abc import Mapping
from functools import partial
from typing import Any

from lsprotocol import types as lsp

from codekin.errors import CodekinError, DaemonError, UsageError
from codekin.lsp.convert import (
    add_locations,
    line_range,
    locate_hits,
    near_path,
    read_limits,
    resolve_folder,
    search_request,
    similar_request,
    to_location,
)
from codekin.lsp.daemon_link import BACKGROUND
from codekin.lsp.documents import DocumentSnapshot, FileLocation, WorkspaceFolder
from codekin.lsp.session import SHOW_SIMILAR, Session, document_uri


async def find_similar(session: Session, params: Any) -> dict[str, Any]:
    """`{textDocument, position | range}` or `{snippet, language?}`, and `limit?`, `filters?`, to hits."""
    folder, body = similar_request(session, params)
    return await add_locations(session, folder, await session.post("/similar", body))


MAX_CHOICES = 6
"""A message with more buttons is hard to read."""

log = logging.getLogger(__name__)


def show_command(session: Session, title: str, argument: Mapping[str, Any]) -> lsp.Command:
    """The command that shows similar code in this client."""
    return lsp.Command(title=title, command=session.client.show_similar or SHOW_SIMILAR, arguments=[argument])


async def show_similar(session: Session, params: Any) -> dict[str, Any]:
    """`{uri, position | range, hits?}`: lets the user choose among the hits; gives them too."""
    if not isinstance(params, Mapping) or not isinstance(params.get("uri"), str):
        raise UsageError("The command needs one argument: {uri, position or range}.")
    hits = params.get("hits")
    if not isinstance(hits, list):
        hits = (await find_similar(session, {**params, "textDocument": {"uri": params["uri"]}}))["hits"]
    session.spawn(_offer_choices(session, hits))
    return {"hits": hits}


async def show_location(session: Session, folder: WorkspaceFolder, path: str, line: int) -> None:
    """Opens a line (from 1) of a file in the folder, if the client can."""
    if not session.client.shows_documents:
        return
    show = {"uri": folder.uri_of(path), "takeFocus": True, "selection": line_range(line)}
    try:
        await session.connection.request("window/showDocument", show)
    except (CodekinError, TimeoutError):
        log.info("The client did not show the place")


async def _offer_choices(session: Session, hits: list[dict[str, Any]]) -> None:
    titles = {
        f"{hit['score']:.2f}  {hit['name'] or hit['path']}:{hit['start_line']}": hit for hit in hits[:MAX_CHOICES]
    }
    message = "Similar code:" if hits else "There is no similar code in this workspace."
    actions = [{"title": title} for title in titles] if session.client.shows_documents else []
    try:
        chosen = await session.connection.request(
            "window/showMessageRequest", {"type": lsp.MessageType.Info.value, "message": message, "actions": actions}
        )
        if isinstance(chosen, Mapping) and (hit := titles.get(str(chosen.get("title")))) is not None:
            show = {"uri": hit["uri"], "takeFocus": True, "selection": hit["range"]}
            await session.connection.request("window/showDocument", show)
    except (CodekinError, TimeoutError):
        log.info("The client showed no similar code")


async def list_code_actions(session: Session, params: Any) -> list[lsp.CodeAction]:
    """One action; none where only certain kinds are wanted, since it changes nothing."""
    uri = document_uri(params)
    match params:
        case {"context": {"only": [_, *_]}}:
            return []
        case {"range": {"start": Mapping() as start, "end": Mapping() as end}}:
            where = {"position": start} if start == end else {"range": {"start": start, "end": end}}
        case _:
            raise UsageError("The params need a range.")
    if session.folders.locate(uri) is None and session.documents.get(uri) is None:
        return []
    title = "Find similar code" if start == end else "Find code similar to the selection"
    return [lsp.CodeAction(title=title, command=show_command(session, title, {"uri": uri, **where}))]


MAX_LENS_CHARACTERS = 400_000
"""A longer document has no lenses: taking it apart at each change would take minutes."""
MAX_LENS_COUNT = 20
"""A higher count is shown as "20+"."""


async def list_lenses(session: Session, params: Any) -> list[lsp.CodeLens]:
    """A lens over the code of each chunk of the document, without its count."""
    uri = document_uri(params)
    document, place = session.documents.get(uri), session.folders.locate(uri)
    if place is None or not session.settings(place.folder).similar.lens:
        return []
    text = {"text": document.text} if document else {}
    if len(text.get("text", "")) > MAX_LENS_CHARACTERS:
        return []
    body = {"root": place.root, "path": place.path, "counts": False, **text}
    try:
        response = await session.post("/lens", body, BACKGROUND)
    except DaemonError:
        return []  # the status shows the problem
    return [_lens(uri, item) for item in response["lenses"]]


async def resolve_lens(session: Session, params: Any) -> dict[str, Any]:
    """The lens with its count and the command that shows what was counted."""
    match params:
        case {"data": {"uri": str() as uri, "line": int() as line}, "range": {"start": Mapping() as start}}:
            command = await _count_command(session, uri, line, start)
            return {**params, "command": command}
    raise UsageError("The lens is not one of this server's.")


async def _count_command(session: Session, uri: str, line: int, start: Mapping[str, Any]) -> lsp.Command:
    where = {"textDocument": {"uri": uri}, "position": {"line": line, "character": 0}}
    settings = session.settings(session.place(uri).folder).similar
    filters = {"min_score": max(settings.min_score, settings.lens_min_score)}
    try:
        folder, body = similar_request(session, {**where, "limit": MAX_LENS_COUNT, "filters": filters})
        response = await add_locations(session, folder, await session.post("/similar", body, BACKGROUND))
    except CodekinError:
        return lsp.Command(title="similar: not known yet", command="")
    count = len(response["hits"])
    title = f"{count}{'+' if count == MAX_LENS_COUNT else ''} similar"
    if not count:
        return lsp.Command(title=title, command="")
    return show_command(session, title, {"uri": uri, "position": dict(start), "hits": response["hits"]})


def _lens(uri: str, item: Mapping[str, Any]) -> lsp.CodeLens:
    start = lsp.Position(**line_range(item["code_line"])["start"])
    return lsp.CodeLens(range=lsp.Range(start, start), data={"uri": uri, "line": start.line})


async def find_duplicates(session: Session, params: Any) -> dict[str, Any]:
    """`{root?, limit?, filters?}` to `{groups, ms}`, each group a list of located hits."""
    given = params if isinstance(params, Mapping) else {}
    folder = resolve_folder(session, given)
    response = await session.post("/duplicates", {"root": str(folder.root), **read_limits(given)})
    return {**response, "groups": [await locate_hits(session, folder, group) for group in response["groups"]]}


MAX_HINTED_CHUNKS = 100
"""Chunks of a document that are looked at."""


class DuplicateHints:
    """Publishes the hints of the open documents; `refresh` is called once the index has changed."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._published: set[str] = set()

    async def refresh(self) -> None:
        """Updates the hints of every open document."""
        wanted = set()
        for document in self._session.documents:
            place = self._session.folders.locate(document.uri)
            settings = self._session.settings(place.folder).similar if place is not None else None
            wants_hints = settings is not None and (settings.duplicate_hints or settings.reuse_hints)
            if place is not None and wants_hints and sum(map(len, document.lines)) <= MAX_LENS_CHARACTERS:
                wanted.add(document.uri)
                await self._publish(document, place)
        for uri in self._published - wanted:
            self._send(uri, [], None)
        self._published &= wanted

    async def _publish(self, document: DocumentSnapshot, place: FileLocation) -> None:
        try:
            found = await self._find(document, place)
        except CodekinError as error:
            log.info("No hints: %s", error)
            return
        is_news = found or document.uri in self._published
        if is_news and self._session.documents.is_current(document):
            self._published.add(document.uri)
            self._send(document.uri, found, document.version)

    async def _find(self, document: DocumentSnapshot, place: FileLocation) -> list[lsp.Diagnostic]:
        settings = self._session.settings(place.folder).similar
        repeated = await self._find_repeated(document, place) if settings.reuse_hints else []
        return repeated + (await self._find_duplicates(document, place) if settings.duplicate_hints else [])

    async def _find_repeated(self, document: DocumentSnapshot, place: FileLocation) -> list[lsp.Diagnostic]:
        """Functions that are new in the document and whole, and that do the same as existing code."""
        body = {"root": place.root, "path": place.path, "text": document.text}
        response = await self._session.post("/drafts", body, BACKGROUND)
        found = []
        for function in response["functions"]:
            hits = [{**one["hit"], "reasons": one["evidence"]} for one in function["existing"][:1]]
            for hit in await locate_hits(self._session, place.folder, hits):
                query = {**function["query"], "code_line": function["query"]["start_line"]}
                found.append(_reuse_diagnostic(document, query, hit, function["existing"][0]["relation"]))
        return found

    async def _find_duplicates(self, document: DocumentSnapshot, place: FileLocation) -> list[lsp.Diagnostic]:
        about = {"root": place.root, "path": place.path, "text": document.text}
        response = await self._session.post("/lens", {**about, "counts": False}, BACKGROUND)
        least = self._session.settings(place.folder).similar.duplicate_min_score
        found = []
        for chunk in response["lenses"][:MAX_HINTED_CHUNKS]:
            request = {**about, "line": chunk["code_line"], "limit": 1, "filters": {"min_score": least}}
            similar = await self._session.post("/similar", request, BACKGROUND)
            duplicates = await add_locations(self._session, place.folder, similar)
            found += [_to_diagnostic(document, chunk, duplicate) for duplicate in duplicates["hits"]]
        return found

    def _send(self, uri: str, hints: list[lsp.Diagnostic], version: int | None) -> None:
        params = lsp.PublishDiagnosticsParams(uri=uri, diagnostics=hints, version=version)
        self._session.connection.notify(lsp.TEXT_DOCUMENT_PUBLISH_DIAGNOSTICS, params)


def _reuse_diagnostic(
    document: DocumentSnapshot, function: Mapping[str, Any], hit: Mapping[str, Any], relation: str
) -> lsp.Diagnostic:
    """The hint over a new function: what does the same, how it is related and what shows it."""
    hint = _to_diagnostic(document, function, hit)
    name = f"{hit['name'] or hit['path']} ({hit['path']}:{hit['code_line']})"
    return lsp.Diagnostic(
        range=hint.range,
        message=f"Does the same as {name}: {relation}; {'; '.join(hit['reasons'])}.",
        severity=lsp.DiagnosticSeverity.Information,
        source="codekin",
        code="does-the-same",
        related_information=hint.related_information,
        data=hint.data,
    )


def _to_diagnostic(
    document: DocumentSnapshot, chunk: Mapping[str, Any], duplicate: Mapping[str, Any]
) -> lsp.Diagnostic:
    line = chunk["code_line"]
    where = line_range(line, document.line_length(line - 1))
    place = f"{duplicate['name'] or duplicate['path']} ({duplicate['path']}:{duplicate['code_line']})"
    related = lsp.DiagnosticRelatedInformation(
        location=to_location(duplicate), message=f"Duplicate: {duplicate['name']}"
    )
    return lsp.Diagnostic(
        range=lsp.Range(lsp.Position(**where["start"]), lsp.Position(**where["end"])),
        message=f"Nearly the same as {place}.",
        severity=lsp.DiagnosticSeverity.Hint,
        source="codekin",
        code="near-duplicate",
        related_information=[related],
        data={"duplicate": dict(duplicate)},
    )


DEFAULT_LIMIT = 20


async def search(session: Session, params: Any) -> dict[str, Any]:
    """`{text, grep?, near?, limit?, filters?, root?}` to hits, from every folder of the workspace unless one is named.

    `near` is the URI of the document that is open: what lies near it ranks a little higher.

    A folder that cannot be searched is named in `degraded`; it fails the request only where none can be.
    """
    folders, body = search_request(session, params)
    bodies = [{**body, **near_path(session, folder, params)} for folder in folders]
    found = await asyncio.gather(*map(partial(_search_folder, session), folders, bodies))
    responses = [response for response in found if not isinstance(response, CodekinError)]
    failures = {
        folder.name: error for folder, error in zip(folders, found, strict=True) if isinstance(error, CodekinError)
    }
    if not responses:
        raise next(iter(failures.values()))
    hits = sorted((hit for response in responses for hit in response["hits"]), key=_score, reverse=True)
    limit = body.get("limit", DEFAULT_LIMIT)
    degraded = {"degraded": " ".join(f"{name}: {error}" for name, error in failures.items())} if failures else {}
    ms = max(response.get("ms", 0) for response in responses)
    return {**responses[0], **degraded, "hits": hits[:limit], "ms": ms}


async def _search_folder(
    session: Session, folder: WorkspaceFolder, body: Mapping[str, Any]
) -> dict[str, Any] | CodekinError:
    try:
        response = await session.post("/search", {"root": str(folder.root), **body})
    except CodekinError as error:
        return error
    return {**response, "hits": await locate_hits(session, folder, response["hits"])}


def _score(hit: Mapping[str, Any]) -> float:
    return float(hit["score"])


SYMBOL_LIMIT = 50
SYMBOL_KINDS = {
    "module": lsp.SymbolKind.Module,
    "protocol": lsp.SymbolKind.Interface,
    "implementation": lsp.SymbolKind.Module,
    "namespace": lsp.SymbolKind.Namespace,
    "class": lsp.SymbolKind.Class,
    "struct": lsp.SymbolKind.Struct,
    "method": lsp.SymbolKind.Method,
    "constructor": lsp.SymbolKind.Constructor,
    "operator": lsp.SymbolKind.Operator,
    "file": lsp.SymbolKind.File,
    "interface": lsp.SymbolKind.Interface,
    "trait": lsp.SymbolKind.Interface,
    "enum": lsp.SymbolKind.Enum,
    "record": lsp.SymbolKind.Struct,
    "type": lsp.SymbolKind.Class,
    "property": lsp.SymbolKind.Property,
    "constant": lsp.SymbolKind.Constant,
    "table": lsp.SymbolKind.Struct,
    "resource": lsp.SymbolKind.Object,
    "component": lsp.SymbolKind.Object,
    "slot": lsp.SymbolKind.Field,
    "section": lsp.SymbolKind.String,
}


async def find_symbols(session: Session, params: Any) -> list[lsp.SymbolInformation]:
    """The best symbols for the query; none for an empty one."""
    query = params.get("query") if isinstance(params, Mapping) else None
    if not isinstance(query, str) or not query.strip() or not list(session.folders):
        return []
    response = await search(session, {"text": query, "limit": SYMBOL_LIMIT})
    return [_symbol(hit) for hit in response["hits"]]


def _symbol(hit: Mapping[str, Any]) -> lsp.SymbolInformation:
    kind = SYMBOL_KINDS.get(hit["kind"], lsp.SymbolKind.Function)
    return lsp.SymbolInformation(
        name=hit["name"] or hit["path"], kind=kind, location=to_location(hit), container_name=hit["path"]
    )
