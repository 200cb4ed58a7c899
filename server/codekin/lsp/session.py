"""One window's state: what the client can do, its documents and folders, its settings, its daemon.

Knows how these are reached; the features decide what is done with them. All of it lives on
the event loop.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from codekin.errors import DaemonError, UsageError
from codekin.lsp.documents import Documents, Snapshot
from codekin.lsp.folders import Folder, Folders, Place
from codekin.lsp.positions import Encoding, choose_encoding
from codekin.lsp.status import Status, StatusBoard
from codekin.settings import Settings, load_settings

SHOW_SIMILAR = "codekin.showSimilar"
SETTINGS_LIFETIME = 5.0
"""Seconds after which a repository's settings file is looked at again."""

log = logging.getLogger(__name__)


class Daemon(Protocol):
    """What a window needs of `codekin.daemon.client.AsyncClient`; cancelling a call withdraws its work."""

    async def get(self, path: str, **query: Any) -> Any:
        """The answer to a GET."""
        ...

    async def post(self, path: str, body: Any = None, timeout: float | None = None) -> Any:  # noqa: ASYNC109
        """The answer to a POST."""
        ...

    def lines(self, path: str, body: Any = None, method: str = "POST") -> AsyncIterator[Any]:
        """The values of a streamed answer."""
        ...

    def events(self, root: str) -> AsyncIterator[Any]:
        """The workspace's events, across crashes of the daemon."""
        ...

    async def close(self) -> None:
        """Closes the connections."""
        ...


Connect = Callable[[], Awaitable[Daemon]]


class Wire(Protocol):
    """The way to the client: `codekin.lsp.protocol.Protocol` in life."""

    def notify(self, method: str, params: Any | None = None) -> None:
        """Send a notification."""
        ...

    async def ask(self, method: str, params: Any) -> Any:
        """Send a request and wait for its answer."""
        ...


@dataclass(frozen=True, slots=True)
class ClientSide:
    """What the client said about itself in `initialize`."""

    process_id: int | None = None
    encoding: Encoding = Encoding.UTF16
    progress: bool = False
    configuration: bool = False
    registers_configuration: bool = False
    refreshes_lenses: bool = False
    shows_documents: bool = False
    inline_completion: bool = False
    show_similar: str = ""
    """The client's own command for showing similar code; empty where it has none."""


class Session:
    """One client, from `initialize` to `exit`."""

    def __init__(self, wire: Wire, connect: Connect, data: Path | None = None) -> None:
        self.wire = wire
        self.client = ClientSide()
        self.documents = Documents()
        self.folders = Folders()
        self.status = StatusBoard(self._send_status)
        self.overrides: Mapping[str, Any] = {}
        self.warm: set[str] = set()
        """Roots that the daemon was asked to read for their first suggestion."""
        self._data = data
        self._connect = connect
        self._daemon: Daemon | None = None
        self._connecting = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._settings: dict[str, tuple[float, Settings, tuple[str, ...]]] = {}

    async def daemon(self) -> Daemon:
        """The daemon, started if none runs. Raises DaemonError."""
        async with self._connecting:
            if self._daemon is None:
                try:
                    self._daemon = await self._connect()
                except (OSError, ImportError) as error:
                    raise DaemonError(f"The daemon cannot be reached: {error}; see `codekin doctor`.") from error
            return self._daemon

    async def post(self, route: str, body: Mapping[str, Any]) -> Any:
        """The daemon's answer. Raises the CodekinError that it raised."""
        return await (await self.daemon()).post(route, body)

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run something beside the requests until it ends or the session does."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return task

    async def close(self) -> None:
        """Stop everything that runs beside the requests."""
        for task in tuple(self._tasks):
            task.cancel()
        if self._daemon is not None:
            await self._daemon.close()

    def settings(self, folder: Folder | None) -> Settings:
        """The settings in force in a folder; what is wrong with them is told in the status."""
        root = str(folder.root) if folder else ""
        known = self._settings.get(root)
        if known is None or time.monotonic() - known[0] > SETTINGS_LIFETIME:
            found = load_settings(self._data, folder.root if folder else None, self.overrides)
            known = self._settings[root] = (time.monotonic(), *found)
            problems = dict.fromkeys(problem for entry in self._settings.values() for problem in entry[2])
            self.status.complain(" ".join(problems))
        return known[1]

    def override(self, table: Any) -> None:
        """Take the editor's settings in place of those it sent before."""
        self.overrides = table if isinstance(table, Mapping) else {}
        self._settings.clear()

    def document(self, params: Mapping[str, Any]) -> Snapshot:
        """The open document that the params name. Raises UsageError."""
        document = self.documents.get(document_uri(params))
        if document is None:
            raise UsageError(f"{document_uri(params)} is not open: open it in the editor first.")
        return document

    def place(self, uri: str) -> Place:
        """Where the document is in the workspace. Raises UsageError."""
        place = self.folders.locate(uri)
        if place is None:
            raise UsageError(f"{uri} is in no folder of the workspace: open its folder in the editor.")
        return place

    def _send_status(self, status: Status) -> None:
        self.wire.notify("codekin/status", status.as_params())

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("Background work failed", exc_info=error)


def document_uri(params: Mapping[str, Any]) -> str:
    """The URI that the params name. Raises UsageError."""
    match params:
        case {"textDocument": {"uri": str() as uri}}:
            return uri
    raise UsageError("The params need textDocument.uri.")


def read_client(params: Mapping[str, Any]) -> ClientSide:
    """What the params of `initialize` say, whatever else they hold."""
    options = params.get("initializationOptions")
    command = options.get("showSimilarCommand") if isinstance(options, Mapping) else None
    process = params.get("processId")
    encodings = _at(params, "general.positionEncodings")
    return ClientSide(
        process_id=process if isinstance(process, int) and process > 0 else None,
        encoding=choose_encoding(encodings if isinstance(encodings, list) else None),
        progress=bool(_at(params, "window.workDoneProgress")),
        configuration=bool(_at(params, "workspace.configuration")),
        registers_configuration=bool(_at(params, "workspace.didChangeConfiguration.dynamicRegistration")),
        refreshes_lenses=bool(_at(params, "workspace.codeLens.refreshSupport")),
        shows_documents=bool(_at(params, "window.showDocument.support")),
        inline_completion=_at(params, "textDocument.inlineCompletion") is not None,
        show_similar=command if isinstance(command, str) else "",
    )


def _at(params: Mapping[str, Any], path: str) -> Any:
    value: Any = params.get("capabilities")
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value
