"""Reads the parameters of requests, and writes responses.

Every invalid value is a UsageError that names its key; responses are places found, streams of JSON lines, and errors
in one shape.

Also decides which paths a request may name.
"""

import json
import os
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from pathlib import Path, PurePosixPath
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from codekin.errors import CodekinError, UsageError
from codekin.settings import SimilarSettings
from codekin.types import Chunk, Filters, Hit, SearchRequest

LINE_LIMIT = 10_000_000
HITS_LIMIT = 1000
TEXT_LIMIT = 100_000


class RequestParams:
    """The JSON object of a request."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = values

    @classmethod
    async def of(cls, request: Request) -> "RequestParams":
        """Reads the body, or the query of a GET. Raises UsageError where it is no JSON object."""
        if request.method == "GET":
            return cls(dict(request.query_params))
        try:
            values = await request.json() if await request.body() else {}
        except (ValueError, RecursionError) as error:
            raise UsageError("The body of the request is not JSON.") from error
        if not isinstance(values, dict):
            raise UsageError("The body of the request must be a JSON object.")
        return cls(values)

    def text(self, key: str, default: str | None = None) -> str:
        """A text; required where there is no default."""
        return _well_formed(self._raw_text(key, default))

    def optional_text(self, key: str) -> str | None:
        """A text, or None where it is missing or null."""
        return None if self.values.get(key) is None else self.text(key)

    def number(self, key: str, default: int | None = None, low: int = 0, high: int = LINE_LIMIT) -> int:
        """A whole number within its bounds."""
        value = self._get(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise UsageError(f"`{key}` must be a whole number between {low} and {high}.")
        return value

    def flag(self, key: str, default: bool = False) -> bool:
        """True or false."""
        value = self._get(key, default)
        if not isinstance(value, bool):
            raise UsageError(f"`{key}` must be true or false.")
        return value

    def table(self, key: str) -> Mapping[str, Any] | None:
        """An object, or None where it is missing or null."""
        value = self.values.get(key)
        if value is not None and not isinstance(value, dict):
            raise UsageError(f"`{key}` must be an object.")
        return value

    def root(self) -> Path:
        """The real path of the workspace root, which must be an absolute path to a folder."""
        return resolve_root(self._raw_text("root"))

    def path(self, root: Path, key: str = "path") -> str:
        """A path within the root, relative to it, with forward slashes."""
        return path_inside_root(root, self._raw_text(key))

    def filters(self, min_score: float = 0.0) -> Filters:
        """The filters; missing ones allow everything that scores at least `min_score`."""
        table = RequestParams(self.table("filters") or {})
        score = table.score("min_score", min_score)
        return Filters(table.texts("languages"), table.texts("kinds"), table.texts("paths"), score)

    def limit(self, settings: SimilarSettings) -> int:
        """The most hits that are wanted."""
        return self.number("limit", settings.limit, low=1, high=HITS_LIMIT)

    def search(self, root: Path, settings: SimilarSettings) -> SearchRequest:
        """`text`, `grep`, `near`, `limit` and `filters`: what to search for below a root."""
        near = self.path(root, "near") if self.values.get("near") else ""
        text, filters = self.text("text", "").strip(), self.filters(settings.min_score)
        query = SearchRequest(text, filters, self.limit(settings), self.text("grep", ""), near)
        if not (query.text or query.grep) or len(query.text) > TEXT_LIMIT:
            raise UsageError(f"`text` must have between 1 and {TEXT_LIMIT} characters.")
        return query

    def score(self, key: str, default: float) -> float:
        """A score from 0 to 1."""
        score = default if self.values.get(key) is None else self.values[key]
        if isinstance(score, bool) or not isinstance(score, int | float) or not 0 <= score <= 1:
            raise UsageError(f"`{key}` must be a number between 0 and 1.")
        return float(score)

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts, empty where it is missing or null."""
        value = self.values.get(key) or ()
        if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
            raise UsageError(f"`{key}` must be a list of texts.")
        return tuple(map(_well_formed, value))

    def _raw_text(self, key: str, default: str | None = None) -> str:
        """A text as it came: a path may hold bytes that are no UTF-8, as lone surrogates."""
        value = self._get(key, default)
        if not isinstance(value, str):
            raise UsageError(f"`{key}` must be a text.")
        return value

    def _get(self, key: str, default: Any) -> Any:
        value = self.values.get(key, default)
        if value is None:
            value = default
        if value is None:
            raise UsageError(f"`{key}` is missing.")
        return value


def _well_formed(text: str) -> str:
    """The text with lone surrogates replaced, which no encoding takes."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def resolve_root(text: str) -> Path:
    """The real path of a workspace root; raises UsageError for anything but an absolute path to a folder."""
    path = Path(text)
    if "\0" in text or not path.is_absolute():
        raise UsageError("The workspace root must be an absolute path.")
    try:
        real = path.resolve(strict=True)
    except (OSError, RuntimeError, ValueError) as error:
        raise UsageError(f"There is no folder {text}.") from error
    if not real.is_dir():
        raise UsageError(f"{text} is not a folder: give the folder of the workspace.")
    if real == Path(real.anchor):
        raise UsageError("The root of the file system is too much for a workspace: open a folder in it.")
    return real


def path_inside_root(root: Path, text: str) -> str:
    """The path of the file that it leads to, links followed, relative to the root; UsageError where that is outside."""
    if not text or "\0" in text:
        raise UsageError("`path` must be the path of a file in the workspace.")
    try:
        real = Path(os.path.realpath(os.path.normpath(root / text)))
    except ValueError as error:  # a character that no path has
        raise UsageError("`path` must be the path of a file in the workspace.") from error
    if not real.is_relative_to(root) or real == root:
        raise UsageError(f"{text} is outside the workspace {root}.")
    return PurePosixPath(real.relative_to(root)).as_posix()


class AsciiJSONResponse(JSONResponse):
    """JSON in ASCII: a file's name may hold bytes that are no UTF-8, which Python keeps as lone surrogates."""

    def render(self, content: Any) -> bytes:
        """The body."""
        return json.dumps(content).encode()


def json_lines(values: AsyncGenerator[Mapping[str, Any], None]) -> Response:
    """A stream of JSON values, one a line; an error that is raised in between is the last of them."""
    return StreamingResponse(_lines(values), media_type="application/x-ndjson")


def error_body(error: Exception) -> dict[str, dict[str, str]]:
    """The shape of every error, OpenAI's: also sent as a line in a stream."""
    if isinstance(error, CodekinError):
        return {"error": {"message": str(error), "type": type(error).__name__}}
    return {"error": {"message": "Something went wrong; see the daemon's log.", "type": "CodekinError"}}


def hit_to_json(hit: Hit) -> dict[str, Any]:
    """A place found."""
    return {
        "path": hit.path,
        "name": hit.name,
        "kind": hit.kind,
        "language": hit.language,
        "start_line": hit.start_line,
        "end_line": hit.end_line,
        "code_line": hit.code_line,
        "score": round(hit.score, 4),
        "reasons": list(hit.reasons),
        **({"lines": list(hit.lines)} if hit.lines else {}),
    }


def query_to_json(query: Chunk) -> dict[str, Any]:
    """The code that a query is about."""
    return {
        "path": query.path,
        "name": query.name,
        "language": query.language,
        "start_line": query.start_line,
        "end_line": query.end_line,
    }


async def _lines(values: AsyncGenerator[Mapping[str, Any], None]) -> AsyncIterator[str]:
    async with aclosing(values):
        try:
            async for value in values:
                yield json.dumps(value) + "\n"
        except CodekinError as error:
            yield json.dumps(error_body(error)) + "\n"
