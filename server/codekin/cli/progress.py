"""Waits for a workspace or a running job and shows its progress on standard error."""

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from codekin.cli.output import make_printable, print_note
from codekin.daemon.client import DaemonClient
from codekin.errors import DaemonError

ProgressCallback = Callable[[int, int, str], None]
"""Takes what is done, of how many (0: not known), and what is being done."""


MAX_FAILURES = 2


MIN_ESTIMATE_SECONDS = 5.0
"""Seconds before the first estimate of what is left is believed."""


def wait_until_ready(client: DaemonClient, root: Path, timeout: float = float("inf")) -> Mapping[str, Any]:
    """The workspace's status once it is indexed and its model is loaded or known to fail.

    Where all words are indexed and the vectors would take over `timeout` seconds in all, it is the status
    at that moment, and a note gives the number of missing vectors. Raises DaemonError when the indexer fails.
    """
    status: Mapping[str, Any] = client.get("/status", root=str(root))
    if _is_ready(status):
        return status
    began = time.monotonic()
    with show_progress(f"Indexing {root.name}") as report:
        for event in client.lines(f"/events?{_query(root)}", method="GET"):
            kind = event.get("event")
            if kind == "status":
                status = event
                if _is_ready(status):
                    return status
            elif kind == "progress":
                report(int(event.get("done") or 0), int(event.get("total") or 0), "")
                if _exceeds_timeout(event, time.monotonic() - began, timeout):
                    remaining = event["total"] - event["done"]
                    print_note(f"{remaining} of {status['chunks']} chunks are found by text search only so far.")
                    return status
            elif kind == "ended" and event.get("failures", 0) > MAX_FAILURES:
                raise DaemonError(str(event.get("message")))
    raise DaemonError("The daemon exited meanwhile; run the command again.")


def _exceeds_timeout(progress: Mapping[str, Any], waited: float, timeout: float) -> bool:
    """Whether only vectors are missing, and too many: an estimate counts once there was time to make one."""
    remaining = progress.get("seconds_left")
    if progress.get("phase") != "vectors" or not progress.get("done") or remaining is None:
        return False
    return waited > min(MIN_ESTIMATE_SECONDS, timeout) and waited + float(remaining) > timeout


def follow_events(
    events: Iterator[Mapping[str, Any]], title: str, on_event: Callable[[Mapping[str, Any]], None] = lambda _: None
) -> Mapping[str, Any]:
    """Shows the progress of a streamed answer and gives its result; `on_event` takes events of other kinds.

    Raises DaemonError if none comes.
    """
    with show_progress(title) as report:
        for event in events:
            if "result" in event:
                result: Mapping[str, Any] = event["result"]
                return result
            if event.get("event") == "progress":
                phase = f"{title}: {event['phase']}" if event.get("phase") else ""
                report(int(event.get("done") or 0), int(event.get("total") or 0), phase)
            elif event.get("event") in {"problem", "note"}:
                print_note(str(event.get("message")))
            else:
                on_event(event)
    raise DaemonError("The daemon exited meanwhile; run the command again.")


@contextmanager
def show_progress(title: str) -> Iterator[ProgressCallback]:
    """A bar with rate and estimate on a terminal's standard error; silent in a pipe."""
    if not sys.stderr.isatty():
        yield lambda done, total, what: None  # noqa: ARG005
        return
    from rich.console import Console  # noqa: PLC0415 - not in a pipe
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(make_printable(title), total=None, rate="")

        def report(done: int, total: int, what: str) -> None:
            speed = bar.tasks[0].speed
            rate = f"{speed:.0f}/s" if speed else ""
            bar.update(task, completed=done, total=total or None, rate=rate, description=make_printable(what or title))

        yield report


def _is_ready(status: Mapping[str, Any]) -> bool:
    settled = status.get("state") == "ready" or _is_reembedding(status)
    return settled and status.get("model", {}).get("phase") != "loading"


def _is_reembedding(status: Mapping[str, Any]) -> bool:
    """Whether everything is embedded anew for another model, while the one before answers from whole vectors."""
    phase = (status.get("progress") or {}).get("phase")
    return phase == "vectors" and status.get("embedded") == status.get("chunks") != 0


def _query(root: Path) -> str:
    return urlencode({"root": str(root)})


def format_seconds(seconds: float) -> str:
    """`45 s`, or `3 min` from two minutes on."""
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
