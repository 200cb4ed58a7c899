"""Cuts source text into named chunks and reads shapes, tokens and cursor context; only here is tree-sitter known.

It reads nothing from disk but its own query files.
"""

from codekin.parsing.chunks import chunk_at_line, chunk_parts, cut_chunks
from codekin.parsing.context import CursorContext, read_cursor_context
from codekin.parsing.languages import LANGUAGES, Language, detect_language
from codekin.parsing.tokens import Token, count_lines_before_code, is_code, read_local_names, rename_locals, tokenize
from codekin.parsing.trees import count_errors, parses

__all__ = [
    "LANGUAGES",
    "CursorContext",
    "Language",
    "Token",
    "chunk_at_line",
    "chunk_parts",
    "count_errors",
    "count_lines_before_code",
    "cut_chunks",
    "detect_language",
    "is_code",
    "parses",
    "read_cursor_context",
    "read_local_names",
    "rename_locals",
    "tokenize",
]
