"""Tells words from code in what a user typed or pasted, and reads a pasted snippet as a fragment."""

import re
from collections.abc import Sequence

from codekin import syntax
from codekin.records import Fragment

_CODE = re.compile(r"\w\(|[{};]|\|>|->|=>|::|[=!<>]=|\w\[|\w\s?=\s?\S|\bdo$", re.MULTILINE)


def is_code(text: str) -> bool:
    """Whether a text looks like code rather than words."""
    return bool(_CODE.search(text))


def read_snippet(text: str, languages: Sequence[str]) -> Fragment:
    """A snippet as a fragment without a path: its language among `languages` (or none), its name and shape.

    The language is the first in which it parses without problems; name and shape are those
    of its first named piece.
    """
    blank = Fragment("", "", "file", "", 1, 1 + text.count("\n"), text)
    for language in languages:
        if language not in syntax.LANGUAGES:
            continue
        found, problems = syntax.fragments("", text, language)
        if found and not problems:
            first = found[0]
            return Fragment("", language, first.kind, first.name, 1, blank.end_line, text, first.doc, 0, first.shape)
    return blank
