"""Reads the definitions of a text: what is defined where, with its name, its lead and its shape.

Works on the captures of the query file alone, as intervals; what a name node means is asked
of the language (`naming`). It does not decide which definitions become fragments.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from codekin.syntax.languages import Language
from codekin.syntax.naming import NAMERS, Name
from codekin.syntax.parsing import captures, parse

KINDS = frozenset(
    "module protocol implementation function macro guard delegate test describe namespace class struct method "
    "constructor destructor operator lambda".split()
)


@dataclass(slots=True, eq=False)
class Definition:
    """One definition; `pieces` are byte ranges (lead included), one for each clause of a name and arity."""

    kind: str
    start: int
    end: int
    head: int
    parent: "Definition | None" = None
    name: str = ""
    qualified: str = ""
    body: int | None = None
    pieces: list[tuple[int, int]] = field(default_factory=list)
    children: list["Definition"] = field(default_factory=list)
    leads: list[tuple[int, int]] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)


def read(language: Language, source: bytes) -> Definition:
    """The root (kind `file`) with all definitions below it, clauses merged; raises Timeout."""
    root = Definition("file", 0, len(source), 0)
    tree = parse(language.name, source)
    _sweep(language, source, root, captures(language.name, tree))
    return root


def _sweep(language: Language, source: bytes, root: Definition, found: list) -> None:  # type: ignore[type-arg]
    open_ = [root]
    leads: list[tuple[int, int]] = []
    wrapper: tuple[int, int] | None = None
    name_of: Callable[..., Name] = NAMERS[language.name]
    for start, minus_end, capture, node in found:
        end = -minus_end
        while start >= open_[-1].end and len(open_) > 1:
            open_.pop()
        inner = open_[-1]
        if capture in KINDS:
            if inner.kind != "file" and inner.start == start and inner.end == end:
                continue
            head = start
            if wrapper and wrapper[0] <= start and end <= wrapper[1]:
                head = wrapper[0]
            wrapper = None
            kept = _adjoining(source, leads, head)
            leads.clear()
            new = Definition(capture, start, end, kept[0][0] if kept else head, inner)
            new.leads = kept
            inner.children.append(new)
            open_.append(new)
        elif capture == "leading":
            leads.append((start, end))
        elif capture == "wrapper":
            if wrapper is None or start >= wrapper[1]:
                wrapper = (start, end)
        elif capture == "name":
            if not inner.name and inner.kind != "file":
                name = name_of(inner.kind, node, source)
                inner.name, inner.kind = name.text, name.kind
        elif capture == "call":
            text = source[node.start_byte : end].decode("utf-8", "replace")
            if text not in language.keywords:
                inner.calls.append(text)


def _adjoining(source: bytes, leads: list[tuple[int, int]], head: int) -> list[tuple[int, int]]:
    kept: list[tuple[int, int]] = []
    for start, end in reversed(leads):
        if end > head or source[end:head].strip():
            break
        kept.append((start, end))
        head = start
    return kept[::-1]
