"""Filters for raw completions: pure functions from text to text, each against one kind of nuisance.

They look at the document around the cursor and never add text. Brackets and blocks are balanced on tokens alone, so
broken code is no problem; words in strings and comments do not count.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher

from codekin.completion.context import CursorPosition
from codekin.parsing import LANGUAGES, count_errors, tokenize

_BRACKETS = {"(": ")", "[": "]", "{": "}"}
_UNCOUNTED = frozenset({"space", "newline", "comment", "string", "atom"})


@dataclass(frozen=True, slots=True)
class BracketBalance:
    """`opened` are the closers that the text still owes, outermost first; `closed` those it has too many, in order.

    `strays` are the offsets of the closers in `closed`.
    """

    opened: tuple[str, ...] = ()
    closed: tuple[str, ...] = ()
    strays: tuple[int, ...] = ()


def bracket_balance(language: str, text: str) -> BracketBalance:
    """The balance of a text."""
    opened: list[str] = []
    closed: list[str] = []
    strays: list[int] = []
    for word, offset, is_closer in _bracket_tokens(language, text):
        if not is_closer:
            opened.append(word)
        elif opened:
            # A foreign closer ends the nearest block that it fits, as a reader would have it.
            if word in opened:
                while opened.pop() != word:
                    pass
        else:
            closed.append(word)
            strays.append(offset)
    return BracketBalance(tuple(opened), tuple(closed), tuple(strays))


def _bracket_tokens(language: str, text: str) -> Iterator[tuple[str, int, bool]]:
    """The closing word of each opening or closing token, its offset, and whether it closes."""
    row = LANGUAGES.get(language)
    blocks = row.blocks if row and row.blocks else _BRACKETS
    closers = frozenset(blocks.values())
    for token in tokenize(language, text):
        if token.kind in _UNCOUNTED:
            continue
        if token.text in blocks:
            yield blocks[token.text], token.start, False
        elif token.text in closers:
            yield token.text, token.start, True


def missing_closers(language: str, prefix: str, suffix: str) -> tuple[str, ...]:
    """The closers that the text before the cursor needs and the text behind it lacks, innermost first."""
    before, after = bracket_balance(language, prefix), bracket_balance(language, suffix)
    needed = list(reversed(before.opened))
    missing = len(needed) - len(after.closed)
    return tuple(needed[:missing]) if missing > 0 else ()


MIN_CHARACTERS = 2
MAX_PARSED_CHARACTERS = 60_000
_NEARLY_EQUAL_RATIO = 0.9
_CLOSING = re.compile(r"[\s)\]}>;,'\"]*(?:\bend\b)?[\s)\]};,]*")
_BLOCK_END = re.compile(r"\s*(?:end\b|[)\]}]).*")


def apply_filters(cursor: CursorPosition, text: str) -> str:
    """The part of a completion worth showing, empty for none."""
    for change in _FILTERS:
        text = change(cursor, text)
        if not text.strip():
            return ""
    return text if len(text.strip()) >= MIN_CHARACTERS or cursor.line_before.strip() else ""


def strip_trailing_space(_gap: CursorPosition, text: str) -> str:
    """Drops white space at the end, and blank lines at the start of a line that is already begun."""
    return text.rstrip()


def drop_text_after_cursor(cursor: CursorPosition, text: str) -> str:
    """Drops what already follows the cursor; gives nothing if a completion does not fit the text that follows."""
    after = cursor.line_after.rstrip()
    if not after:
        return text
    first = text.partition("\n")[0]
    if first.endswith(after):
        return first[: -len(after)]
    if not _CLOSING.fullmatch(after):
        return ""
    shared = next((length for length in range(len(after), 0, -1) if first.endswith(after[:length])), 0)
    return first[: len(first) - shared]


def drop_next_lines(cursor: CursorPosition, text: str) -> str:
    """Stops before a line that equals the next one, or nearly does."""
    below = _next_line(cursor)
    lines = text.split("\n")
    if len(below) < 3 or _BLOCK_END.fullmatch(below):
        return text  # closers are looked at by their indentation
    if _nearly_equal((cursor.line_before + lines[0]).strip(), below) and not cursor.line_before.strip():
        return ""
    kept = next((at for at, line in enumerate(lines[1:], 1) if _nearly_equal(line.strip(), below)), len(lines))
    return "\n".join(lines[:kept])


def drop_repetition(cursor: CursorPosition, text: str) -> str:
    """Stops where lines begin to repeat: the line above again, one line twice, or a loop of lines."""
    above = cursor.prefix[: len(cursor.prefix) - len(cursor.line_before)].rstrip("\n").rpartition("\n")[2].strip()
    lines = text.split("\n")
    first = (cursor.line_before + lines[0]).strip()
    if len(first) > 6 and first == above:
        return ""
    seen: dict[str, int] = {first: 1}
    for at, line in enumerate(lines[1:], 1):
        bare = line.strip()
        seen[bare] = seen.get(bare, 0) + 1
        if len(bare) > 6 and (bare == lines[at - 1].strip() or seen[bare] > 2):
            return "\n".join(lines[:at])
    return text


def drop_stray_closers(cursor: CursorPosition, text: str) -> str:
    """Cuts at the first closing bracket or word that nothing before it opened, or that is already below."""
    found = bracket_balance(cursor.language, text)
    if not found.strays:
        return text
    on_line = bracket_balance(cursor.language, cursor.line_before).opened
    allowed = list(reversed(on_line))
    if len(found.strays) > len(allowed) and len(cursor.prefix) + len(cursor.suffix) <= MAX_PARSED_CHARACTERS:
        allowed = list(missing_closers(cursor.language, cursor.prefix, cursor.suffix))
    for at, (closer, offset) in enumerate(zip(found.closed, found.strays, strict=True)):
        if at >= len(allowed) or allowed[at] != closer:
            return text[:offset].rstrip()
    return text


def keep_indentation(cursor: CursorPosition, text: str) -> str:
    """Keeps to the scope: stops at a line further out than the first, but for the closer of what was opened."""
    lines = text.split("\n")
    width = len(cursor.indentation.expandtabs())
    for at, line in enumerate(lines[1:], 1):
        if line.strip() and _width(line) < width:
            return "\n".join(lines[:at])
        if line.strip() and _width(line) == width and _BLOCK_END.fullmatch(line):
            return "\n".join(lines[: at + 1])
    return text


def drop_doubled_end(cursor: CursorPosition, text: str) -> str:
    """Drops a last line that closes what the next line of the document closes."""
    lines = text.split("\n")
    below = _next_line(cursor)
    if len(lines) < 2 or lines[-1].strip() != below or not _BLOCK_END.fullmatch(lines[-1]):
        return text
    if _width(lines[-1]) == _width(_raw_next_line(cursor)):
        return "\n".join(lines[:-1])
    return text


def cut_to_parse(cursor: CursorPosition, text: str) -> str:
    """Cuts lines from the end until the document parses as well as before.

    Where it never does, what is left open is taken as closed: the line that opens a block may be shown before the rest.
    """
    if len(cursor.prefix) + len(cursor.suffix) > MAX_PARSED_CHARACTERS:
        return text
    before = count_errors(cursor.language, cursor.prefix + cursor.suffix)
    lines = text.split("\n")
    kept = ["\n".join(lines[:count]) for count in range(len(lines), 0, -1)]
    closed = (one for one in kept if _parses_closed(cursor, one, before))
    return next((one for one in kept if _errors(cursor, one) <= before), None) or next(closed, "")


def _parses_closed(cursor: CursorPosition, text: str, errors_before: int) -> bool:
    closers = bracket_balance(cursor.language, text).opened
    closed = text + "".join(f"\n{closer}" for closer in reversed(closers))
    return bool(closers) and _errors(cursor, closed) <= errors_before


def _errors(cursor: CursorPosition, text: str) -> int:
    return count_errors(cursor.language, cursor.prefix + text + cursor.suffix)


def _raw_next_line(cursor: CursorPosition) -> str:
    below = cursor.suffix.partition("\n")[2]
    return next((line for line in below.split("\n") if line.strip()), "")


def _next_line(cursor: CursorPosition) -> str:
    return _raw_next_line(cursor).strip()


def _width(line: str) -> int:
    line = line.expandtabs()
    return len(line) - len(line.lstrip())


def _nearly_equal(one: str, other: str) -> bool:
    if one == other:
        return True
    if min(len(one), len(other)) < 8 or abs(len(one) - len(other)) > 0.2 * max(len(one), len(other)):
        return False
    return (
        SequenceMatcher(None, one, other, autojunk=False).ratio() > _NEARLY_EQUAL_RATIO
        and _BLOCK_END.fullmatch(one) is None
    )


_FILTERS: tuple[Callable[[CursorPosition, str], str], ...] = (
    strip_trailing_space,
    drop_text_after_cursor,
    drop_next_lines,
    drop_repetition,
    keep_indentation,
    drop_doubled_end,
    drop_stray_closers,
)
