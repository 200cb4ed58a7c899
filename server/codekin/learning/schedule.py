"""When a workspace is due: pure functions of clocks, the history and the machine's state.

A run belongs to the local date of its cron time, and a date has one run, however often an hour comes twice or a
machine sleeps through it. Knows no processes; `load` reads the machine.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from croniter import croniter

from codekin.errors import SettingsError
from codekin.learning.history import ENDED, Run
from codekin.settings import LearningSettings

BY_SCHEDULE = "schedule"
RETRY_AFTER = (timedelta(minutes=15), timedelta(hours=1), timedelta(days=1))
"""How long a failure in a row, the first, the second, the third and each further one, puts off the next try."""

LONGEST_CATCH_UP = timedelta(hours=36)
"""A cron time that was missed by more has lost its point: the next one is near."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What counts besides the time: seconds since the user was last served, and whether it runs on a battery."""

    idle_seconds: float
    on_battery: bool


@dataclass(frozen=True, slots=True)
class Due:
    """The date whose run is due, or why it waits, and why the last ones failed; all empty when nothing is due."""

    date: str = ""
    waits: str = ""
    problem: str = ""


def due(now: datetime, known_since: datetime, past: Sequence[Run], choices: LearningSettings, machine: Machine) -> Due:
    """What is due at `now` (aware) in a workspace known since then; `past` is newest first.

    Raises SettingsError where the cron line or the time zone cannot be read.
    """
    if not choices.enabled:
        return Due()
    planned = last_planned(now, choices)
    date = planned.date().isoformat()
    if planned < known_since or now - planned > LONGEST_CATCH_UP or _had(past, date):
        return Due()
    if now < (until := _put_off_until(past)):
        waits = f"Learning failed {_failures(past)} times in a row and is tried again at {until:%Y-%m-%d %H:%M} UTC."
        return Due(waits=waits, problem=f"{waits} {_latest_by_clock(past).reason}")
    if machine.on_battery and not choices.on_battery:
        return Due(waits="Learning waits until the machine is plugged in.")
    if machine.idle_seconds < choices.idle_minutes * 60:
        return Due(waits=f"Learning waits until nothing was asked for {choices.idle_minutes} minutes.")
    return Due(date)


def last_planned(now: datetime, choices: LearningSettings) -> datetime:
    """The latest cron time at or before `now`, in the setting's time zone. Raises SettingsError."""
    zone = _zone(choices)
    wall = now.astimezone(zone).replace(tzinfo=None)
    if not croniter.is_valid(choices.cron):
        raise SettingsError(f"learning.cron {choices.cron!r} is no cron line: write five fields such as 0 2 * * *.")
    # On the wall's own clock, where an hour that comes twice, or never, has one place.
    planned: datetime = croniter(choices.cron, wall + timedelta(seconds=1)).get_prev(datetime)
    return planned.replace(tzinfo=zone)


def next_planned(now: datetime, choices: LearningSettings) -> datetime:
    """The next cron time after `now`, in the setting's time zone. Raises SettingsError."""
    last_planned(now, choices)
    zone = _zone(choices)
    planned: datetime = croniter(choices.cron, now.astimezone(zone).replace(tzinfo=None)).get_next(datetime)
    return planned.replace(tzinfo=zone)


def local_date(now: datetime, choices: LearningSettings) -> str:
    """The date in the setting's time zone, as 2026-03-01. Raises SettingsError."""
    return now.astimezone(_zone(choices)).date().isoformat()


def on_battery() -> bool:
    """Whether the machine runs on its battery now; a machine that cannot tell does not."""
    import psutil  # noqa: PLC0415 - asked once a minute at most

    battery = psutil.sensors_battery() if hasattr(psutil, "sensors_battery") else None
    return battery is not None and battery.power_plugged is False


def _zone(choices: LearningSettings) -> ZoneInfo:
    try:
        return ZoneInfo(choices.timezone)
    except (KeyError, OSError, ValueError) as error:  # an unknown key is a KeyError
        raise SettingsError(
            f"learning.timezone {choices.timezone!r} is unknown: write one such as Europe/Berlin."
        ) from error


def _had(past: Sequence[Run], date: str) -> bool:
    """Whether the date had its run by the clock; a failed one does not count."""
    return any(run.asked_by == BY_SCHEDULE and run.date == date and run.decision in ENDED for run in past)


def _failures(past: Sequence[Run]) -> int:
    """How many runs by the clock failed since the last that did not."""
    count = 0
    for run in past:
        if run.asked_by != BY_SCHEDULE:
            continue
        if run.decision in ENDED:
            break
        count += run.decision in {"failed", "interrupted"}
    return count


def _latest_by_clock(past: Sequence[Run]) -> Run:
    return next(run for run in past if run.asked_by == BY_SCHEDULE)


def _put_off_until(past: Sequence[Run]) -> datetime:
    failures = _failures(past)
    if not failures:
        return datetime.min.replace(tzinfo=UTC)
    latest = _latest_by_clock(past)
    wait = RETRY_AFTER[min(failures, len(RETRY_AFTER)) - 1]
    return datetime.fromtimestamp(latest.finished or latest.started, UTC) + wait
