"""What a file's bytes are: text in some encoding or binary, written by a hand or by a machine.

Knows nothing of files; every test is linear in the text's length.
"""

import codecs
import re
from typing import Final

from codekin.ingest.found import Reason
from codekin.syntax.secrets import holds_secret

_MAGIC: Final = (b"\x7fELF", b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"PK\x03\x04", b"\x1f\x8b", b"%PDF-", b"FOR1")
_MARKS: Final = (  # UTF-32's little-endian mark begins with UTF-16's, so it stands first
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_CONTROLS: Final = re.compile("[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f-\x9f]")
_MOST_CONTROLS: Final = 0.01

_LONGEST_LINE: Final = 20_000
_MINIFIED_FROM: Final = 5_000
_MINIFIED_MEAN_LINE: Final = 400

_MARKER_LINES: Final = 20
_COMMENT_SIGNS: Final = ("#", "//", "/*", "*", "--", ";", "%")
_GENERATED: Final = re.compile(
    r"@generated\b"
    r"|\bgenerated\b.{0,200}\bdo not (?:edit|modify|change)\b"
    r"|\bdo not (?:edit|modify|change)\b.{0,200}\bgenerated\b"
    r"|^\W{0,8}(?:this (?:file|code|module) (?:is|was|has been) )?"
    r"(?:auto(?:matically)?[- ]?)?generated (?:by|from|with) "
    r"|\bauto(?:matically)?[- ]?generated (?:file|code)\b",
    re.IGNORECASE,
)


def decode(data: bytes) -> str | None:
    """The text without its byte-order mark, or None for a binary; what is not UTF-8 is taken for Latin-1."""
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return _strictly(data[len(mark) :], encoding)
    if b"\0" in data or data.startswith(_MAGIC):
        return None
    text = _strictly(data, "utf-8")
    return text if text is not None else _latin(data)


def unfit(text: str) -> Reason | None:
    """Why a text is left out of the index, or None."""
    if "\0" in text:
        return Reason.BINARY
    if holds_secret(text):
        return Reason.SECRET
    if _minified(text):
        return Reason.MINIFIED
    return Reason.GENERATED if _generated(text) else None


def _strictly(data: bytes, encoding: str) -> str | None:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        return None


def _latin(data: bytes) -> str | None:
    """Latin-1 takes any byte, so a text is told by how few control characters it then has."""
    text = data.decode("latin-1")
    return text if len(_CONTROLS.findall(text)) <= _MOST_CONTROLS * len(text) else None


def _minified(text: str) -> bool:
    lines = text.split("\n")
    if max(map(len, lines)) > _LONGEST_LINE:
        return True
    return len(text) > _MINIFIED_FROM and len(text) / len(lines) > _MINIFIED_MEAN_LINE


def _generated(text: str) -> bool:
    """Whether a comment near the top, or two lines of it together, says that a machine wrote the file."""
    lines = [line[:400] for line in text[:8_000].split("\n", _MARKER_LINES)[:_MARKER_LINES]]
    comments = [line.strip() if line.lstrip().startswith(_COMMENT_SIGNS) else "" for line in lines]
    pairs = (f"{first} {second}" for first, second in zip(comments, [*comments[1:], ""], strict=True) if first)
    return any(_GENERATED.search(pair) for pair in pairs)
