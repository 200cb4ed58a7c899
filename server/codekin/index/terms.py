"""The words of a text as counted term numbers: what TF-IDF and BM25 need, in 4 bytes a term.

Terms are single pieces and pairs of neighbours, hashed into 2^20 numbers each. Operators
that mean the same in several languages share a term. It knows no vocabulary, so that terms
of one text never depend on another.
"""

import zlib
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from codekin.errors import StoreError
from codekin.index.tokens import pieces

NUMBERS = 1 << 21
"""How many term numbers there are; those from PAIRS on are pairs."""

PAIRS = 1 << 20
_MOST_COUNTED = 255

Terms = NDArray[np.uint32]
"""One entry for each different term: its number shifted by 8 bits, and how often it occurs."""

_SAME = {
    "&&": "and",
    "andalso": "and",
    "||": "or",
    "orelse": "or",
    "!": "not",
    "!==": "!=",
    "=/=": "!=",
    "===": "==",
    "=:=": "==",
    "=<": "<=",
    "%": "rem",
    "mod": "rem",
    "nullptr": "nil",
    "null": "nil",
    "undefined": "nil",
    "=>": "->",
}


def count_terms(text: str) -> Terms:
    """The terms of a text."""
    single = np.fromiter((_number(piece) for piece in pieces(text)), np.uint64)
    mixed = (single[:-1] * np.uint64(0x9E3779B97F4A7C15) + single[1:] * np.uint64(0xC2B2AE3D27D4EB4F)) >> np.uint64(44)
    numbers, counts = np.unique(np.concatenate([single, mixed + np.uint64(PAIRS)]), return_counts=True)
    packed = (numbers << np.uint64(8)) | np.minimum(counts, _MOST_COUNTED).astype(np.uint64)
    return packed.astype(np.uint32)


@lru_cache(maxsize=65536)
def _number(piece: str) -> int:
    return zlib.crc32(_SAME.get(piece, piece).encode("utf-8", "replace")) >> 12


def write_terms(terms: Terms) -> bytes:
    """The terms as bytes with a checksum at their end."""
    data = terms.tobytes()
    return data + zlib.crc32(data).to_bytes(4, "little")


def read_terms(data: bytes) -> Terms:
    """The reverse of `write_terms`; raises StoreError when damaged."""
    if len(data) < 4 or zlib.crc32(memoryview(data)[:-4]).to_bytes(4, "little") != data[-4:]:
        raise StoreError("the terms of a text are damaged")
    return np.frombuffer(data, np.uint32, len(data) // 4 - 1)
