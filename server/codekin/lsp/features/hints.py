"""Hints on near-duplicates, off by default (`similar.duplicate_hints`): quiet marks, never warnings."""

import logging
from collections.abc import Mapping
from typing import Any

from lsprotocol import types as lsp

from codekin.errors import CodekinError
from codekin.lsp.convert import line_range, location, with_places
from codekin.lsp.documents import Snapshot
from codekin.lsp.folders import Place
from codekin.lsp.session import Session

MOST = 100
"""Fragments of a document that are looked at."""

log = logging.getLogger(__name__)


class Hints:
    """Publishes the hints of the open documents; `refresh` is called once the index has changed."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._published: set[str] = set()

    async def refresh(self) -> None:
        """Look at every open document again, and clear what no longer holds."""
        wanted = set()
        for document in self._session.documents:
            place = self._session.folders.locate(document.uri)
            if place is not None and self._session.settings(place.folder).similar.duplicate_hints:
                wanted.add(document.uri)
                await self._publish(document, place)
        for uri in self._published - wanted:
            self._send(uri, [], None)
        self._published &= wanted

    async def _publish(self, document: Snapshot, place: Place) -> None:
        try:
            found = await self._find(document, place)
        except CodekinError as error:
            log.info("No hints: %s", error)
            return
        if self._session.documents.is_current(document):
            self._published.add(document.uri)
            self._send(document.uri, found, document.version)

    async def _find(self, document: Snapshot, place: Place) -> list[lsp.Diagnostic]:
        about = {"root": place.root, "path": place.path, "text": document.text}
        answer = await self._session.post("/lens", {**about, "counts": False})
        least = self._session.settings(place.folder).similar.duplicate_min_score
        found = []
        for fragment in answer["lenses"][:MOST]:
            asked = {**about, "line": fragment["code_line"], "limit": 1, "filters": {"min_score": least}}
            twins = await with_places(self._session, place.folder, await self._session.post("/similar", asked))
            found += [_hint(document, fragment, twin) for twin in twins["hits"]]
        return found

    def _send(self, uri: str, hints: list[lsp.Diagnostic], version: int | None) -> None:
        params = lsp.PublishDiagnosticsParams(uri=uri, diagnostics=hints, version=version)
        self._session.wire.notify(lsp.TEXT_DOCUMENT_PUBLISH_DIAGNOSTICS, params)


def _hint(document: Snapshot, fragment: Mapping[str, Any], twin: Mapping[str, Any]) -> lsp.Diagnostic:
    line = fragment["code_line"]
    where = line_range(line, document.line_length(line - 1))
    place = f"{twin['name'] or twin['path']} ({twin['path']}:{twin['code_line']})"
    related = lsp.DiagnosticRelatedInformation(location=location(twin), message=f"Its twin: {twin['name']}")
    return lsp.Diagnostic(
        range=lsp.Range(lsp.Position(**where["start"]), lsp.Position(**where["end"])),
        message=f"Nearly the same as {place}.",
        severity=lsp.DiagnosticSeverity.Hint,
        source="codekin",
        code="near-duplicate",
        related_information=[related],
        data={"twin": dict(twin)},
    )
