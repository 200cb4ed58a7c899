"""Min-hash sketches: how much two texts share of their token runs, without the texts.

The share of equal entries of two sketches estimates the Jaccard similarity of their
shingle sets (Broder 1997). Sketches find candidates; `resemblance` decides.
"""

import zlib

import numpy as np
from numpy.typing import NDArray

from codekin.index.tokens import shingles

WIDTH = 32
_SEEDS = np.random.default_rng(1997).integers(1, 2**32, (2, WIDTH), dtype=np.uint64)
_PRIME = np.uint64(4294967291)

Sketch = NDArray[np.uint32]


def sketch(text: str) -> Sketch:
    """The min-hash sketch of a text, shape (WIDTH,)."""
    hashes = np.fromiter((zlib.crc32("\0".join(run).encode("utf-8", "replace")) for run in shingles(text)), np.uint64)
    mixed = (hashes[:, None] * _SEEDS[0] + _SEEDS[1]) % _PRIME
    smallest: Sketch = mixed.min(axis=0).astype(np.uint32)
    return smallest


def resemblance(one: str, other: str) -> float:
    """Jaccard similarity of the texts' token runs, between 0 and 1."""
    left, right = shingles(one), shingles(other)
    return len(left & right) / len(left | right)
