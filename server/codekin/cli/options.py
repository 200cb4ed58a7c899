"""The options that many commands share."""

from pathlib import Path
from typing import Annotated, Any

import typer

from codekin.errors import UsageError

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
Limit = Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="At most so many places.")]
MinScore = Annotated[float, typer.Option("--min-score", min=0.0, max=1.0, help="Only places that score as high.")]
Languages = Annotated[list[str] | None, typer.Option("--language", help="Only this language; may be repeated.")]
Kinds = Annotated[list[str] | None, typer.Option("--kind", help="Only this kind of fragment; may be repeated.")]
Paths = Annotated[list[str] | None, typer.Option("--path", help="Only paths that match this glob; may be repeated.")]


def filters(
    min_score: float, languages: list[str] | None, kinds: list[str] | None, paths: list[str] | None
) -> dict[str, Any]:
    """The filters of a request. Raises UsageError for a language or kind that there is not."""
    for language in languages or ():
        _check(language, LANGUAGES, "language")
    for kind in kinds or ():
        _check(kind, KINDS, "kind")
    return {"min_score": min_score, "languages": languages or [], "kinds": kinds or [], "paths": paths or []}


LANGUAGES = ("elixir", "cpp", "c", "python")
KINDS = (
    *("module", "protocol", "implementation", "function", "macro", "guard", "delegate", "test", "describe"),
    *("namespace", "class", "struct", "method", "constructor", "destructor", "operator", "lambda", "file"),
)


def _check(value: str, known: tuple[str, ...], what: str) -> None:
    if value not in known:
        raise UsageError(f"There is no {what} {value!r}; there are {', '.join(known)}.")
