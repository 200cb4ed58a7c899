"""An argument added to a call, or a parameter to a definition: calls and declarations with as many as before."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from codekin.next_edit.edits import Edit, TokenChange, Words, is_word, split_words
from codekin.next_edit.patterns import Site, Spot, neighbours, whole_tokens

WINDOW = 1200
"""Characters in which the arguments of a call are read."""

_OPENING, _CLOSING = frozenset("([{"), frozenset(")]}")
_DEFINING = frozenset({"def", "defp", "defmacro", "defmacrop", "defdelegate", "callback", "spec"})
_NO_CALLEES = frozenset(
    {"if", "for", "while", "switch", "return", "sizeof", "fn", "and", "or", "not", "in", "when", "case", "elif"}
)
_DEFAULT = re.compile(r"\\\\|=")


@dataclass(frozen=True, slots=True)
class Call:
    """A call in parentheses: the token indices where they open and close, and where each argument begins."""

    opening: int
    closing: int
    arguments: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class AddedArgument:
    """Looks for the same name with `count` arguments; the text goes before the one of this `index`."""

    change: TokenChange
    anchor: str
    index: int
    count: int
    text: str
    is_parameter: bool
    kind: str = "argument"
    window: int = WINDOW

    def regex(self) -> str:
        """Matches the name before a parenthesis."""
        return whole_tokens((self.anchor,)) + r"(?=\()"

    def fit(self, spot: Spot) -> Site | None:
        """Inserts the argument; a definition takes it only from another definition, as it is written there."""
        words, opening = spot.words, spot.at + 1
        call = read_call(words, opening) if opening < len(words.texts) else None
        if call is None or len(call.arguments) != self.count:
            return None
        is_definition = _is_definition(spot.language, words, opening)
        if is_definition and not self.is_parameter:
            return None
        text = _name_of_parameter(self.text) if self.is_parameter and not is_definition else self.text
        left, _ = neighbours(self.change, words, call.closing, call.closing)
        if self.index < len(call.arguments):
            start = words.starts[call.arguments[self.index]]
            return Site(spot.path, start, start, f"{text}, ", self.kind, left, 0, self.change, self.is_parameter)
        start = words.ends[call.closing - 1]
        added = f", {text}" if call.arguments else text
        return Site(spot.path, start, start, added, self.kind, left, 0, self.change, self.is_parameter)


def read_added_argument(edit: Edit, change: TokenChange) -> Iterator[AddedArgument]:
    """The argument that a change added, if it is one; those with a default concern no caller."""
    inserted = [word for word in change.inserted if word != ","]
    if change.deleted or not inserted or change.inserted.count(",") > 1:
        return
    words = split_words(edit.language, edit.after, max(0, change.new_start - WINDOW), change.new_start + WINDOW)
    first = words.index_at(change.new_start)
    call = _call_around(words, first)
    if call is None or (len(call.arguments) > 1) != ("," in change.inserted):
        return
    index = sum(start <= first for start in call.arguments) - (change.inserted[0] != ",")
    argument = change.text.strip().strip(",").strip()
    is_parameter = _is_definition(edit.language, words, call.opening)
    if not (is_parameter and _DEFAULT.search(argument)):
        name = words.texts[call.opening - 1]
        yield AddedArgument(change, name, index, len(call.arguments) - 1, argument, is_parameter)


def read_call(words: Words, opening: int) -> Call | None:
    """The call whose parenthesis is at an index; None where it does not end within the tokens."""
    depth, arguments = 0, [opening + 1]
    for at in range(opening, len(words.texts)):
        sign = words.texts[at]
        depth += (sign in _OPENING) - (sign in _CLOSING)
        if depth == 1 and sign == ",":
            arguments.append(at + 1)
        if depth == 0:
            return Call(opening, at, () if at == opening + 1 else tuple(arguments))
    return None


def _call_around(words: Words, at: int) -> Call | None:
    """The innermost call of a name whose parentheses hold a token."""
    depth = 0
    for index in range(at - 1, 0, -1):
        sign = words.texts[index]
        depth += (sign in _CLOSING) - (sign in _OPENING)
        if depth < 0:
            return read_call(words, index) if sign == "(" and _is_callee(words, index - 1) else None
    return None


def _is_callee(words: Words, at: int) -> bool:
    word = words.texts[at]
    return is_word(word) and word not in _NO_CALLEES and words.ends[at] == words.starts[at + 1]


def _is_definition(language: str, words: Words, opening: int) -> bool:
    """Whether the name before a parenthesis is defined or declared there."""
    at = opening - 2
    while at > 1 and words.texts[at] == ":" == words.texts[at - 1]:
        at -= 3  # the scope in `Class::name(`
    before = words.texts[at] if at >= 0 else ""
    if language in {"elixir", "python"}:
        return before in _DEFINING
    return bool(before) and (is_word(before) or before in "*&>") and before not in {"return", "else", "throw", "new"}


def _name_of_parameter(parameter: str) -> str:
    """The name alone of a parameter with its type: the last word of `const Path& path`, the first of `path: Path`."""
    name = parameter if "::" in parameter else parameter.partition(":")[0]
    words = re.findall(r"\w+", name)
    return words[-1] if words else parameter
