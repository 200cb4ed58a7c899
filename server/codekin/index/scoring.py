"""The two signals of one query for rows of a snapshot: words and meaning.

Words are compared by TF-IDF over the texts' terms, across languages by BM25 over the same;
the text index finds which rows of a large index are worth it. Meaning is the cosine of
centred vectors. Missing values are NaN.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codekin.errors import StoreError
from codekin.index.dense import Dense, cosines, hamming
from codekin.index.fusion import Scores
from codekin.index.lexical import LexicalReader
from codekin.index.lexis import Lexis, Weighed, alike, alike_across, answering, weigh
from codekin.index.snapshot import Snapshot
from codekin.index.terms import Terms
from codekin.index.tokens import tokens
from codekin.seams import Vectors

Rows = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Words:
    """The lexical side of one query; `lexical` finds candidates and may be missing."""

    snapshot: Snapshot
    lexis: Lexis
    lexical: LexicalReader | None
    fetch: Callable[[Lexis, Rows], None]
    text: str
    name: str
    language: str | None
    terms: Terms
    is_question: bool

    def matches(self, limit: int, allowed: Mask, language: int | None = None) -> Rows:
        """The best matching rows that are allowed, best first."""
        if self.lexical is None:
            return np.zeros(0, np.int64)
        conditions = []
        if language is not None:
            conditions.append(self.lexical.language_is(self.snapshot.languages.words()[language]))
        if not allowed.all():
            files = np.flatnonzero(np.bincount(self.snapshot.columns.file[allowed]))
            conditions.append(self.lexical.among("file", files.tolist()))
        try:
            terms = self.lexical.telling(Counter(tokens(self.text)) + Counter(tokens(self.name)))
            ids, _ = self.lexical.search(terms, conditions, limit)
        except StoreError:
            return np.zeros(0, np.int64)
        rows = self._rows(ids)
        return rows[allowed[rows]]

    def _rows(self, ids: NDArray[np.int64]) -> Rows:
        """The rows of those ids that are live."""
        known = self.snapshot.columns.id
        place = np.minimum(np.searchsorted(known, ids), max(0, len(known) - 1))
        return np.asarray(place[known[place] == ids] if len(known) else place[:0], np.int64)

    def of(self, language: int, rows: Rows) -> Scores:
        """How alike the words of each row of a language are; 1 for a copy."""
        contents = self.snapshot.columns.content[rows]
        self.fetch(self.lexis, contents)
        return self._compare(language, weigh(self.lexis, language, contents))

    def of_sample(self, language: int, sample: Rows) -> Scores:
        """The same for the language's fixed sample, whose weights are kept."""
        if language not in self.lexis.samples:
            contents = self.snapshot.columns.content[sample]
            self.fetch(self.lexis, contents)
            self.lexis.samples[language] = weigh(self.lexis, language, contents)
        return self._compare(language, self.lexis.samples[language])

    def _compare(self, language: int, weighed: Weighed) -> Scores:
        if self.is_question:
            return answering(self.lexis, self.terms, language, weighed)
        home = self.snapshot.languages.numbers.get(self.language) if self.language else language
        if home != language:
            return alike_across(self.lexis, self.terms, home, language, weighed)
        return alike(self.lexis, self.terms, language, weighed)


@dataclass(frozen=True, slots=True)
class Meaning:
    """The dense side of one query: its vector, centred in its own language where it has one."""

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
