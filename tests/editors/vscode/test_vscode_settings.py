"""The extension's package.json: it may promise nothing that the server or the package does not keep."""

import json
import re
import typing
from pathlib import Path

import pytest

from codekin.settings.schema import Trust, list_settings

EXTENSION = Path(__file__).parents[3] / "editors/vscode"
PACKAGE = json.loads((EXTENSION / "package.json").read_text())
PROPERTIES = PACKAGE["contributes"]["configuration"]["properties"]
OWN = {"codekin.server.path", "codekin.interpreter", "codekin.server.arguments", "codekin.trace.server"}
"""What concerns the extension alone."""

MACHINE_SCOPES = {"machine", "application"}


SCHEMA = {f"codekin.{key}": setting for key, setting in list_settings()}


def test_every_setting_is_the_servers_or_our_own():
    """Every setting of the extension is read by the server or by the extension."""
    assert set(PROPERTIES) - OWN <= set(SCHEMA)


@pytest.mark.parametrize("key", sorted(set(PROPERTIES) - OWN))
def test_setting_is_as_the_server_has_it(key):
    """The editor's defaults and allowed values are those of the server."""
    setting, shown = SCHEMA[key], PROPERTIES[key]
    default = list(setting.default) if isinstance(setting.default, tuple) else setting.default
    assert shown["default"] == default
    assert (shown.get("minimum"), shown.get("maximum")) == (setting.meta.ge, setting.meta.le)
    if typing.get_origin(setting.kind) is typing.Literal:
        assert tuple(shown["enum"]) == typing.get_args(setting.kind)


@pytest.mark.parametrize("key", sorted(set(PROPERTIES) - OWN))
def test_a_repository_sets_only_what_is_harmless(key):
    """Settings that choose models or schedule fine-tuning have a scope that no repository can write."""
    assert (SCHEMA[key].trust is Trust.WORKSPACE) != (PROPERTIES[key]["scope"] in MACHINE_SCOPES)


def test_what_starts_a_program_is_restricted():
    """Each setting that starts a program is restricted in untrusted workspaces."""
    restricted = PACKAGE["capabilities"]["untrustedWorkspaces"]["restrictedConfigurations"]
    assert OWN - {"codekin.trace.server"} <= set(restricted)


def test_every_setting_is_described():
    """Every setting has a description."""
    assert all(shown.get("description") or shown.get("markdownDescription") for shown in PROPERTIES.values())


def test_every_command_that_is_offered_exists():
    """Every command in a walkthrough, a menu or a key binding is defined."""
    contributed = PACKAGE["contributes"]
    known = {command["command"] for command in contributed["commands"]}
    offered = set(re.findall(r"[(:](codekin\.[A-Za-z.]+)\)", json.dumps(contributed)))
    offered |= {item["command"] for menu in contributed["menus"].values() for item in menu}
    offered |= {key["command"] for key in contributed["keybindings"]}
    assert len(offered) > 5
    assert offered <= known


def test_every_page_and_picture_is_there():
    """Every page and icon that the manifest names exists."""
    named = set(re.findall(r"(?:media|walkthrough)/[a-z.-]+", json.dumps(PACKAGE)))
    assert len(named) > 4
    assert all((EXTENSION / path).is_file() for path in named)
