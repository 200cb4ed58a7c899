"""The history that Codekin 0.1.0 wrote is read under today's names."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

from codekin.finetune import history

HISTORY_OF_0_1_0 = """
CREATE TABLE run(
  id INTEGER PRIMARY KEY AUTOINCREMENT, started REAL NOT NULL, finished REAL,
  asked_by TEXT NOT NULL, date TEXT NOT NULL,
  from_seq INTEGER NOT NULL, to_seq INTEGER NOT NULL, settings TEXT NOT NULL, report TEXT NOT NULL,
  decision TEXT NOT NULL, reason TEXT NOT NULL, checkpoint TEXT NOT NULL);
"""
REPORT = {"judged": {"before": 0.4, "after": 0.5, "low": 0.0, "high": 0.2, "kinds": {}}, "epochs": [{"loss": 0.1}]}


def test_a_history_of_0_1_0_keeps_its_runs_and_checkpoints(tmp_path: Path) -> None:
    """Who started a run, its scores and its checkpoint are shown as before, and new runs follow."""
    with closing(sqlite3.connect(tmp_path / "history.sqlite")) as database:
        database.execute(HISTORY_OF_0_1_0)
        row = (1.0, 2.0, "schedule", "2026-11-01", 3, 9, "{}", json.dumps(REPORT), "activated", "Better.", "c1")
        database.execute(f"INSERT INTO run VALUES(1, {','.join('?' * len(row))})", row)
        database.commit()
    (run,) = history.list_runs(tmp_path)
    assert (run.trigger, run.decision, run.checkpoint, run.to_seq) == ("schedule", "activated", "c1", 9)
    shown = history.run_to_json(run, "c1")
    assert (shown["before"], shown["after"], shown["losses"]) == ({"map": 0.4}, {"map": 0.5}, [0.1])
    assert history.last_used_change(tmp_path) == 9
    assert history.begin_run(tmp_path, "user", "2026-12-01", {}) == 2
    assert [one.id for one in history.list_runs(tmp_path)] == [2, 1]
