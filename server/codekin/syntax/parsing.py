"""Parses text and runs a language's query over it; the only module that walks syntax trees with tree-sitter.

Parsing and querying stop when their time is used up, so that no input hangs a caller.
It does not know what captures mean.
"""

from time import monotonic

import tree_sitter

from codekin.syntax.languages import grammar_of, query_of

SECONDS_PER_MEGABYTE = 10.0
_LEAST_SECONDS = 5.0
DEEPEST = 500
_CHUNK = 1 << 16


class Timeout(Exception):  # noqa: N818
    """The time allowed for one text is used up."""


def parse(language: str, source: bytes) -> tree_sitter.Tree:
    """The syntax tree of a text; raises Timeout."""
    deadline = _deadline(source)
    parser = tree_sitter.Parser(grammar_of(language))

    def chunk(offset: int, _point: object) -> bytes:
        return source[offset : offset + _CHUNK]

    try:
        return parser.parse(chunk, progress_callback=lambda *_: monotonic() > deadline)
    except ValueError as error:
        raise Timeout from error


def captures(language: str, tree: tree_sitter.Tree) -> list[tuple[int, int, str, tree_sitter.Node]]:
    """Every capture of the language's query as (start, minus end, capture name, node), outer before inner.

    Matching costs the depth for each match, so what stands deeper than DEEPEST is passed over.
    """
    cursor = tree_sitter.QueryCursor(query_of(language))
    cursor.set_max_start_depth(DEEPEST)
    found = cursor.captures(tree.root_node)
    ordered = [
        (node.start_byte, -node.end_byte, name, node)
        for name, nodes in found.items()
        if not name.startswith("_")
        for node in nodes
    ]
    ordered.sort(key=lambda capture: capture[:2])
    return ordered


def _deadline(source: bytes) -> float:
    return monotonic() + max(_LEAST_SECONDS, SECONDS_PER_MEGABYTE * len(source) / 1e6)
