"""`$/progress` for indexing and learning: one token for each run, begun, reported and ended exactly once."""

import asyncio
import time
import uuid
from typing import Any

from codekin.errors import CodekinError
from codekin.lsp.session import Session

PACE = 0.2
"""Seconds between two reports."""
LONGEST_WAIT = 5.0
"""Seconds that the client gets to accept a token."""


class RunProgress:
    """The progress of what is done in one folder, run after run."""

    def __init__(self, session: Session, title: str) -> None:
        self._session = session
        self._title = f"Codekin: {title}"
        self._token = ""
        self._refused = False
        self._reported = 0.0

    async def report(self, done: int, total: int, message: str) -> None:
        """Say how far it is; the first report of a run begins it."""
        percentage = min(100, 100 * done // total) if total else 0
        about = {"message": message, "percentage": percentage}
        if not self._token:
            await self._begin(about)
        elif time.monotonic() - self._reported > PACE:
            self._send({"kind": "report", **about})

    def end(self, message: str) -> None:
        """The run is over, or nobody can tell; the next report begins a new one."""
        if self._token:
            self._send({"kind": "end", "message": message})
        self._token, self._refused = "", False

    async def _begin(self, about: dict[str, Any]) -> None:
        if self._refused or not self._session.client.progress:
            return
        token = f"codekin/{uuid.uuid4()}"
        try:
            await asyncio.wait_for(
                self._session.wire.ask("window/workDoneProgress/create", {"token": token}), LONGEST_WAIT
            )
        except (CodekinError, TimeoutError):
            self._refused = True
            return
        self._token = token
        self._send({"kind": "begin", "title": self._title, "cancellable": False, **about})

    def _send(self, value: dict[str, Any]) -> None:
        self._reported = time.monotonic()
        self._session.wire.notify("$/progress", {"token": self._token, "value": value})
