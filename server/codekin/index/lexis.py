"""How alike two texts are by their words, fitted to each language.

Within a language it is the mean of the cosine of TF-IDF weights, which sees the whole of both texts
and pairs of words, and of BM25 on single words, which sees what they share. Texts of two languages
share few words, and much of a text can have no answer in the other: there it is BM25 alone, and a
word that is common in either language tells little.

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
from codekin.index.terms import NUMBERS, PAIRS, Terms, read_terms

_COUNTED = 200_000
_KEPT = 400_000
_ASKED_AT_ONCE = 500
_SLOPE = 0.3
_SATURATION = 1.2
_LENGTH = 0.75
"""The usual constants of BM25 (Robertson and Zaragoza 2009)."""

USUAL = 0.25
"""How alike two functions of one language are that have nothing to do with each other."""

TYPICAL_NORM = 70.0
"""The length of the TF-IDF vector of a function of ten lines."""

Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Frequencies:
    """For one language: in how many fragments each term occurs, how many there are, and their terms with repeats."""

    having: NDArray[np.int32]
    fragments: int
    counted: int

    def rarity(self, numbers: Terms) -> Scores:
        """Smoothed inverse document frequency of some terms."""
        having = np.clip(self.having[numbers], 0, self.fragments).astype(np.float32)
        return np.asarray(np.log((1 + self.fragments) / (1 + having)) + 1, np.float32)

    def share(self, numbers: Terms) -> Scores:
        """Of all fragments, the share that has each term."""
        return (self.having[numbers] / max(1, self.fragments)).astype(np.float32)

    def saturated(self, counts: Scores, lengths: Scores | float) -> Scores:
        """How much terms count that occur so often in texts of so many terms."""
        typical = max(1, self.counted) / max(1, self.fragments)
        held = _SATURATION * (1 - _LENGTH + _LENGTH * lengths / typical)
        return np.asarray(counts * (_SATURATION + 1) / (counts + held), np.float32)


@dataclass(frozen=True, slots=True)
class Weighed:
    """Texts of one language made ready: for each term its weight in TF-IDF and BM25, and whose it is; a norm a text."""

    numbers: Terms
    weights: Scores
    saturated: Scores
    owners: NDArray[np.int64]
    norms: Scores


@dataclass(frozen=True, slots=True)
class Asked:
    """A query's terms: their numbers and counts, and for every term number which of them it is, from 1 on."""

    numbers: Terms
    counts: Scores
    places: NDArray[np.unsignedinteger]


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
        numbers, counts = _unpacked(terms)
        having = np.bincount(numbers, minlength=NUMBERS).astype(np.int32)
        known = languages.get(number, Frequencies(np.zeros(NUMBERS, np.int32), 0, 0))
        counted = known.counted + sign * int(counts.sum(dtype=np.float64))
        languages[number] = Frequencies(known.having + sign * having, known.fragments + sign * len(some), counted)
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
    known, sizes = lexis.languages[language], np.diff(begins)
    weights = (1 + np.log(counts)) * known.rarity(numbers)
    norms = np.maximum(np.sqrt(_sums(weights * weights, begins)), np.float32(1e-9))
    saturated = known.saturated(counts, np.repeat(_sums(counts, begins), sizes))
    owners = np.repeat(np.arange(len(sizes)), sizes)
    return Weighed(numbers, weights / np.repeat(norms, sizes), saturated, owners, norms)


def ask(query: Terms) -> Asked:
    """A query made ready for any number of texts."""
    numbers, counts = _unpacked(query)
    places = np.zeros(NUMBERS, np.min_scalar_type(len(numbers)))
    places[numbers] = np.arange(1, len(numbers) + 1)
    return Asked(numbers, counts, places)


def alike(lexis: Lexis, asked: Asked, language: int, weighed: Weighed) -> Scores:
    """How alike the query and each text of its own language are, between 0 and 1; 1 for a copy."""
    shared, own = _shared(lexis, asked, {language}, language, weighed, asked.numbers < PAIRS)
    part = np.log1p(shared) / max(float(np.log1p(own)), 1e-9)
    return np.asarray((_cosine(lexis, asked, language, weighed) + part) / 2, np.float32)


def alike_across(lexis: Lexis, asked: Asked, home: int | None, language: int, weighed: Weighed) -> Scores:
    """The same for texts of another language; `home` is the query's own, None where no fragment is in it."""
    shared, own = _shared(lexis, asked, {home, language}, language, weighed, np.ones(len(asked.numbers), bool))
    return np.asarray(shared / max(own, 1e-9), np.float32)


def answering(lexis: Lexis, asked: Asked, language: int, weighed: Weighed) -> Scores:
    """How well each text answers a few words: the cosine, but a long text is held less against itself.

    Lengths are pivoted (Singhal, Buckley and Mitra 1996) around a text of TYPICAL_NORM, and
    1 is a text of that length that has every word once. The square root keeps one rare word from
    outweighing what a text means.
    """
    rarity = lexis.languages[language].rarity(asked.numbers)
    best = float((_weights(lexis, asked, language) * rarity).sum()) / TYPICAL_NORM
    pivoted = weighed.norms / ((1 - _SLOPE) * TYPICAL_NORM + _SLOPE * weighed.norms)
    return np.asarray(np.sqrt(_cosine(lexis, asked, language, weighed) * pivoted / max(best, 1e-9)), np.float32)


def _cosine(lexis: Lexis, asked: Asked, language: int, weighed: Weighed) -> Scores:
    """TF-IDF cosine of the query with each text, between 0 and 1."""
    return _met(asked, _weights(lexis, asked, language), weighed, weighed.weights)


def _shared(  # noqa: PLR0913, PLR0917 - what is compared, by which languages, and of which terms
    lexis: Lexis, asked: Asked, among: set[int | None], language: int, weighed: Weighed, counting: NDArray[np.bool_]
) -> tuple[Scores, float]:
    """BM25 of the `counting` terms of the query with each text, and what a copy would have.

    The languages in `among` say alike how common a term is, however many fragments they have.
    """
    known = [one for number, one in lexis.languages.items() if number in among]
    total = sum(one.fragments for one in known)
    common = total * np.mean([one.share(asked.numbers) for one in known], axis=0)
    rarity = np.where(counting, np.log((total + 1) / (common + 0.5)), 0).astype(np.float32)
    own = lexis.languages[language].saturated(asked.counts, float(asked.counts.sum()))
    return _met(asked, rarity, weighed, weighed.saturated), float((rarity * own).sum())


def _met(asked: Asked, wanted: Scores, weighed: Weighed, held: Scores) -> Scores:
    """For each text the sum of `wanted` times `held` over the terms that it shares with the query."""
    place = asked.places[weighed.numbers]
    shared = np.flatnonzero(place)
    products = wanted[place[shared] - 1] * held[shared]
    return np.bincount(weighed.owners[shared], products, minlength=len(weighed.norms)).astype(np.float32)


def _weights(lexis: Lexis, asked: Asked, language: int) -> Scores:
    """The TF-IDF weights of the query's terms, of unit length."""
    weights = (1 + np.log(asked.counts)) * lexis.languages[language].rarity(asked.numbers)
    return np.asarray(weights / max(float(np.linalg.norm(weights)), 1e-9), np.float32)


def _unpacked(terms: Terms) -> tuple[Terms, Scores]:
    """Term numbers and counts."""
    return np.right_shift(terms, np.uint32(8)), np.bitwise_and(terms, np.uint32(255)).astype(np.float32)


def _sums(values: NDArray[np.floating], begins: NDArray[np.int64]) -> Scores:
    """The sum of each stretch of values."""
    totals = np.concatenate([np.zeros(1), np.cumsum(values, dtype=np.float64)])
    return np.asarray(totals[begins[1:]] - totals[begins[:-1]], np.float32)
