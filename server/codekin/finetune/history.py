"""The history of fine-tuning runs of one workspace, and the lock that allows one run at a time.

SQLite with full synchronisation: a run is finished, and its range of the journal used, in one transaction. A run that
was killed between moving the pointer and that transaction is recognised by the checkpoint that the pointer names.
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

from codekin import paths
from codekin.errors import CheckpointError, FinetuneError
from codekin.models import checkpoints
from codekin.util.files import LockHeldError, acquire_lock

_TABLE = """
CREATE TABLE IF NOT EXISTS run(
  id INTEGER PRIMARY KEY AUTOINCREMENT, started REAL NOT NULL, finished REAL,
  trigger TEXT NOT NULL, date TEXT NOT NULL,
  from_seq INTEGER NOT NULL, to_seq INTEGER NOT NULL, settings TEXT NOT NULL, report TEXT NOT NULL,
  decision TEXT NOT NULL, reason TEXT NOT NULL, checkpoint TEXT NOT NULL)
"""
_MOVE_FROM_0_1 = """
ALTER TABLE run RENAME COLUMN asked_by TO trigger;
UPDATE run SET report=json_remove(json_set(report, '$.evaluation', json_extract(report, '$.judged')), '$.judged')
 WHERE json_type(report, '$.judged') IS NOT NULL
"""
_COLUMNS = "started, finished, trigger, date, from_seq, to_seq, settings, report, decision, reason, checkpoint"
_FIELDS = ("id", *_COLUMNS.split(", "))
RUNNING, ACTIVATED, KEPT, DRY_RUN = "running", "activated", "kept", "dry run"
FAILED, INTERRUPTED, SKIPPED, ROLLED_BACK = "failed", "interrupted", "skipped", "rolled back"
CONSUMING_DECISIONS = (ACTIVATED, KEPT)
"""Decisions after which the run's range of the journal counts as used; that of any other run is used again."""

FINAL_DECISIONS = (ACTIVATED, KEPT, SKIPPED)
"""Decisions after which a date has had its run."""


@dataclass(frozen=True, slots=True)
class FinetuneRun:
    """One run; times in seconds since 1970, `report` holds losses and metrics, `checkpoint` is empty without one."""

    id: int
    started: float
    finished: float | None
    trigger: str
    date: str
    from_seq: int
    to_seq: int
    settings: Mapping[str, Any] = field(default_factory=dict)
    report: Mapping[str, Any] = field(default_factory=dict)
    decision: str = RUNNING
    reason: str = ""
    checkpoint: str = ""


def begin_run(folder: Path, trigger: str, date: str, settings: Mapping[str, Any]) -> int:
    """Records that a run has begun, and closes interrupted ones; the caller holds the fine-tuning lock."""
    with _open_history(folder) as database:
        _close_interrupted_runs(database, folder)
        row = (time.time(), None, trigger, date, 0, 0, json.dumps(dict(settings)), "{}", RUNNING, "", "")
        return _insert_run(database, row)


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
    with _open_history(folder) as database:
        _update_run(database, run, (decision, reason, json.dumps(dict(report)), checkpoint, *span))


def record_rollback(folder: Path, checkpoint: str) -> None:
    """Notes that the user went back to a checkpoint, or to the base."""
    now = time.time()
    reason = "Back to the model as it came." if checkpoint == checkpoints.BASE else f"Back to {checkpoint}."
    row = (now, now, "user", "", 0, 0, "{}", "{}", ROLLED_BACK, reason, "")
    with _open_history(folder) as database:
        _insert_run(database, row)


def record_takeover_failure(folder: Path, run: int, reason: str) -> FinetuneRun:
    """Notes that what a run had activated could not take over: the old model stays, the changes count as used."""
    with _open_history(folder) as database:
        database.execute("UPDATE run SET decision=?, reason=? WHERE id=?", (KEPT, reason, run))
    return next(one for one in list_runs(folder) if one.id == run)


def close_interrupted_runs(folder: Path) -> None:
    """Closes the records of interrupted runs; to be called while no fine-tuning runs."""
    with _open_history(folder) as database:
        _close_interrupted_runs(database, folder)


def list_runs(folder: Path, limit: int = 100) -> list[FinetuneRun]:
    """The latest runs, newest first."""
    with _open_history(folder) as database:
        rows = database.execute(f"SELECT id, {_COLUMNS} FROM run ORDER BY id DESC LIMIT ?", (limit,)).fetchall()  # noqa: S608
    return [_run_from_row(dict(zip(_FIELDS, row, strict=True))) for row in rows]


def correct_future_times(folder: Path, now: float) -> None:
    """Moves times that lie after `now` to it: the clock was set back since, and a wait would last until then."""
    with _open_history(folder) as database:
        database.execute(
            "UPDATE run SET started=MIN(started, ?), finished=MIN(finished, ?) WHERE started>? OR finished>?",
            (now,) * 4,
        )


def last_used_change(folder: Path) -> int:
    """The journal's write number up to which changes were used by a run that ended."""
    marks = ",".join("?" * len(CONSUMING_DECISIONS))
    with _open_history(folder) as database:
        row = database.execute(
            f"SELECT MAX(to_seq) FROM run WHERE decision IN ({marks})",  # noqa: S608
            CONSUMING_DECISIONS,
        ).fetchone()
    return int(row[0] or 0)


def served_checkpoints(folder: Path) -> frozenset[str]:
    """The checkpoints that have served the workspace, and may be rolled back to."""
    with _open_history(folder) as database:
        rows = database.execute("SELECT checkpoint FROM run WHERE decision=? AND checkpoint<>''", (ACTIVATED,))
        return frozenset(row[0] for row in rows)


def run_to_json(run: FinetuneRun, active: str) -> dict[str, Any]:
    """The run as every surface shows it: times in ISO 8601 UTC, MAP between 0 and 1."""
    judged = run.report.get("evaluation") or {}
    scores = {"before": {"map": judged["before"]}, "after": {"map": judged["after"]}} if judged else {}
    return {
        "id": run.id,
        "started": _iso_time(run.started),
        "finished": _iso_time(run.finished) if run.finished else None,
        "finished_seconds": run.finished,
        "triggered_by": run.trigger,
        "date": run.date,
        "method": run.settings.get("method", "head"),
        "decision": run.decision,
        "reason": run.reason,
        "active": bool(run.checkpoint) and run.checkpoint == active,
        "checkpoint": run.checkpoint or None,
        **scores,
        "losses": [epoch["loss"] for epoch in run.report.get("epochs", ()) if "loss" in epoch],
        "beam": run.report.get("beam") or None,
        "report": dict(run.report),
        "settings": dict(run.settings),
        "range": [run.from_seq, run.to_seq],
    }


def _run_from_row(values: dict[str, Any]) -> FinetuneRun:
    return FinetuneRun(**values | {name: json.loads(values[name]) for name in ("settings", "report")})


def _close_interrupted_runs(database: sqlite3.Connection, folder: Path) -> None:
    """Runs whose learner is gone: what the pointer names took over, all others were interrupted."""
    lost = [row[0] for row in database.execute("SELECT id FROM run WHERE decision=?", (RUNNING,))]
    if not lost:
        return
    meta = _active_meta(folder)
    for run in lost:
        if meta.get("run") == run:
            ended = (ACTIVATED, str(meta["reason"]), json.dumps(meta["report"]), meta["checkpoint"], *meta["span"])
            _update_run(database, run, ended)
        else:
            _update_run(database, run, (INTERRUPTED, "It was stopped before it came to a decision.", "{}", "", 0, 0))


def _active_meta(folder: Path) -> dict[str, Any]:
    name = checkpoints.read_pointer(folder)
    try:
        return {} if name == checkpoints.BASE else {**checkpoints.read_meta(folder, name), "checkpoint": name}
    except CheckpointError:
        return {}


def _insert_run(database: sqlite3.Connection, row: tuple[Any, ...]) -> int:
    marks = ",".join("?" * len(row))
    return int(database.execute(f"INSERT INTO run({_COLUMNS}) VALUES({marks})", row).lastrowid or 0)


def _update_run(database: sqlite3.Connection, run: int, ended: tuple[Any, ...]) -> None:
    query = "UPDATE run SET finished=?, decision=?, reason=?, report=?, checkpoint=?, from_seq=?, to_seq=? WHERE id=?"
    database.execute(query, (time.time(), *ended, run))


@contextmanager
def _open_history(folder: Path) -> Iterator[sqlite3.Connection]:
    """The history, made if missing. Raises FinetuneError where it cannot be read or written."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with closing(sqlite3.connect(folder / "history.sqlite", timeout=30)) as database, database:
            database.execute("PRAGMA journal_mode=WAL")
            database.execute("PRAGMA synchronous=FULL")
            database.execute(_TABLE)
            _move_from_0_1(database)
            yield database
    except (sqlite3.Error, OSError) as error:
        raise FinetuneError(
            f"The history in {folder} cannot be used ({error}): free some space or move it away."
        ) from error


def _move_from_0_1(database: sqlite3.Connection) -> None:
    """Gives the history of Codekin 0.1.0 today's names; its runs and their checkpoints stay."""
    columns = [row[1] for row in database.execute("PRAGMA table_info(run)")]
    if "asked_by" in columns:
        for statement in _MOVE_FROM_0_1.split(";"):
            database.execute(statement)


def _iso_time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


LOCK_TIMEOUT_SECONDS = 5.0
"""Seconds for a learner that was just stopped to be gone."""


@contextmanager
def finetune_lock(data: Path) -> Iterator[None]:
    """Holds the lock of the data folder. Raises FinetuneError while another learner has it."""
    folder = paths.checkpoints_dir(data)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        lock = acquire_lock(folder / "finetune.lock", LOCK_TIMEOUT_SECONDS)
    except LockHeldError:
        raise FinetuneError("Another fine-tuning run is under way: wait for it, or stop it.") from None
    try:
        yield
    finally:
        lock.release()
