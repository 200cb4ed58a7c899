"""Blanks out the bodies that are not balanced, so that one broken function does not hide those behind it.

A body runs from a line that opens a block to the first line with the same indentation and the closing word.
It is judged by its tokens alone. Offsets stay: every blanked byte becomes a space.
"""

import re
from collections.abc import Collection, Mapping

from codekin.syntax.lexing import tokens

_ELIXIR_HEAD = re.compile(r"([ \t]*)(?:def(?:p|macro|macrop)?|test|property)\b.*\bdo[ \t]*\r?")
_C_HEAD = re.compile(r"([ \t]*)(?!.*\b(?:namespace|class|struct|union|enum|extern)\b)[^\s#}/].*\{[ \t]*\r?")
_CLOSED = re.compile(r"[\"')\]}>/|][a-zA-Z]*\Z")
_BLOCKS = {"(": ")", "[": "]", "{": "}"}


def blank_broken_elixir(source: bytes, _near: Collection[int]) -> bytes:
    """The same text without the unbalanced bodies of functions and tests."""
    return _blank_broken(source, "elixir", _ELIXIR_HEAD, {**_BLOCKS, "do": "end", "fn": "end"})


def blank_broken_c(source: bytes, _near: Collection[int]) -> bytes:
    """The same text without the unbalanced bodies of functions."""
    return _blank_broken(source, "cpp", _C_HEAD, _BLOCKS)


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
    for token in tokens(language, body):
        if token.kind in {"operator", "keyword"}:
            if token.text in blocks:
                waiting.append(blocks[token.text])
            elif token.text in closers and (not waiting or waiting.pop() != token.text):
                return False
        elif token.kind == "string" and (len(token.text) == 1 or not _CLOSED.search(token.text)):
            return False
    return not waiting
