"""Other looks of the same code: without comments, strings masked, names changed, one half.

Training pairs are made of such views, so that the encoder reads what code does and not its prose.
Works on texts by regular expressions; knows no grammar.
"""

import random
import re

_STRING = r'"""[\s\S]*?"""|"(?:\\.|[^"\\\n])*"'
_SLASHES = rf"({_STRING}|'(?:\\.|[^'\\])+')|//[^\n]*|/\*[\s\S]*?\*/"
_COMMENT = {
    "elixir": rf'@(?:module|type)?doc\s+(?:~[sS])?(?:"""[\s\S]*?"""|"[^"\n]*"|false)|({_STRING}|\?.)|#[^\n]*',
    "erlang": rf"({_STRING}|\$.)|%[^\n]*",
    "cpp": _SLASHES,
    "c": _SLASHES,
    "go": rf"({_STRING}|`[^`]*`)|//[^\n]*|/\*[\s\S]*?\*/",
    "rust": rf"({_STRING})|//[^\n]*|/\*[\s\S]*?\*/",
    "javascript": rf"({_STRING}|`[^`]*`)|//[^\n]*|/\*[\s\S]*?\*/",
    "python": rf"(?<=:\n)\s*[rRuU]?\"\"\"[\s\S]*?\"\"\"|({_STRING})|#[^\n]*",
}
_PATTERNS = {language: re.compile(pattern) for language, pattern in _COMMENT.items()}
_STRINGS = re.compile(_STRING)
_PREAMBLE = re.compile(
    r"^\s*(?:#\s*(?:include|pragma|define|if|endif)|using namespace|-module|-export|-compile|-include|package |import "
    r"|from [\w.]+ import"
    r"|use \w+::)[^\n]*\n",
    re.MULTILINE,
)
_NAME = re.compile(r"(?<![\w@:.])[a-z_]\w*(?![\w:]*:)")
KEPT = frozenset(
    """
    abs after alias and auto begin bool break case catch char class cond const continue def default
    defmodule defp delete div do double elem else end false float fn for fun hd if import in int is_atom
    is_integer is_list length let long map max min new nil not of or private public push_back receive rem
    require return round self send set size size_t spawn static std string struct switch template tl true
    try typename unless unsigned use vector void when while with
    """.split()  # noqa: SIM905 - a table of words reads best as words
)


def strip_comments(text: str, language: str) -> str:
    """The code without comments and, in Elixir, without its documentation attributes."""
    pattern = _PATTERNS.get(language)
    if pattern is None:
        return text
    bare = pattern.sub(lambda found: found.group(1) or "", text)
    return re.sub(r"\n\s*\n+", "\n", bare)


def mask_strings(text: str) -> str:
    """Every string literal becomes "S"."""
    return _STRINGS.sub('"S"', text)


def drop_preamble(text: str) -> str:
    """Without includes, exports and their like."""
    return _PREAMBLE.sub("", text)


def mask_name(text: str, name: str) -> str:
    """Without the function's own name, which would give the pair away."""
    return re.sub(rf"\b{re.escape(name)}\b", "x", text) if name else text


def rename(text: str, rng: random.Random) -> str:
    """Most names become short letters, the same name the same letters."""
    letters = [a + b for a in "abcdefghijklmnopqrstuvwxyz" for b in ("", "1", "2", "3")]
    rng.shuffle(letters)
    names = [n for n in dict.fromkeys(_NAME.findall(text)) if n not in KEPT][: len(letters)]
    new = dict(zip(names, letters, strict=False))
    return _NAME.sub(lambda found: new.get(found.group(), found.group()), text)


def halves(text: str) -> tuple[str, str]:
    """The first and the second half of the lines."""
    lines = text.split("\n")
    middle = len(lines) // 2
    return "\n".join(lines[:middle]), "\n".join(lines[middle:])


def random_view(text: str, language: str, rng: random.Random) -> str:
    """A look at the code as a query or an index may have it."""
    if rng.random() < 0.75:
        text = strip_comments(text, language)
    if rng.random() < 0.5:
        text = mask_strings(text)
    if rng.random() < 0.6:
        text = drop_preamble(text)
    if rng.random() < 0.08:
        text = rename(text, rng)
    return text
