"""The command table and the entry point: imports only the module of the command that runs.

A failure is printed as one sentence. Exit status: 0 found or done, 1 nothing found, 2 wrong use or failure,
130 interrupted.
"""

import os
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module, resources
from importlib.util import find_spec
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from codekin.cli import options
from codekin.cli.output import print_error
from codekin.daemon.process.build import this_build
from codekin.errors import CodekinError, UsageError, describe_os_error


@dataclass(frozen=True, slots=True)
class CommandEntry:
    """A command's name, its module in this package, what to take from it, and a line for the overview."""

    name: str
    module: str
    attribute: str
    summary: str


COMMANDS = (
    CommandEntry("index", "indexing", "index", "Bring a workspace's index up to date."),
    CommandEntry("similar", "search", "similar", "Find code like that at PATH:LINE."),
    CommandEntry("search", "search", "search", "Find code by words, or by what it does."),
    CommandEntry("duplicates", "search", "duplicates", "List near-duplicates."),
    CommandEntry("check", "check", "check", "Find code that a change writes again."),
    CommandEntry("complete", "search", "complete", "Complete the code at PATH:LINE:COL."),
    CommandEntry("status", "daemon", "status", "Show how a workspace is doing."),
    CommandEntry("dashboard", "daemon", "dashboard", "Show the code map and the fine-tuning runs, in a browser."),
    CommandEntry("doctor", "doctor", "doctor", "Find out why Codekin is silent."),
    CommandEntry("daemon", "daemon", "group", "Start, stop or look at the shared process."),
    CommandEntry("lsp", "app", "lsp", "Serve an editor over standard input and output."),
    CommandEntry("server", "server", "group", "Serve a team's index on Postgres."),
    CommandEntry("mcp", "mcp", "group", "Serve coding agents, and set up their clients."),
    CommandEntry("embed", "indexing", "embed", "Embed a workspace anew, files, or a text."),
    CommandEntry("similarity", "models", "similarity", "Compare two texts."),
    CommandEntry("generate", "models", "generate", "Continue a prompt with the local model."),
    CommandEntry("models", "models", "group", "List, pull and choose models."),
    CommandEntry("finetune", "finetune", "finetune", "Fine-tune the model on this workspace now."),
    CommandEntry("triplets", "finetune", "triplets", "Write the triplets that fine-tuning would use."),
    CommandEntry("history", "finetune", "history", "Show the fine-tuning runs and what each gained."),
    CommandEntry("rollback", "finetune", "rollback", "Go back to an earlier checkpoint."),
    CommandEntry("schedule", "schedule", "schedule", "Install a system timer for scheduled fine-tuning."),
    CommandEntry("eval", "evaluation", "group", "Measure retrieval and completion on labelled data."),
)


def lsp(data_dir: options.DataDir = None) -> int:
    """Serve an editor over standard input and output with the Language Server Protocol."""
    raise UsageError(f"Write `codekin lsp` first on the command line (data folder {data_dir}).")


SHELLS = ("bash", "zsh", "fish")
EXIT_FAILED = 2
EXIT_INTERRUPTED = 130


class _CommandGroup(TyperGroup):
    """A group that imports a command's module when the command is called; the overview imports none."""

    _is_overview = False

    def get_help(self, ctx: Any) -> str:
        """The overview, from the table alone."""
        self._is_overview = True
        return str(super().get_help(ctx))

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002
        """The names of the table's rows whose modules are there, in its order."""
        return [row.name for row in COMMANDS if find_spec(_module(row))]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command, None where there is none of that name."""
        row = next((row for row in COMMANDS if row.name == cmd_name), None)
        if row is None or row.name not in self.list_commands(ctx):
            return None
        if self._is_overview:
            return TyperCommand(row.name, short_help=row.summary)
        found = getattr(import_module(_module(row)), row.attribute)
        app = found
        if not isinstance(found, typer.Typer):
            app = typer.Typer(add_completion=False)
            app.command()(found)
        command = typer.main.get_command(app)
        command.name, command.short_help = row.name, row.summary
        return command


app = typer.Typer(
    cls=_CommandGroup, name="codekin", no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False
)


def _print_version(requested: bool) -> None:
    if requested:
        from codekin.settings import load_settings  # noqa: PLC0415 - a tenth of a second that other commands save

        build, settings = this_build(), load_settings()[0]
        models = {"embedder": settings.models.embedder, "completion": settings.completion.model}
        typer.echo(f"codekin {build.version} (build {build.digest})")
        typer.echo(", ".join(f"{use}: {name or 'none'}" for use, name in models.items()))
        raise typer.Exit


def _print_completion(shell: str) -> None:
    if not shell:
        return
    if shell not in SHELLS:
        raise UsageError(f"There is no completion for {shell}; there are {', '.join(SHELLS)}.")
    typer.echo(resources.files("codekin.cli").joinpath("shell", f"codekin.{shell}").read_text("utf-8"), nl=False)
    raise typer.Exit


@app.callback()
def overview(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            help="Print the version, the build and the models, and leave.",
            is_eager=True,
            callback=_print_version,
        ),
    ] = False,
    completion: Annotated[
        str,
        typer.Option(
            "--completion",
            metavar="SHELL",
            help="Print the completion of bash, zsh or fish, and leave.",
            is_eager=True,
            callback=_print_completion,
        ),
    ] = "",
) -> None:
    """Codekin knows a codebase by meaning: similar code, completions, scheduled fine-tuning."""


def run(arguments: Sequence[str]) -> int:
    """Runs a command line and gives its exit status; prints one sentence to standard error on failure."""
    try:
        status = typer.main.get_command(app).main(list(arguments), prog_name="codekin", standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        _discard_stdout()
        return 0
    except (CodekinError, OSError) as error:
        return _fail(describe_os_error(error) if isinstance(error, OSError) else str(error))
    except Exception as error:  # noqa: BLE001 - the outermost frame: the user gets a sentence
        if message := getattr(error, "format_message", None):  # wrong usage, reported by typer
            return _fail(_usage_error(message(), arguments))
        if os.environ.get("CODEKIN_DEBUG"):
            traceback.print_exc()
        return _fail(f"Something went wrong ({type(error).__name__}: {error}); CODEKIN_DEBUG=1 shows where.")
    return status if isinstance(status, int) else 0


def _usage_error(message: str, arguments: Sequence[str]) -> str:
    """Typer's message as one sentence, with where to read on; it has none where the help was printed instead."""
    command = next((f" {row.name}" for row in COMMANDS if arguments[:1] == [row.name]), "")
    said = message.replace("Value error, ", "").strip().rstrip(".") or "Name a command"
    see = " See" if said.endswith("?") else "; see"
    return f"{said}{see} `codekin{command} --help`."


def _fail(message: str) -> int:
    print_error(message)
    return EXIT_FAILED


def _discard_stdout() -> None:
    """The reader of our output has left: nothing more is written, at exit neither."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _module(row: CommandEntry) -> str:
    return f"codekin.cli.{row.module}"
