"""The schema of the settings: each one is read by the product, documented, and offered by the VS Code extension."""

import ast
import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest

from codekin.parsing import LANGUAGES
from codekin.settings.schema import Settings, list_settings, section_fields
from codekin.types import LANGUAGE_NAMES

REPOSITORY = Path(__file__).parents[2]
PACKAGE = REPOSITORY / "server" / "codekin"
SECTIONS = {field.kind.__name__: name for name, field in section_fields(Settings).items()} | {
    "RemoteSettings": "remote"
}


def _section_of(node: ast.expr | None, names: dict[str, str]) -> str:
    """The section that an expression holds, as far as its last name or its annotation tells."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return SECTIONS.get(node.value.split(" ")[0], "")
    if isinstance(node, ast.Name):
        return names.get(node.id) or SECTIONS.get(node.id, "")
    if isinstance(node, ast.Attribute):
        return node.attr if node.attr in SECTIONS.values() else names.get(node.attr, "")
    return ""


def _reads(path: Path) -> Iterator[str]:
    """Each `section.field` that a module reads: from a section itself, or from a name that holds one."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.arg) and (section := _section_of(node.annotation, {})):
            names[node.arg] = section
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        for target in targets:
            pairs = [(target, node.value)]
            if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                pairs = list(zip(target.elts, node.value.elts, strict=True))
            for one, value in pairs:
                section = _section_of(value, names) or _section_of(getattr(node, "annotation", None), {})
                if section and isinstance(one, ast.Name | ast.Attribute):
                    names[one.id if isinstance(one, ast.Name) else one.attr] = section
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and (section := _section_of(node.value, names)):
            yield f"{section}.{node.attr}"


def test_every_setting_is_read_somewhere():
    """Every setting is read by some module."""
    read = {name for path in PACKAGE.rglob("*.py") if "settings" not in path.parts for name in _reads(path)}
    declared = {".".join(key.split(".")[-2:]) for key, _ in list_settings()}
    assert sorted(declared - read) == []


def test_the_page_and_the_extension_are_generated_from_the_schema():
    """docs/settings.md and the extension's package.json hold what scripts/generate_settings_docs.py writes."""
    spec = importlib.util.spec_from_file_location("generator", REPOSITORY / "scripts/generate_settings_docs.py")
    generator = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generator)
    assert list(generator.stale_files()) == []


@pytest.mark.parametrize("key", [key for key, _ in list_settings()])
def test_every_setting_is_described(key):
    """The page of settings has a sentence for each."""
    assert dict(list_settings())[key].meta.description.endswith(".")


def test_the_languages_of_extensions_are_those_that_are_cut():
    """Every language with a grammar can be chosen for an extension, and no other."""
    assert set(LANGUAGE_NAMES) == set(LANGUAGES)
