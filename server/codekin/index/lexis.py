"""How alike two texts are by their words: the cosine of TF-IDF weights, fitted to each language.

A reader keeps the terms of the texts it compares in memory, and the number of fragments of
each language that contain a term. In a very large index the frequencies come from a sample
and terms are read when they are needed. Which fragments are worth comparing, others say.
"""

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from codekin.errors import StoreError
from codekin.index.fusion import Scores
from codekin.index.snapshot import Snapshot
from codekin.index.terms import NUMBERS, Terms, read_terms

_COUNTED = 200_000
_KEPT = 400_000
_ASKED_AT_ONCE = 500
_SLOPE = 0.3

TYPICAL_NORM = 70.0
"""The length of the TF-IDF vector of a function of ten lines."""

Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Frequencies:
    """For one language: in how many fragments each term occurs, and how many there are."""

    having: NDArray[np.int32]
    fragments: int

    def rarity(self, numbers: Terms) -> Scores:
        """Smoothed inverse document frequency of some terms."""
        table = np.log((1 + self.fragments) / (1 + np.arange(self.fragments + 1))) + 1
        return np.asarray(table.astype(np.float32)[np.clip(self.having[numbers], 0, self.fragments)])


@dataclass(frozen=True, slots=True)
class Weighed:
    """Texts of one language made ready: for each term its share of the text, and where each text begins."""

    numbers: Terms
    weights: Scores
    norms: Scores
    begins: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Lexis:
    """The words of a snapshot's fragments; `texts` by content id and `samples` fill as they are needed."""

    texts: dict[int, Terms]
    languages: Mapping[int, Frequencies]
    level: int
    samples: dict[int, Weighed] = field(default_factory=dict)


def open_lexis(database: sqlite3.Connection, snapshot: Snapshot) -> Lexis:
    """Reads all terms, or those of a sample of a very large index, and counts them."""
    level = max(0, int(np.ceil(np.log2(max(1, len(snapshot)) / _COUNTED))))
    lexis = Lexis({}, {}, level)
    return _shifted(database, lexis, snapshot, np.flatnonzero(snapshot.columns.sample >= level), 1)


def refresh_lexis(database: sqlite3.Connection, lexis: Lexis, old: Snapshot, new: Snapshot) -> Lexis:
    """The words of a newer snapshot."""
    if len(new) > 2 * _COUNTED << lexis.level:
        return open_lexis(database, new)
    if len(lexis.texts) > _KEPT:
        lexis.texts.clear()
    gone = np.flatnonzero((old.columns.sample >= lexis.level) & ~np.isin(old.columns.id, new.columns.id))
    come = np.flatnonzero((new.columns.sample >= lexis.level) & ~np.isin(new.columns.id, old.columns.id))
    return _shifted(database, _shifted(database, lexis, old, gone, -1), new, come, 1)


def _shifted(database: sqlite3.Connection, lexis: Lexis, snapshot: Snapshot, rows: Rows, sign: int) -> Lexis:
    """The frequencies with some rows counted in (1) or out (-1)."""
    languages = dict(lexis.languages)
    fetch(database, lexis, snapshot.columns.content[rows])
    for number in np.flatnonzero(np.bincount(snapshot.columns.language[rows])).tolist():
        some = rows[snapshot.columns.language[rows] == number]
        terms, _ = _joined(lexis, snapshot.columns.content[some])
        having = np.bincount(terms >> 8, minlength=NUMBERS).astype(np.int32)
        known = languages.get(number, Frequencies(np.zeros(NUMBERS, np.int32), 0))
        languages[number] = Frequencies(known.having + sign * having, known.fragments + sign * len(some))
    return Lexis(lexis.texts, languages, lexis.level)


def fetch(database: sqlite3.Connection, lexis: Lexis, contents: Rows) -> bool:
    """Reads the terms of contents that are not in memory yet; False when one was damaged."""
    missing = [key for key in set(contents.tolist()) if key not in lexis.texts]
    sound = True
    for start in range(0, len(missing), _ASKED_AT_ONCE):
        some = missing[start : start + _ASKED_AT_ONCE]
        marks = ",".join("?" * len(some))
        for key, data in database.execute(f"SELECT id, terms FROM content WHERE id IN ({marks})", some):  # noqa: S608
            try:
                lexis.texts[key] = read_terms(data)
            except StoreError:
                sound = False
    return sound


def _joined(lexis: Lexis, contents: Rows) -> tuple[Terms, NDArray[np.int64]]:
    """The terms of some contents, one after the other, and where each begins."""
    blank = np.zeros(0, np.uint32)
    parts = [lexis.texts.get(key, blank) for key in contents.tolist()]
    begins = np.cumsum([0, *map(len, parts)])
    return np.concatenate([blank, *parts]), begins


def weigh(lexis: Lexis, language: int, contents: Rows) -> Weighed:
    """The texts of some contents with the weights of their terms in a language."""
    terms, begins = _joined(lexis, contents)
    numbers, counts = _unpacked(terms)
    weights = (1 + np.log(counts)) * lexis.languages[language].rarity(numbers)
    norms = np.maximum(np.sqrt(_sums(weights * weights, begins)), np.float32(1e-9))
    return Weighed(numbers, weights / np.repeat(norms, np.diff(begins)), norms, begins)


def alike(lexis: Lexis, query: Terms, language: int, weighed: Weighed) -> Scores:
    """TF-IDF cosine of the query with each text, between 0 and 1."""
    numbers, weights = _asked(lexis, query, language)
    asked = np.zeros(NUMBERS, np.float32)
    asked[numbers] = weights
    return _sums(asked[weighed.numbers] * weighed.weights, weighed.begins)


def answering(lexis: Lexis, query: Terms, language: int, weighed: Weighed) -> Scores:
    """How well each text answers a few words: as `alike`, but a long text is held less against itself.

    Lengths are pivoted (Singhal, Buckley and Mitra 1996) around a text of TYPICAL_NORM, and
    1 is a text of that length that has every word once.
    """
    numbers, weights = _asked(lexis, query, language)
    rarity = lexis.languages[language].rarity(numbers)
    best = float((weights * rarity).sum()) / TYPICAL_NORM
    pivoted = weighed.norms / ((1 - _SLOPE) * TYPICAL_NORM + _SLOPE * weighed.norms)
    return np.asarray(alike(lexis, query, language, weighed) * pivoted / np.float32(max(best, 1e-9)), np.float32)


def _asked(lexis: Lexis, query: Terms, language: int) -> tuple[Terms, Scores]:
    """The query's terms with their weights, of unit length."""
    numbers, counts = _unpacked(query)
    weights = (1 + np.log(counts)) * lexis.languages[language].rarity(numbers)
    return numbers, np.asarray(weights / max(float(np.linalg.norm(weights)), 1e-9), np.float32)


def _unpacked(terms: Terms) -> tuple[Terms, Scores]:
    """Term numbers and counts."""
    return np.right_shift(terms, np.uint32(8)), np.bitwise_and(terms, np.uint32(255)).astype(np.float32)


def _sums(values: NDArray[np.floating], begins: NDArray[np.int64]) -> Scores:
    """The sum of each stretch of values."""
    totals = np.concatenate([np.zeros(1), np.cumsum(values, dtype=np.float64)])
    return np.asarray(totals[begins[1:]] - totals[begins[:-1]], np.float32)
