"""Changes single members of a JSON text that people edit: comments, order, layout and trailing commas stay.

All functions raise ValueError where the text is no such JSON, or where a member on the way is no object.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

_TOKEN = re.compile(
    r'(?P<string>"(?:[^"\\\n]|\\.)*")|(?P<comment>//[^\n]*|/\*.*?\*/)|(?P<space>\s+)|(?P<sign>[{}\[\]:,])'
    r"|(?P<word>[^\s{}\[\]:,\"/]+)",
    re.DOTALL,
)
_MAX_DEPTH = 100


@dataclass(slots=True)
class _Token:
    kind: str
    text: str
    start: int
    end: int


@dataclass(slots=True)
class _Member:
    key: _Token
    value: "_Value"


@dataclass(slots=True)
class _Value:
    """A value's extent; the members and the closing brace of an object."""

    start: int
    end: int = 0
    is_object: bool = False
    members: list[_Member] = field(default_factory=list)

    def find(self, name: str) -> _Member | None:
        """The member of that name, of several the last, as JSON readers take it."""
        if not self.is_object:
            raise ValueError(f"the value beside {name!r} is no object")
        return next((member for member in reversed(self.members) if json.loads(member.key.text) == name), None)


def read_jsonc(text: str) -> Any:
    """The value of a text with comments and trailing commas; an empty object where there is nothing."""
    tokens = [token for token in _tokenize(text) if token.kind not in {"comment", "space"}]
    closing = [*(token.text for token in tokens[1:]), ""]
    kept = [
        token.text
        for token, after in zip(tokens, closing, strict=False)
        if token.text != "," or token.kind == "string" or after not in {"}", "]"}
    ]
    return json.loads(" ".join(kept)) if kept else {}


def set_member(text: str, path: Sequence[str], value: Any) -> str:
    """The text with the member at a path of names set; objects on the way are made where they are missing."""
    if not text.strip():
        return json.dumps(_nest(path, value), indent=2, ensure_ascii=False) + "\n"
    node = _parse(text)
    for depth, name in enumerate(path):
        member = node.find(name)
        if member is None:
            return _insert(text, node, name, _nest(path[depth + 1 :], value))
        node = member.value
    start, indent = node.start, _indent_at(text, node.start)
    return text[:start] + _render(value, indent) + text[node.end :]


def remove_member(text: str, path: Sequence[str]) -> str:
    """The text without the member at a path, and without the objects on the way that held nothing else."""
    node, trail = _parse(text), []
    for name in path:
        member = node.find(name)
        if member is None:
            return text
        trail.append((node, member))
        node = member.value
    while len(trail) > 1 and len(trail[-1][0].members) == 1:
        trail.pop()
    return _cut(text, *trail[-1])


def _insert(text: str, node: _Value, name: str, value: Any) -> str:
    """The text with a member after the last one of an object, and after the comments that follow it."""
    inner = _indent_at(text, node.members[0].key.start) if node.members else _indent_at(text, node.start) + "  "
    last = [token for token in _tokenize(text[: node.end - 1]) if token.kind != "space"][-1]
    entry = f"\n{inner}{json.dumps(name)}: {_render(value, inner)}"
    if not node.members:
        return text[: last.end] + entry + "\n" + _indent_at(text, node.start) + text[node.end - 1 :]
    value_end = node.members[-1].value.end
    if _comma_after(text, value_end):
        return text[: last.end] + entry + "," + text[last.end :]
    return text[:value_end] + "," + text[value_end : last.end] + entry + text[last.end :]


def _cut(text: str, node: _Value, member: _Member) -> str:
    """The text without a member, its comma, and the comma before it if it was the last."""
    before = [token for token in _tokenize(text[: member.key.start]) if token.kind != "space"][-1]
    comma = _comma_after(text, member.value.end)
    head, tail = text[: before.end], text[comma or member.value.end :]
    at = node.members.index(member)
    if at and not comma:
        end = node.members[at - 1].value.end
        place = _comma_after(head, end)
        head = head[: place - 1] + head[place:]
    return head + (tail.lstrip() if before.text == "{" and len(node.members) == 1 else tail)


def _comma_after(text: str, at: int) -> int:
    """Where the comma behind a value ends; 0 where there is none."""
    token = next((one for one in _tokenize(text[at:]) if one.kind not in {"space", "comment"}), None)
    return at + token.end if token is not None and token.text == "," else 0


def _nest(path: Sequence[str], value: Any) -> Any:
    for name in reversed(path):
        value = {name: value}
    return value


def _render(value: Any, indent: str) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False).replace("\n", f"\n{indent}")


def _indent_at(text: str, at: int) -> str:
    """The blanks that the line of a place begins with."""
    line = text[text.rfind("\n", 0, at) + 1 :]
    return line[: len(line) - len(line.lstrip(" \t"))]


def _parse(text: str) -> _Value:
    """The extents of all values. Raises ValueError where the text is no JSON with comments, or no object."""
    read_jsonc(text)
    tokens = iter([token for token in _tokenize(text) if token.kind not in {"comment", "space"}])
    root = _parse_value(next(tokens), tokens, 0)
    if not root.is_object:
        raise ValueError("the file holds no object")
    return root


def _parse_value(first: _Token, tokens: Iterator[_Token], depth: int) -> _Value:
    if depth > _MAX_DEPTH:
        raise ValueError("the file is nested too deeply")
    node = _Value(first.start, first.end, is_object=first.text == "{")
    if first.text not in {"{", "["} or first.kind == "string":
        return node
    for token in tokens:
        if token.kind == "sign" and token.text in "}]":
            node.end = token.end
            return node
        if token.kind == "sign" and token.text == ",":
            continue
        if node.is_object:
            next(tokens)  # the colon
            node.members.append(_Member(token, _parse_value(next(tokens), tokens, depth + 1)))
        else:
            _parse_value(token, tokens, depth + 1)
    raise ValueError("the file ends too early")


def _tokenize(text: str) -> Iterator[_Token]:
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise ValueError(f"the file has no JSON at character {at}")
        yield _Token(match.lastgroup or "", match[0], at, match.end())
        at = match.end()
