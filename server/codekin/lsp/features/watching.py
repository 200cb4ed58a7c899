"""Listens to the daemon, one stream for each folder, and brings what it hears to the window.

The stream heals itself when the daemon dies; so each new connection finds a daemon that may
know nothing of this window, and is told everything again.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any

from lsprotocol import types as lsp

from codekin.errors import CodekinError
from codekin.lsp.features.learning import tell_of_run
from codekin.lsp.features.progress import RunProgress
from codekin.lsp.features.show import show_place
from codekin.lsp.features.sync import Buffers
from codekin.lsp.folders import Folder
from codekin.lsp.session import Session
from codekin.lsp.status import WORKING

log = logging.getLogger(__name__)

RETRY = 5.0
"""Seconds until a daemon that could not be started is tried again."""


class Watch:
    """Follows one folder."""

    def __init__(self, session: Session, folder: Folder, buffers: Buffers, refresh: Callable[[], None]) -> None:
        self._session = session
        self._folder = folder
        self._root = str(folder.root)
        self._buffers = buffers
        self._refresh = refresh
        self._progress = RunProgress(session, f"indexing {folder.name}")
        self._learning = RunProgress(session, f"learning {folder.name}")
        self._about: dict[str, Any] = {}

    async def run(self) -> None:
        """Follow until the folder is removed."""
        self._session.status.update(self._root, name=self._folder.name)
        try:
            while True:
                try:
                    async for event in (await self._session.daemon()).events(self._root):
                        await self._take(event)
                except CodekinError as error:
                    self._lose(str(error))
                await asyncio.sleep(RETRY)
        finally:
            self._progress.end("Stopped.")
            self._learning.end("Stopped.")

    async def tell_settings(self) -> None:
        """Give the daemon this window's settings for the folder."""
        body = {"root": self._root, "settings": dict(self._session.overrides)}
        self._take_status(await self._session.post("/workspaces/open", body))

    async def _take(self, event: Mapping[str, Any]) -> None:
        match event:
            case {"event": "connected"}:
                await self._connect()
            case {"event": "lost"}:
                self._lose(str(event.get("message", "The daemon is gone; it is started again.")))
            case {"event": "progress", "done": int() as done, "total": int() as total}:
                self._session.status.update(self._root, done=done, total=total)
                rate = float(event.get("rate") or 0)
                said = f"{done} of {total} files" + (f", {rate:.0f} fragments/s" if rate else "")
                await self._progress.report(done, total, said)
            case {"event": "learning"}:
                await self._take_learning(event)
            case {"event": "ready"}:
                self._session.status.update(self._root, done=0, total=0, problem="")
                self._progress.end("Indexed.")
                self._refresh()
            case {"event": "show", "path": str() as path, "line": int() as line}:
                self._session.spawn(show_place(self._session, self._folder, path, line))
            case {"event": "changed"}:
                self._refresh()
            case {"event": "problem" | "ended", "message": str() as message}:
                self._session.status.update(self._root, problem=message)
            case {"event": "status"}:
                self._take_status({name: value for name, value in event.items() if name != "event"})

    async def _take_learning(self, event: Mapping[str, Any]) -> None:
        """A learner's step, or its end with the run as the history has it."""
        self._about["learning"] = {name: event.get(name) for name in ("running", "phase", "done", "total")}
        self._session.status.update(self._root, about=dict(self._about))
        match event:
            case {"running": True, "phase": str() as phase, "done": int() as done, "total": int() as total}:
                left = float(event.get("seconds_left") or 0)
                said = f"{phase}, {done} of {total}" + (f", {left / 60:.0f} minutes left" if left > 90 else "")
                await self._learning.report(done, total, said)
            case {"problem": str() as problem}:
                self._learning.end("Ended.")
                warning = {"type": lsp.MessageType.Warning.value, "message": f"{self._folder.name}: {problem}"}
                self._session.wire.notify("window/showMessage", warning)
            case {"run": Mapping() as run}:
                self._learning.end(str(run.get("decision", "")))
                self._session.spawn(tell_of_run(self._session, self._folder, run))
            case _:
                self._learning.end("Ended.")

    async def _connect(self) -> None:
        self._session.status.update(self._root, connected=True, lost="")
        try:
            await self.tell_settings()
        except CodekinError as error:
            log.info("The settings were not sent: %s", error)  # the stream ends too, and begins again
        self._buffers.all_changed(self._folder)
        self._refresh()

    def _take_status(self, status: Any) -> None:
        if not isinstance(status, Mapping):
            return
        problems = status.get("problems")
        problem = str(problems[0]) if isinstance(problems, list) and problems else ""
        settled = {} if status.get("state") in WORKING else {"done": 0, "total": 0}
        self._about = dict(status)
        self._session.status.update(self._root, about=dict(status), problem=problem, **settled)

    def _lose(self, message: str) -> None:
        self._session.warm.discard(self._root)
        self._session.status.update(self._root, connected=False, lost=message, done=0, total=0)
        self._progress.end("The daemon is gone.")
        self._learning.end("The daemon is gone.")
