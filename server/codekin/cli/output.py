"""Prints answers: JSON when asked for, a table on a terminal, plain tab-separated lines in a pipe.

Names from a repository are made printable first, so that none can drive the terminal.
"""

import json
import sys
import unicodedata
from collections.abc import Sequence
from typing import Any

_WRAPPED = ("name", "why", "about", "licence", "left out because")
"""Columns of words give way where a terminal is narrow; places and numbers are copied, so they stay whole."""


def print_json(value: Any) -> None:
    """One line of JSON in ASCII, whatever the terminal's encoding."""
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def print_rows(
    headers: Sequence[str], rows: Sequence[Sequence[Any]], title: str = "", *, always_headed: bool = False
) -> None:
    """A table on a terminal; in a pipe one line for each row, its cells apart by tabs.

    `always_headed` is for answers of several tables: a line of headings then stands before each in a pipe as well.
    """
    cells = [[printable(str(cell)) for cell in row] for row in rows]
    if not sys.stdout.isatty():
        for row in [list(headers), *cells] if always_headed and rows else cells:
            say("\t".join(row))
        return
    from rich import box  # noqa: PLC0415 - for terminals alone
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(title=Text(title) if title else None, box=box.SIMPLE, title_justify="left")
    for number, header in enumerate(headers):
        right = bool(rows) and isinstance(rows[0][number], int | float)
        table.add_column(header, justify="right" if right else "left", overflow="fold", no_wrap=header not in _WRAPPED)
    for row in cells:
        table.add_row(*(Text(cell) for cell in row))
    Console().print(table)


def say(line: str) -> None:
    """A line to standard output."""
    sys.stdout.write(_encodable(line, sys.stdout.encoding) + "\n")


def note(line: str) -> None:
    """A line to standard error, beside the answer."""
    sys.stderr.write(_encodable(printable(line), sys.stderr.encoding) + "\n")


def printable(text: str) -> str:
    """The text with control, format and surrogate characters (bidi marks among them) shown as escapes."""
    if text.isprintable():
        return text
    return "".join(_escape(letter) if unicodedata.category(letter)[0] == "C" else letter for letter in text)


def _escape(letter: str) -> str:
    return letter.encode("unicode_escape").decode()


def _encodable(text: str, encoding: str | None) -> str:
    return text.encode(encoding or "ascii", "replace").decode(encoding or "ascii")
