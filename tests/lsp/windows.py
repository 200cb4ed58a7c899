"""A client of the real server on this event loop, with a daemon from a table."""

import asyncio
import inspect
import json
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

from codekin.daemon.services.buffers import WindowBuffers
from codekin.lsp.features.completion import WARM_UP_WINDOW
from codekin.lsp.server import build_server

if TYPE_CHECKING:
    from codekin.errors import DaemonError

HIT = {
    "path": "lib/b.ex",
    "name": "B.run/1",
    "kind": "function",
    "language": "elixir",
    "start_line": 2,
    "end_line": 4,
    "code_line": 3,
    "score": 0.9,
    "reasons": ["same calls"],
}


class FakeDaemon:
    """Answers a route with a value or by a function of the body; keeps what it was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {
            "/workspaces/open": {"state": "ready", "problems": []},
            "/buffers": {},
            "/handshake": {"product": "codekin"},
            "/similar": {"query": {}, "hits": [HIT], "space": "s", "ms": 1},
            "/search": {"query": {}, "hits": [HIT], "space": "s", "ms": 1},
            "/lens": {
                "lenses": [{"name": "A.go/0", "kind": "function", "start_line": 1, "end_line": 3, "code_line": 2}]
            },
            "/complete": {"items": [], "model": "repository", "ms": 1},
            "/complete/events": {},
            "/dashboard": {"url": "http://127.0.0.1:1/?token=x"},
            "/finetune": {"message": "Fine-tuning has started."},
            "/history": {"runs": [], "active": "base"},
            "/rollback": {"message": "Searched with the model as it came now.", "active": "base"},
            "/drafts": {"functions": []},
            "/duplicates": {"groups": [[HIT, HIT]], "ms": 1},
            "/index": [{"event": "progress"}, {"result": {"files": 1, "chunks": 2}}],
        }
        self.asked: list[tuple[str, dict]] = []
        self.cancelled: list[str] = []
        self.warmed: list[dict] = []
        self.streams: dict[str, asyncio.Queue] = {}

    def bodies(self, route: str) -> list[dict]:
        return [body for asked, body in self.asked if asked == route]

    async def get(self, path: str, **query: Any) -> Any:
        return await self.post(path, query)

    async def post(self, path: str, body: Any = None, timeout: float | None = None) -> Any:  # noqa: ASYNC109
        if (body or {}).get("window") == WARM_UP_WINDOW:
            self.warmed.append(body)
            return {"items": []}
        self.asked.append((path, body))
        answer = self.answers[path]
        try:
            answer = answer(body) if callable(answer) else answer
            answer = await answer if inspect.isawaitable(answer) else answer
        except asyncio.CancelledError:
            self.cancelled.append(path)
            raise
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def lines(self, path: str, body: Any = None, method: str = "POST") -> AsyncIterator[Any]:
        for line in await self.post(path, body):
            yield line

    async def events(self, root: str, window: str) -> AsyncIterator[Any]:
        queue = self.streams.setdefault(root, asyncio.Queue())
        queue.put_nowait({"event": "connected"})
        while (event := await queue.get()) is not None:
            if isinstance(event, Exception):
                raise event
            yield event

    async def close(self) -> None:
        self.streams.clear()


class Window:
    """Speaks to the server as a client does; answers its requests from `replies`."""

    def __init__(self, data, daemon: FakeDaemon | None = None) -> None:
        self.daemon = daemon or FakeDaemon()
        self.unreachable: DaemonError | None = None
        self.server, self.session = build_server(self._connect, data)
        self.server.protocol.set_writer(self, include_headers=False)
        self.sent: list[dict] = []
        self.replies: dict[str, Callable[[Any], Any]] = {}
        self._number = 0

    async def _connect(self) -> FakeDaemon:
        if self.unreachable:
            raise self.unreachable
        return self.daemon

    def write(self, data: bytes) -> None:
        message = json.loads(data)
        self.sent.append(message)
        if "method" in message and "id" in message:
            reply = self.replies.get(message["method"], lambda _params: None)
            self.receive({"id": message["id"], "result": reply(message.get("params"))})

    def receive(self, *messages: Any) -> None:
        """Messages that arrive together."""
        full = [{"jsonrpc": "2.0", **message} if isinstance(message, dict) else message for message in messages]
        asyncio.get_running_loop().call_soon(self.server.protocol.receive, full)

    def notify(self, method: str, params: Any = None) -> None:
        self.receive({"method": method, "params": params})

    def request(self, method: str, params: Any = None) -> int:
        """Sends a request and gives its id."""
        self._number += 1
        self.receive({"id": self._number, "method": method, "params": params})
        return self._number

    async def reply(self, number: Any) -> dict:
        """The one reply with the id."""
        return await self.until(
            lambda: next((m for m in self.sent if m.get("id") == number and "method" not in m), None)
        )

    async def ask(self, method: str, params: Any = None) -> Any:
        """The result of a request."""
        reply = await self.reply(self.request(method, params))
        assert "error" not in reply, reply
        return reply["result"]

    async def fail(self, method: str, params: Any = None) -> dict:
        """The error of a request."""
        return (await self.reply(self.request(method, params)))["error"]

    async def until(self, condition: Callable[[], Any]) -> Any:
        """What the condition gives, once it gives something."""
        async with asyncio.timeout(60):
            while not (found := condition()):  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        return found

    def notifications(self, method: str) -> list[Any]:
        return [m.get("params", {}) for m in self.sent if m.get("method") == method]

    async def begin(self, *roots, encodings=("utf-16",), capabilities: dict | None = None, **params: Any) -> dict:
        """Initialize with folders; gives the capabilities."""
        given = {"general": {"positionEncodings": list(encodings)}, **(capabilities or {})}
        folders = [{"uri": root.as_uri(), "name": root.name} for root in roots]
        about = {"processId": None, "capabilities": given, "workspaceFolders": folders, **params}
        result = await self.ask("initialize", about)
        self.notify("initialized", {})
        return result["capabilities"]

    def open(self, uri: str, text: str, language: str = "elixir", version: int = 1) -> str:
        item = {"uri": uri, "languageId": language, "version": version, "text": text}
        self.notify("textDocument/didOpen", {"textDocument": item})
        return uri

    def change(self, uri: str, version: int, *changes: dict) -> None:
        document = {"uri": uri, "version": version}
        self.notify("textDocument/didChange", {"textDocument": document, "contentChanges": list(changes)})


class SharedDaemon(FakeDaemon):
    """One window's connection to a daemon that keeps the unsaved texts of several windows, as the real one does."""

    def __init__(self, store: WindowBuffers) -> None:
        super().__init__()
        self._store = store
        self._ended = asyncio.Event()

    def lose(self) -> None:
        """The event stream ends, and is followed again at once."""
        self._ended.set()

    async def post(self, path: str, body: Any = None, timeout: float | None = None) -> Any:  # noqa: ASYNC109
        if path == "/buffers":
            about = {key: body[key] for key in ("window", "version", "edited_at")}
            self._store.put(body["path"], body["text"], **about)
        return await super().post(path, body, timeout)

    async def events(self, root: str, window: str) -> AsyncIterator[Any]:
        while True:
            self._store.attach(window)
            try:
                yield {"event": "connected"}
                self._ended.clear()
                await self._ended.wait()
            finally:
                self._store.detach(window)


async def open_window(daemon: FakeDaemon, root) -> Window:
    """A window on one folder."""
    window = Window(root / "data", daemon)
    await window.begin(root)
    return window
