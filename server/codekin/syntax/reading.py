"""Reads the definitions of a text: what is defined where, what leads up to it, what it does.

The captures of the query file are taken as intervals, swept once from left to right. What a name
node means is asked of `naming`. Which definitions become fragments is not decided here.
"""

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import tree_sitter

from codekin.syntax.definitions import KINDS, Definition, Interval, Lead
from codekin.syntax.languages import Language
from codekin.syntax.naming import NAMERS, plain_name
from codekin.syntax.parsing import Tree, captures

if TYPE_CHECKING:
    from collections.abc import Callable

_TEMPLATE_ARGUMENTS = re.compile(r"<[^<>]*>")


def read(language: Language, tree: Tree) -> Definition:
    """The root, of kind `file`, with all definitions below it and clauses merged."""
    sweep = _Sweep(language, tree.source, tree.parsed)
    handlers: dict[str, Callable[[int, int, tree_sitter.Node], None]] = {
        "form": sweep.form,
        "leading": sweep.lead,
        "wrapper": sweep.wrap,
        "name": sweep.name,
        "body": sweep.body,
        "doc": sweep.doc,
        "quiet": sweep.quiet,
        "call": sweep.call,
        "use": sweep.use,
        "behaviour": sweep.behaviour,
        "callback": sweep.callback,
    }
    for start, minus_end, capture, node in captures(language.name, tree):
        sweep.close_before(start)
        if handler := handlers.get(capture):
            handler(start, -minus_end, node)
        elif capture in KINDS:
            sweep.define(capture, start, -minus_end)
        else:
            sweep.control(start, capture.removeprefix("control."))
    root = sweep.open[0]
    _merge_clauses(language, root)
    return root


@dataclass(slots=True)
class _Sweep:
    """Where the sweep stands: the definitions around it and what has led up to it."""

    language: Language
    source: bytes
    parsed: bytes
    open: list[Definition] = field(default_factory=list)
    leads: list[Lead] = field(default_factory=list)
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
            return
        wrapped = self.wrapper is not None and self.wrapper[0] <= start and end <= self.wrapper[1]
        head = self._with_macros(self.wrapper[0] if self.wrapper and wrapped else start)
        new = Definition(kind, start, end, head, inner)
        for lead in _adjoining(self.source, self.leads, head):
            new.head = min(new.head, lead.start)
            new.docs += lead.docs
            new.is_callback |= lead.is_callback
        self.leads.clear()
        self.wrapper = None
        inner.children.append(new)
        self.open.append(new)

    def _with_macros(self, start: int) -> int:
        """Where the macros begin that were blanked out directly in front of an offset, on its line."""
        if self.source[start - 1 : start].strip() == self.parsed[start - 1 : start].strip() == b"":
            before = max(0, start - _LONGEST_MACROS)
            gap = start - len(self.parsed[before:start]) + len(self.parsed[before:start].rstrip())
            macros = _MACROS.search(self.source, gap, start)
            return macros.start() if macros else start
        return start

    def form(self, start: int, end: int, node: tree_sitter.Node) -> None:
        """A call that defines or uses something, by its word and its first argument."""
        word = _WORD.match(self.source, start)
        meaning = self.language.forms.get(word[0].decode()) if word else None
        if meaning is None:
            return
        first = next(iter(node.named_children[1].named_children), None)
        if first is None or (meaning in _BLOCK_FORMS and node.named_children[-1].type != "do_block"):
            return
        if meaning in KINDS:
            self.define(meaning, start, end)
            self.name(first.start_byte, first.end_byte, first)
        elif first.type in {"alias", "call", "atom"}:
            self.use(first.start_byte, first.end_byte, first)

    def lead(self, start: int, end: int, node: tree_sitter.Node) -> None:
        is_comment = node.type == "comment"
        if not is_comment or _is_first_on_line(self.source, start):
            self.leads.append(Lead(start, end, is_comment, [(start, end)] if is_comment else []))

    def wrap(self, start: int, end: int, _node: tree_sitter.Node) -> None:
        if self.wrapper is None or start >= self.wrapper[1]:
            self.wrapper = (start, end)

    def name(self, start: int, _end: int, node: tree_sitter.Node) -> None:
        inner = self.open[-1]
        if inner.name or len(self.open) == 1 or (inner.body and start >= inner.body[0]):
            return
        inner.name_start = start
        inner.kind, inner.name = NAMERS.get(self.language.name, plain_name)(inner, node, self.source)

    def body(self, start: int, end: int, _node: tree_sitter.Node) -> None:
        inner = self.open[-1]
        if inner.body is None and inner.start < start and inner.end - 1 <= end <= inner.end:
            inner.body = (start, end)

    def doc(self, start: int, end: int, _node: tree_sitter.Node) -> None:
        lead = self.leads[-1] if self.leads else None
        (lead.docs if lead and start < lead.end else self.open[-1].docs).append((start, end))

    def quiet(self, _start: int, end: int, _node: tree_sitter.Node) -> None:
        self.quiet_until = max(self.quiet_until, end)

    def call(self, start: int, end: int, _node: tree_sitter.Node) -> None:
        if start < self.quiet_until or start in {self.open[-1].start, self.open[-1].name_start}:
            return
        text = _plain_call(self.source[start : min(end, start + _LONGEST_CALL)].decode("utf-8", "replace"))
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
        lead = self.leads[-1] if self.leads else None
        target = lead if lead and start < lead.end else self.open[-1]
        target.is_callback = True

    def _record(self, start: int, word: str, where: str) -> None:
        """What a function inside a function does, the outer one does too; a container does not do what its parts do."""
        for definition in reversed(self.open):
            getattr(definition, where).append((start, word))
            if definition.kind in self.language.containers or definition.kind == "file":
                break
            if definition.parent and definition.parent.kind in {*self.language.containers, "file"}:
                break


_LONGEST_CALL = 120
_LONGEST_MACROS = 400
_MACROS = re.compile(rb"(?:\b[A-Z][A-Z0-9_]{2,}(?:\([^()\n]*+\))?+[ \t]++)++\Z")
_WORD = re.compile(rb"[a-z_]+")
_BLOCK_FORMS = frozenset({"test", "describe"})


def _plain_call(text: str) -> str:
    """A called name without blanks and template arguments."""
    text = "".join(text.split()).removeprefix("template") if " " in text else text
    while "<" in text and (plain := _TEMPLATE_ARGUMENTS.sub("", text)) != text:
        text = plain
    return text


def _is_first_on_line(source: bytes, start: int) -> bool:
    line = max(source.rfind(b"\n", 0, start), source.rfind(b"\r", max(0, start - 400), start)) + 1
    return not source[line:start].strip()


def _adjoining(source: bytes, leads: list[Lead], head: int) -> list[Lead]:
    """The leads directly in front of an offset; an empty line ends a run of comments, not of attributes."""
    kept: list[Lead] = []
    for lead in reversed(leads):
        gap = source[lead.end : head]
        if lead.end > head or gap.strip() or (lead.is_comment and _has_empty_line(gap)):
            break
        kept.append(lead)
        head = lead.start
    return kept[::-1]


def _has_empty_line(gap: bytes) -> bool:
    return gap.replace(b"\r\n", b"\n").replace(b"\r", b"\n").count(b"\n") > 1


def _merge_clauses(language: Language, root: Definition) -> None:
    """Joins the definitions of one name and arity to the first of them."""
    for parent in [root, *root.below()]:
        first: dict[tuple[str, str], Definition] = {}
        kept = []
        for child in parent.children:
            key = (child.kind, child.name)
            if child.kind in language.clause_kinds and child.name and first.setdefault(key, child) is not child:
                _join(first[key], child)
            else:
                kept.append(child)
        parent.children = kept


def _join(first: Definition, clause: Definition) -> None:
    first.clauses.append(clause)
    first.children += clause.children
    first.docs += clause.docs
    first.calls += clause.calls
    first.control += clause.control
    first.is_callback |= clause.is_callback
