"""The clock: a date has one run, whatever the machine, the daylight and the windows do."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from codekin.errors import SettingsError
from codekin.learning.history import ACTIVATED, FAILED, INTERRUPTED, KEPT, SKIPPED, Run
from codekin.learning.schedule import BY_SCHEDULE, Machine, due, last_planned, next_planned
from codekin.settings import LearningSettings

IDLE = Machine(idle_seconds=3600, on_battery=False)
NIGHTLY = LearningSettings()
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def ran(date: str, decision: str = KEPT, when: str = "", asked_by: str = BY_SCHEDULE) -> Run:
    finished = at(when or f"{date} 02:05").timestamp()
    return Run(1, finished - 60, finished, asked_by, date, 0, 1, decision=decision)


def due_at(now: str, *past: Run, choices=NIGHTLY, machine=IDLE, known=LONG_AGO):
    return due(at(now), known, past, choices, machine)


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


def test_a_run_by_hand_takes_no_night_away():
    """Who learns at noon still gets the night's run; who learned by the clock gets no second."""
    assert due_at("2026-03-03 02:01", ran("2026-03-03", asked_by="user")).date == "2026-03-03"


@pytest.mark.parametrize("decision", [ACTIVATED, KEPT, SKIPPED])
def test_every_decision_ends_the_date(decision):
    """What was looked at and found wanting is not looked at again each minute."""
    assert not due_at("2026-03-03 02:10", ran("2026-03-03", decision)).date


def test_a_workspace_that_was_just_opened_has_missed_nothing():
    """A first visit at noon must not begin with a catch-up."""
    assert not due_at("2026-03-03 12:00", known=at("2026-03-03 11:00")).date
    assert due_at("2026-03-04 02:00", known=at("2026-03-03 11:00")).date == "2026-03-04"


def test_hours_that_come_twice_or_never_have_one_run():
    """In Berlin 02:30 came twice on 25 October 2026 and never on 29 March 2026."""
    berlin = replace(NIGHTLY, cron="30 2 * * *", timezone="Europe/Berlin")
    runs: list[Run] = []
    for start in ("2026-10-24 12:00", "2026-03-28 12:00"):
        for minute in range(0, 48 * 60, 10):
            now = at(start) + timedelta(minutes=minute)
            if date := due(now, at(start), runs, berlin, IDLE).date:
                runs.insert(0, replace(ran(date), started=now.timestamp(), finished=now.timestamp()))
    assert sorted(run.date for run in runs) == ["2026-03-29", "2026-03-30", "2026-10-25", "2026-10-26"]


def test_the_date_is_the_local_one():
    """Two in Tokyo is still yesterday in UTC."""
    tokyo = replace(NIGHTLY, timezone="Asia/Tokyo")
    assert due_at("2026-03-02 17:00", choices=tokyo).date == "2026-03-03"
    assert next_planned(at("2026-03-02 17:00"), tokyo) == datetime(2026, 3, 4, 2, tzinfo=ZoneInfo("Asia/Tokyo"))


@pytest.mark.parametrize(("failures", "minutes"), [(1, 15), (2, 60), (3, 24 * 60), (7, 24 * 60)])
def test_failures_in_a_row_are_tried_again_ever_later(failures, minutes):
    """A night that fails is tried again, but not for ever; success forgets all failures."""
    past = [ran("2026-03-03", FAILED, "2026-03-03 02:05")] * (failures - 1) + [ran("2026-03-03", INTERRUPTED)]
    again = at("2026-03-03 02:05") + timedelta(minutes=minutes)
    waiting = due(again - timedelta(minutes=1), LONG_AGO, past, NIGHTLY, IDLE)
    assert not waiting.date
    assert f"failed {failures} times" in waiting.waits
    assert waiting.problem == f"{waiting.waits} {past[0].reason}"
    assert due(again, LONG_AGO, past, NIGHTLY, IDLE).date
    fresh = [ran("2026-03-03", FAILED), ran("2026-03-02"), *past]
    assert due(at("2026-03-03 02:20"), LONG_AGO, fresh, NIGHTLY, IDLE).date


def test_it_waits_for_a_plug_and_for_quiet():
    """Neither a battery nor the user at work is disturbed, and the status says what it waits for."""
    battery = due_at("2026-03-03 02:00", machine=replace(IDLE, on_battery=True))
    assert (battery.date, battery.waits) == ("", "Learning waits until the machine is plugged in.")
    assert due_at(
        "2026-03-03 02:00", machine=replace(IDLE, on_battery=True), choices=replace(NIGHTLY, on_battery=True)
    ).date
    busy = due_at("2026-03-03 02:00", machine=replace(IDLE, idle_seconds=599))
    assert (busy.date, busy.waits) == ("", "Learning waits until nothing was asked for 10 minutes.")
    assert due_at("2026-03-03 02:00", machine=replace(IDLE, idle_seconds=600)).date


def test_switched_off_is_off():
    """No run, and nothing to wait for."""
    assert due_at("2026-03-03 02:00", choices=replace(NIGHTLY, enabled=False)) == due_at(
        "2026-03-03 01:00", ran("2026-03-02")
    )


@pytest.mark.parametrize(
    ("change", "word"),
    [({"cron": "at two"}, "cron"), ({"cron": "99 2 * * *"}, "cron"), ({"timezone": "Mars/Base"}, "timezone")],
)
def test_bad_settings_are_named(change, word):
    """A cron line or a time zone that cannot be read is said by its key."""
    with pytest.raises(SettingsError, match=rf"learning\.{word}"):
        last_planned(at("2026-03-03 02:00"), replace(NIGHTLY, **change))
