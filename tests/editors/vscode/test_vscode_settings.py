"""The extension's package.json: it may promise nothing that the server or the package does not keep."""

import dataclasses
import json
import re
import typing
from pathlib import Path

import pytest

from codekin.settings.schema import Settings, Trust

EXTENSION = Path(__file__).parents[3] / "editors/vscode"
PACKAGE = json.loads((EXTENSION / "package.json").read_text())
PROPERTIES = PACKAGE["contributes"]["configuration"]["properties"]
OWN = {"codekin.server.path", "codekin.interpreter", "codekin.server.arguments", "codekin.trace.server"}
"""What concerns the extension alone."""

MACHINE_SCOPES = {"machine", "application"}


def schema() -> dict[str, tuple[dataclasses.Field, object]]:
    """Field and type of every setting of the server, by its full key."""
    found = {}
    for section in dataclasses.fields(Settings):
        types = typing.get_type_hints(section.default_factory)
        for field in dataclasses.fields(section.default_factory):
            found[f"codekin.{section.name}.{field.name}"] = (field, types[field.name])
    return found


def test_every_setting_is_the_servers_or_our_own():
    """A setting would be offered that nobody reads."""
    assert set(PROPERTIES) - OWN <= set(schema())


@pytest.mark.parametrize("key", sorted(set(PROPERTIES) - OWN))
def test_setting_is_as_the_server_has_it(key):
    """The editor would show another default or allow other values than the server."""
    field, kind = schema()[key]
    shown = PROPERTIES[key]
    default = list(field.default) if isinstance(field.default, tuple) else field.default
    assert shown["default"] == default
    bounds = (field.metadata["low"], field.metadata["high"])
    assert (shown.get("minimum"), shown.get("maximum")) == bounds
    if typing.get_origin(kind) is typing.Literal:
        assert tuple(shown["enum"]) == typing.get_args(kind)


@pytest.mark.parametrize("key", sorted(set(PROPERTIES) - OWN))
def test_a_repository_sets_only_what_is_harmless(key):
    """A repository's .vscode/settings.json could choose a model or when to learn."""
    field, _ = schema()[key]
    assert (field.metadata["trust"] is Trust.WORKSPACE) != (PROPERTIES[key]["scope"] in MACHINE_SCOPES)


def test_what_starts_a_program_is_restricted():
    """A workspace that is not trusted could start a program by its settings."""
    restricted = PACKAGE["capabilities"]["untrustedWorkspaces"]["restrictedConfigurations"]
    assert OWN - {"codekin.trace.server"} <= set(restricted)


def test_every_setting_is_described():
    """A setting would stand in the settings page without a word."""
    assert all(shown.get("description") or shown.get("markdownDescription") for shown in PROPERTIES.values())


def test_every_command_that_is_offered_exists():
    """A button of the walkthrough, a menu or a key would do nothing."""
    contributed = PACKAGE["contributes"]
    known = {command["command"] for command in contributed["commands"]}
    offered = set(re.findall(r"[(:](codekin\.[A-Za-z.]+)\)", json.dumps(contributed)))
    offered |= {item["command"] for menu in contributed["menus"].values() for item in menu}
    offered |= {key["command"] for key in contributed["keybindings"]}
    assert len(offered) > 5
    assert offered <= known


def test_every_page_and_picture_is_there():
    """A step of the walkthrough or an icon would be blank."""
    named = set(re.findall(r"(?:media|walkthrough)/[a-z.-]+", json.dumps(PACKAGE)))
    assert len(named) > 4
    assert all((EXTENSION / path).is_file() for path in named)
