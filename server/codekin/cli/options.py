"""The options that commands share, and how they parse PATH:LINE."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from codekin.errors import UsageError
from codekin.types import CHUNK_KINDS, LANGUAGE_NAMES

DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir", envvar="CODEKIN_DATA_DIR", help="The folder that holds all indexes.", show_default=False
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Root = Annotated[
    Path | None, typer.Option("--root", help="The workspace's folder; found from PATH otherwise.", show_default=False)
]
Device = Annotated[
    Literal["", "auto", "cuda", "mps", "cpu"],
    typer.Option("--device", help="Where the model runs: auto, cuda, mps or cpu.", show_default=False),
]
Limit = Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="At most this many places.")]
MinScore = Annotated[
    float | None,
    typer.Option(
        "--min-score",
        min=0.0,
        max=1.0,
        help="Only places that score at least this; else `similar.min_score`.",
        show_default=False,
    ),
]
History = Annotated[bool, typer.Option("--history", help="Show who changed each place last, and when.")]
Since = Annotated[
    str, typer.Option("--since", metavar="DATE", help="Only code that changed since then: 2026-03-01, 30d, 6w, 3m, 1y.")
]
Languages = Annotated[list[str] | None, typer.Option("--language", help="Only this language; may be repeated.")]
Kinds = Annotated[list[str] | None, typer.Option("--kind", help="Only this kind of chunk; may be repeated.")]
Paths = Annotated[list[str] | None, typer.Option("--path", help="Only paths that match this glob; may be repeated.")]


def build_filters(
    min_score: float | None, languages: list[str] | None, kinds: list[str] | None, paths: list[str] | None
) -> dict[str, Any]:
    """The filters of a request. Raises UsageError for a language or kind that there is not."""
    for language in languages or ():
        _check_choice(language, LANGUAGE_NAMES, "language")
    for kind in kinds or ():
        _check_choice(kind, CHUNK_KINDS, "kind")
    return {"min_score": min_score, "languages": languages or [], "kinds": kinds or [], "paths": paths or []}


def _check_choice(value: str, known: tuple[str, ...], what: str) -> None:
    if value not in known:
        raise UsageError(f"There is no {what} {value!r}; there are {', '.join(known)}.")


_LOCATION = re.compile(r"(?P<path>.+?):(?P<line>\d+)(?:-(?P<end>\d+)|:(?P<column>\d+))?")


@dataclass(frozen=True, slots=True)
class SourceLocation:
    """A place in a file: a line, a range of lines, or a line and a column; all count from 1, 0 where not given."""

    path: Path
    line: int
    end_line: int = 0
    column: int = 0


def parse_location(text: str) -> SourceLocation:
    """PATH:LINE, PATH:FIRST-LAST or PATH:LINE:COLUMN. Raises UsageError where it is none or there is no such file."""
    match = _LOCATION.fullmatch(text)
    if match is None:
        raise UsageError(f"{text} is not a place: write PATH:LINE or PATH:FIRST-LAST.")
    path, line = Path(match["path"]), int(match["line"])
    end_line, column = int(match["end"] or 0), int(match["column"] or 0)
    if not path.is_file():
        raise UsageError(f"There is no file {path}.")
    if line < 1 or (match["end"] and end_line < line):
        raise UsageError(f"{text} is not a place: lines count from 1, and the last comes after the first.")
    return SourceLocation(path.absolute(), line, end_line, column)
