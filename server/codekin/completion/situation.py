"""The cursor as the repository model sees it: tokens before and behind, and the token that is being typed."""

from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from codekin.completion.gap import Gap
from codekin.completion.lexicon import BOUNDARY, Tokens, Vocabulary, unfinished
from codekin.completion.segment import Segment, segment_of

LONGEST_PREFIX = 48_000
LONGEST_SUFFIX = 16_000


@dataclass(frozen=True, slots=True)
class Situation:
    """A cursor in a document.

    `before` are the tokens up to the one that is being typed, whose text so far is `typed`; `behind` the tokens from
    the end of the cursor's line. `line_start` is the place in `before` of the line break before the cursor's line.
    `document` holds both parts as two files, without the cursor's line end. `allowed` tells the tokens that
    begin with `typed` (None: all do). `kin` are files that are akin by meaning.
    """

    path: str
    is_c_like: bool
    before: Tokens
    behind: Tokens
    typed: str
    line_start: int
    document: Segment
    allowed: NDArray[np.bool_] | None
    kin: frozenset[str] = frozenset()

    @property
    def cursor(self) -> int:
        """The place of the last token before the cursor in `document`."""
        return len(self.before)


def situation_of(vocabulary: Vocabulary, gap: Gap) -> Situation:
    """Reads the text before and behind a cursor; the rest of the cursor's line is not looked at."""
    settled, typed = unfinished(_last(gap.prefix, LONGEST_PREFIX))
    before, indentation = vocabulary.encode("\n" + settled)
    line_end = gap.suffix.find("\n")
    below = gap.suffix[line_end : line_end + LONGEST_SUFFIX] if line_end >= 0 else ""
    behind, _ = vocabulary.encode(below, indentation)
    return Situation(
        path=gap.path,
        is_c_like=gap.language in {"cpp", "c"},
        before=before,
        behind=behind,
        typed=typed,
        line_start=int(np.flatnonzero(before < BOUNDARY)[-1]),
        document=segment_of([(gap.path, before), (gap.path, behind)], vocabulary),
        allowed=vocabulary.beginning_with(typed) if typed else None,
        kin=gap.kin,
    )


def _last(text: str, most: int) -> str:
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
