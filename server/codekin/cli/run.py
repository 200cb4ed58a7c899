"""Runs a command line: finds the command, imports its module alone, turns failures into one sentence.

Exit status: 0 found or done, 1 nothing found, 2 wrong use or failure, 130 interrupted.
"""

import os
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from codekin.cli.table import ROWS, Row
from codekin.errors import CodekinError

FAILED = 2
INTERRUPTED = 130


class _Commands(TyperGroup):
    """A group that imports a command's module when it is called for."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002
        """The names of the table's rows whose modules are there, in its order."""
        return [row.name for row in ROWS if find_spec(_module(row))]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command, None where there is none of that name."""
        row = next((row for row in ROWS if row.name == cmd_name), None)
        if row is None or row.name not in self.list_commands(ctx):
            return None
        found = getattr(import_module(_module(row)), row.attribute)
        app = found
        if not isinstance(found, typer.Typer):
            app = typer.Typer(add_completion=False)
            app.command()(found)
        command = typer.main.get_command(app)
        command.name, command.short_help = row.name, row.summary
        return command


app = typer.Typer(
    cls=_Commands, name="codekin", no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False
)


def _print_version(asked: bool) -> None:
    if asked:
        from codekin.daemon.build import this_build  # noqa: PLC0415 - seldom asked

        typer.echo(f"codekin {this_build().version}")
        raise typer.Exit


@app.callback()
def overview(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and leave.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Codekin knows a codebase by meaning: similar code, completions, nightly learning."""


def run(arguments: Sequence[str]) -> int:
    """Runs a command line and gives its exit status; prints one sentence to standard error on failure."""
    try:
        status = typer.main.get_command(app).main(list(arguments), prog_name="codekin", standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except BrokenPipeError:
        _silence()
        return 0
    except CodekinError as error:
        return _fail(str(error))
    except Exception as error:  # noqa: BLE001 - the outermost frame: the user gets a sentence
        if message := getattr(error, "format_message", None):  # wrong use, told by typer
            return _fail(_wrong_use(message(), arguments))
        if os.environ.get("CODEKIN_DEBUG"):
            traceback.print_exc()
        return _fail(f"Something went wrong ({type(error).__name__}: {error}); CODEKIN_DEBUG=1 shows where.")
    return status if isinstance(status, int) else 0


def _wrong_use(message: str, arguments: Sequence[str]) -> str:
    """Typer's message as one sentence, with where to read on; it has none where the help was printed instead."""
    command = next((f" {row.name}" for row in ROWS if arguments[:1] == [row.name]), "")
    return f"{message.strip().rstrip('.') or 'Name a command'}; see `codekin{command} --help`."


def _fail(message: str) -> int:
    sys.stderr.write(" ".join(message.split()).encode("ascii" if _plain() else "utf-8", "replace").decode() + "\n")
    return FAILED


def _plain() -> bool:
    return "utf" not in (sys.stderr.encoding or "").lower()


def _silence() -> None:
    """The reader of our output has left: nothing more is written, at exit neither."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _module(row: Row) -> str:
    return f"codekin.cli.{row.module}"
