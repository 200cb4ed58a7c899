"""Parses text and runs a language's query over it; bounded in time, never recursive.

It does not know what captures mean.
"""

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cache
from time import thread_time

import tree_sitter

from codekin.syntax.languages import LANGUAGES, grammar_of, query_of
from codekin.syntax.macros import blank_branches, blank_class_macros, blank_macros
from codekin.syntax.repairing import blank_broken_c, blank_broken_elixir

DEEPEST = 500
_SECONDS_PER_MEGABYTE = 10.0
_LEAST_SECONDS = 5.0
_CHUNK = 1 << 16
_WORD = 64
_WORTH_ANOTHER = 100
_LONE_RETURN = re.compile(rb"\r(?!\n)")  # the grammars know no such line break

_LOCAL_ERROR = 8  # lines; what encloses more says nothing of where it broke

# What is blanked to help, and how much less damage must be left for it to be worth what is lost.
_REPAIRS: dict[str, tuple[Callable[[bytes, Collection[int]], bytes], float]] = {
    "macros": (blank_macros, 1.0),
    "branches": (blank_branches, 0.5),
    "c_bodies": (blank_broken_c, 0.5),
    "elixir_bodies": (blank_broken_elixir, 0.5),
}

Capture = tuple[int, int, str, tree_sitter.Node]


class Timeout(Exception):  # noqa: N818
    """The time allowed for one text is used up."""


@dataclass(frozen=True, slots=True)
class Tree:
    """A parsed text with the bytes its offsets count; `damage` says how many of them did not parse.

    `parsed` is the text as the grammar saw it: equally long, with what was blanked out.
    """

    source: bytes
    parsed: bytes
    root: tree_sitter.Node
    damage: int


def parse(language: str, text: str) -> Tree:
    """The syntax tree of a text; raises Timeout.

    Where the text does not parse, what breaks it is blanked out, step by step; the tree is the best of the steps.
    """
    source = text.encode("utf-8", "replace")
    deadline = _deadline(source)
    repaired = _LONE_RETURN.sub(b"\n", source)
    if "macros" in LANGUAGES[language].repairs:
        repaired = blank_class_macros(repaired)
    root = _parse(language, repaired, deadline)
    parsed, errors = repaired, _errors(language, root)
    other_errors = errors
    for repair, enough in (_REPAIRS[name] for name in LANGUAGES[language].repairs):
        if _damage(errors) < _WORTH_ANOTHER:
            break
        blanked = repair(repaired, _lines_near(other_errors))
        if blanked == repaired:
            continue
        repaired = blanked
        other = _parse(language, repaired, deadline)
        other_errors = _errors(language, other)
        if _damage(other_errors) < _damage(errors) * enough:
            root, errors, parsed = other, other_errors, blanked
    return Tree(source, parsed, root, _damage(errors))


def captures(language: str, tree: Tree) -> list[Capture]:
    """Every capture of the language's query as (start, minus end, capture name, node), outer before inner.

    Matching costs the depth for each match, so what stands deeper than DEEPEST is passed over.
    """
    cursor = tree_sitter.QueryCursor(query_of(language))
    cursor.set_max_start_depth(DEEPEST)
    found = cursor.captures(tree.root)
    ordered = [
        (node.start_byte, -node.end_byte, name, node)
        for name, nodes in found.items()
        if not name.startswith("_")
        for node in nodes
    ]
    ordered.sort(key=lambda capture: capture[:2])
    return ordered


def error_count(language: str, text: str) -> int:
    """How many places of a text, as it stands, do not parse; 0 for a language without a row."""
    if language not in LANGUAGES:
        return 0
    source = text.encode("utf-8", "replace")
    try:
        return len(_errors(language, _parse(language, source, _deadline(source))))
    except Timeout:
        return 1


def parses(language: str, text: str) -> bool:
    """Whether a text has no place that does not parse."""
    return error_count(language, text) == 0


def innermost_kind(tree: Tree, offset: int) -> str:
    """The grammar's name for the smallest construct that holds the byte before an offset."""
    node = tree.root.named_descendant_for_byte_range(max(0, offset - 1), offset)
    return node.type if node is not None else tree.root.type


def _damage(errors: Sequence[tree_sitter.Node]) -> int:
    """Bytes inside what did not parse, and a hundred for each place."""
    return sum(node.end_byte - node.start_byte + 100 for node in errors)


def _lines_near(errors: Sequence[tree_sitter.Node]) -> frozenset[int]:
    """The lines (from 0) of the errors and those beside them."""
    spans = [(node.start_point[0], node.end_point[0]) for node in errors]
    local = [(first, last) for first, last in spans if last - first <= _LOCAL_ERROR] or spans
    return frozenset(line for first, last in local for line in range(first - 2, last + 3))


def _errors(language: str, root: tree_sitter.Node) -> list[tree_sitter.Node]:
    if not root.has_error:
        return []
    cursor = tree_sitter.QueryCursor(_error_query(language))
    cursor.set_max_start_depth(DEEPEST)
    return cursor.captures(root).get("error", [])


def _deadline(source: bytes) -> float:
    return thread_time() + max(_LEAST_SECONDS, _SECONDS_PER_MEGABYTE * len(source) / 1e6)


@cache
def _error_query(language: str) -> tree_sitter.Query:
    return tree_sitter.Query(grammar_of(language), "[(ERROR) (MISSING)] @error")


def _parse(language: str, source: bytes, deadline: float) -> tree_sitter.Node:
    """The root node; read in large chunks here, in small ones by the query, which asks for words."""
    size = _CHUNK

    def chunk(offset: int, _point: object) -> bytes:
        return source[offset : offset + size]

    parser = tree_sitter.Parser(grammar_of(language))
    try:
        root = parser.parse(chunk, progress_callback=lambda *_: thread_time() > deadline).root_node
    except ValueError as error:
        raise Timeout from error
    size = _WORD
    return root
