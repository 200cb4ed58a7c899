"""The clock: a date has one run, whatever the machine, the daylight and the windows do."""

import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from msgspec.structs import replace as change_settings

from codekin.errors import SettingsError
from codekin.finetune.history import (
    ACTIVATED,
    FAILED,
    INTERRUPTED,
    KEPT,
    SKIPPED,
    FinetuneRun,
    begin_run,
    correct_future_times,
    end_run,
    last_used_change,
    list_runs,
)
from codekin.finetune.scheduler import (
    BY_SCHEDULE,
    MachineState,
    find_due_run,
    local_date,
    next_cron_time,
    previous_cron_time,
)
from codekin.settings import FinetuneSettings

IDLE = MachineState(idle_seconds=3600, on_battery=False)
NIGHTLY = FinetuneSettings()
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def ran(date: str, decision: str = KEPT, when: str = "", trigger: str = BY_SCHEDULE) -> FinetuneRun:
    finished = at(when or f"{date} 02:05").timestamp()
    return FinetuneRun(1, finished - 60, finished, trigger, date, 0, 1, decision=decision)


def due_at(now: str, *past: FinetuneRun, choices=NIGHTLY, machine=IDLE, known=LONG_AGO):
    return find_due_run(at(now), known, past, choices, machine)


@pytest.mark.parametrize(
    ("now", "past", "date"),
    [
        ("2026-03-03 01:59", ["2026-03-02"], ""),
        ("2026-03-03 02:00", ["2026-03-02"], "2026-03-03"),
        ("2026-03-03 02:01", ["2026-03-03"], ""),
        ("2026-03-03 09:30", ["2026-03-02"], "2026-03-03"),  # asleep at two
        ("2026-03-06 09:30", ["2026-03-02"], "2026-03-06"),  # away for days: one run, not four
    ],
)
def test_one_run_for_a_date_and_a_missed_one_is_made_up_for(now, past, date):
    """At two, or as soon after as the machine is awake; never twice."""
    assert due_at(now, *map(ran, past)).date == date


def test_a_run_by_hand_replaces_no_scheduled_run():
    """A run by hand does not replace the scheduled one."""
    assert due_at("2026-03-03 02:01", ran("2026-03-03", trigger="user")).date == "2026-03-03"


@pytest.mark.parametrize("decision", [ACTIVATED, KEPT, SKIPPED])
def test_every_decision_ends_the_date(decision):
    """What was looked at and found wanting is not looked at again each minute."""
    assert not due_at("2026-03-03 02:10", ran("2026-03-03", decision)).date


def test_a_workspace_that_was_just_opened_has_missed_nothing():
    """A workspace first opened at noon starts no run that it missed."""
    assert not due_at("2026-03-03 12:00", known=at("2026-03-03 11:00")).date
    assert due_at("2026-03-04 02:00", known=at("2026-03-03 11:00")).date == "2026-03-04"


def test_hours_that_come_twice_or_never_have_one_run():
    """In Berlin 02:30 came twice on 25 October 2026 and never on 29 March 2026."""
    berlin = change_settings(NIGHTLY, cron="30 2 * * *", timezone="Europe/Berlin")
    runs: list[FinetuneRun] = []
    for start in ("2026-10-24 12:00", "2026-03-28 12:00"):
        for minute in range(0, 48 * 60, 10):
            now = at(start) + timedelta(minutes=minute)
            if date := find_due_run(now, at(start), runs, berlin, IDLE).date:
                runs.insert(0, replace(ran(date), started=now.timestamp(), finished=now.timestamp()))
    assert sorted(run.date for run in runs) == ["2026-03-29", "2026-03-30", "2026-10-25", "2026-10-26"]


def test_the_date_is_the_local_one():
    """Two in Tokyo is still yesterday in UTC."""
    tokyo = change_settings(NIGHTLY, timezone="Asia/Tokyo")
    assert due_at("2026-03-02 17:00", choices=tokyo).date == "2026-03-03"
    assert next_cron_time(at("2026-03-02 17:00"), tokyo) == datetime(2026, 3, 4, 2, tzinfo=ZoneInfo("Asia/Tokyo"))


@pytest.mark.parametrize(("failures", "minutes"), [(1, 15), (2, 60), (3, 24 * 60), (7, 24 * 60)])
def test_failures_in_a_row_are_tried_again_ever_later(failures, minutes):
    """A failed run is tried again a few times; success resets the count."""
    past = [ran("2026-03-03", FAILED, "2026-03-03 02:05")] * (failures - 1) + [ran("2026-03-03", INTERRUPTED)]
    again = at("2026-03-03 02:05") + timedelta(minutes=minutes)
    waiting = find_due_run(again - timedelta(minutes=1), LONG_AGO, past, NIGHTLY, IDLE)
    assert not waiting.date
    assert f"failed {failures} times" in waiting.waiting_for
    assert waiting.problem == f"{waiting.waiting_for} {past[0].reason}"
    assert find_due_run(again, LONG_AGO, past, NIGHTLY, IDLE).date
    fresh = [ran("2026-03-03", FAILED), ran("2026-03-02"), *past]
    assert find_due_run(at("2026-03-03 02:20"), LONG_AGO, fresh, NIGHTLY, IDLE).date


def test_it_waits_for_a_plug_and_for_quiet():
    """A run waits for mains power and an idle user, and the status shows which."""
    battery = due_at("2026-03-03 02:00", machine=replace(IDLE, on_battery=True))
    assert (battery.date, battery.waiting_for) == ("", "Fine-tuning waits until the machine is plugged in.")
    assert due_at(
        "2026-03-03 02:00", machine=replace(IDLE, on_battery=True), choices=change_settings(NIGHTLY, on_battery=True)
    ).date
    busy = due_at("2026-03-03 02:00", machine=replace(IDLE, idle_seconds=599))
    assert (busy.date, busy.waiting_for) == ("", "Fine-tuning waits until the editor has been idle for 10 minutes.")
    assert due_at("2026-03-03 02:00", machine=replace(IDLE, idle_seconds=600)).date


def test_switched_off_is_off():
    """No run, and nothing to wait for."""
    assert due_at("2026-03-03 02:00", choices=change_settings(NIGHTLY, enabled=False)) == due_at(
        "2026-03-03 01:00", ran("2026-03-02")
    )


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"cron": "at two"}, "cron"),
        ({"cron": "99 2 * * *"}, "cron"),
        ({"cron": "0 2 31 2 *"}, "cron"),
        ({"cron": "@reboot"}, "cron"),
        ({"cron": ""}, "cron"),
        ({"timezone": "Mars/Base"}, "timezone"),
        ({"timezone": "../../etc/passwd"}, "timezone"),
        ({"timezone": ""}, "timezone"),
    ],
)
def test_bad_settings_are_named(change, word):
    """An invalid cron line or time zone is reported with its key."""
    with pytest.raises(SettingsError, match=rf"finetune\.{word}"):
        previous_cron_time(at("2026-03-03 02:00"), change_settings(NIGHTLY, **change))


def test_a_leap_day_is_a_cron_time():
    """A date that comes every four years is no impossible one."""
    leap = change_settings(NIGHTLY, cron="0 2 29 2 *")
    now = at("2026-03-03 02:00")
    assert [found.date().isoformat() for found in (previous_cron_time(now, leap), next_cron_time(now, leap))] == [
        "2024-02-29",
        "2028-02-29",
    ]


@pytest.mark.parametrize("year", [1, 2, 1969, 9000, 9999])
@pytest.mark.parametrize("zone", ["UTC", "Pacific/Kiritimati", "America/New_York"])
def test_a_clock_beyond_reason_is_survived(year, zone):
    """A machine whose clock was lost computes its times within the calendar, for a rare date too."""
    for cron, month in (("0 2 * * *", 1), ("0 2 29 2 *", 12)):
        settings = change_settings(NIGHTLY, cron=cron, timezone=zone)
        now = datetime(year, month, 31, 23, 59, tzinfo=UTC)
        assert previous_cron_time(now, settings) < next_cron_time(now, settings)
        assert local_date(now, settings)
        find_due_run(now, now, [], settings, MachineState(1e9, on_battery=False))


def test_a_clock_set_back_costs_no_scheduled_run(tmp_path):
    """Times in the future count as now: for the workspace that was first seen then, and for a failure."""
    ahead = at("2027-03-03 02:00")
    assert due_at("2026-03-03 02:05", known=ahead).date == ""
    assert due_at("2026-03-03 02:00", known=ahead).date == "2026-03-03"
    assert "tried again at 2026-03-03 02:20 UTC" in due_at("2026-03-03 02:05", ran("2027-03-03", FAILED)).waiting_for
    end_run(tmp_path, begin_run(tmp_path, BY_SCHEDULE, "2027-03-03", {}), FAILED, "No memory.", {})
    correct_future_times(tmp_path, at("2026-03-03 02:05").timestamp())
    (run,) = list_runs(tmp_path)
    assert due_at("2026-03-03 02:20", run).date == "2026-03-03"


def test_history_of_version_0_1_0_is_read(tmp_path):
    """A run that 0.1.0 recorded, who had it begun under another column's name, is listed with its trigger."""
    with closing(sqlite3.connect(tmp_path / "history.sqlite")) as database, database:
        database.execute(
            "CREATE TABLE run(id INTEGER PRIMARY KEY AUTOINCREMENT, started REAL NOT NULL, finished REAL,"
            " asked_by TEXT NOT NULL, date TEXT NOT NULL, from_seq INTEGER NOT NULL, to_seq INTEGER NOT NULL,"
            " settings TEXT NOT NULL, report TEXT NOT NULL, decision TEXT NOT NULL, reason TEXT NOT NULL,"
            " checkpoint TEXT NOT NULL)"
        )
        row = (1.0, 2.0, "schedule", "2026-03-01", 0, 7, "{}", "{}", "kept", "Not better.", "")
        database.execute(f"INSERT INTO run VALUES(1, {', '.join('?' * len(row))})", row)
    (run,) = list_runs(tmp_path)
    assert (run.trigger, run.date, run.decision) == ("schedule", "2026-03-01", "kept")
    assert last_used_change(tmp_path) == 7
