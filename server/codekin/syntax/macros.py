"""Blanks out what the preprocessor would take from C and C++ and no grammar can place: macros, other branches.

Offsets stay: every blanked byte becomes a space. It knows no definitions of macros, only how they look.
"""

import re

_PARENTHESES = rb"\((?:[^()\n]|\((?:[^()\n]|\([^()\n]*\))*\))*\)"
_MACRO = rb"\b[A-Z][A-Z0-9]*_[A-Z0-9_]+\b|\b(?:EXPORT|API|INLINE|FORCEINLINE|NOINLINE)\b"
_ALONE = re.compile(rb"^[ \t]*((?:" + _MACRO + rb")(?:" + _PARENTHESES + rb")?)[ \t]*\r?$", re.MULTILINE)
_IN_FRONT = re.compile(
    rb"(?:(?<=[;{}>)\n*&])|(?<=\bstatic)|(?<=\binline)|(?<=\bclass)|(?<=\bstruct)|(?<=\benum)|(?<=\bconst)|(?<=\bextern))"
    rb"[ \t]*((?:" + _MACRO + rb")(?:" + _PARENTHESES + rb")?)(?=[ \t]+[A-Za-z_:~\[])"
)
_BEHIND = re.compile(rb"(?<=[)\w])[ \t]+((?:" + _MACRO + rb")(?:" + _PARENTHESES + rb")?)(?=[ \t\r\n]*[{;=])")
_NULLABILITY = re.compile(rb"\b(?:absl_nonnull|absl_nullable|absl_nullability_unknown|_Nonnull|_Nullable|__restrict)\b")


def blank_macros(source: bytes) -> bytes:
    """The same text with likely macros replaced by spaces, line breaks kept."""
    for pattern in (_NULLABILITY, _IN_FRONT, _BEHIND, _ALONE):
        source = pattern.sub(_blank, source)
    return source


def blank_branches(source: bytes) -> bytes:
    """The same text without macros, and of every `#if` only the first branch (the second of `#if 0`)."""
    source = blank_macros(source)
    pieces: list[bytes] = []
    shown: list[bool] = []
    at = 0
    for match in _CONDITIONAL.finditer(source):
        between = source[at : match.start()]
        pieces += [between if all(shown) else _spaces(between), _spaces(match[0])]
        at = match.end()
        word = match[1]
        if word.startswith(b"if"):
            shown.append(match[2].strip() != b"0")
        elif shown and word == b"endif":
            shown.pop()
        elif shown:
            shown[-1] = not shown[-1] and word == b"else"
    return b"".join([*pieces, source[at:]])


_CONDITIONAL = re.compile(rb"^[ \t]*#[ \t]*(ifdef|ifndef|if|elif|else|endif)\b([^\n]*)", re.MULTILINE)


def _spaces(text: bytes) -> bytes:
    return re.sub(rb"[^\r\n]", b" ", text)


def _blank(match: re.Match[bytes]) -> bytes:
    whole = match[0]
    if not match.re.groups:
        return b" " * len(whole)
    start, end = match.start(1) - match.start(), match.end(1) - match.start()
    return whole[:start] + _spaces(whole[start:end]) + whole[end:]
