"""Checks tables of foreign values against the schema, key by key.

Every value that does not fit is left at what it was and reported in one sentence.
"""

import difflib
import types
from collections.abc import Mapping
from dataclasses import Field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from codekin.settings.schema import Trust

Section = TypeVar("Section")


def merged(section: Section, table: Mapping[str, Any], trust: Trust, where: str, prefix: str = "") -> Any:
    """(section with the table's values, problems): a frozen copy, nested sections included."""
    hints = get_type_hints(type(section))
    known = {field.name: field for field in fields(section)}  # type: ignore[arg-type]
    changes: dict[str, Any] = {}
    problems: list[str] = []
    for name, value in table.items():
        key = f"{prefix}{name}"
        if name not in known:
            problems.append(f"{where}: there is no setting `{key}`{_nearest(str(name), known)}.")
            continue
        if value is None:
            continue
        try:
            current = getattr(section, name)
            changes[name], found = _taken(known[name], hints[name], current, value, (trust, where, key))
            problems += found
        except ValueError as error:
            problems.append(f"{where}: `{key}` {error}; it stays {_shown(getattr(section, name))}.")
    return replace(section, **changes), problems  # type: ignore[type-var]


def _taken(
    field: Field[Any], hint: Any, current: Any, value: Any, source: tuple[Trust, str, str]
) -> tuple[Any, list[str]]:
    """(checked value, problems of a nested section); raises ValueError with the rest of the sentence."""
    trust, where, key = source
    kind = _without_none(hint)
    if is_dataclass(kind):
        if field.metadata and trust < field.metadata["trust"]:
            raise ValueError(_distrusted(field.metadata["trust"]))
        if not isinstance(value, Mapping):
            raise ValueError(f"must be a table, not {_shown(value)}")
        start = current if current is not None else kind()  # type: ignore[operator]
        result, problems = merged(start, value, trust, where, f"{key}.")
        return (result if result != start else current), problems
    if trust < field.metadata["trust"]:
        raise ValueError(_distrusted(field.metadata["trust"]))
    if isinstance(value, str) and trust < Trust.USER and field.name in ("model", "embedder", "fallback"):
        _require_plain_name(value)
    return _converted(kind, value, field.metadata["low"], field.metadata["high"]), []


def _converted(kind: Any, value: Any, low: float | None, high: float | None) -> Any:
    origin = get_origin(kind)
    if origin is Literal:
        return _choice(get_args(kind), value)
    if origin is tuple:
        return _strings(value)
    if origin is not None and issubclass(origin, Mapping):
        return _table(value)
    if kind is Path:
        return _folder(value)
    if kind is bool or kind is str:
        return _exactly(kind, value)
    return _number(kind, value, low, high)


def _exactly(kind: type, value: Any) -> Any:
    if not isinstance(value, kind):
        raise ValueError(f"must be {'true or false' if kind is bool else 'a text'}, not {_shown(value)}")  # noqa: TRY004
    return value


def _number(kind: type, value: Any, low: float | None, high: float | None) -> Any:
    whole = kind is int
    accepted = isinstance(value, int) or (isinstance(value, float) and (not whole or value.is_integer()))
    bounds = f" between {low:g} and {high:g}" if low is not None and high is not None else ""
    if isinstance(value, bool) or not accepted or not _within(low, value, high):
        raise ValueError(f"must be a {'whole ' if whole else ''}number{bounds}, not {_shown(value)}")
    return kind(value)


def _within(low: float | None, value: float, high: float | None) -> bool:
    return (low is None or low <= value) and (high is None or value <= high)


def _choice(choices: tuple[Any, ...], value: Any) -> Any:
    if value not in choices or not isinstance(value, str):
        raise ValueError(f"must be one of {', '.join(choices)}, not {_shown(value)}")
    return value


def _strings(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        raise ValueError(f"must be a list of texts, not {_shown(value)}")
    return tuple(value)


def _table(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping) or not all(isinstance(row, Mapping) for row in value.values()):
        raise ValueError(f"must be a table of tables, not {_shown(value)}")
    return dict(value)


def _folder(value: Any) -> Path:
    path = Path(value).expanduser() if isinstance(value, str) and "\0" not in value else None
    if path is None or not path.is_absolute():
        raise ValueError(f"must be an absolute path, not {_shown(value)}")
    return path


def _require_plain_name(value: str) -> None:
    """Outside the user's own file a model is chosen by its key alone: no path, no URL."""
    if not value.replace("_", "").replace("-", "").replace(".", "").isalnum() or ".." in value:
        raise ValueError(f"must be the key of a model in the catalogue, not {_shown(value)}")


def _distrusted(needed: Trust) -> str:
    allowed = "your own settings file" if needed is Trust.USER else "your own settings file or the editor's settings"
    return f"can only be set in {allowed}"


def _without_none(hint: Any) -> Any:
    if get_origin(hint) in (Union, types.UnionType):
        return next(kind for kind in get_args(hint) if kind is not type(None))
    return hint


def _nearest(name: str, known: Mapping[str, Any]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f" (did you mean `{near[0]}`?)" if near else f" (there are {', '.join(known)})"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
