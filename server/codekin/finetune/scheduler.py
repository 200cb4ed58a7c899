"""Decides when a scheduled run is due: pure functions of the time, the run history and the machine's state.

A run belongs to the local date of its cron time, and each date has one run, across daylight saving changes and
suspended machines.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import psutil
from croniter import CroniterError, croniter

from codekin.errors import SettingsError
from codekin.finetune.history import FINAL_DECISIONS, FinetuneRun
from codekin.settings import FinetuneSettings

BY_SCHEDULE = "schedule"
RETRY_DELAYS = (timedelta(minutes=15), timedelta(hours=1), timedelta(days=1))
"""How long a failure in a row, the first, the second, the third and each further one, puts off the next try."""

_CLOCK_RANGE = datetime(1970, 1, 1, 12, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)
"""A clock beyond it counts as its border: the calendar ends with year 9999, and a cron time may lie years ahead."""

MAX_CATCH_UP = timedelta(hours=36)
"""A cron time that was missed by more has lost its point: the next one is near."""


@dataclass(frozen=True, slots=True)
class MachineState:
    """What counts besides the time: seconds since the user was last served, and whether it runs on a battery."""

    idle_seconds: float
    on_battery: bool


@dataclass(frozen=True, slots=True)
class DueRun:
    """The date whose run is due, or why it waits, and why the last ones failed; all empty when nothing is due."""

    date: str = ""
    waiting_for: str = ""
    problem: str = ""


def find_due_run(
    now: datetime,
    known_since: datetime,
    previous_runs: Sequence[FinetuneRun],
    settings: FinetuneSettings,
    machine: MachineState,
) -> DueRun:
    """What is due at `now` (aware) in a workspace known since then; `previous_runs` are newest first.

    Times in the future come from a clock that was set back and count as now. Raises SettingsError where the cron line
    or the time zone cannot be used.
    """
    if not settings.enabled:
        return DueRun()
    now = _bound(now)
    planned = previous_cron_time(now, settings)
    date = planned.date().isoformat()
    if planned < min(known_since, now) or now - planned > MAX_CATCH_UP or _has_finished_run(previous_runs, date):
        return DueRun()
    if now < (until := _retry_time(previous_runs, now)):
        waiting_for = (
            f"Fine-tuning failed {_count_failures(previous_runs)} times in a row "
            f"and is tried again at {until:%Y-%m-%d %H:%M} UTC."
        )
        return DueRun(waiting_for=waiting_for, problem=f"{waiting_for} {_latest_scheduled_run(previous_runs).reason}")
    if machine.on_battery and not settings.on_battery:
        return DueRun(waiting_for="Fine-tuning waits until the machine is plugged in.")
    if machine.idle_seconds < settings.idle_minutes * 60:
        return DueRun(
            waiting_for=f"Fine-tuning waits until the editor has been idle for {settings.idle_minutes} minutes."
        )
    return DueRun(date)


def previous_cron_time(now: datetime, settings: FinetuneSettings) -> datetime:
    """The latest cron time at or before `now`, in the setting's time zone. Raises SettingsError."""
    # On the wall's own clock, where an hour that comes twice, or never, has one place.
    zone = _time_zone(settings)
    planned: datetime = _cron_from(_bound(now).astimezone(zone) + timedelta(seconds=1), settings).get_prev(datetime)
    return planned.replace(tzinfo=zone)


def next_cron_time(now: datetime, settings: FinetuneSettings) -> datetime:
    """The next cron time after `now`, in the setting's time zone. Raises SettingsError."""
    zone = _time_zone(settings)
    planned: datetime = _cron_from(_bound(now).astimezone(zone), settings).get_next(datetime)
    return planned.replace(tzinfo=zone)


def _cron_from(now: datetime, settings: FinetuneSettings) -> croniter:
    """The times of the cron line around the wall time of `now`; one that has none, as 31 February, is no cron line."""
    wall = now.replace(tzinfo=None)
    try:
        croniter(settings.cron, wall).get_prev()
        croniter(settings.cron, wall).get_next()
    except (CroniterError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise SettingsError(
            f"finetune.cron {settings.cron!r} is no cron line: write five fields such as 0 2 * * *."
        ) from error
    return croniter(settings.cron, wall)


def local_date(now: datetime, settings: FinetuneSettings) -> str:
    """The date in the setting's time zone, as 2026-03-01. Raises SettingsError."""
    return _bound(now).astimezone(_time_zone(settings)).date().isoformat()


def _bound(now: datetime) -> datetime:
    return min(max(now, _CLOCK_RANGE[0]), _CLOCK_RANGE[1])


def on_battery() -> bool:
    """Whether the machine runs on its battery now; False where that is unknown."""
    battery = psutil.sensors_battery() if hasattr(psutil, "sensors_battery") else None
    return battery is not None and battery.power_plugged is False


def _time_zone(settings: FinetuneSettings) -> ZoneInfo:
    try:
        return ZoneInfo(settings.timezone)
    except (KeyError, OSError, ValueError) as error:  # an unknown key is a KeyError
        raise SettingsError(
            f"finetune.timezone {settings.timezone!r} is unknown: write one such as Europe/Berlin."
        ) from error


def _has_finished_run(previous_runs: Sequence[FinetuneRun], date: str) -> bool:
    """Whether the date had its run by the clock; a failed one does not count."""
    return any(
        run.trigger == BY_SCHEDULE and run.date == date and run.decision in FINAL_DECISIONS for run in previous_runs
    )


def _count_failures(previous_runs: Sequence[FinetuneRun]) -> int:
    """How many runs by the clock failed since the last that did not."""
    count = 0
    for run in previous_runs:
        if run.trigger != BY_SCHEDULE:
            continue
        if run.decision in FINAL_DECISIONS:
            break
        count += run.decision in {"failed", "interrupted"}
    return count


def _latest_scheduled_run(previous_runs: Sequence[FinetuneRun]) -> FinetuneRun:
    return next(run for run in previous_runs if run.trigger == BY_SCHEDULE)


def _retry_time(previous_runs: Sequence[FinetuneRun], now: datetime) -> datetime:
    """When the last failure allows the next try."""
    failures = _count_failures(previous_runs)
    if not failures:
        return datetime.min.replace(tzinfo=UTC)
    latest = _latest_scheduled_run(previous_runs)
    wait = RETRY_DELAYS[min(failures, len(RETRY_DELAYS)) - 1]
    return min(datetime.fromtimestamp(latest.finished or latest.started, UTC), now) + wait
