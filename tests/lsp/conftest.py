"""Two clients: one of the real server on this event loop with a daemon from a table, one over real pipes."""

import asyncio
import contextlib
import inspect
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

import pytest

from codekin.daemon.start import listener_pid
from codekin.lsp.features.inline import NOBODY
from codekin.lsp.framing import frame
from codekin.lsp.server import build

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
            "/similar": {"query": {}, "hits": [HIT], "space": "s", "ms": 1},
            "/search": {"query": {}, "hits": [HIT], "space": "s", "ms": 1},
            "/lens": {
                "lenses": [{"name": "A.go/0", "kind": "function", "start_line": 1, "end_line": 3, "code_line": 2}]
            },
            "/complete": {"items": [], "model": "repository", "ms": 1},
            "/complete/events": {},
            "/dashboard": {"url": "http://127.0.0.1:1/?token=x"},
            "/learn": {"message": "Learning has begun."},
            "/history": {"runs": [], "active": "base"},
            "/rollback": {"message": "Searched with the model as it came now.", "active": "base"},
            "/duplicates": {"groups": [[HIT, HIT]], "ms": 1},
            "/index": [{"event": "progress"}, {"result": {"files": 1, "fragments": 2}}],
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
        if (body or {}).get("window") == NOBODY:
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

    async def events(self, root: str) -> AsyncIterator[Any]:
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

    def __init__(self, data) -> None:
        self.daemon = FakeDaemon()
        self.unreachable: DaemonError | None = None
        self.server, self.session = build(self._connect, data)
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


@pytest.fixture
async def window(tmp_path, monkeypatch):
    monkeypatch.setenv("CODEKIN_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setattr("codekin.lsp.features.sync.DELAY", 0.01)
    monkeypatch.setattr("codekin.lsp.features.workspace.CALM", 0.01)
    monkeypatch.setattr("codekin.lsp.features.watching.RETRY", 0.01)
    monkeypatch.setattr("codekin.lsp.features.progress.PACE", 0.0)
    window = Window(tmp_path / "data")
    yield window
    await window.session.close()


@pytest.fixture
def root(tmp_path):
    """A folder with one file that every hit points into."""
    root = tmp_path / "my project ü"
    (root / "lib").mkdir(parents=True)
    (root / "lib" / "b.ex").write_text("defmodule B do\n  def run(x) do\n    x\n  end # 🙂\nend\n")
    return root


class Editor:
    """A client over real pipes to `codekin lsp` in a process of its own; reads in a thread."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, env=environment)
        self.messages: list[Any] = []
        self.replies: dict[str, Callable[[Any], Any]] = {}
        self._number = 0
        self._arrived = threading.Condition()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def send_bytes(self, data: bytes) -> None:
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def send(self, **message: Any) -> None:
        self.send_bytes(frame(json.dumps({"jsonrpc": "2.0", **message}).encode()))

    def request(self, method: str, params: Any = None) -> int:
        self._number += 1
        self.send(id=self._number, method=method, params=params)
        return self._number

    def reply(self, number: Any, timeout: float = 60) -> dict:
        return self.until(lambda m: m.get("id") == number and "method" not in m, timeout)

    def ask(self, method: str, params: Any = None, timeout: float = 60) -> Any:
        reply = self.reply(self.request(method, params), timeout)
        assert "error" not in reply, reply
        return reply["result"]

    def until(self, wanted: Callable[[dict], Any], timeout: float = 60, after: int = 0) -> dict:
        """The first message from number `after` on that is wanted."""

        def find() -> dict | None:
            return next((message for message in self.messages[after:] if wanted(message)), None)

        with self._arrived:
            assert self._arrived.wait_for(find, timeout), f"nothing came, only {self.messages[-5:]}"
            return find()

    def begin(self, *roots, encodings=("utf-16",), capabilities: dict | None = None, **params: Any) -> dict:
        given = {"general": {"positionEncodings": list(encodings)}, **(capabilities or {})}
        folders = [{"uri": root.as_uri(), "name": root.name} for root in roots]
        about = {"processId": os.getpid(), "capabilities": given, "workspaceFolders": folders, **params}
        capabilities = self.ask("initialize", about)["capabilities"]
        self.send(method="initialized", params={})
        return capabilities

    def close(self) -> None:
        """Ends the process, if it still runs, and reads what it left."""
        self.process.kill()
        self.process.wait()
        self.reader.join()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            with contextlib.suppress(BrokenPipeError):
                pipe.close()

    def _read(self) -> None:
        while header := self.process.stdout.readline():
            while self.process.stdout.readline().strip():
                pass
            message = json.loads(self.process.stdout.read(int(header.split(b":")[1])))
            with self._arrived:
                self.messages.append(message)
                self._arrived.notify_all()
            if "method" in message and "id" in message:
                reply = self.replies.get(message["method"], lambda _params: None)
                with contextlib.suppress(OSError, ValueError):
                    self.send(id=message["id"], result=reply(message.get("params")))


@pytest.fixture
def start_editor(tmp_path):
    """Starts editors whose servers share a data folder of the test's own; ends them and their daemon."""
    data, editors = tmp_path / "data", []
    own = {"CODEKIN_CONFIG_DIR": str(tmp_path / "config"), "CODEKIN_BUILD": "0.1.0+0+test"}
    environment = {**os.environ, **own, "PYTHONUNBUFFERED": "1"}

    def start() -> Editor:
        command = [sys.executable, "-P", "-m", "codekin", "lsp", "--data-dir", str(data)]
        editors.append(Editor(command, environment))
        return editors[-1]

    yield start
    for editor in editors:
        editor.close()
    if data.exists() and (pid := listener_pid(data)) is not None:
        os.kill(pid, signal.SIGTERM)
