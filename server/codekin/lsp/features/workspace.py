"""Initialisation, workspace folders and configuration, all of which may change without a restart."""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from codekin.errors import CodekinError
from codekin.lsp.documents import Documents, WorkspaceFolder, read_folders, read_initial_folders
from codekin.lsp.features.daemon_events import DaemonEventListener
from codekin.lsp.features.sync import BufferUploader
from codekin.lsp.session import Session, read_client_info

SECTION = "codekin"
MISSING_INTERVAL = 2.0
"""Seconds between two checks for missing folders; there is no event for their creation."""
REFRESH_DELAY = 1.0
"""Seconds after a change until lenses and hints are refreshed."""

log = logging.getLogger(__name__)


class WorkspaceManager:
    """Keeps one listener for each folder, and sends each the settings."""

    def __init__(self, session: Session, buffers: BufferUploader) -> None:
        self._session = session
        self._buffers = buffers
        self._watches: dict[WorkspaceFolder, tuple[DaemonEventListener, asyncio.Task[None]]] = {}
        self._refreshing: asyncio.Task[None] | None = None
        self._is_stale = False
        self._awaiting = asyncio.Lock()
        self._missing: dict[str, str] = {}
        """Names of folders that are not there, by URI."""
        self.refresh_callbacks: list[Any] = [self._refresh_lenses]

    def begin(self, params: dict[str, Any]) -> None:
        """Read `initialize`, before it is answered."""
        self._session.client = read_client_info(params)
        self._session.documents = Documents(self._session.client.encoding)
        options = params.get("initializationOptions")
        self._session.override(options.get("settings", options) if isinstance(options, Mapping) else {})
        for uri, name in read_initial_folders(params):
            if self._session.folders.add(uri, name) is None:
                self._missing[uri] = name

    async def initialized(self, session: Session, _params: Any) -> None:
        """Starts work: the client now accepts requests."""
        session.spawn(self._buffers.run())
        for folder in session.folders:
            self._watch(folder)
        if not list(session.folders):
            session.status.set_problem("settings", "")
        session.spawn(self._configure())
        session.spawn(self._await_missing())

    async def folders_changed(self, session: Session, params: Any) -> None:
        """Follows added folders and drops removed ones."""
        match params:
            case {"event": Mapping() as event}:
                for uri, _name in read_folders(event.get("removed")):
                    self._missing.pop(uri, None)
                    self._stop_watching(session.folders.remove(uri))
                for uri, name in read_folders(event.get("added")):
                    if (folder := session.folders.add(uri, name)) is not None:
                        self._watch(folder)
                    else:
                        self._missing[uri] = name
                session.spawn(self._await_missing())

    async def configuration_changed(self, session: Session, params: Any) -> None:
        """Applies the new settings, or requests them where the client only reports a change."""
        given = params.get("settings") if isinstance(params, Mapping) else None
        if session.client.configuration and isinstance(fetched := await self._fetch_configuration(), Mapping):
            given = fetched
        if isinstance(given, Mapping):
            session.override(given.get(SECTION, given))
            await self._send_settings()

    def refresh(self) -> None:
        """Refreshes whatever depends on the index, once changes pause."""
        self._is_stale = True
        if self._refreshing is None or self._refreshing.done():
            self._refreshing = self._session.spawn(self._refresh_debounced())

    async def _await_missing(self) -> None:
        """Shows missing folders in the status, and adds each once it exists."""
        if self._awaiting.locked():
            return  # whoever waits looks at all of them
        async with self._awaiting:
            while self._take_in_missing():  # noqa: ASYNC110 - there is no event for a new folder
                await asyncio.sleep(MISSING_INTERVAL)

    def _take_in_missing(self) -> bool:
        """Whether some folder is still missing."""
        reasons = []
        for uri, name in tuple(self._missing.items()):
            if (folder := self._session.folders.add(uri, name)) is not None:
                self._watch(folder)
            elif reason := self._session.folders.missing(uri):
                reasons.append(reason)
                continue
            del self._missing[uri]
        self._session.status.set_problem("folders", " ".join(reasons))
        return bool(reasons)

    def _watch(self, folder: WorkspaceFolder) -> None:
        watch = DaemonEventListener(self._session, folder, self._buffers, self.refresh)
        self._watches[folder] = (watch, self._session.spawn(watch.run()))

    def _stop_watching(self, folder: WorkspaceFolder | None) -> None:
        if folder is not None and folder in self._watches:
            self._watches.pop(folder)[1].cancel()
            self._session.status.remove(str(folder.root))

    async def _configure(self) -> None:
        session = self._session
        if session.client.registers_configuration:
            registration = {"id": "codekin-configuration", "method": "workspace/didChangeConfiguration"}
            registration["registerOptions"] = {"section": SECTION}  # type: ignore[assignment]
            await self._request_or_none("client/registerCapability", {"registrations": [registration]})
        if session.client.configuration and isinstance(given := await self._fetch_configuration(), Mapping):
            session.override(given)
            await self._send_settings()

    async def _fetch_configuration(self) -> Any:
        response = await self._request_or_none("workspace/configuration", {"items": [{"section": SECTION}]})
        return response[0] if isinstance(response, list) and response else None

    async def _send_settings(self) -> None:
        for folder, (watch, _task) in tuple(self._watches.items()):
            self._session.settings(folder)  # shows in the status what is wrong with them
            try:
                await watch.send_settings()
            except CodekinError as error:
                log.info("The settings were not sent: %s", error)  # they are, once the daemon is back
        self.refresh()

    async def _refresh_debounced(self) -> None:
        while self._is_stale:  # again, if something changed while the refreshers were at work
            await asyncio.sleep(REFRESH_DELAY)
            self._is_stale = False
            for refresher in self.refresh_callbacks:
                await refresher()

    async def _refresh_lenses(self) -> None:
        if self._session.client.refreshes_lenses:
            await self._request_or_none("workspace/codeLens/refresh", None)

    async def _request_or_none(self, method: str, params: Any) -> Any:
        try:
            return await self._session.connection.request(method, params)
        except (CodekinError, TimeoutError) as error:
            log.info("The client did not answer %s: %s", method, error)
            return None
