"""The code lens "3 similar" over functions, counted only when the editor shows it."""

from collections.abc import Mapping
from typing import Any

from lsprotocol import types as lsp

from codekin.errors import CodekinError, UsageError
from codekin.lsp.convert import asked_similar, line_range, with_places
from codekin.lsp.features.show import show_command
from codekin.lsp.session import Session, document_uri

MOST = 20
"""A higher count is shown as "20+"."""


async def lenses(session: Session, params: Any) -> list[lsp.CodeLens]:
    """A lens over the code of each fragment of the document, without its count."""
    uri = document_uri(params)
    document, place = session.documents.get(uri), session.folders.locate(uri)
    if place is None or not session.settings(place.folder).similar.lens:
        return []
    text = {"text": document.text} if document else {}
    body = {"root": place.root, "path": place.path, "counts": False, **text}
    answer = await session.post("/lens", body)
    return [_lens(uri, item) for item in answer["lenses"]]


async def resolve_lens(session: Session, params: Any) -> dict[str, Any]:
    """The lens with its count and the command that shows what was counted."""
    match params:
        case {"data": {"uri": str() as uri, "line": int() as line}, "range": {"start": Mapping() as start}}:
            command = await _count(session, uri, line, start)
            return {**params, "command": command}
    raise UsageError("The lens is not one of this server's.")


async def _count(session: Session, uri: str, line: int, start: Mapping[str, Any]) -> lsp.Command:
    where = {"textDocument": {"uri": uri}, "position": {"line": line, "character": 0}}
    settings = session.settings(session.place(uri).folder).similar
    filters = {"min_score": max(settings.min_score, settings.lens_min_score)}
    try:
        folder, body = asked_similar(session, {**where, "limit": MOST, "filters": filters})
        answer = await with_places(session, folder, await session.post("/similar", body))
    except CodekinError:
        return lsp.Command(title="similar: not known yet", command="")
    count = len(answer["hits"])
    title = f"{count}{'+' if count == MOST else ''} similar"
    if not count:
        return lsp.Command(title=title, command="")
    return show_command(session, title, {"uri": uri, "position": dict(start), "hits": answer["hits"]})


def _lens(uri: str, item: Mapping[str, Any]) -> lsp.CodeLens:
    start = lsp.Position(**line_range(item["code_line"])["start"])
    return lsp.CodeLens(range=lsp.Range(start, start), data={"uri": uri, "line": start.line})
