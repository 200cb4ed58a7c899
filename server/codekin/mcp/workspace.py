"""The workspaces of one client: which roots it has, its link to the daemon, and indexing what is new.

The root is the one on the command line, else the client's own, else the workspace of the working directory.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlencode, urlsplit

from codekin.daemon.client import AsyncDaemonClient
from codekin.errors import CodekinError, UsageError
from codekin.mcp.relay import ServerConfig
from codekin.paths import find_workspace_root

_MODEL_ROUTES = frozenset({"/search", "/similar", "/reuse"})
INDEX_SECONDS, LOADING_SECONDS = 45.0, 20.0
"""How long a first question waits until the words of a new workspace can be searched, and for the model to load."""
QUIET_SECONDS = 1.0
"""A call that takes longer is followed by a handshake: an agent does not wait for a daemon that is suspended."""

ReportProgress = Callable[[float, float | None, str], Awaitable[None]]
"""Takes what is done, of how many if that is known, and what is being done."""


class AgentDaemon:
    """The link to the daemon that all calls of a client share; it is made at the first need."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self._connecting: asyncio.Task[AsyncDaemonClient] | None = None

    def begin(self) -> asyncio.Task[AsyncDaemonClient]:
        """Begins to connect, unless it is connected or about to be; after a failure it tries anew."""
        if self._connecting is None or (self._connecting.done() and self._connecting.exception()):
            self._connecting = asyncio.create_task(AsyncDaemonClient.connect(self._data))
        return self._connecting

    async def client(self) -> AsyncDaemonClient:
        """The client. Raises DaemonError where the daemon cannot be started or reached."""
        return await asyncio.shield(self.begin())

    async def close(self) -> None:
        """Closes its connections; the daemon stays."""
        if self._connecting is None:
            return
        self._connecting.cancel()
        (client,) = await asyncio.gather(self._connecting, return_exceptions=True)
        if not isinstance(client, BaseException):
            await client.close()


class Workspaces:
    """Answers for the roots of one client."""

    def __init__(self, config: ServerConfig, connection: AgentDaemon) -> None:
        self._config, self._connection = config, connection
        self._known: set[tuple[Path, bool]] = set()

    async def choose_root(self, client_roots: Sequence[str], wanted: str) -> Path:
        """The root of a call: `wanted` among the roots that there are, else the first of them.

        `client_roots` are the URIs of the client's roots. Raises UsageError where there is none, or not this one.
        """
        roots = await asyncio.to_thread(self._list_roots, client_roots)
        found = [root for root in roots if wanted in {"", str(root), root.name, root.as_uri()}]
        if not found:
            raise UsageError(f"{wanted} is none of the roots, which are {', '.join(map(str, roots))}.")
        return found[0]

    async def post(self, root: Path, route: str, body: dict[str, Any], report: ReportProgress) -> Any:
        """The daemon's answer about a root, which is indexed before if it is new and that was allowed."""
        client = await self._connection.client()
        await self._prepare(client, root, report, needs_model=route in _MODEL_ROUTES)
        return await _supervise(client, client.post(route, {"root": str(root), **body}))

    async def get(self, root: Path, route: str, report: ReportProgress) -> Any:
        """The same for a GET."""
        client = await self._connection.client()
        await self._prepare(client, root, report, needs_model=False)
        return await _supervise(client, client.get(route, root=str(root)))

    def _list_roots(self, client_roots: Sequence[str]) -> list[Path]:
        if self._config.root is not None:
            return [self._config.root]
        folders = [folder for uri in client_roots if (folder := _path_of(uri)) is not None and folder.is_dir()]
        return [find_workspace_root(self._config.data, folder) for folder in folders or [self._config.folder]]

    async def _prepare(
        self, client: AsyncDaemonClient, root: Path, report: ReportProgress, *, needs_model: bool
    ) -> None:
        """Opens a root at its first question, indexes it if it is new and that was allowed, and waits a while.

        Raises UsageError where the root is not indexed.
        """
        if (root, needs_model) in self._known:
            return
        opening = client.post("/workspaces/open", {"root": str(root)}) if self._config.indexes else None
        status = await _supervise(client, opening or _status(client, root))
        if not _is_usable(status, needs_model):
            await report(0.0, None, f"Indexing {root.name}")
            try:
                async with asyncio.timeout(LOADING_SECONDS if status["chunks"] else INDEX_SECONDS):
                    await _follow_until_usable(client, root, report, needs_model)
            except TimeoutError:
                pass  # what is there by now answers
        self._known |= {(root, False), (root, needs_model)}


async def _supervise(client: AsyncDaemonClient, call: Coroutine[Any, Any, Any]) -> Any:
    """The call's result, for as long as the daemon answers handshakes. Raises DaemonError once it does not."""
    task = asyncio.create_task(call)
    try:
        while not (await asyncio.wait({task}, timeout=QUIET_SECONDS))[0]:
            await client.reconnect()
        return task.result()
    finally:
        task.cancel()


def _is_usable(status: Mapping[str, Any], needs_model: bool) -> bool:
    """Whether a workspace can answer: its files are read, or were before; a needed model is loaded or has failed."""
    progress = status.get("progress") or {}
    is_read = status["chunks"] and (status["state"] == "ready" or progress.get("phase", "") != "files")
    has_model = not needs_model or status["model"]["phase"] != "loading"
    return bool(is_read or status["state"] == "ready") and has_model


async def _follow_until_usable(
    client: AsyncDaemonClient, root: Path, report: ReportProgress, needs_model: bool
) -> None:
    """Reports the progress of a scan until a root can answer. Raises CodekinError where it fails."""
    async with aclosing(client.lines(f"/events?{urlencode({'root': str(root)})}", method="GET")) as events:
        async for event in events:
            kind = event.get("event")
            if kind == "status" and _is_usable(event, needs_model):
                return
            is_past_files = kind == "progress" and event.get("phase") != "files"
            if is_past_files and _is_usable(await _status(client, root), needs_model):
                return
            if kind == "progress":
                await report(float(event.get("done") or 0), event.get("total"), f"Indexing {root.name}")
            if kind == "ended" and event.get("failures", 0) > 1:
                raise CodekinError(str(event.get("message")))


async def _status(client: AsyncDaemonClient, root: Path) -> Any:
    return await client.get("/status", root=str(root))


def _path_of(uri: str) -> Path | None:
    """The folder of a file URI; None for any other."""
    parts = urlsplit(uri)
    return Path(unquote(parts.path)) if parts.scheme == "file" and parts.netloc in {"", "localhost"} else None
