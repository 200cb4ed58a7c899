"""Every language: a golden file with every construct, tokens, heads, names, and how little a new one needs."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from codekin.parsing import LANGUAGES, cut_chunks, detect_language, tokenize
from codekin.parsing.signatures import read_signature
from codekin.settings import load_settings
from codekin.types import CHUNK_KINDS, LANGUAGE_NAMES, Chunk

GOLDEN = Path(__file__).parent / "golden"
REPOSITORY = Path(__file__).parents[2]
SAMPLES = sorted(path for path in GOLDEN.iterdir() if path.suffix != ".golden")
OLDER = {"elixir", "cpp", "c", "python"}
"""Their constructs are in test_chunks.py, test_elixir_forms.py and test_c_family_forms.py."""


def _line(chunk: Chunk) -> str:
    shape = chunk.shape
    parts = [f"{chunk.start_line}-{chunk.end_line} {chunk.kind} {chunk.name}"]
    for label, words in (
        ("doc", chunk.doc.split("\n")[:1]),
        ("calls", shape.calls),
        ("control", shape.control),
        ("behaviours", shape.behaviours),
        ("callbacks", shape.callbacks),
        ("uses", shape.uses),
    ):
        if any(words):
            parts.append(f"{label}: {', '.join(words)}")
    return " | ".join(parts)


def outline(path: Path) -> str:
    """The chunks of a file as its golden file holds them."""
    chunks, problems = cut_chunks(path.name, path.read_text("utf-8"))
    return "\n".join([*map(_line, chunks), *problems]) + "\n"


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_a_language_is_cut_as_its_golden_file_says(path):
    """Kinds, qualified names, lines, docs and shapes of every construct; this file, run, writes them."""
    assert outline(path) == (GOLDEN / f"{path.name}.golden").read_text("utf-8")


def test_every_language_has_a_golden_file():
    """No language is without one."""
    covered = {detect_language(path.name, path.read_text("utf-8")) for path in SAMPLES}
    assert set(LANGUAGES) - OLDER <= covered


def test_a_query_file_and_a_row_make_a_language():
    """What names languages elsewhere follows from the two: the names, the setting, the filters."""
    assert set(LANGUAGES) == set(LANGUAGE_NAMES)
    assert all(row.grammar and row.extensions for row in LANGUAGES.values())


def test_the_users_own_extension_may_be_of_any_language():
    """`index.extensions` takes every language and names them where it is given another."""
    good, _ = load_settings(overrides={"index": {"extensions": {".app": "erlang", ".mdx": "markdown"}}})
    _, problems = load_settings(overrides={"index": {"extensions": {".app": "prolog"}}})
    assert dict(good.index.extensions) == {".app": "erlang", ".mdx": "markdown"}
    assert ["erlang, gleam" in problem for problem in problems] == [True]


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_tokens_join_to_the_text(path):
    """Nothing is lost in tokens, which know the comments and keywords of each language."""
    text = path.read_text("utf-8")
    language = detect_language(path.name, text) or ""
    tokens = tokenize(language, text)
    assert "".join(token.text for token in tokens) == text
    if LANGUAGES[language].keywords and language != "yaml":
        assert any(token.kind == "keyword" for token in tokens)


@pytest.mark.parametrize(
    ("language", "text", "head"),
    [
        ("erlang", "%% Adds.\nadd(A, B) when A > 0 ->\n    A + B.\n", "add(A, B) when A > 0"),
        ("rust", "/// Adds.\npub fn add(a: i64, b: i64) -> i64 {\n    a + b\n}\n", "pub fn add(a: i64, b: i64) -> i64"),
        ("go", "func (a *Account) Add(n int) error {\n\treturn nil\n}\n", "func (a *Account) Add(n int) error"),
        ("kotlin", "fun add(a: Int, b: Int = 1) = a + b\n", "fun add(a: Int, b: Int = 1)"),
        ("ruby", "def add(left, right)\n  left + right\nend\n", "def add(left, right)"),
        ("haskell", "add :: Int -> Int\nadd a = a\n", "add :: Int -> Int add a"),
        ("markdown", "## Adding money\n\nWords.\n", "## Adding money"),
    ],
)
def test_the_head_of_a_definition(language, text, head):
    """Hovers and agents see a definition's head in one line."""
    assert read_signature(language, text) == head


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("assets/app.min.js", "var a=1;\n"),
        ("pnpm-lock.yaml", "a: 1\n"),
        ("priv/static/app.js", "!function(){" + "a();" * 400 + "}();\n"),
    ],
)
def test_what_tools_write_is_in_no_language(path, text):
    """Bundled scripts and lock files would bury the code."""
    assert detect_language(path, text) is None


def test_a_script_of_escript_and_a_header_have_no_module():
    """Names have no scope where Erlang has none."""
    source = (
        "#!/usr/bin/env escript\nmain([Path]) ->\n    {ok, Text} = file:read_file(Path),\n    io:put_chars(Text).\n"
    )
    assert [chunk.name for chunk in cut_chunks("run.escript", source)[0]] == ["main/1"]
    record = "-record(state, {\n    name,\n    balance\n}).\n"
    assert [(chunk.kind, chunk.name) for chunk in cut_chunks("a.hrl", record)[0]] == [("record", "state")]


def test_cells_are_code_of_their_language():
    """A cell of a notebook is found by its functions, at its lines, beside code of the same language."""
    text = (GOLDEN / "sample.livemd").read_text("utf-8")
    chunks = cut_chunks("sample.livemd", text)[0]
    function = next(chunk for chunk in chunks if chunk.name == "Counting.add/2")
    assert function.language == "elixir"
    assert text.splitlines()[function.start_line - 1] == "  def add(left, right) do"


def test_a_deep_template_within_code_is_bounded():
    """A hostile template in an Elixir module costs no more than its length."""
    nested = "<.a>" * 2000 + "</.a>" * 2000
    source = f'defmodule A do\n  def f(assigns) do\n    ~H"""\n    {nested}\n    """\n  end\nend\n'
    chunks = cut_chunks("a.ex", source)[0]
    assert [chunk.name for chunk in chunks if chunk.kind == "function"][:1] == ["A.f/1"]


def test_grammars_are_loaded_on_first_use():
    """A process that cuts Elixir loads the grammar of Elixir alone."""
    script = (
        "import sys; from codekin.parsing import cut_chunks; cut_chunks('a.ex', 'x = 1');"
        "print([name for name in sys.modules if name.startswith('tree_sitter_') and name != 'tree_sitter_elixir'])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    names = [name for name in done.stdout.strip("[]\n ").replace("'", "").split(", ") if name]
    assert [name for name in names if not name.startswith("tree_sitter_elixir")] == []


def test_the_kinds_of_all_languages_are_known():
    """Whatever a query captures can be filtered by."""
    kinds = {chunk.kind for path in SAMPLES for chunk in cut_chunks(path.name, path.read_text("utf-8"))[0]}
    assert kinds <= set(CHUNK_KINDS)
    assert {"interface", "trait", "enum", "record", "type", "component", "slot", "section", "cell", "table"} <= kinds


def test_vs_code_sends_the_files_of_every_language():
    """The extension's selector has every extension of the table, other spellings of C++ aside."""
    source = (REPOSITORY / "editors/vscode/src/server.ts").read_text("utf-8")
    sent = set(re.search(r'"\*\*/\*\.\{([\w,]+)\}"', source)[1].split(","))
    for row in LANGUAGES.values():
        if row.name != "cpp":
            assert {extension.lstrip(".") for extension in row.extensions} <= sent, row.name


if __name__ == "__main__":
    for sample in SAMPLES:
        (GOLDEN / f"{sample.name}.golden").write_text(outline(sample), "utf-8")
