"""The rules of the house that no linter knows."""

import ast
import io
import re
import subprocess
import sys
import tokenize
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import grimp
import pytest
import typer

from codekin.settings.schema import list_settings
from codekin.types import split_identifier

REPOSITORY = Path(__file__).parents[1]
PACKAGE = REPOSITORY / "server" / "codekin"
MODULES = sorted(PACKAGE.rglob("*.py"))
LONGEST_FILE = 400
SHORTEST_FILE = 40
LONGEST_FUNCTION = 60
MOST_MODULES = 200
"""Package faces (`__init__.py`) and later rooms aside."""
LATER_ROOMS = {"api", "mcp", "next_edit", "team"}
"""Rooms of their own beside the product's core; each has at most so many modules:"""
MOST_MODULES_OF_A_LATER_ROOM = 14
PAGES = [
    *REPOSITORY.glob("*.md"),
    *(REPOSITORY / "docs").rglob("*.md"),
    *(REPOSITORY / "editors").glob("*/README.md"),
]


def test_every_module_says_what_it_does():
    """Each module begins with a docstring."""
    silent = [str(path) for path in MODULES if not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))]
    assert silent == []


def test_there_are_not_too_many_modules():
    """The package can be surveyed: what belongs together lies together."""
    rooms = Counter(path.relative_to(PACKAGE).parts[0] for path in MODULES if path.name != "__init__.py")
    later = [rooms.pop(room, 0) for room in LATER_ROOMS]
    assert rooms.total() <= MOST_MODULES
    assert max(later) <= MOST_MODULES_OF_A_LATER_ROOM


def test_no_file_is_too_long():
    """A file holds what one can keep in mind."""
    assert [str(path) for path in MODULES if path.read_text(encoding="utf-8").count("\n") > LONGEST_FILE] == []


def test_no_file_is_too_short():
    """What needs no forty lines lies beside its subject; package faces and entry points aside."""
    short = [path for path in MODULES if path.read_text(encoding="utf-8").count("\n") < SHORTEST_FILE]
    assert [str(path) for path in short if not path.stem.startswith("__")] == []


def test_no_function_is_too_long():
    """A function does one thing."""
    found = [
        f"{path}:{node.lineno} {node.name}"
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno > LONGEST_FUNCTION
    ]
    assert found == []


def _code_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """The lines of a function, its docstring aside."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return 1 + (function.end_lineno or 0) - body[0].lineno + 1 if body else 1


def test_functions_are_short():
    """Half of all functions have at most seven lines, and nineteen of twenty at most twenty-five."""
    lines = sorted(
        _code_lines(node)
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    assert lines[len(lines) // 2] <= 7
    assert lines[len(lines) * 95 // 100] <= 25


LATE_IMPORTS = {
    "__init__": 1,
    "__main__": 3,
    "api/embeddings": 1,
    "cli/app": 1,
    "cli/doctor": 1,
    "cli/embedding_source": 1,
    "cli/evaluation": 3,
    "cli/mcp": 1,
    "cli/models": 5,
    "cli/output": 4,
    "cli/progress": 2,
    "cli/search": 1,
    "cli/schedule": 1,
    "daemon/dashboard/server": 1,
    "daemon/process/startup": 1,
    "daemon/services/completion": 1,
    "daemon/services/embedding": 4,
    "daemon/services/generation": 5,
    "daemon/services/heavy": 7,
    "daemon/services/workspaces": 2,
    "lsp/server": 1,
    "mcp/relay": 1,
    "models/embedding/adapters": 1,
    "models/embedding/finetuned": 1,
    "models/embedding/local": 2,
    "models/embedding/pretrained": 1,
    "models/generation/gguf": 1,
    "models/linear": 1,
    "models/loading": 5,
    "models/planner": 2,
    "models/weights": 2,
    "paths": 1,
    "util/files": 1,
    "util/process": 3,
}
"""How many imports stand within functions, by module: each lies at a boundary of ARCHITECTURE.md's "Start-up"."""


def _late_imports(path: Path) -> int:
    functions = [
        node
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    found = {inner for each in functions for inner in ast.walk(each) if isinstance(inner, ast.Import | ast.ImportFrom)}
    return len(found)


def test_imports_stand_at_the_top_but_for_start_up():
    """A module imports at its top; the few imports within functions keep a start light and are listed."""
    counts = {path.relative_to(PACKAGE).with_suffix("").as_posix(): _late_imports(path) for path in MODULES}
    assert {name: count for name, count in counts.items() if count} == LATE_IMPORTS


def test_no_files_import_each_other():
    """No module needs itself by way of others, not even within a function or for a type."""
    graph = grimp.build_graph("codekin", cache_dir=None)
    needed = {module: graph.find_upstream_modules(module) for module in graph.modules}
    assert [module for module in needed if any(module in needed[other] for other in needed[module])] == []


_DIALECT = """
    kin twin twins stranger strangers night nights school learn learner pupil teach teaching lesson practise crew
    judging piece pieces fragment fragments lately residency lexis lexicon lexical withdraw withdrawing withdrawn
    alike weighing seams lanes
"""
_EVERYDAY = """
    ground company told asked answers past unfinished pace subject material beginning room home shelf lay gap situation
    usual met places records wire together recipe suspect survey order athand learning
"""
JARGON = frozenset(_DIALECT.split())
"""Words of a dialect that no name may hold: ARCHITECTURE.md's glossary has the field's."""

VAGUE = frozenset(_EVERYDAY.split())
"""Words that are no name by themselves: they say too little."""

COMMAND_JARGON = JARGON | VAGUE | {"fits"}


def _names() -> Iterator[str]:
    """Modules, rooms, classes, functions and settings."""
    for path in MODULES:
        yield from (*path.relative_to(PACKAGE).parts[:-1], path.stem)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                yield node.name
    yield from (name for key, _ in list_settings() for name in key.split("."))


def test_names_are_the_fields_own_words():
    """No module, class, function or setting is named in a dialect."""
    found = []
    for name in _names():
        words = [word.lower() for word in split_identifier(name)]
        if JARGON & set(words) or (len(words) == 1 and words[0] in VAGUE):
            found.append(name)
    assert sorted(set(found)) == []


_PROSE_JARGON = re.compile(
    r"\b(pupils?|crew|lexis|lexicon|strangers?|fragments?|shelf|withdrawn|lately)\b", re.IGNORECASE
)

OTHERS_NAMES = set(
    "initialize exit handle_call method close_month snake_case polls polling polled suffix min_score".split(),  # noqa: SIM905
)
"""Names in docstrings that are not in the same module: of protocols, callbacks, and examples."""


def _docstrings(path: Path) -> Iterator[tuple[int, str]]:
    """The docstrings of a module's classes and functions, with their lines."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.lineno, ast.get_docstring(node) or ""


def _words_of_the_code(path: Path) -> set[str]:
    """All words of a module but those of its docstrings."""
    tokens = tokenize.generate_tokens(io.StringIO(path.read_text(encoding="utf-8")).readline)
    code = [token.string for token in tokens if token.type != tokenize.COMMENT and not token.string.startswith('"""')]
    return {word for text in code for word in re.findall(r"\w+", text)}


def test_docstrings_name_what_is_there():
    """A parameter or function that a docstring names in backticks exists, and no old word is left in one."""
    found = []
    for path in MODULES:
        known = _words_of_the_code(path) | OTHERS_NAMES
        for line, text in _docstrings(path):
            missing = [name for name in re.findall(r"`([a-z_]+)`", text) if name not in known]
            found += [f"{path}:{line} {name}" for name in (*missing, *_PROSE_JARGON.findall(text))]
    assert found == []


def test_commands_are_the_fields_own_words():
    """No command, and no command of a group, is named in a dialect."""
    from codekin.cli.app import app

    main = typer.main.get_command(app)
    context = main.make_context("codekin", [], resilient_parsing=True)
    groups = {name: main.get_command(context, name) for name in main.list_commands(context)}
    names = {*groups, *(name for group in groups.values() for name in getattr(group, "commands", ()))}
    assert len(names) > 20
    assert sorted(COMMAND_JARGON & {word for name in names for word in name.split("-")}) == []


def test_headings_are_the_fields_own_words():
    """No heading of a document is in a dialect."""
    found = [
        f"{page.relative_to(REPOSITORY)}: {heading}"
        for page in PAGES
        for heading in re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
        if JARGON & set(re.findall(r"[a-z]+", heading.lower()))
    ]
    assert found == []


def test_every_command_of_the_readme_exists():
    """Every command that the README names is there."""
    from codekin.cli.app import COMMANDS

    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    promised = set(re.findall(r"`codekin ([a-z]+)", text)) - {"lsp"}
    assert promised <= {row.name for row in COMMANDS}


def test_every_link_of_the_documents_leads_somewhere():
    """Every relative link leads to a file."""
    broken = [
        f"{page.name}: {target}"
        for page in PAGES
        for target in re.findall(r"\]\((?!https?:|#)([^)#\s]+)", page.read_text(encoding="utf-8"))
        if not (page.parent / target).exists()
    ]
    assert broken == []


def test_every_module_that_architecture_names_exists():
    """Whoever follows ARCHITECTURE.md finds the file."""
    text = (REPOSITORY / "ARCHITECTURE.md").read_text(encoding="utf-8")
    there = [f"/{path.relative_to(REPOSITORY).as_posix()}" for path in (*MODULES, *REPOSITORY.glob("tests/**/*.py"))]
    named = re.findall(r"`([\w/]+\.py)`", text)
    assert len(named) > 30
    assert [name for name in named if not any(path.endswith(f"/{name}") for path in there)] == []


def test_import_contracts():
    """Rooms import those below them alone."""
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports")], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


ONLY_HERE = {
    "tree_sitter": {"parsing"},
    "torch": {"models", "finetune"},
    "onnxruntime": {"models"},
    "transformers": {"models"},
    "peft": {"models", "finetune"},
    "huggingface_hub": {"models"},
    "llguidance": {"models"},
    "xllamacpp": {"models"},
    "tantivy": {"storage"},
    "watchdog": {"indexing"},
    "starlette": {"daemon", "team"},
    "uvicorn": {"daemon", "mcp", "team"},
    "psycopg": {"team"},
    "psycopg_pool": {"team"},
    "httpx": {"http"},
    "httpx_sse": {"http"},
    "anyio": {"http"},
    "msgspec": {"settings", "mcp"},
    "filelock": {"util"},
    "psutil": {"cli", "models", "finetune", "util"},
    "pygls": {"lsp"},
    "lsprotocol": {"lsp"},
    "mcp": {"mcp"},
    "typer": {"cli"},
    "rich": {"cli"},
    "croniter": {"finetune"},
    "platformdirs": {"paths"},
}


@pytest.mark.parametrize("library", ONLY_HERE)
def test_a_library_is_known_in_its_room_alone(library):
    """Each library is imported by one room, or by the few named."""
    pattern = re.compile(rf"^\s*(?:from|import) {library}\b", re.MULTILINE)
    rooms = {
        path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        for path in MODULES
        if pattern.search(path.read_text(encoding="utf-8"))
    }
    assert rooms <= ONLY_HERE[library]
