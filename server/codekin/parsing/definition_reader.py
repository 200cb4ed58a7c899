"""Reads the definitions of a text from the captures of its language's query.

The captures are taken as intervals and swept once from left to right; clauses of one function are merged.
"""

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import tree_sitter

from codekin.parsing.languages import Language
from codekin.parsing.names import NAME_READERS, Definition, Interval, LeadingNode, is_loop_macro, read_plain_name
from codekin.parsing.trees import ParseTimeout, SyntaxTree, parse, run_query
from codekin.types import CHUNK_KINDS

if TYPE_CHECKING:
    from collections.abc import Callable

_TEMPLATE_ARGUMENTS = re.compile(r"<[^<>]*>")


def read_definitions(language: Language, tree: SyntaxTree) -> Definition:
    """The root, of kind `file`, with all definitions below it and clauses merged."""
    sweep = _DefinitionSweep(language, tree.source, tree.parsed)
    handlers: dict[str, Callable[[int, int, tree_sitter.Node], None]] = {
        "form": sweep.form,
        "leading": sweep.leading_node,
        "owned": sweep.owned_node,
        "docstring": sweep.docstring,
        "consumer": sweep.consumer,
        "wrapper": sweep.wrap,
        "name": sweep.name,
        "owner": sweep.owner,
        "embedded": sweep.embedded,
        "body": sweep.body,
        "doc": sweep.doc,
        "quiet": sweep.quiet,
        "call": sweep.call,
        "use": sweep.use,
        "behaviour": sweep.behaviour,
        "callback": sweep.callback,
    }
    for start, minus_end, capture, node in run_query(language.name, tree):
        sweep.close_before(start)
        if handler := handlers.get(capture):
            handler(start, -minus_end, node)
        elif capture in CHUNK_KINDS:
            if not is_loop_macro(node):
                sweep.define(capture, start, -minus_end)
        else:
            sweep.control(start, capture.removeprefix("control."))
    root = sweep.open[0]
    _merge_clauses(language, root)
    return root


@dataclass(slots=True)
class _DefinitionSweep:
    """The state of the sweep: the definitions around it and what has led up to it."""

    language: Language
    source: bytes
    parsed: bytes
    open: list[Definition] = field(default_factory=list)
    leading_nodes: list[LeadingNode] = field(default_factory=list)
    wrapper: Interval | None = None
    quiet_until: int = 0

    def __post_init__(self) -> None:
        self.open.append(Definition("file", 0, len(self.source), 0))

    def close_before(self, start: int) -> None:
        while len(self.open) > 1 and start >= self.open[-1].end:
            self.open.pop()

    def define(self, kind: str, start: int, end: int) -> None:
        inner = self.open[-1]
        if len(self.open) > 1 and (inner.start, inner.end) == (start, end):
            inner.kind = kind if kind == "test" or inner.kind == "constant" else inner.kind
            return
        wrapped = self.wrapper is not None and self.wrapper[0] <= start and end <= self.wrapper[1]
        head = self._with_macros(self.wrapper[0] if self.wrapper and wrapped else start)
        new = Definition(kind, start, end, head, inner)
        owner = inner if kind in self.language.clause_kinds or kind == "test" else None
        for leading_node in _leading_run(self.source, self.leading_nodes, head, owner):
            new.head = min(new.head, leading_node.start)
            new.docs += leading_node.docs
            new.is_callback |= leading_node.is_callback
        self.leading_nodes.clear()
        self.wrapper = None
        inner.children.append(new)
        self.open.append(new)

    def _with_macros(self, start: int) -> int:
        """Where the macros begin that were blanked out directly in front of an offset, on its line."""
        if self.source[start - 1 : start].strip() == self.parsed[start - 1 : start].strip() == b"":
            before = max(0, start - _MAX_MACRO_BYTES)
            spacing = start - len(self.parsed[before:start]) + len(self.parsed[before:start].rstrip())
            macros = _MACROS.search(self.source, spacing, start)
            return macros.start() if macros else start
        return start

    def form(self, start: int, end: int, node: tree_sitter.Node) -> None:
        """A call that defines or uses something, by its word and its first argument."""
        word = _WORD.match(self.source, start)
        first = next(iter(node.named_children[1].named_children), None)
        meaning = _form_meaning(self.language, word[0].decode(), node, first) if word and first else None
        if meaning is None or first is None:
            return
        if meaning in CHUNK_KINDS:
            self.define(meaning, start, end)
            self.name(first.start_byte, first.end_byte, first)
        elif first.type in {"alias", "call", "atom"}:
            self.use(first.start_byte, first.end_byte, first)

    def leading_node(self, start: int, end: int, node: tree_sitter.Node) -> None:
        is_comment = node.type in _COMMENTS
        if not is_comment or _is_first_on_line(self.source, start):
            self.leading_nodes.append(LeadingNode(start, end, is_comment, docs=[(start, end)] if is_comment else []))

    def docstring(self, start: int, end: int, _node: tree_sitter.Node) -> None:
        """A text in front of a definition that documents it."""
        self.leading_nodes.append(LeadingNode(start, end, is_comment=True, docs=[(start, end)]))

    def owned_node(self, start: int, end: int, _node: tree_sitter.Node) -> None:
        self.leading_nodes.append(LeadingNode(start, end, is_comment=False, owner=self.open[-1]))

    def consumer(self, _start: int, _end: int, _node: tree_sitter.Node) -> None:
        """What takes the docs in front of it without being a definition of its own."""
        self.leading_nodes.clear()

    def wrap(self, start: int, end: int, _node: tree_sitter.Node) -> None:
        if self.wrapper is None or start >= self.wrapper[1]:
            self.wrapper = (start, end)

    def name(self, start: int, _end: int, node: tree_sitter.Node) -> None:
        inner = self.open[-1]
        if inner.name or len(self.open) == 1 or (inner.body and start >= inner.body[0]):
            return
        inner.name_start = start
        inner.kind, inner.name = NAME_READERS.get(self.language.name, read_plain_name)(inner, node, self.source)

    def owner(self, start: int, end: int, _node: tree_sitter.Node) -> None:
        """What a definition belongs to where it does not stand within it: a receiver's type, a table."""
        if len(self.open) > 1 and not self.open[-1].owner:
            self.open[-1].owner = self.source[start : min(end, start + _MAX_CALL_BYTES)].decode("utf-8", "replace")

    def embedded(self, start: int, end: int, _node: tree_sitter.Node) -> None:
        """A template within a text: what it calls, the definition around it calls."""
        for at, name in embedded_calls(self.source[start:end].decode("utf-8", "replace")):
            self._record(start + at, name, "calls")

    def body(self, start: int, end: int, _node: tree_sitter.Node) -> None:
        inner = self.open[-1]
        if inner.body is None and inner.start < start and inner.end - 1 <= end <= inner.end:
            inner.body = (start, end)

    def doc(self, start: int, end: int, _node: tree_sitter.Node) -> None:
        leading_node = self.leading_nodes[-1] if self.leading_nodes else None
        (leading_node.docs if leading_node and start < leading_node.end else self.open[-1].docs).append((start, end))

    def quiet(self, _start: int, end: int, _node: tree_sitter.Node) -> None:
        self.quiet_until = max(self.quiet_until, end)

    def call(self, start: int, end: int, _node: tree_sitter.Node) -> None:
        if start < self.quiet_until or start in {self.open[-1].start, self.open[-1].name_start}:
            return
        text = _plain_call(self.source[start : min(end, start + _MAX_CALL_BYTES)].decode("utf-8", "replace"))
        if text in self.language.control_words:
            self.control(start, text)
        elif text not in self.language.keywords:
            self._record(start, text, "calls")

    def control(self, start: int, word: str) -> None:
        self._record(start, word, "control")

    def use(self, start: int, end: int, _node: tree_sitter.Node) -> None:
        self.open[-1].uses.append(self.source[start:end].decode("utf-8", "replace").strip('<>"'))

    def behaviour(self, start: int, end: int, _node: tree_sitter.Node) -> None:
        self.open[-1].behaviours.append(_plain_call(self.source[start:end].decode("utf-8", "replace")))

    def callback(self, start: int, _end: int, _node: tree_sitter.Node) -> None:
        leading_node = self.leading_nodes[-1] if self.leading_nodes else None
        target = leading_node if leading_node and start < leading_node.end else self.open[-1]
        target.is_callback = True

    def _record(self, start: int, word: str, where: str) -> None:
        """What a function inside a function does, the outer one does too; a container does not do what its parts do."""
        for definition in reversed(self.open):
            getattr(definition, where).append((start, word))
            if definition.kind in self.language.containers or definition.kind == "file":
                break
            if definition.parent and definition.parent.kind in {*self.language.containers, "file"}:
                break


_COMMENTS = frozenset(
    [
        "comment",
        "line_comment",
        "block_comment",
        "multiline_comment",
        "doc_comment",
        "haddock",
        "statement_comment",
        "module_comment",
    ]
)
_TEMPLATE_LANGUAGE = "heex"
_MAX_CALL_BYTES = 120
_MAX_MACRO_BYTES = 400
_MACROS = re.compile(rb"(?:\b(?:[A-Z][A-Z0-9_]{2,}(?:\([^()\n]*+\))?+[ \t]++|(?:export|pub)\s++))++\Z")
_WORD = re.compile(rb"[a-z_0-9]+")
_HEADS = frozenset({"call", "identifier", "binary_operator", "unary_operator", "block"})


def embedded_calls(template: str) -> list[tuple[int, str]]:
    """The components that a template is put together from, each with its offset (bytes)."""
    try:
        tree = parse(_TEMPLATE_LANGUAGE, template)
    except ParseTimeout:
        return []
    captures = run_query(_TEMPLATE_LANGUAGE, tree)
    return [
        (at, tree.source[at:-end].decode("utf-8", "replace").removeprefix("."))
        for at, end, capture, _ in captures
        if capture == "call"
    ]


def _plain_call(text: str) -> str:
    """A called name without blanks and template arguments."""
    text = "".join(text.split()).removeprefix("template") if " " in text else text.removeprefix(".")
    while "<" in text and (plain := _TEMPLATE_ARGUMENTS.sub("", text)) != text:
        text = plain
    return text


def _is_first_on_line(source: bytes, start: int) -> bool:
    line = max(source.rfind(b"\n", 0, start), source.rfind(b"\r", max(0, start - 400), start)) + 1
    return not source[line:start].strip()


def _form_meaning(language: Language, word: str, node: tree_sitter.Node, first: tree_sitter.Node) -> str | None:
    """What a call defines: by its word, or by its head and block where a library made the word."""
    meaning = language.forms.get(word)
    has_block = node.named_children[-1].type == "do_block"
    if meaning in {"test", "describe"}:
        return meaning if has_block or (word == "test" and _is_lone_text(node, first)) else None
    if meaning is not None:
        return meaning
    if has_block and first.type in {"string", "sigil"} and "test" in word.split("_"):
        return "test"
    if not language.defining_prefix or not word.startswith(language.defining_prefix) or first.type not in _HEADS:
        return None
    has_body = has_block or any(_is_body_keyword(child) for child in node.named_children[1].named_children)
    return ("macro" if "macro" in word else "function") if has_body else None


def _is_lone_text(node: tree_sitter.Node, first: tree_sitter.Node) -> bool:
    """Whether a call has a text and nothing else, as a test that is to be written."""
    return first.type == "string" and len(node.named_children) == 2 and len(node.named_children[1].named_children) == 1


def _is_body_keyword(node: tree_sitter.Node) -> bool:
    if node.type != "keywords":
        return False
    keys = [pair.child_by_field_name("key") for pair in node.named_children if pair.type == "pair"]
    return any(key is not None and (key.text or b"").strip() == b"do:" for key in keys)


def _leading_run(
    source: bytes, leading_nodes: list[LeadingNode], head: int, owner: Definition | None
) -> list[LeadingNode]:
    """What leads up to a definition: all from the first attribute of its own on, and what is right before that."""
    owned = [at for at, node in enumerate(leading_nodes) if owner is not None and node.owner is owner]
    if not owned:
        return _adjacent_nodes(source, leading_nodes, head)
    first = leading_nodes[owned[0]]
    return _adjacent_nodes(source, leading_nodes[: owned[0]], first.start) + leading_nodes[owned[0] :]


def _adjacent_nodes(source: bytes, leading_nodes: list[LeadingNode], head: int) -> list[LeadingNode]:
    """The nodes directly in front of an offset; an empty line ends a run of comments, not of attributes."""
    kept: list[LeadingNode] = []
    for leading_node in reversed(leading_nodes):
        spacing = source[leading_node.end : head]
        if leading_node.end > head or spacing.strip() or (leading_node.is_comment and _has_empty_line(spacing)):
            break
        kept.append(leading_node)
        head = leading_node.start
    return kept[::-1]


def _has_empty_line(spacing: bytes) -> bool:
    return spacing.replace(b"\r\n", b"\n").replace(b"\r", b"\n").count(b"\n") > 1


def _merge_clauses(language: Language, root: Definition) -> None:
    """Joins the definitions of one name and arity to the first of them."""
    for parent in [root, *root.below()]:
        first: dict[tuple[str, str], Definition] = {}
        kept = []
        for child in parent.children:
            key = (child.kind, child.name)
            if child.kind in language.clause_kinds and child.name and first.setdefault(key, child) is not child:
                _merge_clause(first[key], child)
            else:
                kept.append(child)
        parent.children = kept


def _merge_clause(first: Definition, clause: Definition) -> None:
    first.clauses.append(clause)
    first.children += clause.children
    first.docs += clause.docs
    first.calls += clause.calls
    first.control += clause.control
    first.is_callback |= clause.is_callback
