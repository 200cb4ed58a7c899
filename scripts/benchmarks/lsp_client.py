"""An editor's side of `codekin lsp`: the installed command over pipes, timed where the bytes arrive.

A thread reads, so that requests can be sent on time whatever is still unanswered.
"""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

COMMAND = Path(sys.executable).with_name("codekin")
PATIENCE = 120.0
"""Seconds until an answer counts as lost, on a machine that is busy."""


class LspClient:
    """One running `codekin lsp`; `arrived` holds the time at which each reply came, by request id."""

    def __init__(self, data: Path, command: Sequence[str] = ()) -> None:
        command = command or [str(COMMAND), "lsp", "--data-dir", str(data)]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL)
        self.arrived: dict[int, float] = {}
        self.status: dict[str, Any] = {}
        self._replies: dict[int, dict[str, Any]] = {}
        self._number = 0
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join()
        for pipe in filter(None, (self.process.stdin, self.process.stdout)):
            with suppress(BrokenPipeError):
                pipe.close()

    def begin(self, *roots: Path) -> None:
        """Opens folders, as an editor does at its start."""
        folders = [{"uri": root.as_uri(), "name": root.name} for root in roots]
        capabilities = {"general": {"positionEncodings": ["utf-16"]}}
        self.ask("initialize", {"processId": os.getpid(), "capabilities": capabilities, "workspaceFolders": folders})
        self.send({"method": "initialized", "params": {}})

    def ask(self, method: str, params: Any = None) -> Any:
        """The result of a request."""
        reply = self.reply(self.request(method, params))
        if "error" in reply:
            raise RuntimeError(f"{method} failed: {reply['error']['message']}")
        return reply["result"]

    def request(self, method: str, params: Any = None) -> int:
        """Sends a request and gives its id."""
        self._number += 1
        self.send({"id": self._number, "method": method, "params": params})
        return self._number

    def reply(self, number: int) -> dict[str, Any]:
        """The reply to a request, once it is there."""
        self.wait(lambda: number in self._replies)
        return self._replies.pop(number)

    def wait(self, holds: Callable[[], object]) -> None:
        """Waits until something that came makes a condition hold."""
        with self._news:
            if not self._news.wait_for(holds, PATIENCE):
                raise TimeoutError(f"codekin lsp did not answer within {PATIENCE:g} seconds: {self.status}")

    def until_ready(self) -> None:
        """Waits until the status says that the index is equal to the folder."""
        self.wait(self._is_ready)

    def _is_ready(self) -> bool:
        folders = self.status.get("folders", ())
        return bool(folders) and all(folder["about"].get("state") == "ready" for folder in folders)

    def send(self, message: dict[str, Any]) -> None:
        """Writes one message."""
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        stdin = self.process.stdin
        if stdin is None:
            return
        stdin.write(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
        stdin.flush()

    def _read(self) -> None:
        stdout = self.process.stdout
        while stdout and (header := stdout.readline()):
            while stdout.readline().strip():
                pass
            body = stdout.read(int(header.split(b":")[1]))
            now = time.perf_counter()
            self._take(json.loads(body), now)

    def _take(self, message: dict[str, Any], now: float) -> None:
        if "method" in message and "id" in message:
            with suppress(BrokenPipeError):
                self.send({"id": message["id"], "result": None})
        with self._news:
            if message.get("method") == "codekin/status":
                self.status = message["params"]
            elif "method" not in message:
                self._replies[message["id"]], self.arrived[message["id"]] = message, now
            self._news.notify_all()


def timed(call: Callable[[], object]) -> float:
    """Milliseconds that a call takes."""
    start = time.perf_counter()
    call()
    return (time.perf_counter() - start) * 1000


def percentile(values: list[float], share: float) -> float:
    """The value below which this share of the values lies."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]
