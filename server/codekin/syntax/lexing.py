"""Splits text into tokens by the table row's patterns alone: total, linear, at home in broken text.

Joined, the tokens are the text again. It knows nothing of syntax trees.
"""

import re
from functools import cache
from typing import NamedTuple

from codekin.syntax.languages import LANGUAGES

_BLANK = frozenset({"space", "newline", "comment"})
_PLAIN = (("comment", r"(?!)"), ("operator", r"(?!)"))


class Token(NamedTuple):
    """A piece of text; `start` and `end` count characters.

    `kind` is one of: space, newline, comment, string, number, atom, attribute, directive,
    keyword, name, operator. A run of blanks is one token, a line break of any kind is one.
    """

    kind: str
    text: str
    start: int
    end: int


def tokens(language: str, text: str) -> list[Token]:
    """All tokens of a text; a language without a row is split into words, blanks and signs."""
    row = LANGUAGES.get(language)
    keywords = row.keywords if row else frozenset[str]()
    found = []
    for match in _pattern(language).finditer(text):
        kind, piece = match.lastgroup or "operator", match[0]
        if kind == "name" and piece in keywords:
            kind = "keyword"
        found.append(Token(kind, piece, *match.span()))
    return found


def is_code(token: Token) -> bool:
    """Whether a token is neither blank nor a comment."""
    return token.kind not in _BLANK


def lines_before_code(language: str, text: str) -> int:
    """How many lines of comments and docs a text begins with; none where there is nothing else."""
    row = LANGUAGES.get(language)
    attributes = row.doc_attributes if row else frozenset[str]()
    in_doc = False
    for match in _pattern(language).finditer(text):
        in_doc = match[0] in attributes or (in_doc and match.lastgroup != "newline")
        if not in_doc and match.lastgroup not in _BLANK:
            return text.count("\n", 0, match.start())
    return 0


@cache
def _pattern(language: str) -> re.Pattern[str]:
    """One alternation, the commonest kinds first; the string group of C may hold a named group of its own."""
    row = LANGUAGES.get(language)
    lexemes = row.lexemes if row else _PLAIN
    groups = [f"(?P<{kind}>{pattern})" for kind, pattern in lexemes]
    if not any(kind == "name" for kind, _ in lexemes):
        groups.insert(-1, r"(?P<name>[^\W\d]\w*+)")
    blanks = [r"(?P<space>[^\S\r\n]++)", r"(?P<newline>\r\n|\r|\n)"]
    return re.compile("|".join([*blanks, *groups, "(?s:.)"]), re.DOTALL)
