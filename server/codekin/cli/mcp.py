"""`codekin mcp`: serves coding agents, and writes the configuration of their clients.

Only the entry of Codekin is changed there; the user's other entries, their order and their comments stay.
"""

import difflib
import json
import os
import re
import sys
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from codekin import paths
from codekin.cli import options
from codekin.cli.output import print_note, print_text
from codekin.errors import UsageError
from codekin.mcp.relay import ServerConfig, serve_stdio
from codekin.mcp.tools import INSTRUCTIONS
from codekin.paths import real_folder
from codekin.util.files import replacing
from codekin.util.jsonc import read_jsonc, remove_member, set_member

group = typer.Typer(add_completion=False, help="Serve coding agents over the Model Context Protocol.")

Index = Annotated[bool, typer.Option("--index", help="Index a root that is new at its first question.")]


@group.callback(invoke_without_command=True)
def serve(
    context: typer.Context,
    root: options.Root = None,
    index: Index = False,
    http: Annotated[
        int | None,
        typer.Option("--http", metavar="PORT", min=0, max=65535, help="Serve HTTP on 127.0.0.1; 0 for any free port."),
    ] = None,
    data_dir: options.DataDir = None,
) -> int:
    """Serve an agent over standard input and output, or any number over HTTP.

    The root is --root, else the client's own, else the workspace of the working directory.
    """
    if context.invoked_subcommand is not None:
        return 0
    data = paths.data_dir(data_dir)
    named = None if root is None else real_folder(root)
    config = ServerConfig(data, Path.cwd(), named, indexes=index)
    if http is not None:
        from codekin.mcp.host import serve_http  # noqa: PLC0415 - brings the SDK and a web server

        return serve_http(config, http)
    return serve_stdio(config)


@group.command()
def install(
    client: Annotated[str, typer.Argument(help="claude-code, codex, cursor, vscode, opencode or zed.")],
    show: Annotated[bool, typer.Option("--print", help="Print the entry and change nothing.")] = False,
    undo: Annotated[bool, typer.Option("--undo", help="Take the entry out again.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before the file is changed.")] = False,
    project: Annotated[
        Path | None,
        typer.Option(help="Change this project's file in place of the user's own.", show_default=False),
    ] = None,
    data_dir: options.DataDir = None,
) -> int:
    """Add Codekin to a client's configuration, or take it out; all else in the file stays as it is."""
    known = find_client(client)
    own_data = ["--data-dir", str(paths.data_dir(data_dir))] if data_dir else []
    command = [own_command(), "mcp", "--index", *own_data]
    if show:
        print_text(known.render(command), end="")
        return 0
    file = known.locate(project)
    before = read_config(file)
    after = change_config(known, before, None if undo else command, file)
    if after == before:
        print_note(f"{file} is as it should be.")
        return 0
    if not yes:
        _ask(file, before, after)
    write_config(file, after)
    print_note(f"{'Removed Codekin from' if undo else 'Added Codekin to'} {file}; restart {known.title} to notice.")
    return 0


@group.command()
def instructions() -> int:
    """Print what agents should know, for AGENTS.md, CLAUDE.md or the rules of a client."""
    print_text(INSTRUCTIONS, end="")
    return 0


def _ask(file: Path, before: str, after: str) -> None:
    """Shows the change and prompts for consent. Raises UsageError without a terminal, and Abort on refusal."""
    lines = difflib.unified_diff(before.splitlines(True), after.splitlines(True), str(file), str(file))
    print_text("".join(lines), end="")
    if not sys.stdin.isatty():
        raise UsageError("There is no terminal to confirm the change: add --yes to change the file.")
    typer.confirm(f"Change {file}?", abort=True)


ENTRY_NAME = "codekin"
_CODEX_TABLE = re.compile(r"\n*^\[mcp_servers\.codekin\][^\n]*\n(?:(?!\[)[^\n]*(?:\n|\Z))*", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class AgentClient:
    """A client: its file for all projects, its file in a project if it has one, and where its entry is.

    `entry` gives the entry for a command line. A path begins at the home folder.
    """

    name: str
    title: str
    file: str
    project_file: str
    member: tuple[str, ...]
    entry: Callable[[Sequence[str]], dict[str, Any]]
    mac_file: str = ""

    def locate(self, project: Path | None) -> Path:
        """The file to change. Raises UsageError where the client has none in projects."""
        if project is None:
            return Path.home() / (self.mac_file if self.mac_file and sys.platform == "darwin" else self.file)
        if not self.project_file:
            raise UsageError(f"{self.title} has no file of its own in projects: leave --project out.")
        return project / self.project_file

    def render(self, command: Sequence[str]) -> str:
        """What to write by hand."""
        if not self.member:
            return _codex_block(command)
        value: Any = self.entry(command)
        for name in reversed(self.member):
            value = {name: value}
        return json.dumps(value, indent=2) + "\n"

    def install(self, text: str, command: Sequence[str]) -> str:
        """The text of the file with the entry. Raises ValueError where it cannot be read."""
        if self.member:
            return _checked(text, set_member(text, self.member, self.entry(command)), read_jsonc)
        kept = self.remove(text).rstrip("\n")
        return _checked(text, (f"{kept}\n\n" if kept else "") + _codex_block(command), tomllib.loads)

    def remove(self, text: str) -> str:
        """The text of the file without the entry. Raises ValueError where it cannot be read."""
        if self.member:
            return _checked(text, remove_member(text, self.member), read_jsonc) if text.strip() else text
        without = _CODEX_TABLE.sub("\n", text)
        return _checked(text, without.lstrip("\n") if without != text else text, tomllib.loads)


def _local(command: Sequence[str]) -> dict[str, Any]:
    return {"command": command[0], "args": list(command[1:])}


def _with_type(command: Sequence[str]) -> dict[str, Any]:
    return {"type": "stdio", **_local(command)}


def _opencode(command: Sequence[str]) -> dict[str, Any]:
    return {"type": "local", "command": list(command), "enabled": True}


def _codex_block(command: Sequence[str]) -> str:
    words = ", ".join(map(json.dumps, command[1:]))
    return f"[mcp_servers.{ENTRY_NAME}]\ncommand = {json.dumps(command[0])}\nargs = [{words}]\n"


_MAC_SUPPORT = "Library/Application Support"
CLIENTS = (
    AgentClient("claude-code", "Claude Code", ".claude.json", ".mcp.json", ("mcpServers", ENTRY_NAME), _with_type),
    AgentClient("codex", "Codex", ".codex/config.toml", ".codex/config.toml", (), _local),
    AgentClient("cursor", "Cursor", ".cursor/mcp.json", ".cursor/mcp.json", ("mcpServers", ENTRY_NAME), _local),
    AgentClient(
        "vscode",
        "VS Code",
        ".config/Code/User/mcp.json",
        ".vscode/mcp.json",
        ("servers", ENTRY_NAME),
        _with_type,
        f"{_MAC_SUPPORT}/Code/User/mcp.json",
    ),
    AgentClient(
        "opencode", "opencode", ".config/opencode/opencode.json", "opencode.json", ("mcp", ENTRY_NAME), _opencode
    ),
    AgentClient(
        "zed", "Zed", ".config/zed/settings.json", ".zed/settings.json", ("context_servers", ENTRY_NAME), _local
    ),
)


def find_client(name: str) -> AgentClient:
    """The client of that name. Raises UsageError where there is none."""
    found = next((client for client in CLIENTS if client.name == name), None)
    if found is None:
        raise UsageError(f"There is no client {name}; there are {', '.join(client.name for client in CLIENTS)}.")
    return found


def read_config(file: Path) -> str:
    """The text of a client's file, empty where it does not exist. Raises UsageError where it is no text."""
    try:
        return file.read_text("utf-8") if file.exists() else ""
    except UnicodeDecodeError as error:
        raise UsageError(f"{file} is no UTF-8 text: write the entry by hand, --print shows it.") from error


def write_config(file: Path, text: str) -> None:
    """Puts the text into the file, through a link and with its own permissions; removes it if nothing is left."""
    real = file.resolve()
    if text.strip() in {"", "{}"}:
        real.unlink(missing_ok=True)
        return
    mode = real.stat().st_mode & 0o777 if real.exists() else 0o600
    with replacing(real) as part:
        part.write_text(text, "utf-8")
        part.chmod(mode)


def change_config(client: AgentClient, text: str, command: Sequence[str] | None, file: Path) -> str:
    """The text of a client's file with the entry for a command, or without it. Raises UsageError where it cannot be."""
    try:
        return client.remove(text) if command is None else client.install(text, command)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{file} cannot be changed ({error}): write the entry by hand, --print shows it.") from error


def own_command() -> str:
    """The absolute path of this program, which a client finds without a shell's PATH."""
    beside = Path(sys.executable).with_name("codekin")
    started = Path(sys.argv[0]).absolute()
    return str(beside if beside.exists() else started if os.access(started, os.X_OK) else "codekin")


def _checked(before: str, after: str, read: Callable[[str], Any]) -> str:
    """The new text, if it says the same as the old one but for Codekin's entry. Raises ValueError where it does not."""
    if _without_entry(read(before)) != _without_entry(read(after)):
        raise ValueError("its form is not known")
    return after


def _without_entry(value: Any) -> Any:
    """A configuration without Codekin's entry, and without the object that held nothing else."""
    if not isinstance(value, dict):
        return value
    kept = {name: _without_own(item) for name, item in value.items()}
    return {name: item for name, item in kept.items() if item != {}}


def _without_own(value: Any) -> Any:
    return {name: item for name, item in value.items() if name != ENTRY_NAME} if isinstance(value, dict) else value
