"""Prepares code for the bundled encoder, in training and at run time alike.

The encoder reads English word pieces in lower case and one token a punctuation mark. So names are
split into their words (`parseHTTPHeader`, `parse_http_header` → parse HTTP header), operators
become a word that Elixir, Erlang and C++ share (`&&`, `andalso` → and; `%`, `rem` → mod), and
marks that only delimit are dropped: half the tokens, and the same thought reads alike in each
language. Knows no grammar: works on any text, in linear time.
"""

import re

LONGEST = 24_000
"""Characters read of a text; the encoder's 512 tokens end long before."""

WORDS = {
    "|>": "then", "->": "to", "=>": "to", "<-": "in", "..": "range", "<>": "join",
    "==": "equal", "===": "equal", "=:=": "equal", "!=": "differ", "!==": "differ", "=/=": "differ",
    "<=": "most", "=<": "most", ">=": "least", "<": "less", ">": "more",
    "&&": "and", "andalso": "and", "||": "or", "orelse": "or", "!": "not",
    "+": "plus", "+=": "plus", "-": "minus", "-=": "minus", "*": "times", "*=": "times",
    "/": "divide", "/=": "divide", "div": "divide", "%": "mod", "rem": "mod", "++": "append", "--": "remove",
    "<<": "shift", "<<<": "shift", "bsl": "shift", ">>": "shift", ">>>": "shift", "bsr": "shift",
    "&": "band", "&&&": "band", "|": "bar", "|||": "bor", "^": "xor", "^^^": "xor", "bxor": "xor",
    "nullptr": "nil", "NULL": "nil", "undefined": "nil", "//": "", "/*": "", "*/": "",
}  # fmt: skip
"""What an operator, or a word that stands for one, reads as."""

_PIECE = re.compile(
    r"[A-Z]?[a-z\x80-\U0010ffff]+|[A-Z]+(?![a-z])|\d+(?:\.\d+)?"  # the words of a name, a number
    r"|[-+*/]=|->|\+\+|--|//|/\*|\*/|[-+*/]|={2,3}|=:=|=/=|=<|=>|!==?|(?<!\w)!|<=|<-|<>|<{1,3}|>=|>{1,3}"
    r"|\|>|\|{1,3}|&{1,3}|\^{1,3}|\.\.|(?<!%)%(?![%{A-Z])"
)


def prepare(text: str) -> str:
    """The words that the encoder reads, in order, one space between them."""
    return " ".join([WORDS.get(piece, piece) for piece in _PIECE.findall(text[:LONGEST])])
