"""Cuts source text into named fragments and reads their shape; the only room that knows tree-sitter.

It knows texts and paths, never files: nothing is read from disk but the query files beside it.
"""

from codekin.syntax.context import CursorContext, cursor_context
from codekin.syntax.cutting import fragment_at, fragments, parts_of
from codekin.syntax.languages import LANGUAGES, Language, language_of
from codekin.syntax.lexing import Token, is_code, lines_before_code, tokens
from codekin.syntax.parsing import error_count, parses
from codekin.syntax.renaming import local_names, rename_locals

__all__ = [
    "LANGUAGES",
    "CursorContext",
    "Language",
    "Token",
    "cursor_context",
    "error_count",
    "fragment_at",
    "fragments",
    "is_code",
    "language_of",
    "lines_before_code",
    "local_names",
    "parses",
    "parts_of",
    "rename_locals",
    "tokens",
]
