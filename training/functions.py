"""Cuts source files into functions: Codekin's own syntax room, and plain readers of Erlang, Go, Rust and JavaScript."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from codekin.parsing import cut_chunks
from corpus import SourceFile
from views import strip_comments

FUNCTIONS = frozenset({"function", "method", "macro", "constructor", "operator"})
SHORTEST, LONGEST = 3, 120
GRAMMARS = frozenset({"elixir", "cpp", "c", "python"})
_HEADS = {
    "go": r"(?P<indent>)func (?:\([^)]*\) )?(?P<name>\w+)",
    "rust": r"(?P<indent>\s*)(?:pub(?:\([^)]*\))? )?(?:async |const |unsafe )*fn (?P<name>\w+)",
    "javascript": r"(?P<indent>\s*)(?:export (?:default )?)?(?:async )?function\*? (?P<name>\w+)\(",
}


@dataclass(frozen=True, slots=True)
class Function:
    """A function's code, its bare name (`handle_call`), the first paragraph of its documentation, its first line."""

    language: str
    name: str
    doc: str
    text: str
    line: int = 0


def functions_of(file: SourceFile, shortest: int = SHORTEST) -> Iterator[Function]:
    """The functions of `shortest` to 120 lines in a file."""
    for function in _all_functions(file):
        if shortest <= function.text.count("\n") + 1 <= LONGEST and len(function.text) < 6000:
            yield function


def _all_functions(file: SourceFile) -> Iterator[Function]:
    if file.language == "erlang":
        return _erlang(file.text)
    return _cut(file) if file.language in GRAMMARS else _braced(file.text, file.language)


def _cut(file: SourceFile) -> Iterator[Function]:
    chunks, _ = cut_chunks(file.path, file.text, file.language)
    for chunk in chunks:
        if chunk.kind in FUNCTIONS and chunk.part == 0 and chunk.language == file.language:
            name = re.split(r"::|\.", chunk.name.rsplit("/", 1)[0])[-1]
            doc = documentation(chunk.text, file.language)
            yield Function(file.language, name, doc, chunk.text, chunk.start_line)


def _braced(text: str, language: str) -> Iterator[Function]:
    """Functions that end with a brace as far in as they begin; with the comment lines above them."""
    head, lines = re.compile(_HEADS[language]), text.split("\n")
    for start, line in enumerate(lines):
        found = head.match(line)
        if found and line.rstrip().endswith("{"):
            closing = found["indent"] + "}"
            end = next((at for at in range(start + 1, len(lines)) if lines[at].rstrip() == closing), start)
            above = start
            while above and re.match(r"\s*(//|/?\*|#\[)", lines[above - 1]):
                above -= 1
            said = "\n".join(row for row in lines[above:start] if "#[" not in row)
            whole = "\n".join(lines[above : end + 1])
            yield Function(language, found["name"], documentation(said, language), whole, above + 1)


def _erlang(text: str) -> Iterator[Function]:
    """Forms that start with a name are functions."""
    for first, lines in _forms(text):
        start = next((i for i, line in enumerate(lines) if re.match(r"[a-z]\w*\(", line)), None)
        if start is not None:
            above = [line.lstrip("% \t") for line in lines[:start] if line.startswith("%")]
            name = lines[start].partition("(")[0]
            doc = first_paragraph("\n".join(above).removeprefix("@doc").strip())
            yield Function("erlang", name, doc, "\n".join(lines[start:]), first + start)


def _forms(text: str) -> Iterator[tuple[int, list[str]]]:
    """The first line's number and the lines of each form: it ends where code, not a comment, ends with a full stop."""
    form: list[str] = []
    for number, line in enumerate(text.split("\n"), start=1):
        if form or line.strip():
            form.append(line)
        if line.rstrip().endswith(".") and not line.lstrip().startswith("%"):
            yield number - len(form) + 1, form
            form = []


def documentation(text: str, language: str) -> str:
    """The first paragraph of what stands above the code as documentation."""
    if language == "elixir":
        found = re.search(r'@doc\s+(?:~[sS])?(?:"""\n([\s\S]*?)"""|"([^"\n]+)")', text)
        return first_paragraph((found.group(1) or found.group(2) or "") if found else "")
    if language == "python":
        found = re.match(r'[\s\S]*?:\s*\n\s*[rRuU]?"""([\s\S]*?)"""', text)
        return first_paragraph(found.group(1)) if found else ""
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
