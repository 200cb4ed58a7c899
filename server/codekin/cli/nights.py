"""`codekin schedule install`: a timer of the system's own, for machines where no editor runs at night.

The timer asks every hour; what is due, the daemon decides by the settings, so changing them needs no new timer.
"""

import os
import subprocess
import sys
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
</dict></plist>
"""


@group.command()
def install(
    start: Annotated[bool, typer.Option("--start/--no-start", help="Start the timer at once.")] = True,
    json: options.Json = False,
    data_dir: options.DataDir = None,
) -> int:
    """Write a systemd user timer, or on macOS a launchd agent, and start it."""
    command = [str(Path(sys.executable).with_name("codekin")), "schedule", "run"]
    command += ["--data-dir", str(places.data_dir(data_dir))]
    written, starting = _agent(command) if sys.platform == "darwin" else _timer(command)
    for path, text in written.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    left = [" ".join(step) for step in starting if not start or not _done(step)]
    if json:
        print_json({"written": [str(path) for path in written], "to_start": left})
        return 0
    for path in written:
        say(f"Wrote {path}.")
    for step in left:
        say(f"To start it: {step}")
    return 0


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


def _timer(command: list[str]) -> tuple[dict[Path, str], list[list[str]]]:
    """Systemd's units by path, and how they are started. Raises UsageError for a path that no unit can hold."""
    if any(set(word) & set("\n\"'\\") for word in command):
        raise UsageError(f"A unit of systemd cannot name {' '.join(command)!r}: use a data folder without quotes.")
    folder = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "systemd" / "user"
    quoted = " ".join(f'"{word}"' for word in command).replace("%", "%%").replace("$", "$$")
    units = {folder / f"{NAME}.service": SERVICE.format(command=quoted), folder / f"{NAME}.timer": TIMER}
    systemctl = ["systemctl", "--user"]
    return units, [[*systemctl, "daemon-reload"], [*systemctl, "enable", "--now", f"{NAME}.timer"]]


def _agent(command: list[str]) -> tuple[dict[Path, str], list[list[str]]]:
    """Launchd's agent by path, and how it is started."""
    path = Path.home() / "Library" / "LaunchAgents" / f"{LABEL}.plist"
    arguments = "".join(f"<string>{escape(word)}</string>" for word in command)
    return {path: AGENT.format(label=LABEL, arguments=arguments)}, [["launchctl", "load", "-w", str(path)]]


def _done(step: list[str]) -> bool:
    try:
        return subprocess.run(step, check=False, capture_output=True).returncode == 0
    except OSError:
        return False
