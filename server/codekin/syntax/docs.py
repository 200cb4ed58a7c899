"""Cleans what a definition's comments and doc attributes say: plain text without markers and quotes."""

import re
from textwrap import dedent

_OPENING = re.compile(r"^\s*(?:~[sS]|[rRbBuUfF]{1,2}(?=[\"']))?(?:\"\"\"|'''|\"|')\r?\n?")
_CLOSING = re.compile(r"\s*(?:\"\"\"|'''|\"|')\s*$")
_LINE_MARKER = re.compile(r"^[ \t]*(?://[/!]?<?|/\*[*!]?<?|\*(?!/)|#+)?[ \t]?", re.MULTILINE)
_BLOCK_END = re.compile(r"[ \t]*\*+/[ \t]*$")
_RULER = re.compile(r"^[\W_]*$")


def clean_doc(raw: str) -> str:
    """The words of one comment or doc string."""
    if _OPENING.match(raw):
        text = dedent(_CLOSING.sub("", _OPENING.sub("", raw, count=1)))
    else:
        text = _LINE_MARKER.sub("", _BLOCK_END.sub("", raw.rstrip()))
    lines = [line.rstrip() for line in text.splitlines()]
    return "\n".join(line for line in lines if line and not _RULER.match(line)).strip()
