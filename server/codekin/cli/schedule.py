"""`codekin schedule`: a systemd or launchd timer for machines where no editor runs at night.

The timer runs every hour; the daemon decides by its settings what is due, so changing them needs no new timer.
"""

import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated
from xml.sax.saxutils import escape

import typer

from codekin import paths
from codekin.cli import options
from codekin.cli.output import print_json, print_line
from codekin.daemon.client import DaemonClient
from codekin.errors import UsageError
from codekin.models.planner import require_torch
from codekin.settings import load_settings

schedule = typer.Typer(help="A system timer for scheduled fine-tuning.", no_args_is_help=True, add_completion=False)
UNIT_NAME = "codekin-finetune"
LAUNCHD_LABEL = "org.codekin.finetune"

SYSTEMD_SERVICE = """[Unit]
Description=Codekin fine-tunes its model on changed code

[Service]
Type=oneshot
Nice=19
# Fine-tuning continues in the daemon that this command starts.
KillMode=process
ExecStart={command}
"""
SYSTEMD_TIMER = """[Unit]
Description=Start due Codekin fine-tuning runs every hour

[Timer]
OnCalendar=hourly
Persistent=true

[Install]
WantedBy=timers.target
"""
LAUNCHD_AGENT = """<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0"><dict>
<key>Label</key><string>{label}</string>
<key>ProgramArguments</key><array>{arguments}</array>
<key>StartInterval</key><integer>3600</integer>
<key>AbandonProcessGroup</key><true/>
</dict></plist>
"""


@schedule.command()
def install(
    start: Annotated[bool, typer.Option("--start/--no-start", help="Start the timer at once.")] = True,
    json: options.Json = False,
    data_dir: options.DataDir = None,
) -> int:
    """Write a systemd user timer, or on macOS a launchd agent, and start it."""
    require_torch("Fine-tuning at night")
    timer = _timer(data_dir)
    for path, text in timer.files.items():
        _write(path, text)
    left = [" ".join(step) for step in timer.start_commands if not start or not _succeeds(step)]
    if json:
        print_json({"written": [str(path) for path in timer.files], "to_start": left})
        return 0
    for path in timer.files:
        print_line(f"Wrote {path}.")
    if left and start and shutil.which(timer.status_command[0]) is None:
        print_line(
            f"There is no {timer.status_command[0]} here: "
            f"have cron run `{shlex.join(_timer_command(data_dir))}` every hour instead."
        )
        return 0
    for step in left:
        print_line(f"To start it: {step}")
    return 0


@schedule.command()
def uninstall(json: options.Json = False, data_dir: options.DataDir = None) -> int:
    """Stop the timer and delete what `install` wrote; status 1 where there is none."""
    timer = _timer(data_dir)
    there = [path for path in timer.files if path.exists()]
    for step in timer.stop_commands if there else ():
        _succeeds(step)
    for path in there:
        path.unlink()
    if json:
        print_json({"removed": [str(path) for path in there]})
    else:
        for line in [f"Removed {path}." for path in there] or ["There is no timer."]:
            print_line(line)
    return 0 if there else 1


@schedule.command()
def status(json: options.Json = False, data_dir: options.DataDir = None) -> int:
    """Say whether the timer is written and started, and when the next run is planned; status 1 without a timer."""
    from codekin.finetune.scheduler import next_cron_time  # noqa: PLC0415 - brings croniter

    timer = _timer(data_dir)
    written = all(path.exists() for path in timer.files)
    started = written and _succeeds(timer.status_command)
    planned = next_cron_time(datetime.now(UTC), load_settings(paths.data_dir(data_dir))[0].finetune)
    if json:
        print_json({"written": written, "started": started, "next": planned.isoformat()})
    else:
        state = "started" if started else "written, not started" if written else "not installed"
        print_line(f"timer  {state}")
        print_line(f"next   {planned:%Y-%m-%d %H:%M %Z}, or as soon after as the machine is awake and idle")
    return 0 if written else 1


@schedule.command()
def run(json: options.Json = False, data_dir: options.DataDir = None) -> int:
    """Begin the runs that are due now; they go on in the daemon."""
    with DaemonClient.connect(paths.data_dir(data_dir)) as client:
        response = client.post("/finetune/scheduled")
    if json:
        print_json(response)
    else:
        print_line(f"Fine-tuning: {', '.join(response['roots'])}." if response["roots"] else "Nothing is due.")
    return 0


@dataclass(frozen=True)
class SystemTimer:
    """The files of a timer with their texts, and the commands that begin it, end it, and query whether it runs."""

    files: dict[Path, str]
    start_commands: list[list[str]]
    stop_commands: list[list[str]]
    status_command: list[str]


def _timer(data_dir: Path | None) -> SystemTimer:
    command = _timer_command(data_dir)
    return launchd_agent(command) if sys.platform == "darwin" else systemd_timer(command)


def _timer_command(data_dir: Path | None) -> list[str]:
    """What a timer runs."""
    codekin = str(Path(sys.executable).with_name("codekin"))
    return [codekin, "schedule", "run", "--data-dir", str(paths.data_dir(data_dir))]


def systemd_timer(command: list[str]) -> SystemTimer:
    """Systemd's user units. Raises UsageError for a path that no unit can hold."""
    if any(set(word) & set("\n\"'\\") for word in command):
        raise UsageError(f"A unit of systemd cannot name {' '.join(command)!r}: use a data folder without quotes.")
    folder = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "systemd" / "user"
    quoted = " ".join(f'"{word}"' for word in command).replace("%", "%%").replace("$", "$$")
    units = {
        folder / f"{UNIT_NAME}.service": SYSTEMD_SERVICE.format(command=quoted),
        folder / f"{UNIT_NAME}.timer": SYSTEMD_TIMER,
    }
    systemctl = ["systemctl", "--user"]
    start_commands = [[*systemctl, "daemon-reload"], [*systemctl, "enable", "--now", f"{UNIT_NAME}.timer"]]
    stop_commands = [[*systemctl, "disable", "--now", f"{UNIT_NAME}.timer"]]
    return SystemTimer(units, start_commands, stop_commands, [*systemctl, "is-active", "--quiet", f"{UNIT_NAME}.timer"])


def launchd_agent(command: list[str]) -> SystemTimer:
    """Launchd's agent."""
    path = Path.home() / "Library" / "LaunchAgents" / f"{LAUNCHD_LABEL}.plist"
    arguments = "".join(f"<string>{escape(word)}</string>" for word in command)
    files = {path: LAUNCHD_AGENT.format(label=LAUNCHD_LABEL, arguments=arguments)}
    load, unload = (["launchctl", word, "-w", str(path)] for word in ("load", "unload"))
    return SystemTimer(files, [load], [unload], ["launchctl", "list", LAUNCHD_LABEL])


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path} cannot be written ({error.strerror}): check the folder's permissions.") from error


def _succeeds(step: list[str]) -> bool:
    try:
        return subprocess.run(step, check=False, capture_output=True).returncode == 0
    except OSError:
        return False
