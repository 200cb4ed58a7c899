"""The state of one editor window: capabilities, documents, folders, settings, daemon connection, status.

The status is summed up over the folders and sent to the editor when it changes.

All of it lives on the event loop.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, Protocol
from urllib.parse import unquote
from uuid import uuid4

from codekin.errors import UsageError
from codekin.lsp.daemon_link import REQUESTED, ConnectDaemon, DaemonLink, Patience
from codekin.lsp.documents import (
    Documents,
    DocumentSnapshot,
    Encoding,
    FileLocation,
    WorkspaceFolder,
    WorkspaceFolders,
    choose_encoding,
    uri_from_path,
)
from codekin.paths import data_dir
from codekin.settings import Settings, load_settings

BUSY_STATES = ("starting", "indexing")
"""States of a workspace, in the daemon's words, in which its answers may still be incomplete."""

ALONE = "No folder is open: Codekin knows the open file alone, and a whole repository once you open its folder."

StatusKind = Literal["Normal", "Error", "Warning", "Inactive"]


@dataclass(frozen=True, slots=True)
class FolderState:
    """One workspace folder; `done` of `total` files are indexed while `total` is above 0.

    `lost` and `problem` are sentences, empty when all is well; `about` is what the daemon
    last reported of the workspace.
    """

    name: str
    root: str
    connected: bool = False
    lost: str = ""
    problem: str = ""
    done: int = 0
    total: int = 0
    about: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WindowStatus:
    """The window's state, in the form that Copilot's language server made usual."""

    busy: bool
    message: str
    kind: StatusKind
    folders: tuple[FolderState, ...] = ()

    def as_params(self) -> dict[str, Any]:
        """The params of `codekin/status`."""
        return {**asdict(self), "folders": [asdict(folder) for folder in self.folders]}


class StatusBoard:
    """Keeps the folders' states and sends the sum when it is another than before."""

    def __init__(self, send: Callable[[WindowStatus], None]) -> None:
        self._send = send
        self._states: dict[str, FolderState] = {}
        self._last_sent: WindowStatus | None = None
        self._problems: dict[str, str] = {}
        self._lost = ""

    @property
    def current(self) -> WindowStatus:
        """The state now."""
        return summarize_folders(self._states.values(), " ".join(self._problems.values()), self._lost)

    def update(self, root: str, **changes: Any) -> None:
        """Change a folder's state; an unknown folder begins as one that is not connected."""
        state = self._states.get(root) or FolderState(name=changes.get("name", root), root=root)
        self._states[root] = replace(state, **changes)
        self._send_if_changed()

    def remove(self, root: str) -> None:
        """Forget a folder."""
        self._states.pop(root, None)
        self._send_if_changed()

    def set_problem(self, source: str, problem: str) -> None:
        """What is wrong in the whole window by its source, such as its settings; an empty text ends it."""
        self._problems[source] = problem
        self._problems = {name: text for name, text in self._problems.items() if text}
        self._send_if_changed()

    def set_lost(self, message: str) -> None:
        """Why the daemon cannot be used; an empty text ends it."""
        self._lost = message
        self._send_if_changed()

    def _send_if_changed(self) -> None:
        status = self.current
        if status != self._last_sent:
            self._last_sent = status
            self._send(status)


def summarize_folders(states: Iterable[FolderState], problem: str = "", lost: str = "") -> WindowStatus:
    """The worst comes first: a lost daemon, then a problem, then work under way."""
    folders = tuple(states)
    if not folders:
        return WindowStatus(False, problem or ALONE, "Warning" if problem else "Inactive")
    total, done = sum(state.total for state in folders), sum(state.done for state in folders)
    busy = total > 0 or any(_is_starting(state) for state in folders)
    if lost := lost or next((state.lost for state in folders if state.lost), ""):
        return WindowStatus(True, lost, "Error", folders)
    if trouble := problem or next((state.problem for state in folders if state.problem), ""):
        return WindowStatus(busy, trouble, "Warning", folders)
    if total:
        return WindowStatus(True, f"Indexing: {done} of {total} files.", "Normal", folders)
    return WindowStatus(busy, "Codekin is starting." if busy else "Codekin is ready.", "Normal", folders)


def _is_starting(state: FolderState) -> bool:
    return not state.connected or state.about.get("state", BUSY_STATES[0]) in BUSY_STATES


SHOW_SIMILAR = "codekin.showSimilar"
COMPLAINING_CLIENTS = frozenset({"emacs", "eglot", "helix", "kakoune-lsp", "lsp-mode"})
"""Clients that show or log a warning at each notification that they do not know."""
SETTINGS_LIFETIME = 5.0
"""Seconds after which a repository's settings file is looked at again."""

log = logging.getLogger(__name__)


class ClientConnection(Protocol):
    """The way to the client: `codekin.lsp.protocol.LspProtocol` in life."""

    def notify(self, method: str, params: Any | None = None) -> None:
        """Send a notification."""
        ...

    async def request(self, method: str, params: Any) -> Any:
        """Send a request and wait for its answer."""
        ...


@dataclass(frozen=True, slots=True)
class ClientInfo:
    """What the client announced in `initialize`."""

    process_id: int | None = None
    encoding: Encoding = Encoding.UTF16
    progress: bool = False
    configuration: bool = False
    registers_configuration: bool = False
    refreshes_lenses: bool = False
    shows_documents: bool = False
    inline_completion: bool = False
    status: bool = True
    """Whether `codekin/status` is sent."""
    show_similar: str = ""
    """The client's own command for showing similar code; empty where it has none."""


class Session:
    """One client, from `initialize` to `exit`."""

    def __init__(self, connection: ClientConnection, connect: ConnectDaemon, data: Path | None = None) -> None:
        self.connection = connection
        self.client = ClientInfo()
        self.window = uuid4().hex
        """The id by which the daemon knows this window."""
        self.documents = Documents()
        self.folders = WorkspaceFolders()
        self.status = StatusBoard(self._send_status)
        self.overrides: Mapping[str, Any] = {}
        self.warm: set[str] = set()
        """Roots that the daemon already reads for their first suggestion."""
        self.daemon = DaemonLink(connect, self.status.set_lost)
        self._data = data
        self._tasks: set[asyncio.Task[None]] = set()
        self._settings: dict[str, tuple[float, Settings, tuple[str, ...]]] = {}

    async def post(self, route: str, body: Mapping[str, Any], patience: Patience = REQUESTED) -> Any:
        """The daemon's response. Raises the CodekinError that it raised, or DaemonError where it does not answer."""
        return await self.daemon.post(route, body, patience)

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
        await self.daemon.close()

    def settings(self, folder: WorkspaceFolder | None) -> Settings:
        """The settings in force in a folder; what is wrong with them shows in the status."""
        root = str(folder.root) if folder else ""
        known = self._settings.get(root)
        if known is None or time.monotonic() - known[0] > SETTINGS_LIFETIME:
            found = load_settings(self._data, folder.root if folder else None, self.overrides)
            known = self._settings[root] = (time.monotonic(), *found)
            problems = dict.fromkeys(problem for entry in self._settings.values() for problem in entry[2])
            self.status.set_problem("settings", " ".join(problems))
        return known[1]

    def override(self, table: Any) -> None:
        """Take the editor's settings in place of those it sent before."""
        self.overrides = table if isinstance(table, Mapping) else {}
        self._settings.clear()

    def document(self, params: Mapping[str, Any]) -> DocumentSnapshot:
        """The open document that the params name. Raises UsageError."""
        document = self.documents.get(document_uri(params))
        if document is None:
            raise UsageError(f"{document_uri(params)} is not open: open it in the editor first.")
        return document

    def place(self, uri: str) -> FileLocation:
        """Where the document is in the workspace. Raises UsageError."""
        place = self.folders.locate(uri)
        if place is None:
            raise UsageError(f"{uri} is in no folder of the workspace: open its folder in the editor.")
        return place

    def locate_alone(self, uri: str) -> FileLocation:
        """A place for a document that no open folder holds, in an empty folder of Codekin's own.

        What is requested for it brings its text along, so it is served with what it alone can give.
        """
        root = data_dir(self._data) / "single-files"
        root.mkdir(mode=0o700, exist_ok=True)
        name = unquote(uri).rpartition("/")[2] or "untitled"
        return FileLocation(
            WorkspaceFolder(uri_from_path(root), root), f"{sha256(uri.encode()).hexdigest()[:12]}/{name}"
        )

    def _send_status(self, status: WindowStatus) -> None:
        if self.client.status:
            self.connection.notify("codekin/status", status.as_params())

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


def read_client_info(params: Mapping[str, Any]) -> ClientInfo:
    """What the params of `initialize` hold; unknown fields are ignored."""
    options = params.get("initializationOptions")
    command = options.get("showSimilarCommand") if isinstance(options, Mapping) else None
    process = params.get("processId")
    encodings = _capability(params, "general.positionEncodings")
    return ClientInfo(
        process_id=process if isinstance(process, int) and process > 0 else None,
        encoding=choose_encoding(encodings if isinstance(encodings, list) else None),
        progress=bool(_capability(params, "window.workDoneProgress")),
        configuration=bool(_capability(params, "workspace.configuration")),
        registers_configuration=bool(_capability(params, "workspace.didChangeConfiguration.dynamicRegistration")),
        refreshes_lenses=bool(_capability(params, "workspace.codeLens.refreshSupport")),
        shows_documents=bool(_capability(params, "window.showDocument.support")),
        inline_completion=_capability(params, "textDocument.inlineCompletion") is not None,
        status=_wants_status(params),
        show_similar=command if isinstance(command, str) else "",
    )


def _wants_status(params: Mapping[str, Any]) -> bool:
    """As set by `initializationOptions.status`; by default, unless the client is known to warn about it."""
    options, client = params.get("initializationOptions"), params.get("clientInfo")
    if isinstance(options, Mapping) and isinstance(wanted := options.get("status"), bool):
        return wanted
    name = client.get("name") if isinstance(client, Mapping) else None
    return not isinstance(name, str) or name.lower() not in COMPLAINING_CLIENTS


def _capability(params: Mapping[str, Any], path: str) -> Any:
    value: Any = params.get("capabilities")
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value
