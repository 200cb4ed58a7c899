"""Prepares code for the bundled encoder, in training and at run time alike.

The encoder reads English word pieces in lower case and one token a punctuation mark. So names are
split into their words (`parseHTTPHeader`, `parse_http_header` → parse HTTP Header), operators stay
as they are, and marks that only delimit are dropped: half the tokens, and the same thought reads
more alike in Elixir, Erlang and C++. Knows no grammar: works on any text, in linear time.
"""

import re

LONGEST = 24_000
"""Characters read of a text; the encoder's 512 tokens end long before."""

_PIECE = re.compile(
    r"[A-Z]?[a-z\x80-\U0010ffff]+|[A-Z]+(?![a-z])|\d+(?:\.\d+)?"  # the words of a name, a number
    r"|[-+*/=<>!%&|^~.]{2,3}|[-+*/=<>%&|^~]|(?<!\w)!"
)


def prepare(text: str) -> str:
    """The words and operators that the encoder reads, in order, one space between them."""
    return " ".join(_PIECE.findall(text[:LONGEST]))
