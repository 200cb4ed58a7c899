"""The session's beginning, its folders and its settings, all of which may change without a restart."""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from codekin.errors import CodekinError
from codekin.lsp.documents import Documents
from codekin.lsp.features.sync import Buffers
from codekin.lsp.features.watching import Watch
from codekin.lsp.folders import Folder, initial_folders, named_folders
from codekin.lsp.session import Session, read_client

SECTION = "codekin"
CALM = 1.0
"""Seconds after a change until lenses and hints are asked for again."""

log = logging.getLogger(__name__)


class Workspace:
    """Keeps one watch for each folder, and the settings that all of them are told."""

    def __init__(self, session: Session, buffers: Buffers) -> None:
        self._session = session
        self._buffers = buffers
        self._watches: dict[Folder, tuple[Watch, asyncio.Task[None]]] = {}
        self._refreshing: asyncio.Task[None] | None = None
        self._is_stale = False
        self.refreshers: list[Any] = [self._refresh_lenses]

    def begin(self, params: dict[str, Any]) -> None:
        """Read `initialize`, before it is answered."""
        self._session.client = read_client(params)
        self._session.documents = Documents(self._session.client.encoding)
        options = params.get("initializationOptions")
        self._session.override(options.get("settings", options) if isinstance(options, Mapping) else {})
        for uri, name in initial_folders(params):
            self._session.folders.add(uri, name)

    async def initialized(self, session: Session, _params: Any) -> None:
        """Begin to work: the client is ready for requests of ours."""
        session.spawn(self._buffers.run())
        for folder in session.folders:
            self._watch(folder)
        if not list(session.folders):
            session.status.complain("")
        session.spawn(self._configure())

    async def folders_changed(self, session: Session, params: Any) -> None:
        """Follow the folders that were added, and let those go that were removed."""
        match params:
            case {"event": Mapping() as event}:
                for uri, _name in named_folders(event.get("removed")):
                    self._forget(session.folders.remove(uri))
                for uri, name in named_folders(event.get("added")):
                    if (folder := session.folders.add(uri, name)) is not None:
                        self._watch(folder)

    async def configuration_changed(self, session: Session, params: Any) -> None:
        """Take the new settings, or ask for them where the client only says that they changed."""
        given = params.get("settings") if isinstance(params, Mapping) else None
        if session.client.configuration:
            given = await self._pull()
        if isinstance(given, Mapping):
            session.override(given.get(SECTION, given))
            await self._tell_settings()

    def refresh(self) -> None:
        """Something in the index changed: what hangs on it is asked for again, once it is calm."""
        self._is_stale = True
        if self._refreshing is None or self._refreshing.done():
            self._refreshing = self._session.spawn(self._refresh_calmly())

    def _watch(self, folder: Folder) -> None:
        watch = Watch(self._session, folder, self._buffers, self.refresh)
        self._watches[folder] = (watch, self._session.spawn(watch.run()))

    def _forget(self, folder: Folder | None) -> None:
        if folder is not None and folder in self._watches:
            self._watches.pop(folder)[1].cancel()
            self._session.status.remove(str(folder.root))

    async def _configure(self) -> None:
        session = self._session
        if session.client.registers_configuration:
            registration = {"id": "codekin-configuration", "method": "workspace/didChangeConfiguration"}
            registration["registerOptions"] = {"section": SECTION}  # type: ignore[assignment]
            await self._ask("client/registerCapability", {"registrations": [registration]})
        if session.client.configuration and isinstance(given := await self._pull(), Mapping):
            session.override(given)
            await self._tell_settings()

    async def _pull(self) -> Any:
        answer = await self._ask("workspace/configuration", {"items": [{"section": SECTION}]})
        return answer[0] if isinstance(answer, list) and answer else None

    async def _tell_settings(self) -> None:
        for folder, (watch, _task) in tuple(self._watches.items()):
            self._session.settings(folder)  # what is wrong with them is told in the status
            try:
                await watch.tell_settings()
            except CodekinError as error:
                log.info("The settings were not sent: %s", error)  # they are, once the daemon is back
        self.refresh()

    async def _refresh_calmly(self) -> None:
        while self._is_stale:  # again, if something changed while the refreshers were at work
            await asyncio.sleep(CALM)
            self._is_stale = False
            for refresher in self.refreshers:
                await refresher()

    async def _refresh_lenses(self) -> None:
        if self._session.client.refreshes_lenses:
            await self._ask("workspace/codeLens/refresh", None)

    async def _ask(self, method: str, params: Any) -> Any:
        try:
            return await self._session.wire.ask(method, params)
        except (CodekinError, TimeoutError) as error:
            log.info("The client did not answer %s: %s", method, error)
            return None
