"""Loads the settings files and the editor's settings over the defaults, within bounds, checking each value.

The types and bounds are msgspec's to check; the sentences, and who may set what, are decided here. The work is
bounded whatever a table holds: no value is walked or printed whole, and only the first problems are written out.

Order: defaults, the user's settings.toml, the data folder's, the repository's .codekin.toml, the editor's settings.
Later ones win, each within its trust level. An invalid value is ignored and reported in one sentence.

A repository's file is untrusted input: its size, depth and number of keys are bounded before it is parsed.
"""

import difflib
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

from msgspec import Struct, ValidationError, convert
from msgspec.structs import replace

from codekin import paths
from codekin.errors import SettingsError
from codekin.settings.schema import TEXT_LIMIT, LanguageName, SettingField, Settings, Trust, section_fields
from codekin.types import LANGUAGE_NAMES
from codekin.util.files import NotRegularFileError, read_bounded

PROBLEM_LIMIT = 10
"""Sentences about one source; the others are counted."""

PREVIEW_LIMIT = 60
EXACT_FLOAT_LIMIT = 1 << 53

Section = TypeVar("Section", bound=Struct)


@dataclass(slots=True)
class SettingsSource:
    """Where a table comes from, how far it is trusted, and what was wrong with it."""

    name: str
    trust: Trust
    sentences: list[str] = field(default_factory=list)
    omitted: int = 0

    def report(self, sentence: Callable[[], str]) -> None:
        """Notes a problem; its sentence is made only while there are few."""
        if len(self.sentences) < PROBLEM_LIMIT:
            self.sentences.append(f"{self.name}: {sentence()}.")
        else:
            self.omitted += 1

    def problems(self) -> list[str]:
        """The sentences, the last of which counts what is left out."""
        return [*self.sentences, *([f"{self.name}: {self.omitted} more settings are wrong."] if self.omitted else [])]


def apply_table(section: Section, table: Mapping[str, Any], source: SettingsSource, prefix: str = "") -> Section:
    """The section with the valid values of the table, nested sections included; the rest is reported."""
    known = section_fields(type(section))
    changes: dict[str, Any] = {}
    for name, value in table.items():
        setting = known.get(name)
        key = f"{prefix}{name}"
        if setting is None:
            source.report(lambda key=key, name=name: _unknown_name(key, name, known))  # type: ignore[misc]
        elif value is not None:
            _apply_value(changes, setting, (getattr(section, name), value), source, key)
    return replace(section, **changes)


def _apply_value(
    changes: dict[str, Any], setting: SettingField, values: tuple[Any, Any], source: SettingsSource, key: str
) -> None:
    current, value = values
    if complaint := _refusal(setting, value, source.trust):
        source.report(lambda: f"`{key}` {complaint}; it stays {_preview(current)}")
    elif setting.section:
        changed = apply_table(setting.section() if current is None else current, value, source, f"{key}.")
        changes |= {} if changed == (current or setting.section()) else {setting.name: changed}
    else:
        converted = _convert(setting, value)
        changes[setting.name] = {**current, **converted} if isinstance(converted, Mapping) else converted


def _refusal(setting: SettingField, value: Any, trust: Trust) -> str:
    """What is wrong with a value, as the rest of a sentence; empty if nothing."""
    if trust < setting.trust:
        allowed = "your own settings file" if setting.trust is Trust.USER else "your own settings file or the editor's"
        return f"can only be set in {allowed}"
    if setting.names_model and trust < Trust.USER and isinstance(value, str) and not _is_plain_name(value):
        return f"must be the key of a model in the catalogue, not {_preview(value)}"
    try:
        if not setting.section:
            _convert(setting, value)
        elif not isinstance(value, Mapping):
            raise ValidationError  # noqa: TRY301 - one sentence for both
    except ValidationError:
        return f"must be {describe_values(setting)}, not {_preview(value)}"
    return ""


def _convert(setting: SettingField, value: Any) -> Any:
    if setting.kind is int and isinstance(value, float) and value.is_integer() and abs(value) < EXACT_FLOAT_LIMIT:
        value = int(value)  # a JSON number such as 3.0
    return convert(value, setting.annotation, dec_hook=_convert_path)


def _convert_path(kind: type, value: Any) -> Any:
    path = Path(value).expanduser() if kind is Path and isinstance(value, str) and "\0" not in value else None
    if path is None or not path.is_absolute():
        raise ValueError(value)
    return path


def _is_plain_name(value: str) -> bool:
    """Outside the user's own file a model is chosen by its key alone: no path, no URL."""
    return value.replace("_", "").replace("-", "").replace(".", "").isalnum() and ".." not in value


def describe_values(setting: SettingField) -> str:
    """What a setting takes, such as "a whole number between 1 and 200"."""
    kind, meta = setting.kind, setting.meta
    if get_origin(kind) is Literal:
        return f"one of {', '.join(get_args(kind))}"
    if get_origin(kind) is tuple:
        return f"a list of at most {TEXT_LIMIT} texts"
    if get_origin(kind) is Mapping and get_args(kind)[1] is LanguageName:
        return f"a table of file extensions, each with its dot, and languages among {', '.join(LANGUAGE_NAMES)}"
    bounds = "" if meta.ge is None else f" between {meta.ge:.15g} and {meta.le:.15g}"
    words = {bool: "true or false", str: "a text", Path: "an absolute path"}
    words |= {int: f"a whole number{bounds}", float: f"a number{bounds}"}
    return words.get(kind) or ("a table" if setting.section else "a table of tables")


def _unknown_name(key: str, name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name[:PREVIEW_LIMIT], known, n=1)
    hint = f"did you mean `{near[0]}`?" if near else f"there are {', '.join(known)}"
    return f"there is no setting `{_shorten(repr(key[: 2 * PREVIEW_LIMIT])[1:-1])}` ({hint})"


def _preview(value: Any) -> str:
    """A value in a sentence as TOML has it: short, in printable characters, and never walked into."""
    if isinstance(value, Mapping | list | tuple):
        return ("a table" if isinstance(value, Mapping) else "a list") if value else "empty"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int) and abs(value) > EXACT_FLOAT_LIMIT:
        return "a number of that size"
    if isinstance(value, Struct):
        return "as it is"
    if value is None:
        return "unset"
    return _shorten(repr(value[: 2 * PREVIEW_LIMIT]) if isinstance(value, str) else str(value))


def _shorten(text: str) -> str:
    return text if len(text) <= PREVIEW_LIMIT else f"{text[: PREVIEW_LIMIT - 3]}..."


USER_FILE = "settings.toml"
WORKSPACE_FILE = ".codekin.toml"
BYTE_LIMITS = {Trust.USER: 1_000_000, Trust.WORKSPACE: 65_536}
KEY_LIMIT = 2000
DEPTH_LIMIT = 16
"""Parts of a dotted key, or brackets within brackets; the schema needs five."""


def load_settings(
    data: Path | None = None, root: Path | None = None, overrides: Mapping[str, Any] | None = None
) -> tuple[Settings, tuple[str, ...]]:
    """The settings in force, and a sentence for every key or file that could not be used.

    `overrides` is the editor's nested table, with or without its outer "codekin".
    """
    settings, problems = Settings(), []
    for source, table, complaint in _sources(data, root, overrides or {}):
        settings = apply_table(settings, table, source)
        problems += [*([complaint] if complaint else []), *source.problems()]
    return settings, tuple(problems)


def settings_stamp(data: Path | None = None, root: Path | None = None) -> tuple[int, ...]:
    """Changes whenever one of the settings files does."""
    return tuple(_modified_at(path) for path, _ in _settings_files(data, root))


def _modified_at(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _settings_files(data: Path | None, root: Path | None) -> list[tuple[Path, Trust]]:
    files = [(paths.config_dir() / USER_FILE, Trust.USER)]
    files += [(data / USER_FILE, Trust.USER)] if data else []
    return files + ([(root / WORKSPACE_FILE, Trust.WORKSPACE)] if root else [])


def _sources(
    data: Path | None, root: Path | None, overrides: Mapping[str, Any]
) -> Iterator[tuple[SettingsSource, Mapping[str, Any], str]]:
    for path, trust in _settings_files(data, root):
        yield SettingsSource(str(path), trust), *_read_toml(path, trust)
    inner = overrides.get("codekin", overrides)
    yield SettingsSource("The editor's settings", Trust.CLIENT), *_known_sections(inner)


def _read_toml(path: Path, trust: Trust) -> tuple[Mapping[str, Any], str]:
    """The file's table (empty if missing), and what was wrong with it."""
    try:
        return _parse_toml(read_bounded(path, BYTE_LIMITS[trust], follow_links=trust is Trust.USER), trust), ""
    except FileNotFoundError:
        return {}, ""
    except NotRegularFileError:
        return {}, f"{path} is not a regular file: it is ignored until it is one."
    except SettingsError as error:
        return {}, f"{path} {error}"
    except (ValueError, RecursionError) as error:  # TOMLDecodeError and UnicodeDecodeError among them
        return {}, f"{path} is not valid TOML ({str(error)[:200]}): it is ignored until it is corrected."
    except OSError as error:
        return {}, f"{path} cannot be read ({error.strerror}): it is ignored until it can be."


def _parse_toml(content: bytes, trust: Trust) -> Mapping[str, Any]:
    if len(content) > BYTE_LIMITS[trust]:
        raise SettingsError(f"is larger than {BYTE_LIMITS[trust]} bytes: it is ignored until it is shortened.")
    text = content.decode("utf-8-sig")
    if excess := _excess(text):
        raise SettingsError(f"has {excess}: it is ignored until it is simplified.")
    return tomllib.loads(text)


_STRINGS_AND_COMMENTS = re.compile(
    r"""
    \"{3} (?: [^\\] | \\. )*? (?: \"{3} | \Z )  |  '{3} .*? (?: '{3} | \Z )
    | \" (?: [^"\\\n] | \\. )*+ \"?  |  ' [^'\n]*+ '?  |  \# [^\n]*+
    """,
    re.VERBOSE | re.DOTALL,
)
"""Strings and comments, in which dots, equals signs and brackets have no meaning, closed or not."""


def _excess(text: str) -> str:
    """Which bound the text exceeds, found in linear time; empty if none."""
    bare = _STRINGS_AND_COMMENTS.sub("_", text)
    if bare.count("=") + bare.count("[") > KEY_LIMIT:
        return f"more than {KEY_LIMIT} keys and tables"
    if any(line.count(".") > DEPTH_LIMIT for line in bare.splitlines()) or _bracket_depth(bare) > DEPTH_LIMIT:
        return f"more than {DEPTH_LIMIT} levels"
    return ""


def _bracket_depth(text: str) -> int:
    depth = deepest = 0
    for bracket in re.findall(r"[\[\]{}]", text):
        depth = depth + 1 if bracket in "[{" else max(0, depth - 1)
        deepest = max(deepest, depth)
    return deepest


def _known_sections(table: Any) -> tuple[Mapping[str, Any], str]:
    """An editor sends its own keys too (how to start the server, tracing), which are not for us."""
    if not isinstance(table, Mapping):
        return {}, "The editor's settings `codekin` must be a table: they are ignored."
    known = section_fields(Settings)
    return {name: section for name, section in table.items() if name in known and section is not None}, ""
