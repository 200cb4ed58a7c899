"""The definitions of a text as intervals of bytes, and the reading of their names, arities and kinds."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import tree_sitter

from codekin.parsing.languages import Language
from codekin.types import CodeShape

Interval = tuple[int, int]


@dataclass(slots=True, eq=False)
class LeadingNode:
    """Something in front of a definition that belongs to it: a comment, an attribute.

    One with an `owner` belongs to the next function of that definition, whatever is between them.
    """

    start: int
    end: int
    is_comment: bool
    owner: "Definition | None" = None
    docs: list[Interval] = field(default_factory=list)
    is_callback: bool = False


@dataclass(slots=True, eq=False)
class Definition:
    """One definition with the definitions inside it; offsets count bytes.

    `start` to `end` is the definition itself, `head` the start of its first lead. `clauses` are
    the further definitions of the same name and arity. `calls` and `control` are (offset, word).
    """

    kind: str
    start: int
    end: int
    head: int
    parent: "Definition | None" = None
    name: str = ""
    owner: str = ""
    name_start: int = -1
    body: Interval | None = None
    children: list["Definition"] = field(default_factory=list)
    clauses: list["Definition"] = field(default_factory=list)
    docs: list[Interval] = field(default_factory=list)
    calls: list[tuple[int, str]] = field(default_factory=list)
    control: list[tuple[int, str]] = field(default_factory=list)
    uses: list[str] = field(default_factory=list)
    behaviours: list[str] = field(default_factory=list)
    is_callback: bool = False

    def all_clauses(self) -> list["Definition"]:
        """The definition and its further clauses, in source order."""
        return [self, *self.clauses]

    def ancestors(self) -> Iterator["Definition"]:
        """The definitions around this one, from the inside out."""
        around = self.parent
        while around:
            yield around
            around = around.parent

    def below(self) -> Iterator["Definition"]:
        """All definitions inside this one, in source order, outer before inner."""
        waiting = list(reversed(self.children))
        while waiting:
            definition = waiting.pop()
            yield definition
            waiting.extend(reversed(definition.children))


_MAX_SHAPE_NAMES = 64
_OWNER_KINDS = frozenset(
    {"module", "protocol", "implementation", "class", "struct", "interface", "trait", "enum", "record"}
)


def read_shape(language: Language, definition: Definition, inside: Interval) -> CodeShape:
    """The shape of the code inside an interval of bytes; uses and behaviours are those of the container too."""
    calls = _distinct(call for at, call in definition.calls if inside[0] <= at < inside[1])
    control = [word for at, word in definition.control if inside[0] <= at < inside[1]]
    if _is_recursive(definition):
        control.append("recursion")
    owner = _owner(definition)
    uses = _distinct([*definition.uses, *(owner.uses if owner else [])])
    behaviours = _distinct([*definition.behaviours, *(owner.behaviours if owner else [])])
    if owner and owner.kind == "implementation":
        behaviours = _distinct([*behaviours, owner.name.partition(".")[0]])
    if definition.kind == "implementation":
        behaviours = _distinct([*behaviours, definition.name.partition(".")[0]])
    return CodeShape(uses, behaviours, _callbacks(language, definition), calls, _distinct(control))


def _owner(definition: Definition) -> Definition | None:
    return next((around for around in definition.ancestors() if around.kind in _OWNER_KINDS), None)


def _callbacks(language: Language, definition: Definition) -> tuple[str, ...]:
    """The definition itself, or what it holds, as far as it implements a callback."""
    if definition.kind in language.containers:
        return _distinct(child.name for child in definition.children if _is_callback(language, child))
    return (definition.name,) if _is_callback(language, definition) else ()


def _is_callback(language: Language, definition: Definition) -> bool:
    if definition.is_callback:
        return True
    parent = definition.parent
    if parent is None or definition.kind in language.containers:
        return False
    if parent.kind == "implementation":
        return definition.kind == "function"
    known = [name for used in (*parent.uses, *parent.behaviours) for name in language.callbacks.get(used, ())]
    return definition.name in known


def _is_recursive(definition: Definition) -> bool:
    name = definition.name.rpartition("::")[2].partition("/")[0]
    return any(call == name for _, call in definition.calls)


def _distinct(names: object) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))[:_MAX_SHAPE_NAMES]  # type: ignore[call-overload]


KindAndName = tuple[str, str]

_ELIXIR_FOR = re.compile(r"\bfor:\s*(\[[^\]]*\]|[^\s,]+)")
_UNQUOTED_ATOM = re.compile(r'unquote\(\s*:(?:"([^"\\#\n]+)"|([\w@]+[?!]?|[^\w\s"#()]+))\s*\)')
_TEMPLATE_ARGUMENTS = re.compile(r"<[^<>]*>")
_MACRO_WORD = re.compile(r"[A-Z][A-Z0-9_]{2,}")
_IS_TEST = re.compile("TEST|BENCHMARK|SCENARIO", re.IGNORECASE)
_TEST_WORDS = frozenset({"Ensure", "Theory"})
"""Of cgreen and Criterion; within a function `Ensure` may be a loop's macro."""

_INLINE = re.compile(r"\binline\s+")
_NESTED_DECLARATORS = frozenset(
    f"{kind}_declarator" for kind in ("parenthesized", "pointer", "reference", "array", "function")
)
_MAX_NAME_BYTES = 200
_METHOD_OWNERS = _OWNER_KINDS - {"module"}
_CONSTRUCTORS = frozenset({"constructor", "__construct"})
_QUOTES = frozenset({'"', "'", "`"})
_NO_ARGUMENTS = frozenset({"comment"})


def read_plain_name(definition: Definition, node: tree_sitter.Node, source: bytes) -> KindAndName:
    """The node's text without quotes and type arguments; a function in a class, or of a type, is a method."""
    kind, text = definition.kind, " ".join(_text(node, source).split())
    is_member = definition.owner or (definition.parent and definition.parent.kind in _METHOD_OWNERS)
    if kind == "function" and is_member:
        kind = "constructor" if text in _CONSTRUCTORS else "method"
    if text[:1] in _QUOTES:
        return kind, _unquoted(text)
    return kind, _without_template_arguments(text) if kind == "implementation" else text


def read_erlang_name(definition: Definition, node: tree_sitter.Node, source: bytes) -> KindAndName:
    """`name/arity` of a function's clause; a quoted atom without its quotes."""
    text = _text(node, source)
    name = text.strip("'")
    clause = node.parent
    arguments = clause.child_by_field_name("args") if clause is not None and definition.kind == "function" else None
    if arguments is None:
        return definition.kind, name
    return definition.kind, f"{name}/{sum(child.type not in _NO_ARGUMENTS for child in arguments.named_children)}"


def read_heading(definition: Definition, node: tree_sitter.Node, source: bytes) -> KindAndName:
    """The words of a heading without its marks."""
    return definition.kind, " ".join(_text(node, source).strip("# \t").replace("`", "").replace("*", "").split())


def read_elixir_name(definition: Definition, node: tree_sitter.Node, source: bytes) -> KindAndName:
    """`name/arity` of a head, `Protocol.For` of an implementation, `test describe name` as ExUnit prints it."""
    kind = definition.kind
    text = _text(node, source)
    if kind == "implementation":
        return kind, f"{text}.{_implemented_for(definition, node, source)}"
    if kind == "describe":
        return kind, f"describe {_joined_text(node, source)}"
    if kind == "test":
        parent = definition.parent
        around = parent.name.removeprefix("describe ") if parent and parent.kind == "describe" else ""
        return kind, " ".join(f"test {around} {_joined_text(node, source)}".split())
    if kind in {"module", "protocol"}:
        return kind, text.removeprefix("__MODULE__.").removeprefix("Elixir.")
    return kind, _elixir_head(node, source)


def _elixir_head(node: tree_sitter.Node, source: bytes) -> str:
    """`name/arity` of `name(a, b) when guard`, of an operator's head, of a bare name, in parentheses or not."""
    node = _without_parentheses(node)
    operator = node.child_by_field_name("operator")
    while node.type == "binary_operator" and operator is not None and operator.type in {"when", "::"}:
        left = node.child_by_field_name("left")
        if left is None:
            break
        node = _without_parentheses(left)
        operator = node.child_by_field_name("operator")
    if operator is not None and node.type in {"binary_operator", "unary_operator"}:
        return f"{operator.type}/{1 if node.type == 'unary_operator' else 2}"
    target = node.child_by_field_name("target") if node.type == "call" else None
    if target is None:
        return f"{_text(node, source)}/0"
    arguments = [child for child in node.named_children if child.type == "arguments"]
    arity = sum(child.type != "comment" for child in arguments[0].named_children) if arguments else 0
    name = _text(target, source)
    atom = _UNQUOTED_ATOM.fullmatch(name)
    return f"{(atom[1] or atom[2]) if atom else name}/{arity}"


def _without_parentheses(node: tree_sitter.Node) -> tree_sitter.Node:
    while node.type == "block" and len(node.named_children) == 1:
        node = node.named_children[0]
    return node


def _joined_text(node: tree_sitter.Node, source: bytes) -> str:
    """The words of a text, also of one that is joined from several with `<>`."""
    if node.type == "sigil":
        return "".join(_text(part, source) for part in node.named_children if part.type == "quoted_content")
    if node.type != "binary_operator":
        return _unquoted(_text(node, source))
    operator, parts = node.child_by_field_name("operator"), node.named_children
    if operator is None or operator.type != "<>" or node.end_byte - node.start_byte > _MAX_NAME_BYTES:
        return _unquoted(_text(node, source))
    return "".join(
        _text(part, source).strip('"') if part.type == "string" else _joined_text(part, source) for part in parts
    )


def _implemented_for(definition: Definition, node: tree_sitter.Node, source: bytes) -> str:
    options = node.next_named_sibling
    match = _ELIXIR_FOR.search(_text(options, source)) if options is not None else None
    if match is None or match[1] == "__MODULE__":
        modules = [around.name for around in definition.ancestors() if around.kind == "module"]
        return ".".join(reversed(modules)) or "Any"
    return " ".join(match[1].strip("[]").split()) if "," not in match[1] else "{" + match[1].strip("[] ") + "}"


def read_c_name(definition: Definition, node: tree_sitter.Node, source: bytes) -> KindAndName:
    """A declarator's name without template arguments; `TEST(Suite, Name)` is a test."""
    if definition.kind in {"namespace", "lambda"}:
        return definition.kind, _INLINE.sub("", _text(node, source))
    if node.type == "string_literal":
        return definition.kind, _unquoted(_text(node, source))
    node = _innermost_declarator(node)
    text = _text(node, source)
    if node.type == "operator_cast":
        text = _scopes_of(node, source) + text
    if "operator" not in text:
        text = _without_template_arguments(text)
        words = text.split()
        text = words[-1] if words else ""
        if definition.kind == "function" and (defined := _macro_definition(definition, node, source, text)):
            return defined
    elif match := re.search(r"((?:[\w:<>, ]+::)?)\s*operator\b\s*(\(\)|[^(]*)", text):
        sign = " ".join(match[2].split())
        text = f"{_without_template_arguments(match[1]).strip()}operator{' ' if sign[:1].isalnum() else ''}{sign}"
    return (_c_kind(definition, text) if definition.kind == "function" else definition.kind), text


def is_loop_macro(node: tree_sitter.Node) -> bool:
    """Whether a function within a function of C or C++ is a macro in front of a block, `forAll(list, i) {`."""
    if node.type != "function_definition" or node.parent is None or node.parent.type != "compound_statement":
        return False
    declarator = node.child_by_field_name("declarator")
    if declarator is None or declarator.type == "parenthesized_declarator":
        return True
    name = declarator.child_by_field_name("declarator")
    if node.child_by_field_name("type") is not None or name is None or name.type != "identifier":
        return False
    return _IS_TEST.search((name.text or b"").decode("utf-8", "replace")) is None


def _innermost_declarator(node: tree_sitter.Node) -> tree_sitter.Node:
    """The name in `(*name(parameters))`, which declares a function that gives a pointer to a function."""
    while node.type in _NESTED_DECLARATORS:
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
    return source[max(node.start_byte, start - _MAX_NAME_BYTES) : start].decode("utf-8", "replace")


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


def _macro_definition(definition: Definition, node: tree_sitter.Node, source: bytes, word: str) -> KindAndName | None:
    """What a macro call in front of a body defines, such as `TEST_F(Suite, Name)` or `PRIVATE(name)(parameters)`."""
    declarator = node.parent
    parameters = declarator.child_by_field_name("parameters") if declarator is not None else None
    around = declarator.parent if declarator is not None else None
    holder = around.parent if around is not None and around.type == "function_declarator" else around
    result_type = holder.child_by_field_name("type") if holder is not None else None
    is_split = result_type is not None and _is_same_word(source[result_type.end_byte : node.start_byte])
    if result_type is not None and is_split:
        # The macro is a separate node, since C requires a type: see `rewriting`.
        word, result_type = source[result_type.start_byte : node.end_byte].decode("utf-8", "replace"), None
        if not word[:1].isupper():
            return definition.kind, word
    arguments = " ".join(_text(parameters, source).split()) if parameters is not None else ""
    has_text = '"' in arguments and "=" not in arguments and not arguments.startswith(")")
    is_member = definition.parent is not None and definition.parent.kind in {"class", "struct", "union"}
    is_bare = result_type is None and "::" not in word and (has_text or (word[:1].isupper() and not is_member))
    if not _MACRO_WORD.fullmatch(word) and not is_split and not is_bare:
        return None
    if parameters is not None and around is not None and around.type == "function_declarator":
        return _c_kind(definition, text := _text(parameters, source).strip("() \t\r\n")), text
    if parameters is None or result_type is not None or is_member:
        return None
    is_test = _IS_TEST.search(word) or word in _TEST_WORDS
    return "test" if is_test else definition.kind, f"{word}{arguments}"


def _is_same_word(between: bytes) -> bool:
    return len(between) == 1 and (between.isalnum() or between == b"_")


def _without_template_arguments(text: str) -> str:
    text = text.replace(" ::", "::").replace(":: ", "::")
    while "<" in text and (shorter := _TEMPLATE_ARGUMENTS.sub("", text)) != text:
        text = shorter
    return text


def _unquoted(text: str) -> str:
    return text.strip().strip("\"'").strip()


def _text(node: tree_sitter.Node, source: bytes) -> str:
    end = min(node.end_byte, node.start_byte + _MAX_NAME_BYTES)
    return source[node.start_byte : end].decode("utf-8", "replace")


NAME_READERS = {
    "elixir": read_elixir_name,
    "cpp": read_c_name,
    "c": read_c_name,
    "erlang": read_erlang_name,
    "markdown": read_heading,
    "livebook": read_heading,
}
