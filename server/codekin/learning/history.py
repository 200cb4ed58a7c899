"""The history of learning in one workspace: every run, what it saw, what it cost, what was decided and why.

SQLite with full synchrony: a run counts as finished, and its range of the journal as used, in one transaction. A run
that was killed between moving the pointer and that transaction is found out by the checkpoint that the pointer names.
"""

import json
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from codekin.errors import CheckpointError, LearningError
from codekin.models import checkpoints

_TABLE = """
CREATE TABLE IF NOT EXISTS run(
  id INTEGER PRIMARY KEY AUTOINCREMENT, started REAL NOT NULL, finished REAL,
  asked_by TEXT NOT NULL, date TEXT NOT NULL,
  from_seq INTEGER NOT NULL, to_seq INTEGER NOT NULL, settings TEXT NOT NULL, report TEXT NOT NULL,
  decision TEXT NOT NULL, reason TEXT NOT NULL, checkpoint TEXT NOT NULL)
"""
_COLUMNS = "started, finished, asked_by, date, from_seq, to_seq, settings, report, decision, reason, checkpoint"
_FIELDS = ("id", *_COLUMNS.split(", "))
RUNNING, ACTIVATED, KEPT, DRY_RUN = "running", "activated", "kept", "dry run"
FAILED, INTERRUPTED, SKIPPED, ROLLED_BACK = "failed", "interrupted", "skipped", "rolled back"
USED = (ACTIVATED, KEPT)
"""Decisions after which the run's range of the journal counts as used; that of any other run is used again."""

ENDED = (ACTIVATED, KEPT, SKIPPED)
"""Decisions after which a date has had its run."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run; times in seconds since 1970, `report` holds losses and metrics, `checkpoint` is empty without one."""

    id: int
    started: float
    finished: float | None
    asked_by: str
    date: str
    from_seq: int
    to_seq: int
    settings: Mapping[str, Any] = field(default_factory=dict)
    report: Mapping[str, Any] = field(default_factory=dict)
    decision: str = RUNNING
    reason: str = ""
    checkpoint: str = ""


def begin_run(folder: Path, asked_by: str, date: str, settings: Mapping[str, Any]) -> int:
    """Notes that a run has begun, and how those ended that nobody ended; the caller holds the learner's lock."""
    with _open(folder) as database:
        _settle(database, folder)
        row = (time.time(), None, asked_by, date, 0, 0, json.dumps(dict(settings)), "{}", RUNNING, "", "")
        return _insert(database, row)


def end_run(  # noqa: PLR0913, PLR0917 - what a run ends with
    folder: Path,
    run: int,
    decision: str,
    reason: str,
    report: Mapping[str, Any],
    checkpoint: str = "",
    span: Sequence[int] = (0, 0),
) -> None:
    """Notes how a run ended; `span` is its range of the journal."""
    with _open(folder) as database:
        _end(database, run, (decision, reason, json.dumps(dict(report)), checkpoint, *span))


def note_rollback(folder: Path, checkpoint: str) -> None:
    """Notes that the user went back to a checkpoint, or to the base."""
    now = time.time()
    reason = "Back to the model as it came." if checkpoint == checkpoints.BASE else f"Back to {checkpoint}."
    row = (now, now, "user", "", 0, 0, "{}", "{}", ROLLED_BACK, reason, "")
    with _open(folder) as database:
        _insert(database, row)


def note_refusal(folder: Path, run: int, reason: str) -> Run:
    """Notes that what a run had activated could not take over: the old model stays, the changes count as used."""
    with _open(folder) as database:
        database.execute("UPDATE run SET decision=?, reason=? WHERE id=?", (KEPT, reason, run))
    return next(one for one in runs(folder) if one.id == run)


def settle(folder: Path) -> None:
    """Notes how the runs ended that nobody ended; to be called while no learner runs."""
    with _open(folder) as database:
        _settle(database, folder)


def runs(folder: Path, limit: int = 100) -> list[Run]:
    """The latest runs, newest first."""
    with _open(folder) as database:
        rows = database.execute(f"SELECT id, {_COLUMNS} FROM run ORDER BY id DESC LIMIT ?", (limit,)).fetchall()  # noqa: S608
    return [_run_of(dict(zip(_FIELDS, row, strict=True))) for row in rows]


def used_until(folder: Path) -> int:
    """The journal's write number up to which changes were used by a run that ended."""
    marks = ",".join("?" * len(USED))
    with _open(folder) as database:
        row = database.execute(f"SELECT MAX(to_seq) FROM run WHERE decision IN ({marks})", USED).fetchone()  # noqa: S608
    return int(row[0] or 0)


def as_row(run: Run, active: str) -> dict[str, Any]:
    """The run as every surface shows it: times in ISO 8601 UTC, MAP between 0 and 1."""
    judged = run.report.get("judged") or {}
    scores = {"before": {"map": judged["before"]}, "after": {"map": judged["after"]}} if judged else {}
    return {
        "id": run.id,
        "started": _iso(run.started),
        "finished": _iso(run.finished) if run.finished else None,
        "asked_by": run.asked_by,
        "date": run.date,
        "method": run.settings.get("method", "head"),
        "decision": run.decision,
        "reason": run.reason,
        "active": bool(run.checkpoint) and run.checkpoint == active,
        "checkpoint": run.checkpoint or None,
        **scores,
        "losses": [epoch["loss"] for epoch in run.report.get("epochs", ()) if "loss" in epoch],
        "report": dict(run.report),
        "settings": dict(run.settings),
        "range": [run.from_seq, run.to_seq],
    }


def _run_of(values: dict[str, Any]) -> Run:
    return Run(**values | {name: json.loads(values[name]) for name in ("settings", "report")})


def _settle(database: sqlite3.Connection, folder: Path) -> None:
    """Runs whose learner is gone: what the pointer names took over, all others were interrupted."""
    lost = [row[0] for row in database.execute("SELECT id FROM run WHERE decision=?", (RUNNING,))]
    if not lost:
        return
    meta = _active_meta(folder)
    for run in lost:
        if meta.get("run") == run:
            ended = (ACTIVATED, str(meta["reason"]), json.dumps(meta["report"]), meta["checkpoint"], *meta["span"])
            _end(database, run, ended)
        else:
            _end(database, run, (INTERRUPTED, "It was stopped before it came to a decision.", "{}", "", 0, 0))


def _active_meta(folder: Path) -> dict[str, Any]:
    name = checkpoints.pointed(folder)
    try:
        return {} if name == checkpoints.BASE else {**checkpoints.read_meta(folder, name), "checkpoint": name}
    except CheckpointError:
        return {}


def _insert(database: sqlite3.Connection, row: tuple[Any, ...]) -> int:
    marks = ",".join("?" * len(row))
    return int(database.execute(f"INSERT INTO run({_COLUMNS}) VALUES({marks})", row).lastrowid or 0)


def _end(database: sqlite3.Connection, run: int, ended: tuple[Any, ...]) -> None:
    query = "UPDATE run SET finished=?, decision=?, reason=?, report=?, checkpoint=?, from_seq=?, to_seq=? WHERE id=?"
    database.execute(query, (time.time(), *ended, run))


@contextmanager
def _open(folder: Path) -> Iterator[sqlite3.Connection]:
    """The history, made if missing. Raises LearningError where it cannot be read or written."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with closing(sqlite3.connect(folder / "history.sqlite", timeout=30)) as database, database:
            database.execute("PRAGMA journal_mode=WAL")
            database.execute("PRAGMA synchronous=FULL")
            database.execute(_TABLE)
            yield database
    except (sqlite3.Error, OSError) as error:
        raise LearningError(
            f"The history in {folder} cannot be used ({error}): free some space or move it away."
        ) from error


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
