"""Turns definitions into fragments."""

import re
from bisect import bisect_right
from collections.abc import Sequence

from codekin.records import Fragment, Shape
from codekin.syntax.languages import LANGUAGES, Language, language_of
from codekin.syntax.parsing import Timeout
from codekin.syntax.reading import Definition, read

_BREAK = re.compile(rb"\r\n|\r|\n")


def fragments(path: str, text: str, language: str | None = None) -> tuple[list[Fragment], list[str]]:
    """The fragments of a file in source order, and what could not be read, a sentence each.

    `language` overrides what the path says. A file of no known language has no fragments.
    """
    row = LANGUAGES.get(language or language_of(path, text) or "")
    if row is None:
        return [], [f"{path} is in no language that Codekin cuts into fragments."]
    source = text.encode("utf-8", "replace")
    try:
        root = read(row, source)
    except Timeout:
        return [], [f"{path} takes too long to parse and is left out; split it or add it to .codekinignore."]
    starts = [0, *(match.end() for match in _BREAK.finditer(source))]
    found: list[Fragment] = []
    queue = [(child, "") for child in reversed(root.children)]
    while queue:
        definition, prefix = queue.pop()
        name = f"{prefix}{row.separator}{definition.name}" if prefix and definition.name else prefix or definition.name
        if definition.kind not in row.containers or definition.kind != "namespace":
            found.append(_fragment(path, row, source, starts, definition, name))
        inner = name if definition.kind in row.containers else prefix
        queue.extend((child, inner) for child in reversed(definition.children))
    return found, []


def fragment_at(found: Sequence[Fragment], line: int) -> Fragment | None:
    """The innermost fragment that covers a line (1-based), or None."""
    covering = [fragment for fragment in found if fragment.start_line <= line <= fragment.end_line]
    return min(covering, key=lambda fragment: fragment.end_line - fragment.start_line, default=None)


def _fragment(
    path: str, row: Language, source: bytes, starts: list[int], definition: Definition, name: str
) -> Fragment:
    return Fragment(
        path=path,
        language=row.name,
        kind=definition.kind,
        name=name,
        start_line=bisect_right(starts, definition.head),
        end_line=bisect_right(starts, max(definition.head, definition.end - 1)),
        text=source[definition.head : definition.end].decode("utf-8", "replace"),
        shape=Shape(calls=tuple(dict.fromkeys(definition.calls))),
    )
