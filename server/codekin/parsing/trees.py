"""Parses text and runs a language's query over it, bounded in time and never recursive.

Also line numbers of byte offsets, and the splitting of a long run of lines at syntax boundaries.

Where a text does not parse, macros, preprocessor branches and unbalanced bodies are blanked out step by step, so that
one broken function does not hide those behind it. Offsets stay: every blanked byte becomes a space.

Lines end as in the language server protocol: at LF, CRLF or CR.
"""

import re
from bisect import bisect_right
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module, resources
from time import thread_time
from typing import NamedTuple

import tree_sitter

from codekin.parsing.languages import LANGUAGES
from codekin.parsing.preprocessor import blank_branches, blank_macros
from codekin.parsing.rewriting import rewrite
from codekin.parsing.tokens import tokenize

_ELIXIR_HEAD = re.compile(r"([ \t]*)(?:def(?:p|macro|macrop)?|test|property)\b.*\bdo[ \t]*\r?")
_C_HEAD = re.compile(r"([ \t]*)(?!.*\b(?:namespace|class|struct|union|enum|extern)\b)[^\s#}/].*\{[ \t]*\r?")
_ENDS_STRING = re.compile(r"[\"')\]}>/|][a-zA-Z]*\Z")
_BRACKET_PAIRS = {"(": ")", "[": "]", "{": "}"}


def blank_broken_elixir(source: bytes, _near: Collection[int]) -> bytes:
    """The same text without the unbalanced bodies of functions and tests."""
    return _blank_broken(source, "elixir", _ELIXIR_HEAD, {**_BRACKET_PAIRS, "do": "end", "fn": "end"})


def blank_broken_c(source: bytes, _near: Collection[int]) -> bytes:
    """The same text without the unbalanced bodies of functions."""
    return _blank_broken(source, "cpp", _C_HEAD, _BRACKET_PAIRS)


def _blank_broken(source: bytes, language: str, head: re.Pattern[str], blocks: Mapping[str, str]) -> bytes:
    lines = source.decode("utf-8", "replace").split("\n")
    last_with: dict[str, list[int]] = {}
    closing = "end" if "do" in blocks else "}"
    for number in range(len(lines) - 1, -1, -1):
        if lines[number].lstrip(" \t").startswith(closing):
            indentation = lines[number][: -len(lines[number].lstrip(" \t"))]
            last_with.setdefault(indentation, []).append(number)
    at = 0
    while at < len(lines):
        match = head.fullmatch(lines[at])
        ends = last_with.get(match[1], []) if match else []
        while ends and ends[-1] <= at:
            ends.pop()
        if not ends:
            at += 1
            continue
        if not _is_balanced(language, "\n".join(lines[at + 1 : ends[-1]]), blocks):
            lines[at + 1 : ends[-1]] = [" " * len(line.encode("utf-8")) for line in lines[at + 1 : ends[-1]]]
        at = ends[-1]
    return "\n".join(lines).encode("utf-8", "replace")


def _is_balanced(language: str, body: str, blocks: Mapping[str, str]) -> bool:
    """Whether every block and string that begins in a body ends in it."""
    waiting: list[str] = []
    closers = set(blocks.values())
    for token in tokenize(language, body):
        if token.kind in {"operator", "keyword"}:
            if token.text in blocks:
                waiting.append(blocks[token.text])
            elif token.text in closers and (not waiting or waiting.pop() != token.text):
                return False
        elif token.kind == "string" and (len(token.text) == 1 or not _ENDS_STRING.search(token.text)):
            return False
    return not waiting


MAX_DEPTH = 500
_SECONDS_PER_MEGABYTE = 10.0
_MIN_SECONDS = 5.0
_READ_BYTES = 1 << 16
_QUERY_READ_BYTES = 64
_MIN_DAMAGE_TO_REPAIR = 100
_LONE_RETURN = re.compile(rb"\r(?!\n)")  # the grammars know no such line break

_LOCAL_ERROR_LINES = 8  # lines; a larger node does not locate the error

# What is blanked to help, and how much less damage must be left for it to be worth what is lost.
_REPAIRS: dict[str, tuple[Callable[[bytes, Collection[int]], bytes], float]] = {
    "macros": (blank_macros, 1.0),
    "branches": (blank_branches, 0.5),
    "c_bodies": (blank_broken_c, 0.5),
    "elixir_bodies": (blank_broken_elixir, 0.5),
}

Capture = tuple[int, int, str, tree_sitter.Node]


class ParseTimeout(Exception):  # noqa: N818
    """The time allowed for one text is used up."""


@dataclass(frozen=True, slots=True)
class SyntaxTree:
    """A parsed text with the bytes its offsets count; `damage` is how many of them did not parse.

    `parsed` is the text as the grammar saw it: equally long, with what was blanked out.
    """

    source: bytes
    parsed: bytes
    root: tree_sitter.Node
    damage: int


def parse(language: str, text: str) -> SyntaxTree:
    """The syntax tree of a text; raises Timeout.

    Where the text does not parse, what breaks it is blanked out, step by step; the tree is the best of the steps.
    """
    source = text.encode("utf-8", "replace")
    deadline = _deadline(source)
    repaired = rewrite(language, _LONE_RETURN.sub(b"\n", source))
    root = _parse(language, repaired, deadline)
    parsed, errors = repaired, _find_errors(language, root)
    other_errors = errors
    for repair, enough in (_REPAIRS[name] for name in LANGUAGES[language].repairs):
        if _damage(errors) < _MIN_DAMAGE_TO_REPAIR:
            break
        blanked = repair(repaired, _lines_near_errors(other_errors))
        if blanked == repaired:
            continue
        repaired = blanked
        other = _parse(language, repaired, deadline)
        other_errors = _find_errors(language, other)
        if _damage(other_errors) < _damage(errors) * enough:
            root, errors, parsed = other, other_errors, blanked
    return SyntaxTree(source, parsed, root, _damage(errors))


def run_query(language: str, tree: SyntaxTree) -> list[Capture]:
    """Every capture of the language's query as (start, minus end, capture name, node), outer before inner.

    Matching costs the depth for each match, so nodes deeper than DEEPEST are skipped.
    """
    cursor = tree_sitter.QueryCursor(load_query(language))
    cursor.set_max_start_depth(MAX_DEPTH)
    found = cursor.captures(tree.root)
    ordered = [
        (node.start_byte, -node.end_byte, name, node)
        for name, nodes in found.items()
        if not name.startswith("_")
        for node in nodes
    ]
    ordered.sort(key=lambda capture: capture[:2])
    return ordered


def count_errors(language: str, text: str) -> int:
    """How many places of the unchanged text do not parse; 0 for a language without a row."""
    if language not in LANGUAGES:
        return 0
    source = text.encode("utf-8", "replace")
    try:
        return len(_find_errors(language, _parse(language, source, _deadline(source))))
    except ParseTimeout:
        return 1


def parses(language: str, text: str) -> bool:
    """Whether a text has no place that does not parse."""
    return count_errors(language, text) == 0


def _damage(errors: Sequence[tree_sitter.Node]) -> int:
    """Bytes inside what did not parse, and a hundred for each place."""
    return sum(node.end_byte - node.start_byte + 100 for node in errors)


def _lines_near_errors(errors: Sequence[tree_sitter.Node]) -> frozenset[int]:
    """The lines (from 0) of the errors and those beside them."""
    spans = [(node.start_point[0], node.end_point[0]) for node in errors]
    local = [(first, last) for first, last in spans if last - first <= _LOCAL_ERROR_LINES] or spans
    return frozenset(line for first, last in local for line in range(first - 2, last + 3))


def _find_errors(language: str, root: tree_sitter.Node) -> list[tree_sitter.Node]:
    if not root.has_error:
        return []
    cursor = tree_sitter.QueryCursor(_error_query(language))
    cursor.set_max_start_depth(MAX_DEPTH)
    return cursor.captures(root).get("error", [])


def _deadline(source: bytes) -> float:
    return thread_time() + max(_MIN_SECONDS, _SECONDS_PER_MEGABYTE * len(source) / 1e6)


@cache
def _error_query(language: str) -> tree_sitter.Query:
    return tree_sitter.Query(load_grammar(language), "[(ERROR) (MISSING)] @error")


def _parse(language: str, source: bytes, deadline: float) -> tree_sitter.Node:
    """The root node; read in large chunks here, in small ones by the query, which reads single words."""
    size = _READ_BYTES

    def read_source(offset: int, _point: object) -> bytes:
        return source[offset : offset + size]

    parser = tree_sitter.Parser(load_grammar(language))
    try:
        root = parser.parse(read_source, progress_callback=lambda *_: thread_time() > deadline).root_node
    except ValueError as error:
        raise ParseTimeout from error
    size = _QUERY_READ_BYTES
    return root


@cache
def load_grammar(name: str) -> tree_sitter.Language:
    """The loaded tree-sitter grammar of a language."""
    loader: Callable[[], object] = import_module(LANGUAGES[name].grammar).language
    return tree_sitter.Language(loader())


@cache
def load_query(name: str) -> tree_sitter.Query:
    """The compiled query file of a language."""
    return tree_sitter.Query(load_grammar(name), _query_source(name))


def _query_source(name: str) -> str:
    """A query file, behind those that its first line names after `; inherits:`."""
    source = resources.files("codekin.parsing").joinpath("queries", f"{name}.scm").read_text("utf-8")
    inherited = re.match(r"; inherits: ([\w/]+)", source)
    return (_query_source(inherited[1]) if inherited else "") + source


_LINE_BREAK = re.compile(rb"\r\n|\n|\r")


class LineIndex:
    """The lines of a text, numbered from 1."""

    def __init__(self, source: bytes) -> None:
        breaks = [match.span() for match in _LINE_BREAK.finditer(source)]
        self._starts = [0, *(end for _, end in breaks), len(source) + 1]
        self._ends = [*(start for start, _ in breaks), len(source)]

    def number(self, offset: int) -> int:
        """The number of the line an offset is on."""
        return min(bisect_right(self._starts, offset), len(self._ends))

    def start_of(self, number: int) -> int:
        """The offset of a line's first byte; past the text for the line after the last."""
        return self._starts[min(number, len(self._starts)) - 1]

    def end_of(self, number: int) -> int:
        """The offset behind a line's last byte, without its line break."""
        return self._ends[min(number, len(self._ends)) - 1]


MAX_LINES = 60
MAX_CHARACTERS = 1600
_MAX_DEPTH = 12
_SMALL_NODE_BYTES = 80


class SourceLine(NamedTuple):
    """A line of a file: its number (1-based) and its text without the line break."""

    number: int
    text: str


def is_long(lines: Sequence[SourceLine]) -> bool:
    """Whether these lines are more than one chunk should hold."""
    return len(lines) > MAX_LINES or sum(len(line.text) + 1 for line in lines) > MAX_CHARACTERS


def split_at_nodes(lines: Sequence[SourceLine], depths: Mapping[int, int]) -> list[Sequence[SourceLine]]:
    """Parts in order, together all lines; a cut is before the outermost node that begins a line.

    `depths` gives the depth of the node that begins a line, by number; lines without one are cut last.
    """
    parts: list[Sequence[SourceLine]] = []
    start = 0
    while start < len(lines):
        end = _part_end(lines, start)
        if end < len(lines):
            least = start + max(1, (end - start) // 3)
            end = min(
                range(end, least - 1, -1),
                key=lambda at: depths.get(lines[at].number, _MAX_DEPTH + 1),
            )
        parts.append(lines[start:end])
        start = end
    return parts


def _part_end(lines: Sequence[SourceLine], start: int) -> int:
    """The end of the longest part that begins at `start`, at least one line; a small rest is taken along."""
    characters, end = 0, start
    while end < len(lines) and end - start < MAX_LINES:
        characters += len(lines[end].text) + 1
        if characters > MAX_CHARACTERS and end > start:
            break
        end += 1
    rest = lines[end:]
    if len(rest) <= MAX_LINES // 10 and sum(len(line.text) for line in rest) <= MAX_CHARACTERS // 10:
        return len(lines)
    return end


def read_node_depths(root: tree_sitter.Node, start: int, end: int) -> dict[int, int]:
    """The offsets at which named nodes begin in an interval of bytes, each with the depth of its outermost node."""
    found: dict[int, int] = {}
    level = [root.descendant_for_byte_range(start, end - 1) or root]
    for depth in range(_MAX_DEPTH):
        following: list[tree_sitter.Node] = []
        for node in level:
            for child in node.named_children:
                if child.end_byte > start and child.start_byte < end:
                    found.setdefault(child.start_byte, depth)
                    if child.end_byte - child.start_byte > _SMALL_NODE_BYTES:
                        following.append(child)
        level = following
        if not level:
            break
    return found
