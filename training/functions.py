"""Cuts source files into functions: Codekin's own syntax room, and a reader of Erlang's forms."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from codekin.syntax import fragments
from corpus import SourceFile
from views import strip_comments

FUNCTIONS = frozenset({"function", "method", "macro", "constructor", "operator"})
SHORTEST, LONGEST = 3, 120


@dataclass(frozen=True, slots=True)
class Function:
    """A function's code, its bare name (`handle_call`), and the first paragraph of its documentation."""

    language: str
    name: str
    doc: str
    text: str


def functions_of(file: SourceFile) -> Iterator[Function]:
    """The functions of 3 to 120 lines in a file."""
    found = _erlang(file.text) if file.language == "erlang" else _cut(file)
    for function in found:
        if SHORTEST <= function.text.count("\n") + 1 <= LONGEST and len(function.text) < 6000:
            yield function


def _cut(file: SourceFile) -> Iterator[Function]:
    pieces, _ = fragments(file.path, file.text, file.language)
    for piece in pieces:
        if piece.kind in FUNCTIONS and piece.part == 0 and piece.language == file.language:
            name = re.split(r"::|\.", piece.name.rsplit("/", 1)[0])[-1]
            yield Function(file.language, name, documentation(piece.text, file.language), piece.text)


def _erlang(text: str) -> Iterator[Function]:
    """Forms that start with a name are functions."""
    for lines in _forms(text):
        start = next((i for i, line in enumerate(lines) if re.match(r"[a-z]\w*\(", line)), None)
        if start is not None:
            above = [line.lstrip("% \t") for line in lines[:start] if line.startswith("%")]
            name = lines[start].partition("(")[0]
            doc = first_paragraph("\n".join(above).removeprefix("@doc").strip())
            yield Function("erlang", name, doc, "\n".join(lines[start:]))


def _forms(text: str) -> Iterator[list[str]]:
    """The lines of each form: it ends where code, not a comment, ends with a full stop."""
    form: list[str] = []
    for line in text.split("\n"):
        if form or line.strip():
            form.append(line)
        if line.rstrip().endswith(".") and not line.lstrip().startswith("%"):
            yield form
            form = []


def documentation(text: str, language: str) -> str:
    """The first paragraph of what stands above the code as documentation."""
    if language == "elixir":
        found = re.search(r'@doc\s+(?:~[sS])?(?:"""\n([\s\S]*?)"""|"([^"\n]+)")', text)
        return first_paragraph((found.group(1) or found.group(2) or "") if found else "")
    lines = []
    for line in text.split("\n"):
        if not re.match(r"\s*(//|/?\*)", line):
            break
        lines.append(re.sub(r"^\s*(/{2,}[!<]?|/?\*+/?)\s?", "", line))
    return first_paragraph("\n".join(lines))


def first_paragraph(text: str) -> str:
    """The first paragraph that is prose, in one line of at most 400 characters; "" where there is none."""
    for paragraph in re.split(r"\n\s*\n", text):
        line = re.sub(r"@\w+|\\\w+|[-=*_/]{4,}|<[^>]*>", " ", paragraph)
        line = " ".join(line.split())
        if len(re.findall(r"[A-Za-z]{2,}", line)) >= 4 and not re.search(
            r"copyright|licen[cs]e|TODO|NOLINT", line, re.IGNORECASE
        ):
            return line[:400]
    return ""


def bare(function: Function) -> str:
    """The code without its comments and documentation."""
    return strip_comments(function.text, function.language).strip("\n")
