"""Hashed n-gram tables over token numbers: where a run of tokens occurs, and how often.

Hashes have 32 bits and are not checked: of a million runs, one query in four thousand meets a stranger.
"""

from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from codekin.completion.lexicon import Tokens

Hashes = NDArray[np.uint32]
Places = NDArray[np.int64]

_STEP = np.uint64(0x9E3779B97F4A7C15)
_MIX = np.uint64(0xD6E8FEB86659FD93)
_HALF = np.uint64(32)
_FOLD = np.uint64(29)


def run_hashes(tokens: Tokens, longest: int) -> list[Hashes]:
    """For every length from 1 to `longest`: hashes of the runs that end at each place, along the last axis.

    Entries with fewer tokens before them than the length asks for hash the tokens there are.
    """
    mixed = (tokens.astype(np.uint64) + np.uint64(1)) * _MIX
    runs = [mixed]
    for _ in range(longest - 1):
        longer = mixed.copy()
        longer[..., 1:] += runs[-1][..., :-1] * _STEP
        runs.append(longer)
    return [_finished(run) for run in runs]


def run_hash(tokens: Tokens) -> int:
    """The hash of one run as a whole."""
    mixed = ((tokens.astype(np.uint64) + np.uint64(1)) * _MIX).tolist()
    total = reduce(lambda sum_, one: (sum_ * int(_STEP) + one) & 0xFFFFFFFFFFFFFFFF, mixed, 0)
    total = (total ^ (total >> 29)) * int(_MIX) & 0xFFFFFFFFFFFFFFFF
    return total >> 32


def _finished(run: NDArray[np.uint64]) -> Hashes:
    return (((run ^ (run >> _FOLD)) * _MIX) >> _HALF).astype(np.uint32)


@dataclass(frozen=True, slots=True)
class Table:
    """Runs of one length: `places[starts[k]:starts[k + 1]]` are the ends of the runs with hash `keys[k]`, ascending."""

    keys: Hashes
    starts: NDArray[np.uint32]
    places: NDArray[np.uint32]

    def find(self, key: int) -> Places:
        """Where a run ends."""
        at = int(np.searchsorted(self.keys, np.uint32(key)))
        if at == len(self.keys) or self.keys[at] != key:
            return np.zeros(0, np.int64)
        return self.places[self.starts[at] : self.starts[at + 1]].astype(np.int64)

    def counts(self, keys: Hashes) -> NDArray[np.float64]:
        """How often each run occurs; same shape as `keys`."""
        at = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        sizes = (self.starts[at + 1] - self.starts[at]).astype(np.float64)
        return np.where(self.keys[at] == keys, sizes, 0.0)


def table_of(hashes: Hashes) -> Table:
    """Sorts the hashes of a text's runs into a table."""
    packed = hashes.astype(np.uint64) << _HALF
    packed |= np.arange(len(hashes), dtype=np.uint64)
    packed.sort()  # far faster than a stable argsort
    ordered = (packed >> _HALF).astype(np.uint32)
    is_new = np.empty(len(ordered), bool)
    is_new[:1] = True
    np.not_equal(ordered[1:], ordered[:-1], out=is_new[1:])
    starts = np.flatnonzero(is_new)
    return Table(ordered[starts], np.append(starts, len(ordered)).astype(np.uint32), packed.astype(np.uint32))
