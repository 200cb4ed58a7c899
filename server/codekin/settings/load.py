"""Reads the settings files and the editor's settings over the defaults, in order of nearness.

Order: defaults, the user's settings.toml, one in the data folder, the repository's
.codekin.toml, the editor's settings. Later ones win, each within what it is trusted with.
"""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from codekin import places
from codekin.settings.check import merged
from codekin.settings.schema import Settings, Trust

USER_FILE = "settings.toml"
WORKSPACE_FILE = ".codekin.toml"
FILE_BYTES_LIMIT = 1_000_000


def load_settings(
    data: Path | None = None, root: Path | None = None, overrides: Mapping[str, Any] | None = None
) -> tuple[Settings, tuple[str, ...]]:
    """The settings in force, and a sentence for every key or file that could not be used.

    `overrides` is the editor's nested table, with or without its outer "codekin".
    """
    settings, problems = Settings(), []
    for where, trust, table, complaint in _sources(data, root, overrides or {}):
        problems += [complaint] if complaint else []
        settings, found = merged(settings, table, trust, where)
        problems += found
    return settings, tuple(problems)


def settings_stamp(data: Path | None = None, root: Path | None = None) -> tuple[int, ...]:
    """Changes whenever one of the settings files does."""
    return tuple(_stamp(path) for path, _ in _files(data, root))


def _stamp(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _files(data: Path | None, root: Path | None) -> list[tuple[Path, Trust]]:
    paths = [(places.config_dir() / USER_FILE, Trust.USER)]
    paths += [(data / USER_FILE, Trust.USER)] if data else []
    return paths + ([(root / WORKSPACE_FILE, Trust.WORKSPACE)] if root else [])


def _sources(
    data: Path | None, root: Path | None, overrides: Mapping[str, Any]
) -> Iterator[tuple[str, Trust, Mapping[str, Any], str]]:
    for path, trust in _files(data, root):
        yield str(path), trust, *_read(path)
    inner = overrides.get("codekin", overrides)
    yield "The editor's settings", Trust.CLIENT, *_sections_only(inner)


def _read(path: Path) -> tuple[Mapping[str, Any], str]:
    """The file's table (empty if missing), and what was wrong with it."""
    try:
        if not path.is_file():
            return {}, ""
        if path.stat().st_size > FILE_BYTES_LIMIT:
            return {}, f"{path} is larger than {FILE_BYTES_LIMIT} bytes: it is ignored until it is shortened."
        return tomllib.loads(path.read_text(encoding="utf-8")), ""
    except (ValueError, RecursionError) as error:  # TOMLDecodeError and UnicodeDecodeError among them
        return {}, f"{path} is not valid TOML ({error}): it is ignored until it is corrected."
    except OSError as error:
        return {}, f"{path} cannot be read ({error.strerror}): it is ignored until it can be."


def _sections_only(table: Any) -> tuple[Mapping[str, Any], str]:
    """An editor sends its own keys too (how to start the server, tracing), which are not for us."""
    if not isinstance(table, Mapping):
        return {}, f"The editor's settings `codekin` must be a table, not {table!r}: they are ignored."
    known = {field.name for field in fields(Settings)}
    return {name: section for name, section in table.items() if name in known and section is not None}, ""
