"""The table of supported languages, a row each beside a file in `queries/`, and detection of a file's language.

A row holds names, extensions, comments, keywords and the grammar; all other code is the same for every language, but
for the reading of definition names, which `names` may replace. Grammars are loaded by `trees`, on first use.

C++ headers are told from C headers by what C does not have: by words and forms outside comments, strings and
`#ifdef __cplusplus`. Every pattern takes linear time.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Any

from codekin.parsing import token_grammar
from codekin.parsing.beam import ELIXIR_CALLBACKS, ELIXIR_CONTROL, ELIXIR_FORMS, ERLANG_CALLBACKS
from codekin.parsing.token_grammar import KEYWORDS, Patterns

_PACK = "tree_sitter_language_pack.bindings."
_SCOPES = frozenset(
    ["namespace", "module", "class", "struct", "interface", "trait", "enum", "record", "protocol", "implementation"]
)
_BRACKETS = {"(": ")", "[": "]", "{": "}"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Language:
    """One row: everything about a language that is not in its query file.

    `grammar` is a module with a `language()` function, or another of its functions behind a colon; `separator` joins
    the names of `scopes`, the kinds that lend their name to what is inside, up to one of the `absolute_kinds`. `forms`
    are calls that define, by their word; a call that begins with `defining_prefix`, has a head and a block, and is none
    of them defines a function or macro. The chunk of a kind in `containers` is an outline; a definition of fewer lines
    than `least_lines` is shown by what is around it. Definitions of the `clause_kinds` with one name and arity are one.
    `control_words` are calls that steer; `callbacks` are known by the behaviour's name. `ignored_line_prefixes` begin
    lines that say nothing of their own, `doc_attributes` a doc for people. At `body_starts` a head ends. `repairs` (by
    name, see trees.py) help a text that does not parse, tried in order. `cells` are the languages of code blocks that
    have chunks of their own.
    """

    name: str
    extensions: tuple[str, ...]
    grammar: str
    separator: str = "."
    line_comment: str = "//"
    block_comments: tuple[tuple[str, str], ...] = (("/*", "*/"),)
    containers: frozenset[str] = _SCOPES | {"describe"}
    keywords: frozenset[str] = frozenset()
    token_patterns: Patterns = token_grammar.BRACES
    scopes: frozenset[str] = _SCOPES
    absolute_kinds: frozenset[str] = frozenset()
    forms: Mapping[str, str] = field(default_factory=dict)
    defining_prefix: str = ""
    clause_kinds: frozenset[str] = frozenset()
    control_words: frozenset[str] = frozenset()
    callbacks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    ignored_line_prefixes: tuple[str, ...] = ()
    doc_attributes: frozenset[str] = frozenset()
    needs_body: bool = False
    least_lines: int = 0
    blocks: Mapping[str, str] = field(default_factory=lambda: _BRACKETS)
    block_openers: frozenset[str] = frozenset({"{"})
    body_starts: frozenset[str] = frozenset({"{", ";"})
    statement_ends: frozenset[str] = frozenset({"newline", ";"})
    closes_by_indentation: bool = False
    repairs: tuple[str, ...] = ()
    cells: frozenset[str] = frozenset()


def _row(name: str, extensions: str, grammar: str = "", **differences: Any) -> Language:
    """A row whose grammar is in the pack; what is not said is as in a language of braces."""
    words = frozenset(KEYWORDS.get(name, "").split())
    grammar = grammar or f"{_PACK}{name}"
    return Language(name=name, extensions=tuple(extensions.split()), grammar=grammar, keywords=words, **differences)


_CPP_EXTENSIONS = """.cpp .cc .cxx .c++ .C .h .hpp .hh .hxx .h++ .hp .H .ipp .inl .tpp .txx .tcc .inc .cu .cuh .ixx
.cppm .ccm .cxxm .c++m .mpp .mxx .ino .mm .hip .metal"""
_C_FAMILY: dict[str, Any] = {
    "separator": "::",
    "token_patterns": token_grammar.C,
    "needs_body": True,
    "repairs": ("macros", "macros", "branches", "branches", "c_bodies"),
    "statement_ends": frozenset({";", "}", "directive"}),
}
_HASH: dict[str, Any] = {"line_comment": "#", "block_comments": (), "token_patterns": token_grammar.HASH}
_ENDED: dict[str, Any] = {"blocks": {"do": "end", "function": "end", **_BRACKETS}, "body_starts": frozenset({"\n"})}
_TEXT: dict[str, Any] = {
    "line_comment": "<!--",
    "block_comments": (),
    "token_patterns": token_grammar.TEXT,
    "blocks": {},
    "block_openers": frozenset(),
    "body_starts": frozenset({"\n"}),
}
_MARKDOWN = _TEXT | {"separator": " > ", "containers": frozenset({"section"}), "scopes": frozenset({"section"})}

_LANGUAGES = (
    _row(
        "elixir",
        ".ex .exs",
        "tree_sitter_elixir",
        line_comment="#",
        block_comments=(),
        containers=frozenset({"module", "protocol", "implementation", "describe"}),
        token_patterns=token_grammar.ELIXIR,
        scopes=frozenset({"module", "protocol", "implementation"}),
        absolute_kinds=frozenset({"implementation"}),
        forms=ELIXIR_FORMS,
        defining_prefix="def",
        clause_kinds=frozenset({"function", "macro", "guard", "delegate"}),
        control_words=frozenset(ELIXIR_CONTROL.split()),
        callbacks=ELIXIR_CALLBACKS,
        doc_attributes=frozenset({"@doc", "@moduledoc", "@typedoc", "@shortdoc"}),
        repairs=("elixir_bodies",),
        blocks={"do": "end", "fn": "end", "<<": ">>", **_BRACKETS},
        block_openers=frozenset({"do", "->", "else", "after", "rescue", "catch"}),
        body_starts=frozenset({"do", "do:"}),
    ),
    _row(
        "cpp",
        _CPP_EXTENSIONS,
        "tree_sitter_cpp",
        containers=frozenset({"namespace", "class", "struct"}),
        scopes=frozenset({"namespace", "class", "struct", "function", "method", "constructor"}),
        ignored_line_prefixes=("#", "public:", "private:", "protected:"),
        **_C_FAMILY,
    ),
    _row(
        "c",
        ".c .h",
        "tree_sitter_c",
        containers=frozenset({"struct"}),
        scopes=frozenset({"struct"}),
        ignored_line_prefixes=("#",),
        **_C_FAMILY,
    ),
    _row(
        "python",
        ".py .pyi",
        "tree_sitter_python",
        line_comment="#",
        block_comments=(),
        containers=frozenset({"class"}),
        token_patterns=token_grammar.PYTHON,
        scopes=frozenset({"class", "function", "method"}),
        ignored_line_prefixes=("import ", "from "),
        block_openers=frozenset({":"}),
        body_starts=frozenset({":"}),
        closes_by_indentation=True,
    ),
    _row(
        "erlang",
        ".erl .hrl .escript",
        separator=":",
        line_comment="%",
        block_comments=(),
        token_patterns=token_grammar.ERLANG,
        clause_kinds=frozenset({"function"}),
        callbacks=ERLANG_CALLBACKS,
        ignored_line_prefixes=("-module", "-export", "-include", "-compile", "-behavio"),
        blocks={"case": "end", "begin": "end", "receive": "end", "try": "end", "if": "end", **_BRACKETS},
        block_openers=frozenset({"->", "of", "begin", "receive", "try", "after"}),
        body_starts=frozenset({"->"}),
        statement_ends=frozenset({".", ";", ","}),
    ),
    _row("gleam", ".gleam", ignored_line_prefixes=("import ",), block_comments=()),
    _row(
        "heex",
        ".heex .leex .eex .sface .neex",
        separator=" ",
        containers=frozenset({"component", "slot"}),
        scopes=frozenset({"component", "slot"}),
        least_lines=4,
        **_TEXT,
    ),
    _row("markdown", ".md .markdown", **_MARKDOWN),
    _row("livebook", ".livemd", f"{_PACK}markdown", cells=frozenset({"elixir", "erlang", "python"}), **_MARKDOWN),
    _row(
        "rust", ".rs", separator="::", ignored_line_prefixes=("use ", "#!["), token_patterns=token_grammar.QUOTED_ONCE
    ),
    _row("go", ".go", ignored_line_prefixes=("package ", "import ")),
    _row("java", ".java", ignored_line_prefixes=("package ", "import ")),
    _row("kotlin", ".kt .kts", ignored_line_prefixes=("package ", "import "), body_starts=frozenset({"{", "="})),
    _row("csharp", ".cs", "tree_sitter_c_sharp", ignored_line_prefixes=("using ",)),
    _row("javascript", ".js .mjs .cjs .jsx", ignored_line_prefixes=("import ",)),
    _row("typescript", ".ts .mts .cts", ignored_line_prefixes=("import ",)),
    _row("tsx", ".tsx", ignored_line_prefixes=("import ",)),
    _row("ruby", ".rb .rake .gemspec .ru", ignored_line_prefixes=("require",), separator="::", **_HASH, **_ENDED),
    _row("php", ".php .phtml", separator="::", ignored_line_prefixes=("use ", "namespace ", "<?php")),
    _row("swift", ".swift", ignored_line_prefixes=("import ",)),
    _row("scala", ".scala .sc .sbt", ignored_line_prefixes=("package ", "import "), body_starts=frozenset({"{", "="})),
    _row(
        "lua",
        ".lua",
        line_comment="--",
        block_comments=(("--[[", "]]"),),
        token_patterns=token_grammar.LUA,
        **_ENDED,
    ),
    _row("zig", ".zig", block_comments=(), token_patterns=token_grammar.QUOTED_ONCE),
    _row(
        "haskell",
        ".hs",
        line_comment="--",
        block_comments=(("{-", "-}"),),
        token_patterns=token_grammar.HASKELL,
        clause_kinds=frozenset({"function"}),
        ignored_line_prefixes=("import ", "module "),
        body_starts=frozenset({"=", "where"}),
    ),
    _row(
        "ocaml",
        ".ml",
        line_comment="(*",
        block_comments=(("(*", "*)"),),
        token_patterns=token_grammar.OCAML,
        ignored_line_prefixes=("open ",),
        body_starts=frozenset({"="}),
    ),
    _row("julia", ".jl", ignored_line_prefixes=("using ", "import "), **_HASH, **_ENDED),
    _row("r", ".r .R", separator="::", ignored_line_prefixes=("library(",), **_HASH),
    _row("shell", ".sh .bash .zsh .ksh", f"{_PACK}bash", **_HASH),
    _row("sql", ".sql", line_comment="--", token_patterns=token_grammar.SQL, body_starts=frozenset({"(", ";"})),
    _row("protobuf", ".proto", f"{_PACK}proto", ignored_line_prefixes=("syntax ", "package ", "import ")),
    _row("terraform", ".tf .hcl", **_HASH),
    _row("yaml", ".yaml .yml", "tree_sitter_yaml", **(_HASH | {"blocks": {}, "body_starts": frozenset({"\n"})})),
)

LANGUAGES: Mapping[str, Language] = MappingProxyType({row.name: row for row in _LANGUAGES})

_BY_EXTENSION = {extension: row.name for row in reversed(_LANGUAGES) for extension in row.extensions}
_WRITTEN_BY_TOOLS = re.compile(r"[.-]min\.(?:js|mjs|cjs)$|[.-]lock\.ya?ml$")
_BUNDLED_LANGUAGES = frozenset({"javascript", "typescript", "tsx"})
_BUNDLED_LINE = 400
"""Characters of a line on average, from which on a script is no source but a bundle."""


def detect_language(path: str, text: str, extensions: Mapping[str, str] = MappingProxyType({})) -> str | None:
    """The language of a file by its name, and for `.h` by its content; None when there is no row for it.

    `extensions` maps further extensions, or the known ones anew. Upper-case `.C` and `.H` are C++, as for compilers.
    Lock files and bundled scripts, which tools write, are in no language.
    """
    extension = PurePosixPath(path).suffix
    lowered = extension.lower()
    for wanted in (extension, lowered):
        if language := extensions.get(wanted):
            return language
    if extension == ".h":
        return detect_header_language(text)
    if lowered == ".inc" and text.lstrip()[:5].lower() == "<?php":
        return "php"
    language = _BY_EXTENSION.get(extension) or _BY_EXTENSION.get(lowered)
    is_written = _WRITTEN_BY_TOOLS.search(path) or (language in _BUNDLED_LANGUAGES and _is_bundle(text))
    return None if is_written else language


def _is_bundle(text: str) -> bool:
    return len(text) > _BUNDLED_LINE * (text.count("\n") + 1)


_COMMENT_OR_STRING = re.compile(r"//[^\n]*|/\*.*?(?:\*/|\Z)|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n]){1,4}'", re.DOTALL)
_CPLUSPLUS_GUARD = re.compile(
    r"^[ \t]*#[ \t]*if[^\n]{0,200}__cplusplus.{0,4000}?^[ \t]*#[ \t]*(?:endif|else)", re.MULTILINE | re.DOTALL
)
_DEFINITION = re.compile(r"^[ \t]*#[ \t]*(?:define|undef|pragma|error)\b(?:\\\r?\n|[^\n])*", re.MULTILINE)
_WORDS = (
    r"\b(?:class\s+\w|namespace\b|template\s*<|typename\b|constexpr\b|consteval\b|constinit\b|using\s+\w|virtual\b"
    r"|(?:public|private|protected|signals|Q_SIGNALS)\s*(?:\w+\s*)?:(?!:)|operator\s*\W|nullptr\b|noexcept\b"
    r"|(?:static|dynamic|const|reinterpret)_cast\s*<|decltype\b|explicit\b|friend\b|mutable\b|final\s*[{:]"
    r"|enum\s+(?:class|struct)\b|concept\s+\w+\s*=|co_(?:await|yield|return)\b|throw\s*[(;\w]|try\s*\{|catch\s*\("
    r"|import\s+[\w.]+;|export\s+\w|Q_OBJECT\b|extern\s+\"\")"
)
_FORMS = (
    r"\w::~?\w|^[ \t]*::\w",  # scopes
    r"^[ \t]*#[ \t]*include[ \t]*<[A-Za-z_][\w/]*>",  # a header of the standard library or of Qt
    r"\b(?:struct|union|class)\s+\w+\s*(?:final\s*)?:\s*\w[\w:<>, \t\r\n]{0,200}+\{",
    r"\benum\s+\w*\s*:\s*\w[\w ]{0,80}+\{",
    r"\)\s*(?:const\b\s*)?=\s*(?:delete|default|0)\s*;|\w\(\)\s*=\s*default",
    r"\)\s*(?:const\s*)?override\b",
    r"\)\s*(?:const|&&?)\s*(?:[{;]|->)",  # a member function's qualifiers
    r"(?<![\w~])~\w+\s*\(\s*(?:void\s*)?\)\s*[{;=]",  # a destructor
    r"\)\s*:\s*\w+\s*[({][^(){};?]*[)}]\s*(?:,\s*\w+\s*[({][^(){};?]*[)}]\s*)*\{",  # a constructor's initialisers
    r"(?<![\w\])])\s*\[(?:[&=]|this|&?\w+)?(?:\s*,\s*&?\w+)*\]\s*(?:\([^()]*\)\s*(?:mutable\s*|->\s*[\w:<>*& ]+)?)?\{",
    r"\w>?&{1,2}\s+\w+\s*(?:[,){]|=[^=])",  # `T& name`
    r"\b(?!return\b|sizeof\b|case\b|else\b)\w+>?\s+&{1,2}[A-Za-z_]\w*\s*[,)]\s*(?:[{;,]|const\b|\w)",  # `T &name`
    r"\w>?\s*&{1,2}\s*[,)]",  # a nameless reference
    r"\w<[\w:*, ]+(?:<[\w:*, ]+>)?>\s*[&*]*\s*\w+\s*[(;,){=]|\w<\w+>::",  # `list<int> name`
    r"\bfor\s*\((?:const\s+)?(?:\w+|struct\s+\w+)(?:\s*[*&]+\s*|\s+)\w+\s*:(?!:)",  # a loop over a range
    r"\bnew\s+[A-Za-z_]\w*\s*[({\[;]|\bdelete\s*(?:\[\]\s*)?\w+\s*;|[=(]\s*new\s+\w",
    r"^[ \t]*(?:\w+[ \t]+)+\w+\s*\((?:[^()]*,)?\s*(?:const\s+)?\w[\w ]*[ *]\w+\s*=\s*[^(),;=]+[,)]",  # a default
    r"^[ \t]*(?!(?:typedef|struct|union|enum)\b)(?:\w+[ \t]+)+\w+\{[^{};]*\};",  # `int a{0};`
    r"^[ \t]*(?:(?:const|static|inline)\s+)*\w+\s*&{1,2}\s*\w+\s*\(",  # a reference as result
    r"\busing\s+\w+\s*=|\boperator\"\"",
    r"\bif\s*\(\s*(?:auto|const\s+auto|\w+)\s*[*&]*\s+[*&]*\w+\s*=[^=]",  # a declaration as condition
    r"\b(?:u8|[uUL])?R\"\"",
)
_ONLY_CPP = re.compile("|".join((_WORDS, *_FORMS)), re.MULTILINE)
_STRUCT = re.compile(r"\b(?:struct|union)(?:\s+(\w+))?\s*\{")
_MEMBER_FUNCTION = re.compile(
    r"(?:^|[;{}])\s*(?:(?:static|inline|const|unsigned|struct)\s+)*\w+(?:\s*\*+\s*|\s+)\w+\s*\((?!\s*\*)[^(){};]*\)\s*[{;]"
)
_CONSTRUCTOR = re.compile(r"(?:^|[;{}])\s*(\w+)\s*\([^(){};]*\)\s*[;{]")
_BRACES = re.compile(r"[{}]|[^{}]+")
_HEADER_CHARACTERS = 200_000
_MAX_STRUCT_CHARACTERS = 20_000
_SCANNED_CHARACTERS = 500_000


def detect_header_language(text: str) -> str:
    """`cpp` when the header has something that C does not have, outside `#ifdef __cplusplus`; else `c`."""
    code = _COMMENT_OR_STRING.sub(_blank_literal, text[:_HEADER_CHARACTERS])
    code = _DEFINITION.sub("", _CPLUSPLUS_GUARD.sub("", code))
    if _ONLY_CPP.search(code):
        return "cpp"
    return "cpp" if _has_member_functions(code) else "c"


def _blank_literal(match: re.Match[str]) -> str:
    """A comment becomes a blank, a string an empty one."""
    return '""' if match[0].startswith('"') else " "


def _has_member_functions(code: str) -> bool:
    """Whether a function is declared or defined directly in the braces of some struct."""
    left = _SCANNED_CHARACTERS
    for struct in _STRUCT.finditer(code):
        members, end = _members(code, struct.end(), struct.end() + min(left, _MAX_STRUCT_CHARACTERS))
        left -= end - struct.start()
        is_constructor = any(match[1] == struct[1] for match in _CONSTRUCTOR.finditer(members))
        if is_constructor or _MEMBER_FUNCTION.search(members):
            return True
        if left <= 0:
            break
    return False


def _members(code: str, start: int, end: int) -> tuple[str, int]:
    """The content of the braces that open before an offset, and where they end.

    Of what is inside only the opening braces are kept.
    """
    depth, members, at = 1, [], start
    for match in _BRACES.finditer(code, start, end):
        depth += (match[0] == "{") - (match[0] == "}")
        at = match.end()
        if depth == 0:
            break
        members.append(match[0] if depth == 1 or (depth == 2 and match[0] == "{") else " " * (match[0] not in "{}"))
    return "".join(members), at
