"""Blanks out words of C and C++ that the preprocessor would replace and that no grammar can place.

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


def _blank(match: re.Match[bytes]) -> bytes:
    whole = match[0]
    if not match.re.groups:
        return b" " * len(whole)
    start, end = match.start(1) - match.start(), match.end(1) - match.start()
    return whole[:start] + re.sub(rb"[^\r\n]", b" ", whole[start:end]) + whole[end:]
