"""The history of learning in one workspace: every run, what it saw, what it cost, what was decided and why.

SQLite with full synchrony: a run counts as finished, and its range of the journal as used, in one transaction.
"""

import json
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_TABLE = """
CREATE TABLE IF NOT EXISTS run(
  id INTEGER PRIMARY KEY AUTOINCREMENT, started REAL NOT NULL, finished REAL, asked_by TEXT NOT NULL, date TEXT NOT NULL,
  from_seq INTEGER NOT NULL, to_seq INTEGER NOT NULL, settings TEXT NOT NULL, report TEXT NOT NULL,
  decision TEXT NOT NULL, reason TEXT NOT NULL, checkpoint TEXT NOT NULL)
"""
RUNNING = "running"
FINISHED = ("activated", "kept", "refused")
"""Decisions after which the run's range of the journal counts as used; a failed run's is used again."""


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


def begin_run(folder: Path, asked_by: str, date: str, span: tuple[int, int], settings: Mapping[str, Any]) -> int:
    """Notes that a run has begun; runs that never ended are closed as interrupted."""
    with _open(folder) as database:
        database.execute(
            "UPDATE run SET decision='interrupted', finished=?, reason='It was stopped before its end.' WHERE decision=?",
            (time.time(), RUNNING),
        )
        row = (time.time(), asked_by, date, *span, json.dumps(dict(settings)), "{}", RUNNING, "", "")
        columns = "started, asked_by, date, from_seq, to_seq, settings, report, decision, reason, checkpoint"
        return int(database.execute(f"INSERT INTO run({columns}) VALUES(?,?,?,?,?,?,?,?,?,?)", row).lastrowid or 0)


def end_run(
    folder: Path, run: int, decision: str, reason: str, report: Mapping[str, Any], checkpoint: str = ""
) -> None:
    """Notes how a run ended."""
    with _open(folder) as database:
        database.execute(
            "UPDATE run SET finished=?, decision=?, reason=?, report=?, checkpoint=? WHERE id=?",
            (time.time(), decision, reason, json.dumps(dict(report)), checkpoint, run),
        )


def runs(folder: Path, limit: int = 100) -> list[Run]:
    """The latest runs, newest first."""
    with _open(folder) as database:
        rows = database.execute("SELECT * FROM run ORDER BY id DESC LIMIT ?", (limit,)).fetchall()
    return [Run(*row[:7], json.loads(row[7]), json.loads(row[8]), *row[9:]) for row in rows]


def used_until(folder: Path) -> int:
    """The journal's write number up to which changes were used by a run that ended."""
    marks = ",".join("?" * len(FINISHED))
    with _open(folder) as database:
        row = database.execute(f"SELECT MAX(to_seq) FROM run WHERE decision IN ({marks})", FINISHED).fetchone()  # noqa: S608
    return int(row[0] or 0)


@contextmanager
def _open(folder: Path) -> Iterator[sqlite3.Connection]:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with closing(sqlite3.connect(folder / "history.sqlite", timeout=30)) as database, database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=FULL")
        database.execute(_TABLE)
        yield database
