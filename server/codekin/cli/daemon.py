"""`codekin daemon start|stop|status`."""

import os
import signal
import time
from pathlib import Path

import typer

from codekin import places
from codekin.cli import options
from codekin.cli.output import print_json, say
from codekin.daemon.client import Client
from codekin.daemon.start import greet, is_led, listener_pid
from codekin.errors import DaemonError

group = typer.Typer(help="Start, stop or look at the shared process.", no_args_is_help=True, add_completion=False)

LEAVING_SECONDS = 15.0


@group.command()
def start(json: options.Json = False, data_dir: options.DataDir = None) -> int:
    """Start the daemon unless it runs."""
    with Client.connect(data_dir) as client:
        _show(client, json=json)
    return 0


@group.command()
def status(json: options.Json = False, data_dir: options.DataDir = None) -> int:
    """Show whether it runs, and what it holds; exit status 1 if it does not run."""
    data = places.data_dir(data_dir)
    if greet(data) is None:
        print_json({"running": False}) if json else say("No daemon is running.")
        return 1
    with Client.connect(data, start=False) as client:
        _show(client, json=json)
    return 0


@group.command()
def stop(json: options.Json = False, data_dir: options.DataDir = None) -> int:
    """Let the daemon finish what it is serving and leave; one that does not answer is ended."""
    data = places.data_dir(data_dir)
    pid = listener_pid(data)
    stopped = pid is not None and _stop(data, pid)
    if json:
        print_json({"stopped": stopped})
    else:
        say("The daemon has left." if stopped else "No daemon is running.")
    return 0


def _stop(data: Path, pid: int) -> bool:
    try:
        with Client.connect(data, start=False) as client:
            client.post("/shutdown", {"reason": "stopped by the user"}, timeout=5)
    except DaemonError:
        os.kill(pid, signal.SIGTERM)
    if not _is_gone(data, LEAVING_SECONDS):
        os.kill(pid, signal.SIGKILL)
        if not _is_gone(data, LEAVING_SECONDS):
            raise DaemonError(f"The daemon (process {pid}) cannot be ended.")
    return True


def _is_gone(data: Path, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not is_led(data):
            return True
        time.sleep(0.05)
    return False


def _show(client: Client, *, json: bool) -> None:
    found = {"running": True, **client.greeting, **client.get("/status")}
    if json:
        print_json(found)
        return
    say(f"daemon     process {found['pid']}, version {found['version']}")
    say(f"data       {found['data_dir']}")
    say(f"model      {found['model']['name'] or 'none'} ({found['model']['phase']})")
    for workspace in found["workspaces"]:
        say(f"workspace  {workspace['root']} ({workspace['state']})")
    for problem in found["problems"]:
        say(f"problem    {problem}")
