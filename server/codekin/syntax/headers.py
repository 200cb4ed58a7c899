"""Tells whether a `.h` file is C or C++ by its content; it knows nothing of other files."""

import re

_COMMENT_OR_STRING = re.compile(r"//[^\n]*|/\*.*?(?:\*/|\Z)|\"(?:\\.|[^\"\\\n])*\"", re.DOTALL)
_CPLUSPLUS_GUARD = re.compile(
    r"^[ \t]*#[ \t]*if[^\n]{0,200}__cplusplus.{0,4000}?^[ \t]*#[ \t]*(?:endif|else)", re.MULTILINE | re.DOTALL
)
_CPLUSPLUS_ONLY = re.compile(
    r"\b(?:class\s+\w|namespace\b|template\s*<|typename\b|constexpr\b|using\s+\w|public\s*:|private\s*:|protected\s*:"
    r"|virtual\b|operator\s*\W|nullptr\b|static_cast\s*<|noexcept\b|explicit\b|friend\b|std::|override\b)"
    r"|\w::\w|#\s*include\s*<[a-z_]+>"
)
_LOOKED_AT = 200_000


def header_language(text: str) -> str:
    """`cpp` when something stands in the header that C does not have, outside `#ifdef __cplusplus`; else `c`."""
    code = _COMMENT_OR_STRING.sub(" ", text[:_LOOKED_AT])
    return "cpp" if _CPLUSPLUS_ONLY.search(_CPLUSPLUS_GUARD.sub("", code)) else "c"
