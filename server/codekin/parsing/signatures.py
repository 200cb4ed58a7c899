"""Reads the head of a definition, up to where its body begins, as one line."""

from collections.abc import Iterator, Sequence

from codekin.parsing.languages import LANGUAGES, Language
from codekin.parsing.tokens import Token, count_lines_before_code, is_code, tokenize

_FEW_LINES, _MAX_LINES, _MAX_TOKENS = 8, 60, 400
"""Most heads end within a few lines, all within the many, attributes before it included; a text without a body is not
read to its end."""

_CONTINUED_AFTER = frozenset({",", "when", "and", "or", "|", "\\\\", "=", "::", "->", "&&", "||"})
"""A line that ends so goes on in the next one."""


def read_signature(language: str, text: str) -> str:
    """The head of the definition that a text begins with, comments and attributes left out, blanks as one space.

    A text of no known language gives its first line; one that defines nothing, the line at which its code begins.
    """
    lines = text.splitlines()
    begin = count_lines_before_code(language, text)
    code = lines[begin : begin + _MAX_LINES]
    row = LANGUAGES.get(language)
    if row is None or "\n" in row.body_starts:
        return " ".join("\n".join(code).strip().split("\n", 1)[0].split())
    head = " ".join((_finished_head(row, code[:_FEW_LINES]) or "".join(_head(row, _tokens(row, code)))).split())
    return head.replace("( ", "(").replace(" )", ")").rstrip(" ,")


def _finished_head(language: Language, lines: Sequence[str]) -> str:
    """The head, if it ends before these lines do; empty where it may go on."""
    tokens = _tokens(language, lines)
    head = list(_head(language, tokens))
    return "".join(head) if len(head) < len(tokens) else ""


def _tokens(language: Language, lines: Sequence[str]) -> Sequence[Token]:
    """The tokens of a definition without the attributes before it."""
    return _without_attributes(language.name, tokenize(language.name, "\n".join(lines))[: 2 * _MAX_TOKENS])


def _without_attributes(language: str, tokens: Sequence[Token]) -> Sequence[Token]:
    """The tokens from the first line on that is no attribute, decorator or template parameter list."""
    at, count = 0, len(tokens)
    while at < count:
        first = next((place for place in range(at, count) if is_code(tokens[place])), count)
        if first == count or not _begins_attribute(language, tokens[first]):
            return tokens[first:]
        at = _end_of_line(tokens, first)
    return ()


def _begins_attribute(language: str, token: Token) -> bool:
    if language in {"c", "cpp"}:
        return token.kind == "directive"
    return token.kind == "attribute" or token.text.startswith("@")


def _end_of_line(tokens: Sequence[Token], at: int) -> int:
    """The place after the first line break outside brackets that does not follow a continuation."""
    depth, last = 0, ""
    for place in range(at, len(tokens)):
        token = tokens[place]
        depth += _depth_change(token)
        if token.kind == "newline" and depth <= 0 and last not in _CONTINUED_AFTER:
            return place + 1
        last = token.text if is_code(token) else last
    return len(tokens)


def _head(language: Language, tokens: Sequence[Token]) -> Iterator[str]:
    """The texts of the head's tokens; a comment is a blank."""
    depth, last = 0, ""
    for token in tokens[:_MAX_TOKENS]:
        if depth == 0 and (token.text in language.body_starts or _begins_initialisers(token, last)):
            return
        if language.name == "elixir" and token.kind == "newline" and depth <= 0 and last not in _CONTINUED_AFTER:
            return
        depth += _depth_change(token)
        last = token.text if is_code(token) else last
        yield token.text if is_code(token) else " "


def _begins_initialisers(token: Token, last: str) -> bool:
    """Whether a colon begins the initialisers of a C++ constructor."""
    return token.text == ":" and last in {")", "noexcept"}


def _depth_change(token: Token) -> int:
    if token.kind in {"string", "comment"}:
        return 0
    return (token.text in "([{") - (token.text in ")]}") if token.text else 0
