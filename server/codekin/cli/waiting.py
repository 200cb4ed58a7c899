"""Waits until a workspace can answer, with progress on standard error where that is a terminal."""

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from codekin.cli.output import note
from codekin.daemon.client import Client
from codekin.errors import DaemonError

Report = Callable[[int, int, str], None]
"""Takes what is done, of how many (0: not known), and what is being done."""

MOST_FAILURES = 2
LEAST_WAIT = 5.0
"""Seconds before the first estimate of what is left is believed."""


def wait_until_ready(client: Client, root: Path, patience: float = float("inf")) -> Mapping[str, Any]:
    """The workspace's status once it is indexed and its model is loaded or known to fail.

    Where all words are in and the vectors would take more than `patience` seconds in all, it is what
    stands by then, and a note says so. Raises DaemonError when the indexer cannot do its work.
    """
    status: Mapping[str, Any] = client.get("/status", root=str(root))
    if _is_ready(status):
        return status
    began = time.monotonic()
    with progress(f"Indexing {root.name}") as report:
        for event in client.lines(f"/events?{_query(root)}", method="GET"):
            kind = event.get("event")
            if kind == "status":
                status = event
                if _is_ready(status):
                    return status
            elif kind == "progress":
                report(int(event.get("done") or 0), int(event.get("total") or 0), "")
                if _is_far_off(event, time.monotonic() - began, patience):
                    left = event["total"] - event["done"]
                    note(f"{left} of {status['fragments']} fragments are found by their words alone so far.")
                    return status
            elif kind == "ended" and event.get("failures", 0) > MOST_FAILURES:
                raise DaemonError(str(event.get("message")))
    raise DaemonError("The daemon left meanwhile; ask again.")


def _is_far_off(progress: Mapping[str, Any], waited: float, patience: float) -> bool:
    """Whether only vectors are missing, and too many: an estimate counts once there was time to make one."""
    left = progress.get("seconds_left")
    if progress.get("phase") != "vectors" or not progress.get("done") or left is None:
        return False
    return waited > min(LEAST_WAIT, patience) and waited + float(left) > patience


def follow(events: Iterator[Mapping[str, Any]], title: str) -> Mapping[str, Any]:
    """Shows the progress of a streamed answer and gives its result. Raises DaemonError if none comes."""
    with progress(title) as report:
        for event in events:
            if "result" in event:
                result: Mapping[str, Any] = event["result"]
                return result
            if event.get("event") == "progress":
                phase = f"{title}: {event['phase']}" if event.get("phase") else ""
                report(int(event.get("done") or 0), int(event.get("total") or 0), phase)
            elif event.get("event") in {"problem", "note"}:
                note(str(event.get("message")))
    raise DaemonError("The daemon left meanwhile; ask again.")


@contextmanager
def progress(title: str) -> Iterator[Report]:
    """A bar with rate and estimate on a terminal's standard error; silent in a pipe."""
    if not sys.stderr.isatty():
        yield lambda done, total, what: None  # noqa: ARG005
        return
    from rich.console import Console  # noqa: PLC0415 - for terminals alone
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=None, rate="")

        def report(done: int, total: int, what: str) -> None:
            speed = bar.tasks[0].speed
            rate = f"{speed:.0f}/s" if speed else ""
            bar.update(task, completed=done, total=total or None, rate=rate, description=what or title)

        yield report


def _is_ready(status: Mapping[str, Any]) -> bool:
    settled = status.get("state") == "ready" or _is_replacing(status)
    return settled and status.get("model", {}).get("phase") != "loading"


def _is_replacing(status: Mapping[str, Any]) -> bool:
    """Whether everything is embedded anew for another model, while the one before answers from whole vectors."""
    phase = (status.get("progress") or {}).get("phase")
    return phase == "vectors" and status.get("embedded") == status.get("fragments") != 0


def _query(root: Path) -> str:
    from urllib.parse import urlencode  # noqa: PLC0415 - asked once

    return urlencode({"root": str(root)})
