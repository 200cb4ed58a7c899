"""The two signals of one query for rows of a snapshot, each computed once a row.

BM25 comes from tantivy: the best matches first, single rows on demand. Cosines come from
the vectors. Both are NaN where they are not known.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codekin.errors import StoreError
from codekin.index.dense import Dense, cosines, hamming
from codekin.index.fusion import Scores
from codekin.index.lexical import LexicalReader, Term
from codekin.index.snapshot import Snapshot
from codekin.index.tokens import tokens
from codekin.seams import Vectors

_NAMED = 2000

Rows = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Words:
    """BM25 of one query; `scores` has an entry for each row and fills as rows are asked for.

    `own` is what an exact copy of the query would score.
    """

    lexical: LexicalReader
    snapshot: Snapshot
    terms: list[Term]
    own: float
    scores: Scores

    def matches(self, limit: int, allowed: Mask, language: int | None = None) -> Rows:
        """The best matching rows that are allowed, best first."""
        conditions = []
        if language is not None:
            conditions.append(self.lexical.language_is(self.snapshot.languages.words()[language]))
        if not allowed.all():
            files = np.flatnonzero(np.bincount(self.snapshot.columns.file[allowed]))
            conditions.append(self.lexical.among("file", files.tolist()))
        rows = self._search(conditions, limit)
        return rows[allowed[rows]]

    def of(self, rows: Rows) -> Scores:
        """BM25 of each row, 0 where no word matches."""
        unknown = np.flatnonzero(np.bincount(rows[np.isnan(self.scores[rows])]))
        if len(unknown):
            named = len(unknown) <= _NAMED
            ids = self.snapshot.columns.id[unknown].tolist() if named else []
            self._search([self.lexical.among("id", ids)] if named else [], len(ids) or self.lexical.documents)
            self.scores[unknown] = np.nan_to_num(self.scores[unknown])
        return self.scores[rows]

    def _search(self, conditions: Iterable[object], limit: int) -> Rows:
        """Scores what tantivy finds; returns the rows, best first."""
        ids, values = self.lexical.search(self.terms, list(conditions), limit)
        known = self.snapshot.columns.id
        place = np.minimum(np.searchsorted(known, ids), max(0, len(known) - 1))
        hit = known[place] == ids if len(known) else np.zeros(len(ids), bool)
        self.scores[place[hit]] = values[hit]
        return np.asarray(place[hit], np.int64)


def words(lexical: LexicalReader | None, snapshot: Snapshot, text: str, name: str) -> Words | None:
    """The lexical side of a query; None without a usable index or without a word."""
    if lexical is None:
        return None
    pieces = tokens(text)
    try:
        terms = lexical.telling(Counter(pieces) + Counter(tokens(name)))
    except StoreError:
        return None
    if not terms:
        return None
    blank = np.full(len(snapshot), np.nan, np.float32)
    return Words(lexical, snapshot, terms, lexical.own_score(terms, len(pieces)), blank)


@dataclass(frozen=True, slots=True)
class Meaning:
    """Cosines of one query: its vector, centred in its own language where it has one."""

    dense: Dense
    snapshot: Snapshot
    vector: Vectors

    def near(self, language: int, rows: Rows, hamming_limit: int, limit: int) -> Rows:
        """The `limit` nearest rows: a Hamming scan first when there are many."""
        slots = self.snapshot.columns.slot[rows]
        if len(rows) > hamming_limit:
            distance = hamming(self.dense, self.vector, slots)
            rows = rows[np.argpartition(distance, hamming_limit)[:hamming_limit]]
        cosine = np.nan_to_num(self.of(language, rows), nan=-1.0)
        return rows[np.argsort(-cosine, kind="stable")[:limit]]

    def of(self, language: int, rows: Rows) -> Scores:
        """The cosine of each row of a language, NaN where it has no vector."""
        return cosines(self.dense, self.vector, language, self.snapshot.columns.slot[rows])


def meaning(dense: Dense | None, snapshot: Snapshot, vector: Vectors | None, language: str | None) -> Meaning | None:
    """The dense side of a query; None without vectors."""
    if dense is None or vector is None:
        return None
    vector = np.asarray(vector, np.float32)
    if language in snapshot.languages.numbers:
        vector = vector - dense.mean(snapshot.languages.numbers[language])
    return Meaning(dense, snapshot, vector)
