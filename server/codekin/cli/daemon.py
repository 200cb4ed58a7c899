"""`codekin daemon start|stop|status`, `codekin status` and `codekin dashboard`."""

import os
import select
import sys
import webbrowser
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import psutil
import typer

from codekin import paths
from codekin.cli import options
from codekin.cli.output import print_json, print_line, print_rows
from codekin.daemon.client import DaemonClient
from codekin.daemon.process.startup import listener_pid, read_handshake
from codekin.errors import DaemonError
from codekin.paths import find_workspace_root

group = typer.Typer(help="Start, stop or look at the shared process.", no_args_is_help=True, add_completion=False)

SHUTDOWN_SECONDS = 15.0


@group.command()
def start(json: options.Json = False, data_dir: options.DataDir = None) -> int:
    """Start the daemon unless it runs."""
    with DaemonClient.connect(data_dir) as client:
        _print_daemon(client, json=json)
    return 0


@group.command("status")
def daemon_status(json: options.Json = False, data_dir: options.DataDir = None) -> int:
    """Show whether it runs, and what it holds; exit status 1 if it does not run."""
    data = paths.data_dir(data_dir)
    if read_handshake(data) is None:
        print_json({"running": False}) if json else print_line("No daemon is running.")
        return 1
    with DaemonClient.connect(data, start=False) as client:
        _print_daemon(client, json=json)
    return 0


@group.command()
def stop(json: options.Json = False, data_dir: options.DataDir = None) -> int:
    """Let the daemon finish what it is serving and leave; one that does not answer is ended."""
    data = paths.data_dir(data_dir)
    process = listening_process(data)
    if process is not None:
        stop_process(data, process)
    successor = listener_pid(data) if process else None
    if json:
        print_json({"stopped": process is not None, "successor": successor})
        return 0
    print_line("The daemon has left." if process else "No daemon is running.")
    if successor is not None:
        print_line(f"An open editor window has started another one (process {successor}).")
    return 0


def listening_process(data: Path) -> psutil.Process | None:
    """The process that listens at the socket, None without one.

    It is looked up twice: a process that still listens after its start was noted is the one that was noted, and
    psutil never signals another process that was given the same id later.
    """
    pid = listener_pid(data)
    try:
        found = psutil.Process(pid) if pid is not None else None
    except psutil.NoSuchProcess:
        return None
    return found if found is not None and listener_pid(data) == found.pid else None


def stop_process(data: Path, process: psutil.Process) -> None:
    """Ends this daemon and no other process: first a request, then SIGTERM, then SIGKILL. Raises DaemonError."""
    try:
        if not _asked_to_leave(data, process):
            process.terminate()
            process.resume()  # a suspended process hears of it once it goes on
        if not _has_ended(process):
            process.kill()
            if not _has_ended(process):
                raise DaemonError(f"The daemon (process {process.pid}) cannot be ended.")
    except psutil.NoSuchProcess:
        return
    except psutil.AccessDenied as error:
        raise DaemonError(f"The daemon (process {process.pid}) is another user's: it cannot be ended.") from error


def _asked_to_leave(data: Path, process: psutil.Process) -> bool:
    """Whether this daemon took the request; a daemon that replaced it is not stopped."""
    try:
        with DaemonClient.connect(data, start=False) as client:
            if client.greeting.get("pid") != process.pid:
                return not process.is_running()
            client.post("/shutdown", {"reason": "stopped by the user"}, timeout=5)
    except DaemonError:
        return not process.is_running()
    return True


def _has_ended(process: psutil.Process) -> bool:
    """Waits for the end; on Linux a zombie has ended as well."""
    try:
        if sys.platform != "linux":
            process.wait(SHUTDOWN_SECONDS)
            return True
        handle = os.pidfd_open(process.pid)
    except psutil.TimeoutExpired:
        return False
    except ProcessLookupError:
        return True
    try:
        return not process.is_running() or bool(select.select([handle], [], [], SHUTDOWN_SECONDS)[0])
    finally:
        os.close(handle)


def _print_daemon(client: DaemonClient, *, json: bool) -> None:
    found = {"running": True, **client.greeting, **client.get("/status")}
    if json:
        print_json(found)
        return
    print_line(f"daemon     process {found['pid']}, version {found['version']}")
    print_line(f"data       {found['data_dir']}")
    print_line(f"model      {found['model']['name'] or 'none'} ({found['model']['phase']})")
    for workspace in found["workspaces"]:
        print_line(f"workspace  {workspace['root']} ({workspace['state']})")
    for problem in found["problems"]:
        print_line(f"problem    {problem}")


COMPLETION_OUTCOMES = ("shown", "accepted", "partial", "rejected")


def status(
    path: Annotated[Path, typer.Argument(help="A file or folder of the workspace.")] = Path(),
    files: Annotated[bool, typer.Option("--files", help="List every file, and why it is left out.")] = False,
    json: options.Json = False,
    data_dir: options.DataDir = None,
) -> int:
    """Show how a workspace is doing: what is indexed, with which model, and what is wrong."""
    data = paths.data_dir(data_dir)
    root = find_workspace_root(data, path)
    with DaemonClient.connect(data) as client:
        found = client.get("/status", root=str(root))
        listed = client.get("/files", root=str(root))["files"] if files else None
    if json:
        print_json(found if listed is None else {**found, "file_list": listed})
        return 0
    if listed is not None:
        print_rows(("path", "language", "left out because"), [_file_cells(row) for row in listed])
        return 0
    for line in format_status(found):
        print_line(line)
    return 0


def format_status(status: Mapping[str, Any]) -> list[str]:
    """A workspace's status in words."""
    model, progress = status["model"], status["progress"]
    found = [
        f"workspace  {status['root']}",
        f"state      {status['state']}" + (f" ({progress['done']} of {progress['total']})" if progress else ""),
        f"files      {status['files']} indexed, {status['skipped']} left out",
        f"chunks     {status['chunks']}, {status['embedded']} embedded",
        f"model      {model['name'] or 'none'} ({model['phase']})" + _truncated_texts(model.get("truncated", 0)),
        f"space      {status['space'] or 'none yet'}",
    ]
    if completion := status.get("completion"):
        found.append(f"completion {_format_completion(completion)}")
    if finetune := status.get("finetune"):
        found.append(f"finetune   {_format_finetune(finetune)}")
    return found + [f"problem    {problem}" for problem in status["problems"]]


def _truncated_texts(count: int) -> str:
    return f", {count} long texts read up to where a chunk or line ends" if count else ""


def _format_completion(state: Mapping[str, Any]) -> str:
    """Which model answers and how fast, what the repository model has read, and how suggestions fared."""
    outcomes = {name: state[name] for name in COMPLETION_OUTCOMES if state.get(name)}
    parts = [f"by the {state['model']}" if state["model"] == "repository" else f"by {state['model']}"]
    parts += [f"{state['ms']} ms an answer"] if state.get("ms") else []
    parts += [f"{state['tokens']:,} tokens read"] if "tokens" in state else []
    parts += [f"{count} {name}" for name, count in outcomes.items()]
    return ", ".join(parts) + (f"; {state['problem']}" if state.get("problem") else "")


def _format_finetune(state: Mapping[str, Any]) -> str:
    if state.get("running"):
        return f"{state['phase']} ({state['done']} of {state['total']})" if state["total"] else str(state["phase"])
    why = state.get("waiting_for") or state.get("last_problem")
    return f"at rest: {why}" if why else "at rest"


def _file_cells(row: Mapping[str, Any]) -> tuple[str, str, str]:
    return row["path"], row["language"], row["skipped"] or ("unsaved" if row["buffer"] else "")


def dashboard(
    path: Annotated[Path, typer.Argument(help="A file or folder of the workspace.")] = Path(),
    no_open: Annotated[bool, typer.Option("--no-open", help="Print the address only.")] = False,
    json: options.Json = False,
    data_dir: options.DataDir = None,
) -> int:
    """Show the map of the code, near-duplicates, the index and the fine-tuning runs, in a browser."""
    data = paths.data_dir(data_dir)
    with DaemonClient.connect(data) as client:
        found = client.post("/dashboard", {"root": str(find_workspace_root(data, path))})
    if json:
        print_json(found)
        return 0
    print_line(found["url"])
    if not no_open:
        webbrowser.open(Path(found["page"]).as_uri())  # other users can read a browser's command line
    return 0
