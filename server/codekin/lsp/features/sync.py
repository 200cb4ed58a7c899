"""Document notifications: our copy is kept equal at once, the daemon's a moment later."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from codekin.errors import CodekinError, UsageError
from codekin.lsp.folders import Folder
from codekin.lsp.session import Session, document_uri

DELAY = 0.3
"""Seconds of typing that go to the daemon as one new text."""

log = logging.getLogger(__name__)


class Buffers:
    """Tells the daemon the texts of open documents, in order, and the latest of each alone."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._changed: dict[str, int] = {}
        self._wake = asyncio.Event()

    def changed(self, uri: str, version: int) -> None:
        """The document has a new text, or was closed at this version."""
        self._changed[uri] = version
        self._wake.set()

    def all_changed(self, folder: Folder) -> None:
        """A new daemon knows none of the texts yet."""
        for document in self._session.documents:
            place = self._session.folders.locate(document.uri)
            if place is not None and place.folder == folder:
                self.changed(document.uri, document.version)

    async def run(self) -> None:
        """Send what changed, for as long as the session lasts."""
        while True:
            await self._wake.wait()
            await asyncio.sleep(DELAY)
            self._wake.clear()
            changed, self._changed = self._changed, {}
            for uri, version in changed.items():
                await self._send(uri, version)

    async def _send(self, uri: str, version: int) -> None:
        place, document = self._session.folders.locate(uri), self._session.documents.get(uri)
        if place is None:
            return
        text, version = (document.text, document.version) if document else (None, version)
        body = {"root": place.root, "path": place.path, "text": text, "version": max(version, 0)}
        try:
            await self._session.post("/buffers", body)
        except CodekinError as error:
            log.info("A text was not sent: %s", error)  # all are sent again once the daemon is back


class Sync:
    """The handlers of the document notifications; `refresh` is called when a document comes or goes."""

    def __init__(self, session: Session, buffers: Buffers, refresh: Callable[[], None]) -> None:
        self._session = session
        self._buffers = buffers
        self._refresh = refresh

    async def did_open(self, _session: Session, params: Any) -> None:
        """Take the text in."""
        match params:
            case {"textDocument": {"uri": str() as uri, "text": str() as text} as item}:
                version, language = item.get("version"), item.get("languageId")
                number = version if isinstance(version, int) else 0
                document = self._session.documents.open(uri, str(language or ""), number, text)
                self._buffers.changed(uri, document.version)
                self._refresh()
            case _:
                raise UsageError("textDocument/didOpen needs uri and text.")

    async def did_change(self, _session: Session, params: Any) -> None:
        """Apply the edits."""
        match params:
            case {"textDocument": {"uri": str() as uri} as item, "contentChanges": list() as changes}:
                version = item.get("version")
                number = version if isinstance(version, int) else None
                try:
                    document = self._session.documents.change(uri, number, changes)
                except (AttributeError, KeyError, TypeError, ValueError) as error:
                    raise UsageError(f"A change of {uri} cannot be read; it is left out.") from error
                if document is not None:
                    self._buffers.changed(uri, document.version)
            case _:
                raise UsageError("textDocument/didChange needs uri and contentChanges.")

    async def did_close(self, _session: Session, params: Any) -> None:
        """The file counts again."""
        uri = document_uri(params)
        document = self._session.documents.get(uri)
        self._session.documents.close(uri)
        self._buffers.changed(uri, document.version if document else 0)
        self._refresh()
