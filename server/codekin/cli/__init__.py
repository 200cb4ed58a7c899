"""The command line: each command calls the daemon and prints a table, plain lines or JSON."""

from codekin.cli.app import run

__all__ = ["run"]
