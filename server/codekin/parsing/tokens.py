"""Splits text into tokens by the language's patterns alone, in linear time; also incomplete and broken code.

Local variables and parameters are found and renamed from these tokens.

Joined, the tokens give the text again.
"""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import NamedTuple

from codekin.parsing.languages import LANGUAGES

_BLANK_KINDS = frozenset({"space", "newline", "comment"})
_DEFAULT_PATTERNS = (("comment", r"(?!)"), ("operator", r"(?!)"))


class Token(NamedTuple):
    """A piece of text; `start` and `end` count characters.

    `kind` is one of: space, newline, comment, string, number, atom, attribute, directive,
    keyword, name, operator. A run of blanks is one token, a line break of any kind is one.
    """

    kind: str
    text: str
    start: int
    end: int


def tokenize(language: str, text: str) -> list[Token]:
    """All tokens of a text; a language without a row is split into words, blanks and signs."""
    row = LANGUAGES.get(language)
    keywords = row.keywords if row else frozenset[str]()
    found = []
    for match in _pattern(language).finditer(text):
        kind, word = match.lastgroup or "operator", match[0]
        if kind == "name" and word in keywords:
            kind = "keyword"
        found.append(Token(kind, word, *match.span()))
    return found


def is_code(token: Token) -> bool:
    """Whether a token is neither blank nor a comment."""
    return token.kind not in _BLANK_KINDS


def count_lines_before_code(language: str, text: str) -> int:
    """How many lines of comments and docs a text begins with; none where there is nothing else."""
    row = LANGUAGES.get(language)
    attributes = row.doc_attributes if row else frozenset[str]()
    in_doc = False
    for match in _pattern(language).finditer(text):
        in_doc = match[0] in attributes or (in_doc and match.lastgroup != "newline")
        if not in_doc and match.lastgroup not in _BLANK_KINDS:
            return text.count("\n", 0, match.start())
    return 0


@cache
def _pattern(language: str) -> re.Pattern[str]:
    """One alternation, the commonest kinds first; the string group of C may hold a named group of its own."""
    row = LANGUAGES.get(language)
    token_patterns = row.token_patterns if row else _DEFAULT_PATTERNS
    groups = [f"(?P<{kind}>{pattern})" for kind, pattern in token_patterns]
    if not any(kind == "name" for kind, _ in token_patterns):
        groups.insert(-1, r"(?P<name>[^\W\d]\w*+)")
    blanks = [r"(?P<space>[^\S\r\n]++)", r"(?P<newline>\r\n|\r|\n)"]
    return re.compile("|".join([*blanks, *groups, "(?s:.)"]), re.DOTALL)


_MEMBER_SIGNS = frozenset({".", "->", "::", "@", "?."})
_TYPES = "auto bool char const double float int long short signed unsigned void typename wchar_t static constexpr"
_NO_TYPES = "return throw else new delete goto case co_return co_yield co_await operator and or"
_TYPE_WORDS = frozenset(_TYPES.split())
_NO_TYPE_WORDS = frozenset(_NO_TYPES.split())
_PYTHON_ENDS = frozenset({"=", ",", ")", ":"})


def read_local_names(language: str, text: str) -> tuple[str, ...]:
    """The names that the text binds, in the order of their first binding."""
    return read_bound_names(language, tokenize(language, text))


def read_bound_names(language: str, found: Sequence[Token]) -> tuple[str, ...]:
    """The same, of tokens."""
    code = [token for token in found if token.kind not in {"space", "comment"}]
    binders = {"elixir": _bound_in_elixir, "cpp": _bound_in_c, "c": _bound_in_c, "python": _bound_in_python}
    return tuple(dict.fromkeys(binders[language](code))) if language in binders else ()


def rename_locals(text: str, language: str, mapping: Mapping[str, str]) -> str:
    """The text with names replaced where they are variables, inside interpolated strings too."""
    found = tokenize(language, text)
    code = [at for at, token in enumerate(found) if is_code(token)]
    texts = [token.text for token in found]
    depth = 0
    for order, at in enumerate(code):
        token = found[at]
        depth += (token.text in "([{") - (token.text in ")]}") if token.kind == "operator" else 0
        before = found[code[order - 1]] if order else None
        after = found[code[order + 1]] if order + 1 < len(code) else None
        if token.kind == "name" and token.text in mapping and _is_variable(language, before, token, after, depth):
            texts[at] = mapping[token.text]
        elif token.kind == "string":
            texts[at] = _rename_in_string(token.text, language, mapping)
    return "".join(texts)


def _is_variable(language: str, before: Token | None, token: Token, after: Token | None, depth: int) -> bool:
    if before is not None and before.text in _MEMBER_SIGNS:
        return before.text == "::" and language == "elixir"
    if after is None:
        return True
    if language == "elixir":
        return not (after.text == "(" and after.start == token.end) and (
            before is None or before.text not in {"&", "%"}
        )
    if language == "python":
        opened = before is not None and before.text in {"(", ","}
        return not (depth and opened and after.text == "=")
    return after.text != "::"


def _rename_in_string(text: str, language: str, mapping: Mapping[str, str]) -> str:
    if language == "elixir" and "#{" in text:
        return re.sub(r"#\{([^{}]*)\}", lambda match: "#{" + rename_locals(match[1], language, mapping) + "}", text)
    if language == "python" and text[:2].rstrip("\"'").lower() in {"f", "rf", "fr"}:
        return re.sub(r"\{([^{}]*)\}", lambda match: "{" + rename_locals(match[1], language, mapping) + "}", text)
    return text


def _bound_in_elixir(code: Sequence[Token]) -> list[str]:
    """Names in heads of definitions, and to the left of `=`, `<-` and `->`."""
    bound: list[str] = []
    pattern: list[str] = []
    in_head = False
    for at, token in enumerate(code):
        word = token.text
        before = code[at - 1].text if at else ""
        after = code[at + 1] if at + 1 < len(code) else None
        if token.kind == "keyword":
            if word.startswith("def") and word not in {"defmodule", "defimpl", "defprotocol", "defstruct"}:
                in_head = True
            if word in {"do", "fn", "else", "rescue", "catch", "after", "with", "for"}:
                bound += pattern if in_head else []
                in_head = False
                pattern = []
        elif word in {"=", "<-", "->"}:
            bound += pattern
            pattern = []
        elif token.kind == "newline" and not in_head:
            pattern = pattern if before in {",", "(", "[", "{", "|"} else []
        elif token.kind == "atom" and word == "do:":
            bound += pattern if in_head else []
            in_head, pattern = False, []
        elif token.kind == "name" and _is_elixir_variable(before, token, after):
            pattern.append(word)
    return bound


def _is_elixir_variable(before: str, token: Token, after: Token | None) -> bool:
    if not (token.text[0].islower() or token.text[0] == "_") or token.text == "_":
        return False
    if before in {".", "&", "%", "@", "^"} or token.text[-1] in "?!":
        return False
    return after is None or not (after.text == "(" and after.start == token.end)


def _bound_in_c(code: Sequence[Token]) -> list[str]:
    """Names that follow a type and are followed by what ends a declarator."""
    code = [token for token in code if token.kind != "newline"]
    bound = []
    for at, token in enumerate(code[1:-1], start=1):
        if token.kind != "name" or code[at + 1].text not in {"=", ";", ",", ")", "{", "[", ":", "("}:
            continue
        if code[at + 1].text == "(" and (at < 2 or code[at - 1].text != "auto"):
            continue
        if _ends_type(code, at - 1):
            bound.append(token.text)
    return bound


def _ends_type(code: Sequence[Token], at: int) -> bool:
    """Whether a type ends at this token: a name or a type's word, then any number of `*`, `&` and `const`."""
    signs = False
    while at >= 0 and code[at].text in {"*", "&", "&&", "const"}:
        signs |= code[at].text != "const"
        at -= 1
    if at < 0:
        return False
    token = code[at]
    if token.text in _TYPE_WORDS:
        return True
    if token.text == ">":
        return True
    if token.kind != "name" or token.text in _NO_TYPE_WORDS:
        return False
    before = code[at - 1].text if at else ";"
    if before in {".", "->"}:
        return False
    return not signs or before in {";", "{", "}", "(", ",", "::", "const", "struct", "<", "static", "mutable"}


def _bound_in_python(code: Sequence[Token]) -> list[str]:  # noqa: C901 - one branch for each form that binds
    """Parameters, and names to the left of `=`, after `for`, `as` and before `:=`."""
    bound: list[str] = []
    pattern: list[str] = []
    depth, head = 0, ""
    for at, token in enumerate(code):
        word = token.text
        before = code[at - 1].text if at else ""
        after = code[at + 1].text if at + 1 < len(code) else ""
        if token.kind == "operator":
            depth += (word in "([{") - (word in ")]}")
        if token.kind == "newline" and not depth:
            pattern, head = [], ""
        elif word in {"def", "lambda", "for"}:
            head, pattern = word, []
        elif word == "in" and head == "for":
            bound += pattern
            pattern, head = [], ""
        elif word == ":" and head and (head == "lambda" or not depth):
            head = ""
        elif word == "=" and not depth:
            bound += pattern
            pattern = []
        elif token.kind == "name" and before not in {".", "->"}:
            if before == "as" or after == ":=":
                bound.append(word)
            elif head in {"def", "lambda"}:
                bound += [word] if before in {"(", ",", "*", "**", "lambda"} and after in _PYTHON_ENDS else []
            elif head == "for" or (after in {"=", ",", ":", ")"} and (not depth or pattern)):
                pattern.append(word)
    return [name for name in bound if name not in {"self", "cls"}]
