"""Columns in the client's units (UTF-8, UTF-16 or UTF-32) to and from code points.

Knows one line of text at a time, without its line break. A column past the end of the
line is the end of the line; a column inside a character is the start of that character.
"""

from enum import StrEnum


class Encoding(StrEnum):
    """What the client counts in `Position.character`."""

    UTF8 = "utf-8"
    UTF16 = "utf-16"
    UTF32 = "utf-32"


_WIDTH = {Encoding.UTF8: 1, Encoding.UTF16: 2, Encoding.UTF32: 4}
_CODEC = {Encoding.UTF8: "utf-8", Encoding.UTF16: "utf-16-le", Encoding.UTF32: "utf-32-le"}


def choose_encoding(offered: list[str] | None) -> Encoding:
    """The first encoding of the client's list that we know; UTF-16 as the protocol's default."""
    known = {encoding.value: encoding for encoding in Encoding}
    return next((known[name] for name in offered or () if name in known), Encoding.UTF16)


def to_code_points(line: str, column: int, encoding: Encoding) -> int:
    """How many code points of `line` stand before `column` client units."""
    if column <= 0:
        return 0
    if encoding is Encoding.UTF32 or line.isascii():
        return min(column, len(line))
    # A code point takes one unit or more, so the first `column` code points are enough.
    units = line[:column].encode(_CODEC[encoding], "surrogatepass")
    whole = units[: _character_start(units, column, encoding)]
    return len(whole.decode(_CODEC[encoding], "surrogatepass"))


def to_client_units(line: str, code_points: int, encoding: Encoding) -> int:
    """How many client units the first `code_points` of `line` take."""
    before = line[: max(code_points, 0)]
    if encoding is Encoding.UTF32 or before.isascii():
        return len(before)
    return len(before.encode(_CODEC[encoding], "surrogatepass")) // _WIDTH[encoding]


def _character_start(units: bytes, column: int, encoding: Encoding) -> int:
    """The byte offset of `column`, moved back to the start of the character it falls into."""
    if encoding is Encoding.UTF8:
        while column < len(units) and units[column] & 0xC0 == 0x80:
            column -= 1
        return column
    at = 2 * column
    inside_pair = at < len(units) and 0xD8 <= units[at - 1] <= 0xDB and 0xDC <= units[at + 1] <= 0xDF
    return at - 2 if inside_pair else at
