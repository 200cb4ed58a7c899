"""Follows the daemon's events, one stream per folder, and reports status and progress to the client.

A new connection may reach a new daemon, so settings and open texts are sent again each time.
"""

import asyncio
import logging
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from lsprotocol import types as lsp

from codekin.errors import CodekinError
from codekin.lsp.documents import WorkspaceFolder
from codekin.lsp.features.commands import announce_run
from codekin.lsp.features.similar import show_location
from codekin.lsp.features.sync import BufferUploader
from codekin.lsp.session import BUSY_STATES, Session

REPORT_INTERVAL = 0.2
"""Seconds between two reports."""
TOKEN_TIMEOUT = 5.0
"""Seconds that the client gets to accept a token."""


class WorkDoneProgress:
    """The progress of what is done in one folder, run after run."""

    def __init__(self, session: Session, title: str) -> None:
        self._session = session
        self._title = f"Codekin: {title}"
        self._token = ""
        self._refused = False
        self._reported = 0.0

    async def report(self, done: int, total: int, message: str) -> None:
        """Reports the progress; the first report of a run begins it."""
        percentage = min(100, 100 * done // total) if total else 0
        about = {"message": message, "percentage": percentage}
        if not self._token:
            await self._begin(about)
        elif time.monotonic() - self._reported > REPORT_INTERVAL:
            self._send({"kind": "report", **about})

    def end(self, message: str) -> None:
        """Ends the progress, also where the run's state is unknown; the next report begins a new one."""
        if self._token:
            self._send({"kind": "end", "message": message})
        self._token, self._refused = "", False

    async def _begin(self, about: dict[str, Any]) -> None:
        if self._refused or not self._session.client.progress:
            return
        token = f"codekin/{uuid.uuid4()}"
        try:
            await asyncio.wait_for(
                self._session.connection.request("window/workDoneProgress/create", {"token": token}), TOKEN_TIMEOUT
            )
        except (CodekinError, TimeoutError):
            self._refused = True
            return
        self._token = token
        self._send({"kind": "begin", "title": self._title, "cancellable": False, **about})

    def _send(self, value: dict[str, Any]) -> None:
        self._reported = time.monotonic()
        self._session.connection.notify("$/progress", {"token": self._token, "value": value})


log = logging.getLogger(__name__)

RETRY_DELAY = 5.0
"""Seconds until a daemon that could not be started is tried again."""


class DaemonEventListener:
    """Follows one folder."""

    def __init__(
        self, session: Session, folder: WorkspaceFolder, buffers: BufferUploader, refresh: Callable[[], None]
    ) -> None:
        self._session = session
        self._folder = folder
        self._root = str(folder.root)
        self._buffers = buffers
        self._refresh = refresh
        self._indexing_progress = WorkDoneProgress(session, f"indexing {folder.name}")
        self._training_progress = WorkDoneProgress(session, f"fine-tuning {folder.name}")
        self._about: dict[str, Any] = {}

    async def run(self) -> None:
        """Follow until the folder is removed."""
        self._session.status.update(self._root, name=self._folder.name)
        try:
            while True:
                try:
                    async for event in (await self._session.daemon.connection()).events(
                        self._root, self._session.window
                    ):
                        await self._handle_event(event)
                except CodekinError as error:
                    self._mark_lost(str(error))
                await asyncio.sleep(RETRY_DELAY)
        finally:
            self._indexing_progress.end("Stopped.")
            self._training_progress.end("Stopped.")

    async def send_settings(self) -> None:
        """Give the daemon this window's settings for the folder."""
        body = {"root": self._root, "settings": dict(self._session.overrides)}
        self._handle_status(await self._session.post("/workspaces/open", body))

    async def _handle_event(self, event: Mapping[str, Any]) -> None:
        match event:
            case {"event": "connected"}:
                await self._connect()
            case {"event": "lost"}:
                self._mark_lost(str(event.get("message", "The daemon is gone; it is started again.")))
            case {"event": "progress", "done": int() as done, "total": int() as total}:
                self._session.status.update(self._root, done=done, total=total)
                rate = float(event.get("rate") or 0)
                message_text = f"{done} of {total} files" + (f", {rate:.0f} chunks/s" if rate else "")
                await self._indexing_progress.report(done, total, message_text)
            case {"event": "finetune"}:
                await self._handle_training_event(event)
            case {"event": "ready"}:
                self._session.status.update(self._root, done=0, total=0, problem="")
                self._indexing_progress.end("Indexed.")
                self._refresh()
            case {"event": "show", "path": str() as path, "line": int() as line}:
                self._session.spawn(show_location(self._session, self._folder, path, line))
            case {"event": "changed"}:
                self._refresh()
            case {"event": "problem" | "ended", "message": str() as message}:
                self._session.status.update(self._root, problem=message)
            case {"event": "status"}:
                self._handle_status({name: value for name, value in event.items() if name != "event"})

    async def _handle_training_event(self, event: Mapping[str, Any]) -> None:
        """A step of a fine-tuning run, or its end with the run as the history has it."""
        self._about["finetune"] = {name: event.get(name) for name in ("running", "phase", "done", "total")}
        self._session.status.update(self._root, about=dict(self._about))
        match event:
            case {"running": True, "phase": str() as phase, "done": int() as done, "total": int() as total}:
                left = float(event.get("seconds_left") or 0)
                message_text = f"{phase}, {done} of {total}" + (f", {left / 60:.0f} minutes left" if left > 90 else "")
                await self._training_progress.report(done, total, message_text)
            case {"problem": str() as problem}:
                self._training_progress.end("Ended.")
                warning = {"type": lsp.MessageType.Warning.value, "message": f"{self._folder.name}: {problem}"}
                self._session.connection.notify("window/showMessage", warning)
            case {"run": Mapping() as run}:
                self._training_progress.end(str(run.get("decision", "")))
                self._session.spawn(announce_run(self._session, self._folder, run))
            case _:
                self._training_progress.end("Ended.")

    async def _connect(self) -> None:
        self._session.status.update(self._root, connected=True, lost="")
        try:
            await self.send_settings()
        except CodekinError as error:
            log.info("The settings were not sent: %s", error)  # the stream ends too, and begins again
        self._buffers.all_changed(self._folder)
        self._refresh()

    def _handle_status(self, status: Any) -> None:
        if not isinstance(status, Mapping):
            return
        problems = status.get("problems")
        problem = str(problems[0]) if isinstance(problems, list) and problems else ""
        settled = {} if status.get("state") in BUSY_STATES else {"done": 0, "total": 0}
        self._about = dict(status)
        self._session.status.update(self._root, about=dict(status), problem=problem, **settled)

    def _mark_lost(self, message: str) -> None:
        self._session.warm.discard(self._root)
        self._session.status.update(self._root, connected=False, lost=message, done=0, total=0)
        self._indexing_progress.end("The daemon is gone.")
        self._training_progress.end("The daemon is gone.")
