"""Blanks out C and C++ macros and preprocessor branches that the grammar cannot parse.

Offsets stay: every blanked byte becomes a space. Macros are recognised by their looks, not by their definitions, and
only on lines near a parse error. It works on tokens and takes linear time.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from codekin.parsing.tokens import Token, tokenize

_MACRO = re.compile(r"[A-Z][A-Z0-9_]{2,}")
_NULLABILITY_WORDS = """absl_nonnull absl_nullable absl_nullability_unknown _Nonnull _Nullable __restrict
__restrict__"""
_NULLABILITY = frozenset(_NULLABILITY_WORDS.split())
_BEGINS_STATEMENT = frozenset({"", ";", "{", "}", ":", ">"})
_BEFORE_CALLS = frozenset({".", "->", "(", "=", "return"})
_BEFORE_VALUES_WORDS = "return else case throw co_return co_await co_yield sizeof new delete do goto"
_BEFORE_VALUES = frozenset(_BEFORE_VALUES_WORDS.split())
_ENDS_NAME = re.compile(r"[\w)\]>*&]\Z")
_ENDS_TYPE = re.compile(r"[^\W\d]\w*\Z|>\Z")
_BEHIND_NAMES = frozenset({"{", ";", "=", ",", ")", ":", "["})
_BEHIND_STATEMENTS = frozenset({"{", "}", "[", "~", ""})
_BRACKET_DEPTHS = {"(": 1, ")": -1, "{": 1, "}": -1, "[": 1, "]": -1}
_SIGNIFICANT = frozenset({"name", "keyword", "operator", "string", "number"})
_MAX_CONDITIONAL_LINES = 12  # a longer #if holds whole definitions, and its branches parse beside each other
_CONDITIONS = frozenset({"if", "ifdef", "ifndef", "elif", "else", "endif"})


def blank_macros(source: bytes, near: Collection[int]) -> bytes:
    """The same text with likely macros replaced by spaces, line breaks kept.

    On the lines `near` (from 0), whatever looks like one; elsewhere what has an underscore and is no statement.
    `#if` conditions there, and those of several lines, become `1`, which is all that the grammar wants of them.
    """
    found = _TokenTable(source)
    replaced = _condition_replacements(found, near)
    for at, token in enumerate(found.tokens):
        if at in replaced or found.in_directive[at]:
            continue
        if token.kind == "name":
            replaced |= dict.fromkeys(_macro_tokens_at(found, at, is_near=found.lines[at] in near), "")
        elif found.lines[at] in near:
            replaced |= _unsupported_syntax(found, at)
    return _replace_tokens(found.tokens, replaced)


def blank_branches(source: bytes, near: Collection[int]) -> bytes:
    """The same text without macros, and of an `#if` that does not parse only the first branch, the second of `#if 0`.

    So is it with one whose branches close other brackets than they open: each parses alone, but not beside another.
    """
    found = _TokenTable(blank_macros(source, near))
    marks = [0] * (len(found.tokens) + 1)
    open_groups: list[list[int]] = []
    for at, token in enumerate(found.tokens):
        word = _condition_word(token)
        if word.startswith("if"):
            open_groups.append([at])
        elif open_groups and word:
            open_groups[-1].append(at)
            if word == "endif":
                for span in _branches_to_blank(found, open_groups.pop(), near):
                    marks[span.start] += 1
                    marks[span.stop] -= 1
    return _replace_tokens(found.tokens, {at: "" for at, covers in enumerate(accumulate(marks)) if covers})


@dataclass(slots=True, init=False)
class _TokenTable:
    """The tokens of a text; for each its line, the places of the words or signs beside it, and of what is behind it.

    What is behind an opening bracket is behind the one that closes it. `ends` are the places of the line breaks that
    no backslash takes back, `depths` how many brackets are open in front of a token, `falls` where fewer are for the
    first time; the last two have an entry for the end of the text as well.
    """

    tokens: list[Token]
    lines: list[int]
    in_directive: list[bool]
    before: list[int]
    after: list[int]
    behind: list[int]
    ends: list[int]
    depths: list[int]
    falls: list[int]

    def __init__(self, source: bytes) -> None:
        self.tokens = tokenize("cpp", source.decode("utf-8", "replace"))
        self.lines = []
        line = 0
        for token in self.tokens:
            self.lines.append(line)
            line += token.text.count("\n")
        self.in_directive = _directives(self.tokens)
        outside = zip(self.tokens, self.in_directive, strict=True)
        means = [token.kind in _SIGNIFICANT and not inside for token, inside in outside]
        self.before = _neighbour_indices(means, range(len(means)))
        self.after = _neighbour_indices(means, range(len(means) - 1, -1, -1))
        self.behind = _behind_brackets(self.tokens)
        self.ends = _line_ends(self.tokens)
        changes = (_BRACKET_DEPTHS.get(token.text, 0) if token.kind == "operator" else 0 for token in self.tokens)
        self.depths = list(accumulate(changes, initial=0))
        self.falls = _next_lower_depths(self.depths)

    def text_before(self, at: int) -> str:
        """The last word or sign in front of a token, "" at the beginning."""
        return self.tokens[self.before[at]].text if self.before[at] >= 0 else ""

    def text_after(self, at: int) -> str:
        """The first word or sign behind a token, "" at the end."""
        return self.tokens[self.after[at]].text if self.after[at] >= 0 else ""


def _directives(found: Sequence[Token]) -> list[bool]:
    """For each token whether it belongs to a preprocessor directive, which a backslash continues on the next line."""
    inside = False
    result = []
    last = ""
    for token in found:
        if token.kind == "directive":
            inside = True
        elif token.kind == "newline" and last != "\\":
            inside = False
        result.append(inside)
        last = token.text if token.kind != "space" else last
    return result


def _neighbour_indices(means: Sequence[bool], order: range) -> list[int]:
    result = [-1] * len(means)
    last = -1
    for at in order:
        result[at] = last
        if means[at]:
            last = at
    return result


def _macro_tokens_at(found: _TokenTable, at: int, *, is_near: bool) -> range:
    """The tokens to blank for a name, if it looks like a macro where the grammar allows none."""
    name = found.tokens[at].text
    if name in _NULLABILITY:
        return range(at, at + 1)
    if not _MACRO.fullmatch(name) or not (is_near or "_" in name):
        return range(0)
    end = _call_end(found, at)
    follows = found.text_after(end - 1)
    before = found.text_before(at)
    if before in _BEGINS_STATEMENT:
        return _macro_statement(found, at, end, follows) if is_near or follows != ";" else range(0)
    if not _ENDS_NAME.search(before) or before in _BEFORE_VALUES:
        return range(0)
    if before in {"*", "&"} and not (_is_name(follows) and _ENDS_TYPE.search(found.text_before(found.before[at]))):
        return range(0)
    may_be_named = follows in {"=", "["} and end == at + 1
    may_be_cast = before == ")" and not is_near and follows != "{"
    fits = (follows in _BEHIND_NAMES or _is_name(follows)) and not may_be_named and not may_be_cast
    return range(at, end) if fits else range(0)


def _unsupported_syntax(found: _TokenTable, at: int) -> dict[int, str]:
    """What is C++ and yet not in the grammar, by the places of its tokens, with what to put there.

    That is `extern template …;`, `namespace a = ::b;`, the sign of a nameless `T* = nullptr`, the base of
    a nameless `enum : int`, the `typename` of a value, and a call of `x.operator->()` by name.
    """
    text, before, follows = found.tokens[at].text, found.text_before(at), found.text_after(at)
    if text == "extern" and follows == "template":
        return dict.fromkeys(range(at, _statement_end(found, at)), "")
    if (text in {"*", "&"} and follows in {"=", ","}) or (
        text == "typename" and before in _BEFORE_CALLS and follows != "..."
    ):
        return {at: ""}
    if text == "namespace" and found.text_after(found.after[at]) == "=":
        return dict.fromkeys(range(at, _statement_end(found, at)), "")
    if text == ":" and before == "enum":
        return dict.fromkeys(range(at, found.after[at] + 1), "")
    is_called = before in _BEFORE_CALLS or (before in {"&", "*"} and found.text_before(found.before[at]) == "return")
    if text != "operator" or not is_called:
        return {}
    end = at + 1
    while end < len(found.tokens) and found.tokens[end].text not in {"(", ";", "}"}:
        end += 1
    return {at: "x", **dict.fromkeys(range(at + 1, end), "")}


def _macro_statement(found: _TokenTable, at: int, end: int, follows: str) -> range:
    """A macro at the beginning of a statement: one with a body defines something and stays."""
    if end == at + 1:
        return range(at, end) if _is_name(follows) or follows in _BEHIND_STATEMENTS else range(0)
    if follows in {";", "->", "."}:
        return range(at, _statement_end(found, end))
    return range(at, end) if _is_name(follows) or follows in _BEHIND_STATEMENTS - {"{"} else range(0)


def _statement_end(found: _TokenTable, at: int) -> int:
    """The place of the semicolon that ends a statement."""
    while at < len(found.tokens) and found.tokens[at].text != ";":
        at = found.behind[at]
    return at


def _is_name(text: str) -> bool:
    return text[:1].isalpha() or text[:1] == "_"


def _call_end(found: _TokenTable, at: int) -> int:
    """The token behind a name and its arguments, if it has any."""
    after = found.after[at]
    if after < 0 or found.tokens[after].text != "(":
        return at + 1
    return found.behind[after]


def _behind_brackets(found: Sequence[Token]) -> list[int]:
    """For each token the place behind it; for an opening bracket, behind the one that closes it."""
    behind = list(range(1, len(found) + 1))
    waiting: list[int] = []
    for at, token in enumerate(found):
        change = _BRACKET_DEPTHS.get(token.text, 0)
        if change > 0:
            waiting.append(at)
        elif change < 0 and waiting:
            behind[waiting.pop()] = at + 1
    return behind


def _condition_replacements(found: _TokenTable, near: Collection[int]) -> dict[int, str]:
    """Replacements for the tokens of `#if` and `#elif` conditions and of `#error`, by their places."""
    replaced: dict[int, str] = {}
    end = 0
    for at, token in enumerate(found.tokens):
        word = token.text.lstrip("# \t") if token.kind == "directive" else ""
        if at < end or word not in {"if", "elif", "error", "warning"}:
            continue
        end = found.ends[at]
        is_long = any(found.tokens[inside].kind == "newline" for inside in range(at, end))
        if end > at + 2 and (is_long or found.lines[at] in near):
            replaced |= dict.fromkeys(range(at + 2, end), "")
            replaced[at + 2] = "1"
    return replaced


def _condition_word(token: Token) -> str:
    """The word of a directive that begins, changes or ends a condition, else ""."""
    word = token.text.lstrip("# \t") if token.kind == "directive" else ""
    return word if word in _CONDITIONS else ""


def _branches_to_blank(found: _TokenTable, positions: Sequence[int], near: Collection[int]) -> tuple[range, ...]:
    """The tokens of a condition and all branches but one, if any is uneven or does not parse.

    `positions` are those of the directives.
    """
    branches = [range(start + 1, end) for start, end in pairwise(positions)]
    lines = range(found.lines[positions[0]], found.lines[positions[-1]] + 1)
    is_near = len(lines) <= _MAX_CONDITIONAL_LINES and any(line in near for line in lines)
    if not is_near and all(_is_balanced_branch(found, branch) for branch in branches):
        return ()
    words = [token.text for token in found.tokens[positions[0] : positions[0] + 3]]
    kept = branches[1 if words[2:] == ["0"] and len(branches) > 1 else 0]
    return range(positions[0], found.ends[kept.start]), range(kept.stop, found.ends[positions[-1]])


def _is_balanced_branch(found: _TokenTable, branch: range) -> bool:
    """Whether a branch closes the brackets that it opens, and no others."""
    start, end = branch.start, branch.stop
    return found.depths[start] == found.depths[end] and found.falls[start] > end


def _line_ends(found: Sequence[Token]) -> list[int]:
    """For each token, and behind the last, the place of the next line break that no backslash takes back."""
    ends = [len(found)] * (len(found) + 1)
    for at in range(len(found) - 1, -1, -1):
        is_end = found[at].kind == "newline" and (at == 0 or found[at - 1].text != "\\")
        ends[at] = at if is_end else ends[at + 1]
    return ends


def _next_lower_depths(depths: Sequence[int]) -> list[int]:
    """For each place the next one with a lower depth, one behind the last where there is none."""
    falls = [len(depths)] * len(depths)
    waiting: list[int] = []
    for at, depth in enumerate(depths):
        while waiting and depths[waiting[-1]] > depth:
            falls[waiting.pop()] = at
        waiting.append(at)
    return falls


def _replace_tokens(found: Sequence[Token], replaced: Mapping[int, str]) -> bytes:
    """The text again, with tokens replaced by shorter texts, each filled up with spaces to as many bytes."""
    texts = [
        replaced[at] + _blank_text(token.text)[len(replaced[at]) :] if at in replaced else token.text
        for at, token in enumerate(found)
    ]
    return "".join(texts).encode("utf-8", "replace")


def _blank_text(text: str) -> str:
    return re.sub(r"[^\r\n]", lambda match: " " * len(match[0].encode("utf-8", "replace")), text)
