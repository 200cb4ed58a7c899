"""The commands of the terminal: they ask the daemon and print, as tables, plain lines or JSON.

Each group of commands is a module of its own, named in `table` and imported when used.
"""

from codekin.cli.run import run

__all__ = ["run"]
