"""Reads what a name node says, for each language: plain name, arity, kind."""

import re
from typing import NamedTuple

import tree_sitter


class Name(NamedTuple):
    """A definition's own name, unqualified, and its kind."""

    kind: str
    text: str


def plain_name(kind: str, node: tree_sitter.Node, source: bytes) -> Name:
    """The node's text as it stands."""
    return Name(kind, _text(node, source))


def elixir_name(kind: str, node: tree_sitter.Node, source: bytes) -> Name:
    """`name/arity` of a definition head; `Protocol.For` of an implementation; the text of a test's string."""
    if kind == "implementation":
        return Name(kind, _text(node, source) + _implemented_for(node, source))
    if kind in {"module", "protocol"}:
        return Name(kind, _text(node, source))
    if kind in {"test", "describe"}:
        return Name(kind, _text(node, source).strip("\"'"))
    for _ in range(8):
        if node.type != "binary_operator" or not (operator := node.child_by_field_name("operator")):
            break
        if operator.type != "when":
            return Name(kind, f"{operator.type}/2")
        left = node.child_by_field_name("left")
        if left is None:
            break
        node = left
    if node.type == "unary_operator" and (operator := node.child_by_field_name("operator")):
        return Name(kind, f"{operator.type}/1")
    target = node.child_by_field_name("target") if node.type == "call" else None
    if target is None:
        return Name(kind, f"{_text(node, source)}/0")
    arguments = next((child for child in node.named_children if child.type == "arguments"), None)
    arity = sum(child.type != "comment" for child in arguments.named_children) if arguments else 0
    return Name(kind, f"{_text(target, source)}/{arity}")


def _implemented_for(node: tree_sitter.Node, source: bytes) -> str:
    following = node.next_named_sibling
    match = re.search(r"for:\s*(.+)", _text(following, source), re.DOTALL) if following else None
    return "." + " ".join(match[1].split()) if match else ""


def c_name(kind: str, node: tree_sitter.Node, source: bytes) -> Name:
    """A declarator's name without its template arguments."""
    text = " ".join(_text(node, source).split())
    if "operator" not in text:
        text = re.sub(r"<[^<>]*>", "", re.sub(r"<[^<>]*>", "", text))
    return Name(kind, text.replace(" ::", "::").replace(":: ", "::"))


def _text(node: tree_sitter.Node, source: bytes) -> str:
    return source[node.start_byte : node.end_byte].decode("utf-8", "replace")


NAMERS = {"elixir": elixir_name, "cpp": c_name, "c": c_name, "python": plain_name}
