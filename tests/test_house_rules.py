"""The rules of the house that no linter knows."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
PACKAGE = REPOSITORY / "server" / "codekin"
MODULES = sorted(PACKAGE.rglob("*.py"))
LONGEST_FILE = 400
LONGEST_FUNCTION = 60


def test_every_module_says_what_it_does():
    """The next engineer would have to read a module to learn what it is for."""
    silent = [str(path) for path in MODULES if not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))]
    assert silent == []


def test_no_file_is_too_long():
    """A file would hold more than one can keep in mind."""
    assert [str(path) for path in MODULES if path.read_text(encoding="utf-8").count("\n") > LONGEST_FILE] == []


def test_no_function_is_too_long():
    """A function would do more than one thing."""
    found = [
        f"{path}:{node.lineno} {node.name}"
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno > LONGEST_FUNCTION
    ]
    assert found == []


def test_every_command_of_the_readme_exists():
    """The README would promise a command that is not there."""
    from codekin.cli.table import ROWS

    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    promised = set(re.findall(r"`codekin ([a-z]+)", text)) - {"lsp"}
    assert promised <= {row.name for row in ROWS}


def test_every_link_of_the_documents_leads_somewhere():
    """A reader would be sent to a page that is not there."""
    pages = [
        *REPOSITORY.glob("*.md"),
        *(REPOSITORY / "docs").glob("*.md"),
        *(REPOSITORY / "editors").glob("*/README.md"),
    ]
    broken = [
        f"{page.name}: {target}"
        for page in pages
        for target in re.findall(r"\]\((?!https?:|#)([^)#\s]+)", page.read_text(encoding="utf-8"))
        if not (page.parent / target).exists()
    ]
    assert broken == []


def test_import_contracts():
    """A room would reach into one above it."""
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports")], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


ONLY_HERE = {
    "tree_sitter": {"syntax"},
    "torch": {"models", "learning"},
    "transformers": {"models"},
    "peft": {"models", "learning"},
    "huggingface_hub": {"models"},
    "llguidance": {"models"},
    "tantivy": {"index"},
    "watchdog": {"ingest"},
    "starlette": {"daemon"},
    "uvicorn": {"daemon"},
    "httpx": {"wire"},
    "pygls": {"lsp"},
    "lsprotocol": {"lsp"},
    "typer": {"cli"},
    "rich": {"cli"},
    "croniter": {"learning"},
    "platformdirs": {"places"},
}


@pytest.mark.parametrize("library", ONLY_HERE)
def test_a_library_is_known_in_its_room_alone(library):
    """A library could not be replaced in one place."""
    pattern = re.compile(rf"^\s*(?:from|import) {library}\b", re.MULTILINE)
    rooms = {
        path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        for path in MODULES
        if pattern.search(path.read_text(encoding="utf-8"))
    }
    assert rooms <= ONLY_HERE[library]
