"""Document synchronisation: applies changes at once and sends the text to the daemon shortly after."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from codekin.errors import CodekinError, UsageError
from codekin.lsp.documents import FileLocation, WorkspaceFolder, path_from_uri, read_saved_text
from codekin.lsp.features.next_edit import RecentEdits
from codekin.lsp.session import Session, document_uri

SEND_DELAY = 0.3
"""Seconds of typing that go to the daemon as one new text."""

log = logging.getLogger(__name__)


class BufferUploader:
    """Sends the texts of open documents to the daemon, in order, and of each only the latest."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._changed: dict[str, int] = {}
        self._edited_at: dict[str, int] = {}
        self._sent: dict[str, FileLocation] = {}
        self._wake = asyncio.Event()

    def changed(self, uri: str, version: int) -> None:
        """The document has a new text, or was closed at this version."""
        self._changed[uri] = version
        self._wake.set()

    def edited(self, uri: str, version: int) -> None:
        """The user has edited the document: its text counts over those of windows that edited it earlier."""
        self._edited_at[uri] = time.monotonic_ns()
        self.changed(uri, version)

    def all_changed(self, folder: WorkspaceFolder) -> None:
        """Sends all texts again: a new daemon has none of them."""
        for document in self._session.documents:
            place = self._session.folders.locate(document.uri)
            if place is not None and place.folder == folder:
                self.changed(document.uri, document.version)

    async def run(self) -> None:
        """Sends what has changed until the session ends."""
        while True:
            await self._wake.wait()
            await asyncio.sleep(SEND_DELAY)
            self._wake.clear()
            changed, self._changed = self._changed, {}
            for uri, version in changed.items():
                await self._send(uri, version)

    async def _send(self, uri: str, version: int) -> None:
        place, document = self._session.folders.locate(uri), self._session.documents.get(uri)
        sent = self._sent.pop(uri, None)
        if sent is not None and sent != place:  # another folder holds the file now
            await self._post(sent, None, version)
        if place is None:
            return
        if document is None:
            self._edited_at.pop(uri, None)
            await self._post(place, None, version)
            return
        self._sent[uri] = place
        await self._post(place, document.text, document.version, self._edited_at.get(uri, 0))

    async def _post(self, place: FileLocation, text: str | None, version: int, edited_at: int = 0) -> None:
        body = {"root": place.root, "path": place.path, "text": text, "version": max(version, 0)}
        body |= {"window": self._session.window, "edited_at": edited_at}
        try:
            await self._session.post("/buffers", body)
        except CodekinError as error:
            log.info("A text was not sent: %s", error)  # all are sent again once the daemon is back


class DocumentSync:
    """The handlers of the document notifications; `refresh` is called when a document comes or goes.

    A change that does not fit the current text shows in the status, until the file is saved, a whole text comes, or the
    document is opened again.
    """

    def __init__(
        self,
        session: Session,
        buffers: BufferUploader,
        refresh: Callable[[], None],
        recent: RecentEdits,
        saved: Callable[[str], Awaitable[None]],
    ) -> None:
        self._session = session
        self._buffers = buffers
        self._refresh = refresh
        self._recent = recent
        self._saved = saved
        self._drifted: dict[str, int] = {}
        """The version of the change that did not fit, by URI."""

    async def did_open(self, _session: Session, params: Any) -> None:
        """Opens the document."""
        match params:
            case {"textDocument": {"uri": str() as uri, "text": str() as text} as item}:
                version, language = item.get("version"), item.get("languageId")
                number = version if isinstance(version, int) else 0
                document = self._session.documents.open(uri, str(language or ""), number, text)
                self._buffers.changed(uri, document.version)
                self._mark_fitting(uri)
                self._refresh()
            case _:
                raise UsageError("textDocument/didOpen needs uri and text.")

    async def did_change(self, _session: Session, params: Any) -> None:
        """Apply the edits."""
        match params:
            case {"textDocument": {"uri": str() as uri} as item, "contentChanges": list() as changes}:
                version = item.get("version")
                self._apply(uri, version if isinstance(version, int) else None, changes)
            case _:
                raise UsageError("textDocument/didChange needs uri and contentChanges.")

    async def did_save(self, _session: Session, params: Any) -> None:
        """Reads the file where the current text differs from it."""
        uri = document_uri(params)
        if uri in self._drifted:
            self._read_again(uri)
            self._mark_fitting(uri)
        await self._saved(uri)

    async def did_close(self, _session: Session, params: Any) -> None:
        """From now on the file's own text counts."""
        uri = document_uri(params)
        document = self._session.documents.get(uri)
        self._session.documents.close(uri)
        self._recent.forget(uri)
        self._buffers.changed(uri, document.version if document else 0)
        self._mark_fitting(uri)
        self._refresh()

    def _apply(self, uri: str, version: int | None, changes: list[Any]) -> None:
        before = self._session.documents.get(uri)
        try:
            document = self._session.documents.change(uri, version, changes)
        except (AttributeError, KeyError, TypeError, ValueError):
            document = None
        if document is None:
            self._mark_drifted(uri, version or 0)
            return
        if any(isinstance(change, Mapping) and change.get("range") is None for change in changes):
            self._mark_fitting(uri)
        if before is not None:
            self._recent.changed(before, document)
        self._buffers.edited(uri, document.version)

    def _mark_drifted(self, uri: str, version: int) -> None:
        self._drifted[uri] = version
        log.warning("A change of %s does not fit the current text", uri)
        if self._session.documents.get(uri) is None:
            self._read_again(uri)
        self._tell()

    def _mark_fitting(self, uri: str) -> None:
        if self._drifted.pop(uri, None) is not None:
            self._tell()

    def _tell(self) -> None:
        names = ", ".join(sorted({uri.rpartition("/")[2] for uri in self._drifted}))
        problem = f"The editor sent a change that does not fit Codekin's text of {names}: save it to put this right."
        self._session.status.set_problem("documents", problem if names else "")

    def _read_again(self, uri: str) -> None:
        """Reads the file's text on the loop, between two messages of the client; rare enough for that."""
        path, before = path_from_uri(uri), self._session.documents.get(uri)
        if path is None or (text := read_saved_text(path)) is None:
            return
        language = before.language_id if before else ""
        document = self._session.documents.open(uri, language, self._drifted.get(uri, 0), text)
        self._buffers.changed(uri, document.version)
