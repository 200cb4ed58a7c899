"""Two clients: a window on this event loop, and an editor over real pipes."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
from windows import Window

from codekin.daemon.process.startup import listener_pid
from fakes import frame_message


@pytest.fixture
async def window(tmp_path, monkeypatch):
    monkeypatch.setenv("CODEKIN_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setattr("codekin.lsp.features.sync.SEND_DELAY", 0.01)
    monkeypatch.setattr("codekin.lsp.features.workspace.REFRESH_DELAY", 0.01)
    monkeypatch.setattr("codekin.lsp.features.daemon_events.RETRY_DELAY", 0.01)
    monkeypatch.setattr("codekin.lsp.features.daemon_events.REPORT_INTERVAL", 0.0)
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
        self.send_bytes(frame_message(json.dumps({"jsonrpc": "2.0", **message}).encode()))

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
