"""Reads what a name node says: a definition's own name, its arity, and the kind this makes it.

One function a language; a language whose name nodes are plain words needs none of its own.
"""

import re

import tree_sitter

from codekin.syntax.definitions import Definition

KindAndName = tuple[str, str]

_ELIXIR_FOR = re.compile(r"\bfor:\s*(\[[^\]]*\]|[^\s,]+)")
_UNQUOTED_ATOM = re.compile(r'unquote\(\s*:"?([\w@]+[?!]?|[^\w\s"#()]+)"?\s*\)')
_TEMPLATE_ARGUMENTS = re.compile(r"<[^<>]*>")
_MACRO_WORD = re.compile(r"[A-Z][A-Z0-9_]{2,}")
_INLINE = re.compile(r"\binline\s+")
_AROUND_NAMES = frozenset(
    f"{kind}_declarator" for kind in ("parenthesized", "pointer", "reference", "array", "function")
)
_LONGEST_NAME = 200


def plain_name(definition: Definition, node: tree_sitter.Node, source: bytes) -> KindAndName:
    """The node's text as it stands; a function in a class is a method."""
    kind = definition.kind
    if kind == "function" and definition.parent and definition.parent.kind in {"class", "struct"}:
        kind = "method"
    return kind, _text(node, source)


def elixir_name(definition: Definition, node: tree_sitter.Node, source: bytes) -> KindAndName:
    """`name/arity` of a head, `Protocol.For` of an implementation, `test describe name` as ExUnit prints it."""
    kind = definition.kind
    text = _text(node, source)
    if kind == "implementation":
        return kind, f"{text}.{_implemented_for(definition, node, source)}"
    if kind == "describe":
        return kind, f"describe {_unquoted(text)}"
    if kind == "test":
        parent = definition.parent
        around = parent.name.removeprefix("describe ") if parent and parent.kind == "describe" else ""
        return kind, " ".join(f"test {around} {_unquoted(text)}".split())
    if kind in {"module", "protocol"}:
        return kind, text.removeprefix("__MODULE__.").removeprefix("Elixir.")
    return kind, _elixir_head(node, source)


def _elixir_head(node: tree_sitter.Node, source: bytes) -> str:
    """`name/arity` of `name(a, b) when guard`, of an operator's head, of a bare name."""
    operator = node.child_by_field_name("operator")
    while node.type == "binary_operator" and operator is not None and operator.type in {"when", "::"}:
        left = node.child_by_field_name("left")
        if left is None:
            break
        node, operator = left, left.child_by_field_name("operator")
    if operator is not None and node.type in {"binary_operator", "unary_operator"}:
        return f"{operator.type}/{1 if node.type == 'unary_operator' else 2}"
    target = node.child_by_field_name("target") if node.type == "call" else None
    if target is None:
        return f"{_text(node, source)}/0"
    arguments = [child for child in node.named_children if child.type == "arguments"]
    arity = sum(child.type != "comment" for child in arguments[0].named_children) if arguments else 0
    name = _text(target, source)
    atom = _UNQUOTED_ATOM.fullmatch(name)
    return f"{atom[1] if atom else name}/{arity}"


def _implemented_for(definition: Definition, node: tree_sitter.Node, source: bytes) -> str:
    options = node.next_named_sibling
    match = _ELIXIR_FOR.search(_text(options, source)) if options is not None else None
    if match is None or match[1] == "__MODULE__":
        modules = [around.name for around in definition.ancestors() if around.kind == "module"]
        return ".".join(reversed(modules)) or "Any"
    return " ".join(match[1].strip("[]").split()) if "," not in match[1] else "{" + match[1].strip("[] ") + "}"


def c_name(definition: Definition, node: tree_sitter.Node, source: bytes) -> KindAndName:
    """A declarator's name without template arguments; `TEST(Suite, Name)` is a test."""
    if definition.kind in {"namespace", "lambda"}:
        return definition.kind, _INLINE.sub("", _text(node, source))
    node = _innermost_declarator(node)
    text = _text(node, source)
    if node.type == "operator_cast":
        text = _scopes_of(node, source) + text
    if "operator" not in text:
        text = _plain(text)
        words = text.split()
        text = words[-1] if words else ""
        if _MACRO_WORD.fullmatch(text) and definition.kind == "function":
            return _macro_definition(definition, node, source, text)
    elif match := re.search(r"((?:[\w:<>, ]+::)?)\s*operator\b\s*(\(\)|[^(]*)", text):
        sign = " ".join(match[2].split())
        text = f"{_plain(match[1]).strip()}operator{' ' if sign[:1].isalnum() else ''}{sign}"
    return (_c_kind(definition, text) if definition.kind == "function" else definition.kind), text


def _innermost_declarator(node: tree_sitter.Node) -> tree_sitter.Node:
    """The name in `(*name(parameters))`, which declares a function that gives a pointer to a function."""
    while node.type in _AROUND_NAMES:
        inner = node.child_by_field_name("declarator") or next(iter(reversed(node.named_children)), None)
        if inner is None:
            break
        node = inner
    return node


def _scopes_of(node: tree_sitter.Node, source: bytes) -> str:
    """What is written in front of a node that ends a qualified name, such as `ns::Class::`."""
    start = node.start_byte
    while node.parent is not None and node.parent.type == "qualified_identifier":
        node = node.parent
    return source[max(node.start_byte, start - _LONGEST_NAME) : start].decode("utf-8", "replace")


def _c_kind(definition: Definition, name: str) -> str:
    scope, _, last = name.rpartition("::")
    owner = scope.rpartition("::")[2]
    parent = definition.parent
    if parent is not None and parent.kind in {"class", "struct"}:
        owner = parent.name.rpartition("::")[2]
    if "operator" in last:
        return "operator"
    if last.startswith("~"):
        return "destructor"
    if owner and last == owner:
        return "constructor"
    return "method" if owner else "function"


def _macro_definition(definition: Definition, node: tree_sitter.Node, source: bytes, word: str) -> KindAndName:
    """What a macro call in front of a body defines, such as `TEST_F(Suite, Name)` or `PRIVATE(name)(parameters)`."""
    declarator = node.parent
    parameters = declarator.child_by_field_name("parameters") if declarator is not None else None
    around = declarator.parent if declarator is not None else None
    if parameters is not None and around is not None and around.type == "function_declarator":
        return _c_kind(definition, text := _text(parameters, source).strip("() \t\r\n")), text
    has_type = around is not None and around.child_by_field_name("type") is not None
    is_member = definition.parent is not None and definition.parent.kind in {"class", "struct"}
    if parameters is None or has_type or is_member:
        return definition.kind, word
    kind = "test" if "TEST" in word or "BENCHMARK" in word else definition.kind
    return kind, f"{word}{' '.join(_text(parameters, source).split())}"


def _plain(text: str) -> str:
    text = text.replace(" ::", "::").replace(":: ", "::")
    while "<" in text and (shorter := _TEMPLATE_ARGUMENTS.sub("", text)) != text:
        text = shorter
    return text


def _unquoted(text: str) -> str:
    return text.strip().strip("\"'").strip()


def _text(node: tree_sitter.Node, source: bytes) -> str:
    end = min(node.end_byte, node.start_byte + _LONGEST_NAME)
    return source[node.start_byte : end].decode("utf-8", "replace")


NAMERS = {"elixir": elixir_name, "cpp": c_name, "c": c_name}
