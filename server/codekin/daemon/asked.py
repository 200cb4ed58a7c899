"""Reads what a request asks for, checked: every wrong value is a UsageError that names its key.

Also the one place that decides which paths a request may name. Knows nothing of answers.
"""

import os
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from starlette.requests import Request

from codekin.errors import UsageError
from codekin.records import Filters

LINE_LIMIT = 10_000_000
HITS_LIMIT = 1000


class Asked:
    """The JSON object of a request."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = values

    @classmethod
    async def of(cls, request: Request) -> "Asked":
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
        value = self._get(key, default)
        if not isinstance(value, str):
            raise UsageError(f"`{key}` must be a text.")
        return value

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
        return real_root(self.text("root"))

    def path(self, root: Path, key: str = "path") -> str:
        """A path within the root, relative to it, with forward slashes."""
        return inside(root, self.text(key))

    def filters(self, key: str = "filters") -> Filters:
        """The filters; missing ones allow everything."""
        table = Asked(self.table(key) or {})
        score = table.values.get("min_score") or 0.0
        if isinstance(score, bool) or not isinstance(score, int | float) or not 0 <= score <= 1:
            raise UsageError("`min_score` must be a number between 0 and 1.")
        return Filters(table.texts("languages"), table.texts("kinds"), table.texts("paths"), float(score))

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts, empty where it is missing or null."""
        value = self.values.get(key) or ()
        if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
            raise UsageError(f"`{key}` must be a list of texts.")
        return tuple(value)

    def _get(self, key: str, default: Any) -> Any:
        value = self.values.get(key, default)
        if value is None:
            value = default
        if value is None:
            raise UsageError(f"`{key}` is missing.")
        return value


def real_root(text: str) -> Path:
    """The real path of a workspace root; raises UsageError for anything but an absolute path to a folder."""
    path = Path(text)
    if "\0" in text or not path.is_absolute():
        raise UsageError("The workspace root must be an absolute path.")
    try:
        real = path.resolve(strict=True)
    except (OSError, RuntimeError) as error:
        raise UsageError(f"There is no folder {text}.") from error
    if not real.is_dir():
        raise UsageError(f"{text} is not a folder: give the folder of the workspace.")
    if real == Path(real.anchor):
        raise UsageError("The root of the file system is too much for a workspace: open a folder in it.")
    return real


def inside(root: Path, text: str) -> str:
    """The path relative to the root; raises UsageError where it leads outside, through links as well."""
    if not text or "\0" in text:
        raise UsageError("`path` must be the path of a file in the workspace.")
    whole = Path(os.path.normpath(root / text))
    real = Path(os.path.realpath(whole))
    if not whole.is_relative_to(root):
        whole = real  # an absolute path through a link to the root
    if not whole.is_relative_to(root) or not real.is_relative_to(root) or whole == root:
        raise UsageError(f"{text} is outside the workspace {root}.")
    return PurePosixPath(whole.relative_to(root)).as_posix()
