"""The indexer child of one workspace: started, told what to do, listened to, started again.

The child reads commands as JSON lines and writes events as JSON lines; it ends when its
input closes, so that nothing stays behind when the daemon dies. Knows nothing of indexing.
"""

import asyncio
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from codekin import places
from codekin.daemon.child import FAREWELL_SECONDS, Event, child_command, child_events, start_child

if TYPE_CHECKING:
    from asyncio.subprocess import Process

log = logging.getLogger(__name__)

RESTART_DELAYS = (0.5, 2.0, 10.0, 60.0)
"""Seconds before each restart in a row; the last one repeats."""

CALM_SECONDS = 60.0
"""A child that ran this long is trusted again."""

LINE_LIMIT = 8_000_000
MODULE = "codekin.ingest.child"


class Indexer:
    """Keeps one child alive until `stop`; `heard` is called with each event on the loop."""

    def __init__(
        self, root: Path, data: Path, heard: Callable[[Event], None], opening: Callable[[], list[Event]]
    ) -> None:
        self._command = child_command(MODULE, data, root)
        self._log = places.logs_folder(data) / f"indexer-{places.workspace_folder(data, root).name}.log"
        self._cwd = data
        self._heard = heard
        self._opening = opening
        self._process: Process | None = None
        self._stopping = False
        self._keeper = asyncio.create_task(self._keep())

    @property
    def pid(self) -> int | None:
        """The child's process id while it runs."""
        return self._process.pid if self._process and self._process.returncode is None else None

    def tell(self, command: Event) -> None:
        """Sends a command if the child runs; `opening` repeats to the next one what still counts."""
        if self._process and self._process.stdin and not self._process.stdin.is_closing():
            self._process.stdin.write(json.dumps(command).encode() + b"\n")

    def restart(self) -> None:
        """Lets the child end; another one takes its place at once."""
        self.tell({"do": "stop"})

    async def stop(self) -> None:
        """Ends the child: asked, then by closing its input, then by force."""
        self._stopping = True
        self.tell({"do": "stop"})
        process = self._process
        if process and process.stdin:
            process.stdin.close()
        try:
            await asyncio.wait_for(asyncio.shield(self._keeper), FAREWELL_SECONDS)
        except TimeoutError:
            if process and process.returncode is None:
                process.kill()
            self._keeper.cancel()

    async def _keep(self) -> None:
        failures = 0
        loop = asyncio.get_running_loop()
        while not self._stopping:
            began = loop.time()
            try:
                code = await self._run()
            except OSError as error:
                code = error.errno or 1
            if self._stopping:
                return
            if code == 0:
                continue
            failures = 0 if loop.time() - began > CALM_SECONDS else failures + 1
            wait = RESTART_DELAYS[min(failures, len(RESTART_DELAYS)) - 1] if failures else 0.0
            log.warning("An indexer ended with status %s; it starts again in %g seconds.", code, wait)
            message = f"The indexer ended with status {code}; it starts again in {wait:g} seconds, see {self._log}."
            self._heard({"event": "ended", "failures": failures, "message": message})
            await asyncio.sleep(wait)

    async def _run(self) -> int:
        """Runs one child to its end; gives its exit status."""
        with self._log.open("ab") as errors:
            if self._log.stat().st_size > LINE_LIMIT:
                errors.truncate(0)
            self._process = process = await start_child(self._command, self._cwd, errors, LINE_LIMIT)
        for command in self._opening():
            self.tell(command)
        try:
            async for event in child_events(process):
                self._heard(event)
        finally:
            if process.returncode is None and not self._stopping:
                process.kill()
        return await process.wait()
