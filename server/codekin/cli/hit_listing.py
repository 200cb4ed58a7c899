"""Lists hits on a terminal, grouped by file, with the matching lines in colour; brings rich.

The lines are read from the working tree, as they are now.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from codekin.cli.output import make_printable

SNIPPET_LINES = 10
"""Lines of code that are shown of the best hit."""

_MAX_READ_BYTES = 4 * 2**20
_NUMBER_WIDTH = 6


def print_by_file(root: Path, hits: Sequence[Mapping[str, Any]], *, snippet: bool) -> None:
    """Prints the hits below the paths of their files, the file of the best hit first."""
    console = Console(highlight=False)
    for path in dict.fromkeys(hit["path"] for hit in hits):
        lines = _read_lines(root / path)
        console.print(Text(make_printable(path), "bold magenta"), soft_wrap=True)
        for hit in (one for one in hits if one["path"] == path):
            console.print(_title(hit), soft_wrap=True)
            for line in _shown_lines(hit, lines, snippet=snippet and hit is hits[0]):
                console.print(line, no_wrap=True, overflow="ellipsis")


def _title(hit: Mapping[str, Any]) -> Text:
    """The line of a hit: where its code begins, what it is, its score and why it was found."""
    title = Text(f"{hit['code_line']:>{_NUMBER_WIDTH}} ", "green")
    title.append(make_printable(hit["name"] or hit["path"]), "bold")
    title.append(f"  {hit['language']} {hit['kind']}  {hit['score']:.2f}  ", "dim")
    return title.append(make_printable(", ".join(hit["reasons"])), "dim italic")


def _shown_lines(hit: Mapping[str, Any], lines: Sequence[str], *, snippet: bool) -> list[Text]:
    """The lines that match, and those from where the code begins if a snippet is wanted."""
    matching = set(hit.get("lines", ()))
    begin = hit["code_line"]
    shown = set(range(begin, min(begin + SNIPPET_LINES, hit["end_line"] + 1))) if snippet else set()
    return [
        _code_line(number, lines, number in matching) for number in sorted(shown | matching) if number <= len(lines)
    ]


def _code_line(number: int, lines: Sequence[str], is_matching: bool) -> Text:
    line = Text(f"{number:>{_NUMBER_WIDTH}}{':' if is_matching else '-'} ", "green" if is_matching else "dim")
    return line.append(make_printable(lines[number - 1].expandtabs(4)), "yellow" if is_matching else "")


def _read_lines(path: Path) -> list[str]:
    """The lines of a file; none where it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(_MAX_READ_BYTES).decode("utf-8", "replace").splitlines()
    except OSError:
        return []
