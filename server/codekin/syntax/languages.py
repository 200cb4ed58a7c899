"""The table of languages: one row each, beside one query file in `queries/`.

A row knows names, extensions, comments, words and the grammar. It does not know how
fragments are cut; that is the same for every language (`cutting`), but for the reading of
definition names, which a row may replace.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module, resources
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from codekin.syntax import lexemes
from codekin.syntax.behaviours import ELIXIR_CALLBACKS

if TYPE_CHECKING:
    import tree_sitter


@dataclass(frozen=True, slots=True)
class Language:
    """One row: everything about a language that is not in its query file.

    `grammar` is a package with a `language()` function; `separator` joins the names of `scopes`, the
    kinds that lend their name to what is inside. `forms` are calls that define, by their word.
    The fragment of a kind in `containers` is an outline.
    Definitions of the `clause_kinds` with one name and arity are one. `control_words` are calls that
    steer; `callbacks` are known by the behaviour's name. `idle_lines` begin lines that say nothing of
    their own, `doc_attributes` a doc for people. `repairs` (by name, see `parsing`) help a text that
    does not parse, tried in order.
    """

    name: str
    extensions: tuple[str, ...]
    grammar: str
    separator: str
    line_comment: str
    block_comments: tuple[tuple[str, str], ...]
    containers: frozenset[str]
    keywords: frozenset[str]
    lexemes: tuple[tuple[str, str], ...]
    scopes: frozenset[str]
    forms: Mapping[str, str] = field(default_factory=dict)
    clause_kinds: frozenset[str] = frozenset()
    control_words: frozenset[str] = frozenset()
    callbacks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    idle_lines: tuple[str, ...] = ()
    doc_attributes: frozenset[str] = frozenset()
    needs_body: bool = False
    blocks: Mapping[str, str] = field(default_factory=dict)
    block_openers: frozenset[str] = frozenset()
    statement_ends: frozenset[str] = frozenset({"newline", ";"})
    closes_by_indentation: bool = False
    repairs: tuple[str, ...] = ()


_ELIXIR_WORDS = """
after and catch cond case def defdelegate defexception defguard defguardp defimpl defmacro defmacrop defmodule
defn defnp defoverridable defp defprotocol defstruct deftransform deftransformp do else end false fn for if import
in nil not or quote raise receive alias require rescue super throw true try unless unquote unquote_splicing use
when with"""
_ELIXIR_CONTROL = "if unless case cond with for receive try raise throw quote"
_C_WORDS = """auto bool break case char const continue default do double else enum extern false float for goto if inline
int long NULL register return short signed sizeof static struct switch true typedef union unsigned void volatile
while"""
_CPP_WORDS = """alignas alignof and bitand bitor catch class co_await co_return co_yield compl concept const_cast
consteval constexpr constinit decltype delete dynamic_cast explicit export final friend mutable namespace new noexcept
not nullptr operator or override private protected public reinterpret_cast requires static_assert static_cast template
this thread_local throw try typeid typename using virtual wchar_t xor"""
_PYTHON_WORDS = """False None True and as assert async await break class continue def del elif else except finally for
from global if import in is lambda match nonlocal not or pass raise return try while with yield"""

_ELIXIR_FORMS = {
    "defmodule": "module",
    "defprotocol": "protocol",
    "defimpl": "implementation",
    "def": "function",
    "defp": "function",
    "defn": "function",
    "defnp": "function",
    "deftransform": "function",
    "deftransformp": "function",
    "defmacro": "macro",
    "defmacrop": "macro",
    "defguard": "guard",
    "defguardp": "guard",
    "defdelegate": "delegate",
    "describe": "describe",
    "test": "test",
    "property": "test",
    "use": "use",
    "import": "use",
}
_BRACKETS = {"(": ")", "[": "]", "{": "}"}
_C_FAMILY: dict[str, Any] = {
    "separator": "::",
    "line_comment": "//",
    "block_comments": (("/*", "*/"),),
    "needs_body": True,
    "repairs": ("macros", "macros", "branches", "branches", "c_bodies"),
    "blocks": _BRACKETS,
    "block_openers": frozenset({"{"}),
    "statement_ends": frozenset({";", "}", "directive"}),
}

_ROWS = (
    Language(
        name="elixir",
        extensions=(".ex", ".exs"),
        grammar="tree_sitter_elixir",
        separator=".",
        line_comment="#",
        block_comments=(),
        containers=frozenset({"module", "protocol", "implementation", "describe"}),
        keywords=frozenset(_ELIXIR_WORDS.split()),
        lexemes=lexemes.ELIXIR,
        scopes=frozenset({"module", "protocol", "implementation"}),
        forms=_ELIXIR_FORMS,
        clause_kinds=frozenset({"function", "macro", "guard", "delegate"}),
        control_words=frozenset(_ELIXIR_CONTROL.split()),
        callbacks=ELIXIR_CALLBACKS,
        doc_attributes=frozenset({"@doc", "@moduledoc", "@typedoc", "@shortdoc"}),
        repairs=("elixir_bodies",),
        blocks={"do": "end", "fn": "end", "<<": ">>", **_BRACKETS},
        block_openers=frozenset({"do", "->", "else", "after", "rescue", "catch"}),
    ),
    Language(
        name="cpp",
        extensions=(".cpp", ".cc", ".cxx", ".c++", ".h", ".hpp", ".hh", ".hxx", ".ipp", ".inl", ".cu", ".cuh"),
        grammar="tree_sitter_cpp",
        containers=frozenset({"namespace", "class", "struct"}),
        keywords=frozenset(_C_WORDS.split() + _CPP_WORDS.split()),
        lexemes=lexemes.CPP,
        scopes=frozenset({"namespace", "class", "struct", "function", "method", "constructor"}),
        idle_lines=("#", "public:", "private:", "protected:"),
        **_C_FAMILY,
    ),
    Language(
        name="c",
        extensions=(".c", ".h"),
        grammar="tree_sitter_c",
        containers=frozenset({"struct"}),
        keywords=frozenset(_C_WORDS.split()),
        lexemes=lexemes.C,
        scopes=frozenset({"struct"}),
        idle_lines=("#",),
        **_C_FAMILY,
    ),
    Language(
        name="python",
        extensions=(".py", ".pyi"),
        grammar="tree_sitter_python",
        separator=".",
        line_comment="#",
        block_comments=(),
        containers=frozenset({"class"}),
        keywords=frozenset(_PYTHON_WORDS.split()),
        lexemes=lexemes.PYTHON,
        scopes=frozenset({"class", "function", "method"}),
        idle_lines=("import ", "from "),
        blocks=_BRACKETS,
        block_openers=frozenset({":"}),
        closes_by_indentation=True,
    ),
)

LANGUAGES: Mapping[str, Language] = MappingProxyType({row.name: row for row in _ROWS})

_BY_EXTENSION = {extension: row.name for row in reversed(_ROWS) for extension in row.extensions}


def language_of(path: str, text: str) -> str | None:
    """The language of a file by its name, and for `.h` by its content; None when there is no row for it."""
    extension = PurePosixPath(path).suffix.lower()
    if extension == ".h":
        from codekin.syntax.headers import header_language  # noqa: PLC0415

        return header_language(text)
    return _BY_EXTENSION.get(extension)


@cache
def grammar_of(name: str) -> "tree_sitter.Language":
    """The loaded tree-sitter grammar of a language."""
    import tree_sitter  # noqa: PLC0415

    loader: Callable[[], object] = import_module(LANGUAGES[name].grammar).language
    return tree_sitter.Language(loader())


@cache
def query_of(name: str) -> "tree_sitter.Query":
    """The compiled query file of a language."""
    import tree_sitter  # noqa: PLC0415

    source = resources.files("codekin.syntax").joinpath("queries", f"{name}.scm").read_text("utf-8")
    return tree_sitter.Query(grammar_of(name), source)
