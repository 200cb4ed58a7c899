"""The terms of texts: tokens, hashed counts, min-hash sketches, and their frequencies in each language.

`camelCase`, `snake_case` and digits are split; operators count as tokens. Terms are single tokens and pairs of
neighbours, hashed into 2^20 numbers each. Equal entries of two sketches estimate the Jaccard similarity of their
shingles (Broder 1997). Frequencies are kept in step with the index; in a very large one they come from a sample.
"""

import re
import sqlite3
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from codekin.errors import StoreError
from codekin.storage.dense_vectors import Floats
from codekin.storage.snapshot import IndexSnapshot
from codekin.types import split_identifier

_TOKEN = re.compile(r"[^\W\d]\w*|\d+|[-+*/%<>=!&|^~@?:.\\]+")
_MAX_TOKEN_LENGTH = 64


def tokenize_for_search(text: str) -> list[str]:
    """All subtokens of `text` in order, lowercase; a compound name also counts as a whole."""
    found: list[str] = []
    for token in _TOKEN.findall(text):
        found.extend(_split_token(token))
    return found


def split_subtokens(text: str) -> list[str]:
    """All subtokens of `text` in order, lowercase, without the compound names that they make up."""
    found: list[str] = []
    for token in _TOKEN.findall(text):
        split = _split_token(token)
        found.extend(split[:-1] if len(split) > 1 else split)
    return found


def shingles(text: str, width: int = 4) -> frozenset[tuple[str, ...]]:
    """All runs of `width` raw tokens, so that equal sets mean equal code up to layout."""
    raw = _TOKEN.findall(text)
    return frozenset(tuple(raw[i : i + width]) for i in range(max(1, len(raw) - width + 1)))


@lru_cache(maxsize=65536)
def _split_token(token: str) -> tuple[str, ...]:
    """The subtokens of one identifier, number or operator."""
    if not (token[0].isalpha() or token[0] == "_"):
        return (token[:_MAX_TOKEN_LENGTH],)
    subtokens = tuple(subtoken.lower()[:_MAX_TOKEN_LENGTH] for subtoken in split_identifier(token))
    return (*subtokens, "_".join(subtokens)[:_MAX_TOKEN_LENGTH]) if len(subtokens) > 1 else subtokens


TERM_NUMBERS = 1 << 21
"""The number of term numbers; those from PAIRS on are pairs."""

FIRST_PAIR_NUMBER = 1 << 20
_MAX_COUNT = 255

TermCounts = NDArray[np.uint32]
"""One entry for each different term: its number shifted by 8 bits, and how often it occurs."""

_SYNONYMS = {
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


def count_terms(text: str) -> TermCounts:
    """The terms of a text."""
    single = np.fromiter((_hash_term(subtoken) for subtoken in split_subtokens(text)), np.uint64)
    mixed = (single[:-1] * np.uint64(0x9E3779B97F4A7C15) + single[1:] * np.uint64(0xC2B2AE3D27D4EB4F)) >> np.uint64(44)
    numbers, counts = np.unique(np.concatenate([single, mixed + np.uint64(FIRST_PAIR_NUMBER)]), return_counts=True)
    packed = (numbers << np.uint64(8)) | np.minimum(counts, _MAX_COUNT).astype(np.uint64)
    return packed.astype(np.uint32)


@lru_cache(maxsize=65536)
def _hash_term(subtoken: str) -> int:
    return zlib.crc32(_SYNONYMS.get(subtoken, subtoken).encode("utf-8", "replace")) >> 12


def encode_terms(terms: TermCounts) -> bytes:
    """The terms as bytes with a checksum at their end."""
    data = terms.tobytes()
    return data + zlib.crc32(data).to_bytes(4, "little")


def decode_terms(data: bytes) -> TermCounts:
    """The reverse of `encode_terms`; raises StoreError when damaged."""
    if len(data) < 4 or zlib.crc32(memoryview(data)[:-4]).to_bytes(4, "little") != data[-4:]:
        raise StoreError("the terms of a text are damaged")
    return np.frombuffer(data, np.uint32, len(data) // 4 - 1)


SKETCH_SIZE = 32
_SEEDS = np.random.default_rng(1997).integers(1, 2**32, (2, SKETCH_SIZE), dtype=np.uint64)
_PRIME = np.uint64(4294967291)

Sketch = NDArray[np.uint32]


def compute_sketch(text: str) -> Sketch:
    """The min-hash sketch of a text, shape (WIDTH,)."""
    hashes = np.fromiter((zlib.crc32("\0".join(run).encode("utf-8", "replace")) for run in shingles(text)), np.uint64)
    mixed = (hashes[:, None] * _SEEDS[0] + _SEEDS[1]) % _PRIME
    smallest: Sketch = mixed.min(axis=0).astype(np.uint32)
    return smallest


def jaccard_similarity(one: str, other: str) -> float:
    """Jaccard similarity of the texts' token runs, between 0 and 1."""
    left, right = shingles(one), shingles(other)
    return len(left & right) / len(left | right)


_MAX_COUNTED = 200_000


_MAX_CACHED = 400_000


_SQL_BATCH = 500


_BM25_K1 = 1.2


_BM25_B = 0.75
"""The usual constants of BM25 (Robertson and Zaragoza 2009)."""


ContentIds = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class DocumentFrequencies:
    """For one language: in how many chunks each term occurs, how many there are, and their terms with repeats."""

    document_counts: NDArray[np.int32]
    chunks: int
    term_total: int

    def inverse_document_frequency(self, numbers: TermCounts) -> Floats:
        """Smoothed inverse document frequency of some terms."""
        document_counts = np.clip(self.document_counts[numbers], 0, self.chunks).astype(np.float32)
        return np.asarray(np.log((1 + self.chunks) / (1 + document_counts)) + 1, np.float32)

    def document_share(self, numbers: TermCounts) -> Floats:
        """The share of all chunks that have each term."""
        return (self.document_counts[numbers] / max(1, self.chunks)).astype(np.float32)

    def saturated_counts(self, counts: Floats, lengths: Floats | float) -> Floats:
        """BM25's saturation: the weight of terms by their count and the length of their text."""
        typical = max(1, self.term_total) / max(1, self.chunks)
        held = _BM25_K1 * (1 - _BM25_B + _BM25_B * lengths / typical)
        return np.asarray(counts * (_BM25_K1 + 1) / (counts + held), np.float32)


@dataclass(frozen=True, slots=True)
class WeightedTexts:
    """Texts of one language made ready: for each term its weight in TF-IDF and BM25, and whose it is; a norm a text."""

    numbers: TermCounts
    weights: Floats
    saturated_counts: Floats
    owners: NDArray[np.int64]
    norms: Floats


@dataclass(frozen=True, slots=True)
class TermStatistics:
    """The words of a snapshot's chunks; `texts` by content id, `samples` and `sizes` fill as they are needed.

    `sizes` has by language and content id the length of the TF-IDF vector and the number of terms.
    """

    texts: dict[int, TermCounts]
    languages: Mapping[int, DocumentFrequencies]
    level: int
    samples: dict[int, WeightedTexts] = field(default_factory=dict)
    sizes: dict[int, dict[int, tuple[float, float]]] = field(default_factory=dict)


def open_term_statistics(database: sqlite3.Connection, snapshot: IndexSnapshot) -> TermStatistics:
    """Reads all terms, or those of a sample of a very large index, and counts them."""
    level = max(0, int(np.ceil(np.log2(max(1, len(snapshot)) / _MAX_COUNTED))))
    term_statistics = TermStatistics({}, {}, level)
    return _update_frequencies(database, term_statistics, snapshot, np.flatnonzero(snapshot.columns.sample >= level), 1)


def refresh_term_statistics(
    database: sqlite3.Connection, term_statistics: TermStatistics, old: IndexSnapshot, new: IndexSnapshot
) -> TermStatistics:
    """The term statistics of a newer snapshot."""
    if len(new) > 2 * _MAX_COUNTED << term_statistics.level:
        return open_term_statistics(database, new)
    if len(term_statistics.texts) > _MAX_CACHED:
        term_statistics.texts.clear()
    removed = np.flatnonzero((old.columns.sample >= term_statistics.level) & ~np.isin(old.columns.id, new.columns.id))
    added = np.flatnonzero((new.columns.sample >= term_statistics.level) & ~np.isin(new.columns.id, old.columns.id))
    return _update_frequencies(
        database, _update_frequencies(database, term_statistics, old, removed, -1), new, added, 1
    )


def _update_frequencies(
    database: sqlite3.Connection, term_statistics: TermStatistics, snapshot: IndexSnapshot, rows: ContentIds, sign: int
) -> TermStatistics:
    """The frequencies with some rows counted in (1) or out (-1)."""
    languages = dict(term_statistics.languages)
    load_terms(database, term_statistics, snapshot.columns.content[rows])
    for number in np.flatnonzero(np.bincount(snapshot.columns.language[rows])).tolist():
        some = rows[snapshot.columns.language[rows] == number]
        terms, _ = concatenate_terms(term_statistics, snapshot.columns.content[some])
        numbers, counts = unpack_terms(terms)
        document_counts = np.bincount(numbers, minlength=TERM_NUMBERS).astype(np.int32)
        known = languages.get(number, DocumentFrequencies(np.zeros(TERM_NUMBERS, np.int32), 0, 0))
        term_total = known.term_total + sign * int(counts.sum(dtype=np.float64))
        languages[number] = DocumentFrequencies(
            known.document_counts + sign * document_counts, known.chunks + sign * len(some), term_total
        )
    return TermStatistics(term_statistics.texts, languages, term_statistics.level)


def load_terms(database: sqlite3.Connection, term_statistics: TermStatistics, contents: ContentIds) -> bool:
    """Reads the terms of contents that are not in memory yet; False when one was damaged."""
    missing = [key for key in set(contents.tolist()) if key not in term_statistics.texts]
    valid = True
    for start in range(0, len(missing), _SQL_BATCH):
        some = missing[start : start + _SQL_BATCH]
        marks = ",".join("?" * len(some))
        for key, data in database.execute(f"SELECT id, terms FROM content WHERE id IN ({marks})", some):  # noqa: S608
            try:
                term_statistics.texts[key] = decode_terms(data)
            except StoreError:
                valid = False
    return valid


def concatenate_terms(term_statistics: TermStatistics, contents: ContentIds) -> tuple[TermCounts, NDArray[np.int64]]:
    """The terms of some contents, one after the other, and where each begins."""
    blank = np.zeros(0, np.uint32)
    parts = [term_statistics.texts.get(key, blank) for key in contents.tolist()]
    begins = np.cumsum([0, *map(len, parts)])
    return np.concatenate([blank, *parts]), begins


def unpack_terms(terms: TermCounts) -> tuple[TermCounts, Floats]:
    """Term numbers and counts."""
    return np.right_shift(terms, np.uint32(8)), np.bitwise_and(terms, np.uint32(255)).astype(np.float32)
