"""Turns the definitions of a text into fragments.

- A function, test and so on is a fragment with all its clauses and leads, whole; when long, in parts.
- A container is a fragment of its outline: all that stands in it but the bodies and leads of the
  definitions that have fragments of their own.
- What is trivial (an undocumented accessor, a delegate) has no fragment: its container shows it whole.
- What stands in a file outside all definitions is the fragment of kind `file`.

The parts of a long fragment bear its name and kind, are numbered from 1, and cover its lines without
gap; each begins with the head line of the whole, so that it can stand alone. There is no fragment
of the whole besides its parts: `parts_of` gives them together.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from codekin.records import Fragment
from codekin.syntax.definitions import Definition, Interval
from codekin.syntax.docs import clean_doc
from codekin.syntax.languages import LANGUAGES, Language, language_of
from codekin.syntax.lines import Lines
from codekin.syntax.parsing import Timeout, Tree, parse
from codekin.syntax.reading import read
from codekin.syntax.shaping import shape_of
from codekin.syntax.splitting import Line, depths_of, is_long, split

OUTLINED = frozenset({"file"}).union(*(row.containers for row in LANGUAGES.values()))

_TRIVIAL_LINES = 2
_TRIVIAL_CALLS = 2
_TRIVIAL_LAMBDA_LINES = 4
_TELLING_DOC = 40
_LONGEST_HEAD = 200
_OUTLINE_LINES = 3
_NOTED_DAMAGE = 0.1


@dataclass(frozen=True, slots=True)
class _File:
    path: str
    language: Language
    tree: Tree
    lines: Lines


def fragments(path: str, text: str, language: str | None = None) -> tuple[list[Fragment], list[str]]:
    """The fragments of a file in source order, and what could not be read, a sentence each.

    `language` overrides what the path says. A file of no known language has no fragments.
    """
    row = LANGUAGES.get(language or language_of(path, text) or "")
    if row is None:
        return [], [f"{path} is in no language that Codekin cuts into fragments."]
    try:
        tree = parse(row.name, text)
    except Timeout:
        return [], [f"{path} takes too long to parse and is left out; split it or add it to .codekinignore."]
    file = _File(path, row, tree, Lines(tree.source))
    root = read(row, tree)
    found = [fragment for definition in _chosen(file, root) for fragment in _cut(file, definition)]
    found.sort(key=lambda fragment: (fragment.start_line, -fragment.end_line, fragment.part))
    if tree.damage > _NOTED_DAMAGE * len(tree.source):
        return found, [f"{path} does not parse as {row.name} in many places; what parses is kept."]
    return found, []


def fragment_at(found: Sequence[Fragment], line: int) -> Fragment | None:
    """The innermost fragment that covers a line (1-based), or None."""
    extents: dict[tuple[str, str], Interval] = {}
    for part in found:
        first, last = extents.get((part.name, part.kind), (part.start_line, part.end_line))
        if part.part and part.kind in OUTLINED:
            extents[part.name, part.kind] = (min(first, part.start_line), max(last, part.end_line))

    def size(fragment: Fragment) -> int:
        """A part of an outline counts as the whole, since its own lines end anywhere."""
        first, last = extents.get((fragment.name, fragment.kind), (fragment.start_line, fragment.end_line))
        return last - first

    covering = [fragment for fragment in found if fragment.start_line <= line <= fragment.end_line]
    return min(covering, key=size, default=None)


def parts_of(found: Sequence[Fragment], fragment: Fragment) -> list[Fragment]:
    """The fragment with all other parts of the same whole, in order; alone when it is whole."""
    if not fragment.part:
        return [fragment]
    at = found.index(fragment)
    first = next(index for index in range(at, -1, -1) if _is_part(found[index], fragment, 1))
    parts = [found[first]]
    for other in found[first + 1 :]:
        if _is_part(other, fragment, len(parts) + 1):
            parts.append(other)
        elif _is_part(other, fragment, 1):
            break
    return parts


def _is_part(other: Fragment, fragment: Fragment, part: int) -> bool:
    return (other.name, other.kind, other.part) == (fragment.name, fragment.kind, part)


def _chosen(file: _File, root: Definition) -> Iterator[Definition]:
    """The definitions that get a fragment."""
    any_other = False
    for definition in root.below():
        if _is_container(file, definition):
            if definition.kind != "namespace" or _says_something(file, definition):
                any_other = True
                yield definition
        elif not _is_folded(file, definition):
            any_other = True
            yield definition
    if _says_something(file, root, at_least=_OUTLINE_LINES if any_other else 1):
        yield root


def _is_container(file: _File, definition: Definition) -> bool:
    return definition.kind in file.language.containers or definition.kind == "file"


def _is_folded(file: _File, definition: Definition) -> bool:
    """Whether a definition is too small to be looked for by itself."""
    if definition.kind in {"test", "delegate"}:
        return definition.kind == "delegate"
    lines = sum(len(_code_lines(file, [(piece.start, piece.end)])) for piece in definition.pieces())
    if definition.kind == "lambda":
        return lines <= _TRIVIAL_LAMBDA_LINES
    if file.language.needs_body and definition.body is None:
        return True
    if lines > _TRIVIAL_LINES or definition.control or len(definition.calls) > _TRIVIAL_CALLS:
        return False
    return sum(end - start for start, end in definition.docs) < _TELLING_DOC


def _says_something(file: _File, container: Definition, at_least: int = _OUTLINE_LINES) -> bool:
    """Whether an outline holds more than the signatures of what has its own fragments."""
    if any(_is_folded(file, child) for child in container.children if not _is_container(file, child)):
        return True
    rest = [interval for interval in _outside(container) if interval[1] > interval[0]]
    return len(_code_lines(file, rest)) >= at_least


def _outside(container: Definition) -> Iterator[Interval]:
    at = container.body[0] + 1 if container.body else container.start
    for piece in _pieces_inside(container):
        yield at, piece.head
        at = max(at, piece.end)
    yield at, container.body[1] - 1 if container.body else container.end


def _code_lines(file: _File, intervals: Sequence[Interval]) -> list[str]:
    """The lines that hold more than blanks, comments, closing signs and preprocessor directives."""
    text = "\n".join(file.tree.source[start:end].decode("utf-8", "replace") for start, end in intervals)
    for opening, closing in file.language.block_comments:
        while (start := text.find(opening)) >= 0:
            end = text.find(closing, start + len(opening))
            text = text[:start] + (text[end + len(closing) :] if end >= 0 else "")
    ignored = (file.language.line_comment, *file.language.idle_lines)
    return [
        line
        for line in text.replace("\r", "\n").split("\n")
        if any(map(str.isalnum, line)) and not line.lstrip().startswith(ignored)
    ]


def _pieces_inside(container: Definition) -> list[Definition]:
    pieces = [piece for child in container.children for piece in child.pieces()]
    return sorted(pieces, key=lambda piece: piece.head)


def _kept(file: _File, definition: Definition) -> list[Interval]:
    """The intervals of bytes a definition's fragment shows."""
    if not _is_container(file, definition):
        return [(piece.head, piece.end) for piece in definition.pieces()]
    kept = []
    at = definition.head
    whole = {id(child) for child in definition.children if not _is_container(file, child) and _is_folded(file, child)}
    first = {id(child) for child in definition.children}
    for piece in _pieces_inside(definition):
        if id(piece) in whole or piece.head < at:
            continue
        kept.append((at, piece.head))
        if id(piece) in first:
            kept.append((piece.start, _signature_end(file, piece)))
        at = piece.end
    return [*kept, (at, definition.end)]


def _signature_end(file: _File, piece: Definition) -> int:
    if piece.body is not None:
        return piece.body[0]
    return min(piece.end, file.lines.end_of(file.lines.number(piece.start)))


def _cut(file: _File, definition: Definition) -> Iterator[Fragment]:
    """The fragment of a definition, or its parts."""
    kept = _kept(file, definition)
    lines = _lines(file, definition, kept)
    if not lines:
        return
    if not is_long(lines):
        yield _fragment(file, definition, lines, 0)
        return
    head = _head_line(file, definition)
    depths = _depths(file, definition)
    for number, part in enumerate(split(lines, depths), start=1):
        yield _fragment(file, definition, part, number, head)


def _fragment(file: _File, definition: Definition, lines: Sequence[Line], part: int, head: str = "") -> Fragment:
    first, last = lines[0].number, lines[-1].number
    if not part:
        last = file.lines.number(max(definition.head, definition.pieces()[-1].end - 1))
    text = "\n".join(line.text for line in lines)
    if part and not any(line.text.strip().startswith(head) for line in lines):
        text = f"{head}\n{text}"
    docs = [clean_doc(file.tree.source[start:end].decode("utf-8", "replace")) for start, end in definition.docs]
    inside = (0, 1 << 60) if not part else (file.lines.start_of(first), file.lines.end_of(last))
    return Fragment(
        path=file.path,
        language=file.language.name,
        kind=definition.kind,
        name=qualified_name(file.language, definition) or file.path,
        start_line=first,
        end_line=last,
        text=text,
        doc="\n".join(doc for doc in docs if doc) if part <= 1 else "",
        part=part,
        shape=shape_of(file.language, definition, inside),
    )


def qualified_name(language: Language, definition: Definition) -> str:
    """The name with the names of what is around it, as the language prints it."""
    names = [definition.name or ("(anonymous namespace)" if definition.kind == "namespace" else "")]
    if definition.kind == "implementation":
        return names[0]
    for around in definition.ancestors():
        if around.kind in language.scopes and around.name:
            names.append(around.name)
        if around.kind == "implementation":
            break
    return language.separator.join(name for name in reversed(names) if name)


def _head_line(file: _File, definition: Definition) -> str:
    end = _signature_end(file, definition)
    text = " ".join(file.tree.source[definition.start : end].decode("utf-8", "replace").split())
    return text[:_LONGEST_HEAD]


def _depths(file: _File, definition: Definition) -> dict[int, int]:
    """By line number, the depth of the node that is first on the line."""
    found: dict[int, int] = {}
    for piece in definition.pieces():
        depths = depths_of(file.tree.root, piece.head, piece.end)
        for number in range(file.lines.number(piece.head), file.lines.number(piece.end) + 1):
            start, end = file.lines.start_of(number), file.lines.end_of(number)
            text = file.tree.source[start:end]
            depth = depths.get(end - len(text.lstrip()))
            if depth is not None:
                found[number] = depth
    return found


def _lines(file: _File, definition: Definition, kept: Sequence[Interval]) -> list[Line]:
    """The kept text line by line, without the indentation of its first line; outlines without empty lines."""
    found: list[Line] = []
    for start, end in kept:
        if start >= end:
            continue
        for number in range(file.lines.number(start), file.lines.number(end - 1) + 1):
            first, last = max(start, file.lines.start_of(number)), min(end, file.lines.end_of(number))
            text = file.tree.source[first:last].decode("utf-8", "replace")
            if found and found[-1].number == number:
                found[-1] = Line(number, found[-1].text + text)
            else:
                found.append(Line(number, _indentation(file, first) + text))
    indentation = _indentation(file, definition.head)
    trimmed = [Line(line.number, line.text.rstrip().removeprefix(indentation)) for line in found]
    is_outline = _is_container(file, definition)
    return [line for line in trimmed if line.text or not is_outline]


def _indentation(file: _File, offset: int) -> str:
    """The white space between the beginning of a line and an offset on it, if there is nothing else."""
    before = file.tree.source[file.lines.start_of(file.lines.number(offset)) : offset]
    return before.decode("utf-8", "replace") if not before.strip() else ""
