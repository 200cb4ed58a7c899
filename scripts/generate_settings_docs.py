#!/usr/bin/env python3
"""Writes docs/settings.md and the settings page of the VS Code extension from the schema of the settings.

python scripts/generate_settings_docs.py            writes both
python scripts/generate_settings_docs.py --check    ends with 1 where a file differs from the schema
"""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from codekin.settings.loading import describe_values
from codekin.settings.schema import SettingField, Settings, Trust, list_settings, section_fields

REPOSITORY = Path(__file__).parents[1]
PAGE = REPOSITORY / "docs/settings.md"
MANIFEST = REPOSITORY / "editors/vscode/package.json"

EXTENSION_KEYS = ("codekin.server.path", "codekin.interpreter", "codekin.server.arguments", "codekin.trace.server")
"""What concerns the extension alone and is written in its package.json by hand."""

WHO = {Trust.WORKSPACE: "repository", Trust.CLIENT: "editor", Trust.USER: "user"}
TYPES = {bool: "boolean", int: "integer", float: "number", str: "string"}

INTRODUCTION = """# Settings

<!-- Written by scripts/generate_settings_docs.py from server/codekin/settings/schema.py: edit that file. -->

Settings are read from four places; later ones win:

1. `settings.toml` in your configuration folder (`codekin doctor` shows the path),
2. `settings.toml` in the data folder,
3. `.codekin.toml` in the root of a repository,
4. the editor's own settings, under `codekin`.

*Set by* says who may set a key: a **repository** (and the others), the **editor** (and the user), or only the
**user**, in a `settings.toml`. A wrong key or value is reported in one sentence and ignored; everything else
still applies. A `.codekin.toml` may have 64 kB.

```toml
[similar]
limit = 20

[index]
ignore = ["generated/"]
```
"""


def settings_page() -> str:
    """docs/settings.md: a table for each section."""
    parts = [INTRODUCTION]
    for name, section in section_fields(Settings).items():
        about = (section.section.__doc__ or "").strip() if section.section else ""
        parts += [f"## {name}", "", about, *_table(name)]
    return "\n".join(parts).rstrip() + "\n"


def _table(section: str) -> Iterator[str]:
    yield "\n| setting | default | values | set by | meaning |\n|---|---|---|---|---|"
    for key, setting in list_settings():
        if key.startswith(f"{section}."):
            cells = (f"`{key}`", f"`{json.dumps(_plain(setting.default))}`", describe_values(setting))
            yield f"| {' | '.join(cells)} | {WHO[setting.trust]} | {setting.meta.description} |"
    yield ""


def extension_properties() -> dict[str, Any]:
    """The properties of `contributes.configuration`: all that an editor may set."""
    settings = {key: found for key, found in list_settings() if found.trust < Trust.USER}
    return {f"codekin.{key}": _property(setting) for key, setting in settings.items()}


def _property(setting: SettingField) -> dict[str, Any]:
    shown: dict[str, Any] = {"type": TYPES.get(setting.kind, "string"), "default": _plain(setting.default)}
    if get_origin(setting.kind) is tuple:
        shown = {
            "type": "array",
            "items": {"type": "string"},
            "default": _plain(setting.default),
            "maxItems": setting.meta.max_length,
        }
    if get_origin(setting.kind) is Literal:
        shown |= {"enum": list(get_args(setting.kind))}
    if get_origin(setting.kind) is Mapping:
        shown = {"type": "object", "default": {}}
    if setting.meta.ge is not None:
        shown |= {"minimum": setting.meta.ge, "maximum": setting.meta.le}
    scope = "resource" if setting.trust is Trust.WORKSPACE else "machine"
    return {**shown, "scope": scope, "markdownDescription": setting.meta.description}


def _plain(value: Any) -> Any:
    """A default as JSON has it."""
    return list(value) if isinstance(value, tuple) else value


def manifest() -> str:
    """The extension's package.json with the settings of today, one to a line; all else stays as it is."""
    text = MANIFEST.read_text(encoding="utf-8")
    properties = json.loads(text)["contributes"]["configuration"]["properties"]
    wanted = {key: properties[key] for key in EXTENSION_KEYS} | extension_properties()
    lines = [f'        "{key}": {{ {_json(shown)[1:-1]} }}' for key, shown in wanted.items()]
    before, after = text.split('"title": "Codekin",\n      "properties": {\n')
    rest = after[after.index("\n      }") :]
    return f'{before}"title": "Codekin",\n      "properties": {{\n' + ",\n".join(lines) + rest


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def stale_files() -> dict[Path, str]:
    """The files that differ from the schema, with what they should hold."""
    wanted = {PAGE: settings_page(), MANIFEST: manifest()}
    return {path: text for path, text in wanted.items() if not path.exists() or path.read_text("utf-8") != text}


def main() -> int:
    """Write what differs, or only name it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; end with 1 where a file differs")
    check = parser.parse_args().check
    stale = stale_files()
    for path, text in stale.items():
        print(f"{path.relative_to(REPOSITORY)} {'differs from the schema' if check else 'written'}")
        if not check:
            path.write_text(text, encoding="utf-8")
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
