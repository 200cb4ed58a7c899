"""`codekin schedule`: a timer of the system's own, for machines where no editor runs at night.

The timer asks every hour; what is due, the daemon decides by the settings, so changing them needs no new timer.
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

from codekin import places
from codekin.cli import options
from codekin.cli.output import print_json, say
from codekin.daemon.client import Client
from codekin.errors import UsageError

group = typer.Typer(help="A timer for nights without an editor.", no_args_is_help=True, add_completion=False)
NAME = "codekin-nights"
LABEL = "org.codekin.nights"

SERVICE = """[Unit]
Description=Codekin learns the code that changed

[Service]
Type=oneshot
Nice=19
# The learning goes on in the daemon that this begins.
KillMode=process
ExecStart={command}
"""
TIMER = """[Unit]
Description=Ask Codekin every hour whether learning is due

[Timer]
OnCalendar=hourly
Persistent=true

[Install]
WantedBy=timers.target
"""
AGENT = """<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0"><dict>
<key>Label</key><string>{label}</string>
<key>ProgramArguments</key><array>{arguments}</array>
<key>StartInterval</key><integer>3600</integer>
<key>AbandonProcessGroup</key><true/>
</dict></plist>
"""


@group.command()
def install(
    start: Annotated[bool, typer.Option("--start/--no-start", help="Start the timer at once.")] = True,
    json: options.Json = False,
    data_dir: options.DataDir = None,
) -> int:
    """Write a systemd user timer, or on macOS a launchd agent, and start it."""
    timer = _timer_of(data_dir)
    for path, text in timer.files.items():
        _write(path, text)
    left = [" ".join(step) for step in timer.begin if not start or not _done(step)]
    if json:
        print_json({"written": [str(path) for path in timer.files], "to_start": left})
        return 0
    for path in timer.files:
        say(f"Wrote {path}.")
    if left and start and shutil.which(timer.ask[0]) is None:
        say(f"There is no {timer.ask[0]} here: have cron run `{shlex.join(_command_of(data_dir))}` every hour instead.")
        return 0
    for step in left:
        say(f"To start it: {step}")
    return 0


@group.command()
def uninstall(json: options.Json = False, data_dir: options.DataDir = None) -> int:
    """Stop the timer and delete what `install` wrote; status 1 where there is none."""
    timer = _timer_of(data_dir)
    there = [path for path in timer.files if path.exists()]
    for step in timer.end if there else ():
        _done(step)
    for path in there:
        path.unlink()
    if json:
        print_json({"removed": [str(path) for path in there]})
    else:
        say("\n".join(f"Removed {path}." for path in there) or "There is no timer.")
    return 0 if there else 1


@group.command()
def status(json: options.Json = False, data_dir: options.DataDir = None) -> int:
    """Say whether the timer is written and started, and when learning is planned; status 1 without a timer."""
    from codekin.learning.schedule import next_planned  # noqa: PLC0415 - brings croniter
    from codekin.settings import load_settings  # noqa: PLC0415

    timer = _timer_of(data_dir)
    written = all(path.exists() for path in timer.files)
    started = written and _done(timer.ask)
    planned = next_planned(datetime.now(UTC), load_settings(places.data_dir(data_dir))[0].learning)
    if json:
        print_json({"written": written, "started": started, "next": planned.isoformat()})
    else:
        state = "started" if started else "written, not started" if written else "not installed"
        say(f"timer  {state}\nnext   {planned:%Y-%m-%d %H:%M %Z}, or as soon after as the machine is awake and idle")
    return 0 if written else 1


@group.command()
def run(json: options.Json = False, data_dir: options.DataDir = None) -> int:
    """Begin the runs that are due now; they go on in the daemon."""
    with Client.connect(places.data_dir(data_dir)) as client:
        answer = client.post("/nights")
    if json:
        print_json(answer)
    else:
        say(f"Learning: {', '.join(answer['roots'])}." if answer["roots"] else "Nothing is due.")
    return 0


@dataclass(frozen=True)
class Timer:
    """The files of a timer with their texts, and the commands that begin it, end it, and ask whether it runs."""

    files: dict[Path, str]
    begin: list[list[str]]
    end: list[list[str]]
    ask: list[str]


def _timer_of(data_dir: Path | None) -> Timer:
    command = _command_of(data_dir)
    return launchd_agent(command) if sys.platform == "darwin" else systemd_timer(command)


def _command_of(data_dir: Path | None) -> list[str]:
    """What a timer runs."""
    codekin = str(Path(sys.executable).with_name("codekin"))
    return [codekin, "schedule", "run", "--data-dir", str(places.data_dir(data_dir))]


def systemd_timer(command: list[str]) -> Timer:
    """Systemd's user units. Raises UsageError for a path that no unit can hold."""
    if any(set(word) & set("\n\"'\\") for word in command):
        raise UsageError(f"A unit of systemd cannot name {' '.join(command)!r}: use a data folder without quotes.")
    folder = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "systemd" / "user"
    quoted = " ".join(f'"{word}"' for word in command).replace("%", "%%").replace("$", "$$")
    units = {folder / f"{NAME}.service": SERVICE.format(command=quoted), folder / f"{NAME}.timer": TIMER}
    systemctl = ["systemctl", "--user"]
    begin = [[*systemctl, "daemon-reload"], [*systemctl, "enable", "--now", f"{NAME}.timer"]]
    end = [[*systemctl, "disable", "--now", f"{NAME}.timer"]]
    return Timer(units, begin, end, [*systemctl, "is-active", "--quiet", f"{NAME}.timer"])


def launchd_agent(command: list[str]) -> Timer:
    """Launchd's agent."""
    path = Path.home() / "Library" / "LaunchAgents" / f"{LABEL}.plist"
    arguments = "".join(f"<string>{escape(word)}</string>" for word in command)
    files = {path: AGENT.format(label=LABEL, arguments=arguments)}
    load, unload = (["launchctl", word, "-w", str(path)] for word in ("load", "unload"))
    return Timer(files, [load], [unload], ["launchctl", "list", LABEL])


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path} cannot be written ({error.strerror}): check the folder's permissions.") from error


def _done(step: list[str]) -> bool:
    try:
        return subprocess.run(step, check=False, capture_output=True).returncode == 0
    except OSError:
        return False
