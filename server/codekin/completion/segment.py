"""An unchanging run of tokenised files with its n-gram tables: the unit of which the repository model is made."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codekin.completion.lexicon import BOUNDARY, Tokens, Vocabulary
from codekin.completion.ngrams import Places, Table, run_hashes, table_of

LONGEST_RUN = 6
SHAPE_RUNS = (5, 8)


@dataclass(frozen=True, slots=True)
class Segment:
    """Files one behind the other, each behind a boundary token; file k begins at `starts[k]`.

    `tables[n - 1]` holds the runs of n tokens, `shape_tables` those of SHAPE_RUNS tokens with names made equal;
    `breaks` are the places of line breaks and boundaries, ascending. About 70 bytes a token.
    """

    paths: tuple[str, ...]
    starts: NDArray[np.int64]
    tokens: Tokens
    breaks: Places
    tables: tuple[Table, ...]
    shape_tables: tuple[Table, ...] = ()

    def files_at(self, places: Places) -> NDArray[np.int64]:
        """Numbers of the files that hold places; same shape."""
        return np.searchsorted(self.starts, places, "right") - 1

    def line_ends(self, places: Places) -> Places:
        """The line break behind each place."""
        return self.breaks[np.searchsorted(self.breaks, places + 1)]

    def line_starts(self, places: Places) -> Places:
        """The line break before each place that is itself a line break."""
        return self.breaks[np.maximum(np.searchsorted(self.breaks, places) - 1, 0)]


def segment_of(
    files: Sequence[tuple[str, Tokens]], vocabulary: Vocabulary, *, longest: int = LONGEST_RUN, shapes: bool = True
) -> Segment:
    """Builds a segment from paths and their tokens, in the order given."""
    tokens = np.concatenate([*_with_boundaries(tokens for _, tokens in files), np.array([BOUNDARY] * 2, np.uint32)])
    shaped = vocabulary.shapes(tokens)
    runs = run_hashes(shaped, max(SHAPE_RUNS)) if shapes else []
    return Segment(
        paths=tuple(path for path, _ in files),
        starts=np.cumsum([0, *(len(tokens) + 1 for _, tokens in files)]),
        tokens=tokens,
        breaks=np.flatnonzero(tokens <= BOUNDARY),
        tables=tuple(table_of(hashes) for hashes in run_hashes(tokens, longest)),
        shape_tables=tuple(table_of(runs[length - 1]) for length in SHAPE_RUNS) if shapes else (),
    )


def _with_boundaries(parts: Iterable[Tokens]) -> Iterable[Tokens]:
    boundary = np.array([BOUNDARY], np.uint32)
    for part in parts:
        yield boundary
        yield part
