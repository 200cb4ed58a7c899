"""The context of a cursor: comment, string or code; the definitions and names in scope; line or block.

Only the text before the cursor is read, as tokens: the statements whose blocks are still open make a short text that
always parses, whatever is broken elsewhere. The text after it only decides whether the block at the cursor is already
filled.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import Literal

from codekin.parsing.definition_reader import read_definitions
from codekin.parsing.languages import LANGUAGES, Language
from codekin.parsing.tokens import Token, is_code, read_bound_names, tokenize
from codekin.parsing.trees import parse

_PROBE = "\0"
_MAX_NAMES = 100
_MAX_DEPTH = 100


@dataclass(frozen=True, slots=True)
class CursorContext:
    """The syntactic context of a cursor.

    `scope` holds the names of the definitions around it, outermost first; `names` the local names
    bound before it in the innermost function, nearest first. `indentation` is the white space that
    begins its line; `wants_block` means that a block has just been opened and is still empty.
    """

    kind: Literal["code", "comment", "string"]
    scope: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    indentation: str = ""
    wants_block: bool = False


@dataclass(frozen=True, slots=True)
class _OpenBlock:
    """An open block: where its statement starts among the tokens, its text up to the opening word, the closing word."""

    start: int
    text: str
    closer: str
    width: int = 0


def read_cursor_context(language: str, text: str, offset: int) -> CursorContext:
    """The context of a place in a text; `offset` counts characters and is brought into the text."""
    offset = min(max(offset, 0), len(text))
    line_start = _line_start(text, offset)
    indentation = re.match(r"[^\S\r\n]*", text[line_start:offset])
    white = indentation[0] if indentation else ""
    row = LANGUAGES.get(language)
    found = _tokens_before(language, text[:line_start], text[line_start:offset])
    kind = _cursor_kind(row, found)
    if row is None or kind == "comment":
        return CursorContext(kind, indentation=white)
    opened = _open_blocks(row, found)
    scope, function_start = _scope(row, opened)
    names = read_bound_names(language, found[function_start:])
    return CursorContext(
        kind=kind,
        scope=scope,
        names=tuple(dict.fromkeys(reversed(names)))[:_MAX_NAMES],
        indentation=white,
        wants_block=kind == "code" and _wants_block(row, found, text[offset:]),
    )


def _line_start(text: str, offset: int) -> int:
    return max(text.rfind("\n", 0, offset), text.rfind("\r", 0, offset)) + 1


def _tokens_before(language: str, above: str, line: str) -> list[Token]:
    """The tokens up to the cursor; those above its line are cached from one keystroke to the next."""
    known = _tokens_above(language, above)
    kept = len(known)
    if kept and known[-1].kind in {"string", "comment"}:
        kept -= 1
    start = known[kept].start if kept < len(known) else len(above)
    rest = tokenize(language, above[start:] + line + _PROBE)
    return [*known[:kept], *(Token(token.kind, token.text, token.start + start, token.end + start) for token in rest)]


@lru_cache(maxsize=8)
def _tokens_above(language: str, above: str) -> tuple[Token, ...]:
    return tuple(tokenize(language, above))


def _cursor_kind(row: Language | None, found: list[Token]) -> Literal["code", "comment", "string"]:
    """What the probe character became part of; the probe is taken away."""
    last = found.pop()
    inside = last.text[: -len(_PROBE)]
    if inside:
        found.append(Token(last.kind, inside, last.start, last.end - len(_PROBE)))
    if last.kind == "comment":
        return "comment"
    if last.kind == "string" and inside:
        is_interpolated = row is not None and row.name == "elixir" and inside.rfind("#{") > inside.rfind("}")
        return "code" if is_interpolated else "string"
    return "code"


def _open_blocks(row: Language, found: Sequence[Token]) -> list[_OpenBlock]:
    return _open_blocks_by_indentation(found) if row.closes_by_indentation else _open_blocks_by_words(row, found)


def _open_blocks_by_words(row: Language, found: Sequence[Token]) -> list[_OpenBlock]:
    """The open blocks and brackets, outermost first."""
    opened: list[_OpenBlock] = []
    starts = [0]
    last = ""
    for at, token in enumerate(found):
        word = token.text
        if token.kind == "newline":
            if "newline" in row.statement_ends and not (last in _CONTINUATIONS or _is_continued(found, at)):
                starts[-1] = at + 1
        elif token.kind in {"space", "comment"}:
            continue
        elif word in row.blocks and token.kind != "string":
            opened.append(_OpenBlock(starts[-1], _joined_text(found[starts[-1] : at + 1]), row.blocks[word]))
            starts.append(at + 1)
        elif opened and word == opened[-1].closer:
            opened.pop()
            starts.pop()
            if word in row.statement_ends:
                starts[-1] = at + 1
        elif word in row.statement_ends or token.kind in row.statement_ends or (word == ":" and last in _LABELS):
            starts[-1] = at + 1
        last = word
    return opened


_CONTINUATIONS = frozenset({",", "|>", "<>", "++", "&&", "||", "and", "or", "when", "|", "=", "<-"})
_LABELS = frozenset({"public", "private", "protected", "default"})


def _is_continued(found: Sequence[Token], at: int) -> bool:
    """Whether the line behind a line break continues the statement before it."""
    following = next((token for token in found[at + 1 : at + 4] if is_code(token)), None)
    return following is not None and following.text in {"when", "|>", "and", "or", "<>", "++"}


def _open_blocks_by_indentation(found: Sequence[Token]) -> list[_OpenBlock]:
    """The heads of the indented blocks around the last line, outermost first."""
    opened: list[_OpenBlock] = []
    for start, end in _logical_lines(found):
        line = found[start:end]
        width = _indentation_width(line)
        is_last = end == len(found)
        if not is_last and not any(map(is_code, line)):
            continue
        while opened and opened[-1].width >= width:
            opened.pop()
        last = next((token.text for token in reversed(line) if is_code(token)), "")
        if last == ":" and not is_last:
            opened.append(_OpenBlock(start, _joined_text(line), "", width))
    return opened


def _logical_lines(found: Sequence[Token]) -> Iterator[tuple[int, int]]:
    """Intervals of tokens, line breaks inside brackets not counted."""
    start = depth = 0
    for at, token in enumerate(found):
        if token.kind == "operator":
            depth = max(0, depth + (token.text in "([{") - (token.text in ")]}"))
        elif token.kind == "newline" and not depth:
            yield start, at + 1
            start = at + 1
    yield start, len(found)


def _indentation_width(line: Sequence[Token]) -> int:
    return len(line[0].text.expandtabs()) if line and line[0].kind == "space" else 0


def _joined_text(found: Sequence[Token]) -> str:
    return "".join(token.text for token in found)


def _scope(row: Language, opened: Sequence[_OpenBlock]) -> tuple[tuple[str, ...], int]:
    """Names of the definitions that are open, and the first token of the innermost function."""
    opened = opened[-_MAX_DEPTH:]
    inside = "".join(block.text for block in opened)
    filler = f"{' ' * (opened[-1].width + 4)}pass\n" if opened and row.closes_by_indentation else ""
    text = inside + "\n" + filler + " ".join(block.closer for block in reversed(opened))
    tree = parse(row.name, text)
    at = len(inside.encode("utf-8", "replace"))
    around = [
        definition for definition in read_definitions(row, tree).below() if definition.start < at <= definition.end
    ]
    ends = list(accumulate(len(block.text.encode("utf-8", "replace")) for block in opened))
    functions = [definition for definition in around if definition.kind not in row.containers]
    innermost = next(reversed(functions or around), None)
    first = opened[bisect_right(ends, innermost.start)].start if innermost else 0
    names = tuple(definition.name for definition in around if definition.name)
    return names, first


def _wants_block(row: Language, found: Sequence[Token], after: str) -> bool:
    """Whether the last code before the cursor opens a block that is still empty."""
    last = next((token.text for token in reversed(found) if is_code(token)), "")
    rest, _, below = after.partition("\n")
    if last not in row.block_openers or re.search(r"\w", rest.replace("end", "")):
        return False
    following = next((line for line in below.splitlines() if line.strip()), "")
    width = len(following) - len(following.lstrip())
    opener = _indentation_of_last_code(found)
    return not following.strip() or width <= opener


def _indentation_of_last_code(found: Sequence[Token]) -> int:
    """The width of the white space that begins the line of the last code token."""
    at = max((at for at, token in enumerate(found) if is_code(token)), default=0)
    start = max((before + 1 for before in range(at) if found[before].kind == "newline"), default=0)
    return _indentation_width(found[start:])
