"""Prints results as JSON, as a table on a terminal, or as tab-separated lines in a pipe."""

import json
import sys
import unicodedata
from collections.abc import Container, Sequence
from typing import Any

_WRAPPED_COLUMNS = ("name", "why", "about", "licence", "left out because")
"""Columns of words give way where a terminal is narrow; places and numbers are copied, so they stay whole."""


def print_json(value: Any) -> None:
    """One line of JSON in ASCII, whatever the terminal's encoding."""
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def print_rows(
    headers: Sequence[str], rows: Sequence[Sequence[Any]], title: str = "", *, always_headed: bool = False
) -> None:
    """A table on a terminal; in a pipe one line for each row, its cells apart by tabs.

    `always_headed` is for answers of several tables: each then has a line of headings in a pipe as well.
    """
    cells = [[make_printable(str(cell)) for cell in row] for row in rows]
    if not sys.stdout.isatty():
        for row in [list(headers), *cells] if always_headed and rows else cells:
            print_line("\t".join(row))
        return
    numeric = {number for number, cell in enumerate(rows[0] if rows else ()) if isinstance(cell, int | float)}
    _draw_table(headers, cells, title, numeric)


def _draw_table(headers: Sequence[str], cells: Sequence[Sequence[str]], title: str, right: Container[int]) -> None:
    """Draws a table; the columns numbered in `right` are aligned there."""
    # rich takes longer to import than most answers take; a pipe never needs it.
    from rich import box  # noqa: PLC0415
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(title=Text(title) if title else None, box=box.SIMPLE, title_justify="left")
    for number, header in enumerate(headers):
        table.add_column(
            header,
            justify="right" if number in right else "left",
            overflow="fold",
            no_wrap=header not in _WRAPPED_COLUMNS,
        )
    for row in cells:
        table.add_row(*(Text(cell) for cell in row))
    Console().print(table)


def print_line(line: str) -> None:
    """A line to standard output, without characters that control a terminal; tabs stay."""
    sys.stdout.write(_encodable(_printable_cells(line), sys.stdout.encoding) + "\n")


def print_text(text: str, end: str = "\n") -> None:
    """Code to standard output: as it is in a pipe; on a terminal nothing in it controls the terminal."""
    shown = "\n".join(map(_printable_cells, text.split("\n"))) if sys.stdout.isatty() else text
    sys.stdout.write(_encodable(shown, sys.stdout.encoding) + end)
    sys.stdout.flush()


def print_error(message: str) -> None:
    """A failure as one line to standard error."""
    print_note(" ".join(message.split()))


def print_note(line: str) -> None:
    """A line to standard error, beside the answer."""
    sys.stderr.write(_encodable(make_printable(line), sys.stderr.encoding) + "\n")


def make_printable(text: str) -> str:
    """The text with control, format and surrogate characters (bidi marks among them) shown as escapes."""
    if text.isprintable():
        return text
    return "".join(_escape(letter) if unicodedata.category(letter)[0] == "C" else letter for letter in text)


def _printable_cells(line: str) -> str:
    return "\t".join(map(make_printable, line.split("\t")))


def _escape(letter: str) -> str:
    return letter.encode("unicode_escape").decode()


def _encodable(text: str, encoding: str | None) -> str:
    return text.encode(encoding or "ascii", "replace").decode(encoding or "ascii")
