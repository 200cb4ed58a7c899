"""Turns the definitions of a text into chunks.

- A function, test and so on is one chunk with its clauses, comments and attributes; when long, it is split into parts.
- A container is a chunk of its outline: all of it but the bodies of the definitions that have chunks of their own.
- A trivial definition (undocumented, at most two lines that call nothing; a delegate) has no chunk: its container shows
  it whole.
- What is in a file outside all definitions is the chunk of kind `file`.

The parts of a long chunk share its name and kind, are numbered from 1, and cover its lines without gaps; each begins
with the head line of the whole, so that it can stand alone. `chunk_parts` gives them together.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from textwrap import dedent

from codekin.parsing.definition_reader import read_definitions
from codekin.parsing.languages import LANGUAGES, Language, detect_language
from codekin.parsing.names import Definition, Interval, read_shape
from codekin.parsing.trees import (
    LineIndex,
    ParseTimeout,
    SourceLine,
    SyntaxTree,
    is_long,
    parse,
    read_node_depths,
    split_at_nodes,
)
from codekin.types import Chunk

OUTLINED_KINDS = frozenset({"file"}).union(*(row.containers for row in LANGUAGES.values()))

_TRIVIAL_LINES = 2
_TRIVIAL_CALLS = 0
_TRIVIAL_LAMBDA_LINES = 4
_MIN_DOC_BYTES = 40
_MAX_HEAD_CHARACTERS = 200
_MIN_OUTLINE_LINES = 3
_REPORTED_DAMAGE = 0.1


@dataclass(frozen=True, slots=True)
class _ParsedFile:
    path: str
    language: Language
    tree: SyntaxTree
    lines: LineIndex


def cut_chunks(path: str, text: str, language: str | None = None) -> tuple[list[Chunk], list[str]]:
    """The chunks of a file in source order, and what could not be read, a sentence each.

    `language` overrides what the path says. A file of no known language has no chunks.
    """
    row = LANGUAGES.get(language or detect_language(path, text) or "")
    if row is None:
        return [], [f"{path} is in no language that Codekin cuts into chunks."]
    try:
        tree = parse(row.name, text)
    except ParseTimeout:
        return [], [f"{path} takes too long to parse and is left out; split it or add it to .codekinignore."]
    file = _ParsedFile(path, row, tree, LineIndex(tree.source))
    root = read_definitions(row, tree)
    found = [chunk for definition in _select_definitions(file, root) for chunk in _cut_definition(file, definition)]
    found.sort(key=lambda chunk: (chunk.start_line, -chunk.end_line, chunk.part))
    if tree.damage > _REPORTED_DAMAGE * len(tree.source):
        return found, [f"{path} does not parse as {row.name} in many places; what parses is kept."]
    return found, []


def chunk_at_line(found: Sequence[Chunk], line: int) -> Chunk | None:
    """The innermost chunk that covers a line (1-based), or None."""
    extents: dict[tuple[str, str], Interval] = {}
    for part in found:
        first, last = extents.get((part.name, part.kind), (part.start_line, part.end_line))
        if part.part and part.kind in OUTLINED_KINDS:
            extents[part.name, part.kind] = (min(first, part.start_line), max(last, part.end_line))

    def size(chunk: Chunk) -> int:
        """A part of an outline counts as the whole, since its own lines end anywhere."""
        first, last = extents.get((chunk.name, chunk.kind), (chunk.start_line, chunk.end_line))
        return last - first

    covering = [chunk for chunk in found if chunk.start_line <= line <= chunk.end_line]
    return min(covering, key=size, default=None)


def chunk_parts(found: Sequence[Chunk], chunk: Chunk) -> list[Chunk]:
    """The chunk with all other parts of the same whole, in order; alone when it is whole."""
    if not chunk.part:
        return [chunk]
    at = found.index(chunk)
    first = next(index for index in range(at, -1, -1) if _is_part(found[index], chunk, 1))
    parts = [found[first]]
    for other in found[first + 1 :]:
        if _is_part(other, chunk, len(parts) + 1):
            parts.append(other)
        elif _is_part(other, chunk, 1):
            break
    return parts


def _is_part(other: Chunk, chunk: Chunk, part: int) -> bool:
    return (other.name, other.kind, other.part) == (chunk.name, chunk.kind, part)


def _select_definitions(file: _ParsedFile, root: Definition) -> Iterator[Definition]:
    """The definitions that get a chunk."""
    any_other = False
    for definition in root.below():
        if _is_container(file, definition):
            if definition.kind != "namespace" or _has_own_content(file, definition):
                any_other = True
                yield definition
        elif not _is_trivial(file, definition):
            any_other = True
            yield definition
    if _has_own_content(file, root, at_least=_MIN_OUTLINE_LINES if any_other else 1):
        yield root


def _is_container(file: _ParsedFile, definition: Definition) -> bool:
    if definition.kind == "file":
        return True
    return definition.kind in file.language.containers and not _is_short(file, definition)


def _is_short(file: _ParsedFile, definition: Definition) -> bool:
    """Whether a definition has fewer lines than one of its language needs for a chunk."""
    lines = file.lines.number(definition.end) - file.lines.number(definition.start) + 1
    return lines < file.language.least_lines


def _is_trivial(file: _ParsedFile, definition: Definition) -> bool:
    """Whether a definition is too small to be looked for by itself."""
    if _is_short(file, definition):
        return True
    if definition.kind in {"test", "delegate"}:
        return definition.kind == "delegate"
    lines = sum(len(_code_lines(file, [(clause.start, clause.end)])) for clause in definition.all_clauses())
    if definition.kind == "lambda":
        return lines <= _TRIVIAL_LAMBDA_LINES
    if file.language.needs_body and definition.body is None:
        return True
    if lines > _TRIVIAL_LINES or definition.control or len(definition.calls) > _TRIVIAL_CALLS:
        return False
    return sum(end - start for start, end in definition.docs) < _MIN_DOC_BYTES


def _has_own_content(file: _ParsedFile, container: Definition, at_least: int = _MIN_OUTLINE_LINES) -> bool:
    """Whether an outline holds more than the signatures of what has its own chunks."""
    if any(_is_trivial(file, child) for child in container.children if not _is_container(file, child)):
        return True
    rest = [interval for interval in _own_intervals(container) if interval[1] > interval[0]]
    return len(_code_lines(file, rest)) >= at_least


def _own_intervals(container: Definition) -> Iterator[Interval]:
    at = container.body[0] + 1 if container.body else container.start
    for clause in _clauses_inside(container):
        yield at, clause.head
        at = max(at, clause.end)
    yield at, container.body[1] - 1 if container.body else container.end


def _code_lines(file: _ParsedFile, intervals: Sequence[Interval]) -> list[str]:
    """The lines that hold more than blanks, comments, closing signs and preprocessor directives."""
    text = "\n".join(file.tree.source[start:end].decode("utf-8", "replace") for start, end in intervals)
    for opening, closing in file.language.block_comments:
        while (start := text.find(opening)) >= 0:
            end = text.find(closing, start + len(opening))
            text = text[:start] + (text[end + len(closing) :] if end >= 0 else "")
    ignored = (file.language.line_comment, *file.language.ignored_line_prefixes)
    return [
        line
        for line in text.replace("\r", "\n").split("\n")
        if any(map(str.isalnum, line)) and not line.lstrip().startswith(ignored)
    ]


def _clauses_inside(container: Definition) -> list[Definition]:
    all_clauses = [clause for child in container.children for clause in child.all_clauses()]
    return sorted(all_clauses, key=lambda clause: clause.head)


def _shown_intervals(file: _ParsedFile, definition: Definition) -> list[Interval]:
    """The intervals of bytes a definition's chunk shows."""
    if not _is_container(file, definition):
        return [(clause.head, clause.end) for clause in definition.all_clauses()]
    kept = []
    at = definition.head
    whole = {id(child) for child in definition.children if not _is_container(file, child) and _is_trivial(file, child)}
    first = {id(child) for child in definition.children}
    for clause in _clauses_inside(definition):
        if id(clause) in whole or clause.head < at:
            continue
        kept.append((at, clause.head))
        if id(clause) in first:
            kept.append((clause.start, _signature_end(file, clause)))
        at = clause.end
    return [*kept, (at, definition.end)]


def _signature_end(file: _ParsedFile, clause: Definition) -> int:
    if clause.body is not None:
        return clause.body[0]
    return min(clause.end, file.lines.end_of(file.lines.number(clause.start)))


def _cut_definition(file: _ParsedFile, definition: Definition) -> Iterator[Chunk]:
    """The chunk of a definition, or its parts; those of a cell in the cell's own language."""
    if definition.kind == "cell" and definition.name in file.language.cells:
        yield from _cut_cell(file, definition)
        return
    kept = _shown_intervals(file, definition)
    lines = _shown_lines(file, definition, kept)
    if not lines:
        return
    if not is_long(lines):
        yield _build_chunk(file, definition, lines, 0)
        return
    head = _head_line(file, definition)
    depths = _line_depths(file, definition)
    for number, part in enumerate(split_at_nodes(lines, depths), start=1):
        yield _build_chunk(file, definition, part, number, head)


def _cut_cell(file: _ParsedFile, cell: Definition) -> Iterator[Chunk]:
    """The chunks of a code block; what stands outside its definitions is the cell's."""
    first, last = file.lines.number(cell.start), file.lines.number(cell.end - 1)
    source = file.tree.source[file.lines.start_of(first + 1) : file.lines.start_of(last)]
    name = qualified_name(file.language, cell)
    for chunk in cut_chunks(file.path, source.decode("utf-8", "replace"), cell.name)[0]:
        moved = replace(chunk, start_line=chunk.start_line + first, end_line=chunk.end_line + first)
        yield replace(moved, kind=cell.kind, name=name) if chunk.kind == "file" else moved


def _build_chunk(
    file: _ParsedFile, definition: Definition, lines: Sequence[SourceLine], part: int, head: str = ""
) -> Chunk:
    first, last = lines[0].number, lines[-1].number
    if not part:
        last = file.lines.number(max(definition.head, definition.all_clauses()[-1].end - 1))
    text = "\n".join(line.text for line in lines)
    if part and not any(line.text.strip().startswith(head) for line in lines):
        text = f"{head}\n{text}"
    docs = [clean_doc(file.tree.source[start:end].decode("utf-8", "replace")) for start, end in definition.docs]
    inside = (0, 1 << 60) if not part else (file.lines.start_of(first), file.lines.end_of(last))
    return Chunk(
        path=file.path,
        language=file.language.name,
        kind=definition.kind,
        name=qualified_name(file.language, definition) or file.path,
        start_line=first,
        end_line=last,
        text=text,
        doc="\n".join(doc for doc in docs if doc) if part <= 1 else "",
        part=part,
        shape=read_shape(file.language, definition, inside),
    )


def qualified_name(language: Language, definition: Definition) -> str:
    """The name with the names of what is around it, as the language prints it."""
    names = [definition.name or ("(anonymous namespace)" if definition.kind == "namespace" else ""), definition.owner]
    if definition.kind in language.absolute_kinds:
        return names[0]
    for around in definition.ancestors():
        if around.kind in language.scopes and around.name:
            names.append(around.name)
        if around.kind in language.absolute_kinds:
            break
    return language.separator.join(name for name in reversed(names) if name)


def _head_line(file: _ParsedFile, definition: Definition) -> str:
    end = _signature_end(file, definition)
    text = " ".join(file.tree.source[definition.start : end].decode("utf-8", "replace").split())
    return text[:_MAX_HEAD_CHARACTERS]


def _line_depths(file: _ParsedFile, definition: Definition) -> dict[int, int]:
    """By line number, the depth of the node that is first on the line."""
    found: dict[int, int] = {}
    for clause in definition.all_clauses():
        depths = read_node_depths(file.tree.root, clause.head, clause.end)
        for number in range(file.lines.number(clause.head), file.lines.number(clause.end) + 1):
            start, end = file.lines.start_of(number), file.lines.end_of(number)
            text = file.tree.source[start:end]
            depth = depths.get(end - len(text.lstrip()))
            if depth is not None:
                found[number] = depth
    return found


def _shown_lines(file: _ParsedFile, definition: Definition, kept: Sequence[Interval]) -> list[SourceLine]:
    """The kept text line by line, without the indentation of its first line; outlines without empty lines."""
    found: list[SourceLine] = []
    for start, end in kept:
        if start >= end:
            continue
        for number in range(file.lines.number(start), file.lines.number(end - 1) + 1):
            first, last = max(start, file.lines.start_of(number)), min(end, file.lines.end_of(number))
            text = file.tree.source[first:last].decode("utf-8", "replace")
            if found and found[-1].number == number:
                found[-1] = SourceLine(number, found[-1].text + text)
            else:
                found.append(SourceLine(number, _indentation(file, first) + text))
    indentation = _indentation(file, definition.head)
    trimmed = [SourceLine(line.number, line.text.rstrip().removeprefix(indentation)) for line in found]
    is_outline = _is_container(file, definition)
    return [line for line in trimmed if line.text or not is_outline]


def _indentation(file: _ParsedFile, offset: int) -> str:
    """The white space between the beginning of a line and an offset on it, if there is nothing else."""
    before = file.tree.source[file.lines.start_of(file.lines.number(offset)) : offset]
    return before.decode("utf-8", "replace") if not before.strip() else ""


_OPENING = re.compile(r"^\s*(?:~[sS]|[rRbBuUfF]{1,2}(?=[\"']))?(?:\"\"\"|'''|\"|')\r?\n?")
_CLOSING = re.compile(r"\s*(?:\"\"\"|'''|\"|')\s*$")
_LINE_MARKER = re.compile(
    r"^[ \t]*(?://[/!]?<?|/\*[*!]?<?|\*(?!/)|#+|--+(?: \|)?|%+|\(\*+|<%!--|<!--)?[ \t]?", re.MULTILINE
)
_BLOCK_END = re.compile(r"[ \t]*(?:\*+[/)]|--%?>)[ \t]*$")
_SEPARATOR_LINE = re.compile(r"^[\W_]*$")


def clean_doc(raw: str) -> str:
    """The words of one comment or doc string."""
    if _OPENING.match(raw):
        text = dedent(_CLOSING.sub("", _OPENING.sub("", raw, count=1)))
    else:
        text = _LINE_MARKER.sub("", _BLOCK_END.sub("", raw.rstrip()))
    lines = [line.rstrip() for line in text.splitlines()]
    return "\n".join(line for line in lines if line and not _SEPARATOR_LINE.match(line)).strip()
