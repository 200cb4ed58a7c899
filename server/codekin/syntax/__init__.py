"""Cuts source text into named fragments and reads their shape; the only room that knows tree-sitter.

It knows texts and paths, never files: nothing is read from disk but the query files beside it.
"""

from codekin.syntax.cutting import fragment_at, fragments, parts_of
from codekin.syntax.languages import LANGUAGES, Language, language_of
from codekin.syntax.lexing import Token, is_code, tokens

__all__ = ["LANGUAGES", "Language", "Token", "fragment_at", "fragments", "is_code", "language_of", "parts_of", "tokens"]
