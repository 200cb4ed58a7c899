"""The cursor position in a document, and its context as tokens for the repository model."""

import re
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from codekin.completion.ngrams import (
    FILE_BOUNDARY,
    CorpusSegment,
    TokenIds,
    TokenVocabulary,
    build_segment,
    split_partial_token,
)


@dataclass(frozen=True, slots=True)
class CursorPosition:
    """A path relative to the workspace, its language, and the text before and behind the cursor.

    `similar_paths` are files known to hold similar code.
    """

    path: str
    language: str
    prefix: str
    suffix: str
    similar_paths: frozenset[str] = frozenset()

    @property
    def line_before(self) -> str:
        """The cursor's line up to the cursor."""
        return self.prefix[self.prefix.rfind("\n") + 1 :]

    @property
    def line_after(self) -> str:
        """The cursor's line after the cursor."""
        return self.suffix.partition("\n")[0]

    @property
    def around_line(self) -> "CursorPosition":
        """The gap that the cursor's whole line leaves: what is chosen for it stays while the line is typed."""
        return replace(self, prefix=self.prefix[: len(self.prefix) - len(self.line_before)])

    @property
    def indentation(self) -> str:
        """The white space that begins the cursor's line."""
        line = self.line_before
        return line[: len(line) - len(line.lstrip())]


def cursor_at(path: str, language: str, text: str, line: int, column: int) -> CursorPosition:
    """The gap at a place: `line` counts from 1 and ends as in the language server protocol, `column` counts characters.

    A place outside is brought to the nearest one inside.
    """
    starts = [0, *(match.end() for match in _LINE_END.finditer(text))]
    start = starts[min(max(line, 1), len(starts)) - 1]
    end = _LINE_END.search(text, start)
    offset = min(start + max(column, 0), end.start() if end else len(text))
    if line > len(starts):
        offset = len(text)
    return CursorPosition(path, language, text[:offset], text[offset:])


_LINE_END = re.compile(r"\r\n|\n|\r")


MAX_PREFIX_CHARACTERS = 48_000
MAX_SUFFIX_CHARACTERS = 16_000


@dataclass(frozen=True, slots=True)
class CompletionContext:
    """A cursor in a document.

    `before` are the tokens up to the one that is being typed, whose text so far is `typed`; `after` the tokens from
    the end of the cursor's line. `line_start` is the place in `before` of the line break before the cursor's line.
    `document` holds both parts as two files, without the cursor's line end. `allowed` marks the tokens that
    begin with `typed` (None: all do). `similar_paths` are files known to hold similar code.
    """

    path: str
    is_c_like: bool
    before: TokenIds
    after: TokenIds
    typed: str
    line_start: int
    document: CorpusSegment
    allowed: NDArray[np.bool_] | None
    similar_paths: frozenset[str] = frozenset()

    @property
    def cursor_index(self) -> int:
        """The place of the last token before the cursor in `document`."""
        return len(self.before)


def read_context(vocabulary: TokenVocabulary, cursor: CursorPosition) -> CompletionContext:
    """Reads the text before and behind a cursor; the rest of the cursor's line is not looked at."""
    settled, typed = split_partial_token(_cut_start(cursor.prefix, MAX_PREFIX_CHARACTERS))
    before, indentation = vocabulary.encode("\n" + settled)
    line_end = cursor.suffix.find("\n")
    below = cursor.suffix[line_end : line_end + MAX_SUFFIX_CHARACTERS] if line_end >= 0 else ""
    after, _ = vocabulary.encode(below, indentation)
    return CompletionContext(
        path=cursor.path,
        is_c_like=cursor.language in {"cpp", "c"},
        before=before,
        after=after,
        typed=typed,
        line_start=int(np.flatnonzero(before < FILE_BOUNDARY)[-1]),
        document=build_segment([(cursor.path, before), (cursor.path, after)], vocabulary),
        allowed=vocabulary.tokens_with_prefix(typed) if typed else None,
        similar_paths=cursor.similar_paths,
    )


def _cut_start(text: str, most: int) -> str:
    """The end of a text, cut at a line border."""
    if len(text) <= most:
        return text
    line_start = text.find("\n", len(text) - most) + 1
    return text[line_start or len(text) - most :]


def folder_of(path: str) -> str:
    """The folder of a path."""
    return path.rpartition("/")[0]


def role_of(path: str) -> str:
    """What a file is for, by its name's last word and its ending: `user_test.exs` → `test.exs`."""
    name = PurePosixPath(path)
    return name.stem.rpartition("_")[2] + name.suffix
