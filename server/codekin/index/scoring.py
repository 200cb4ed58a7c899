"""The two signals of one query for rows of a snapshot: words and meaning.

Words are compared by TF-IDF and BM25 over the texts' terms; the text index finds which rows of a
large index are worth it. Meaning is the cosine of centred vectors; across languages, what a row
has in common with everybody there is taken off. Missing values are NaN.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codekin.errors import StoreError
from codekin.index.dense import Dense, cosines, crowding, hamming
from codekin.index.fusion import Scores
from codekin.index.lexical import LexicalReader
from codekin.index.lexis import USUAL, Asked, Lexis, Weighed, alike, alike_across, answering, weigh
from codekin.index.snapshot import Snapshot
from codekin.index.tokens import tokens
from codekin.seams import Vectors

Rows = NDArray[np.int64]
Mask = NDArray[np.bool_]

_CROWD = 1024
"""How many rows of the query's language say which rows are near to everybody."""

_BEST_TO_QUESTION = 0.7
_BEST_MEANING_ACROSS = 0.75
_BEST_WORDS_ACROSS = 0.3
"""What the best answers reach where there can be no copy: to a few words, and from language to language."""


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
    asked: Asked
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

    def usual(self, language: int) -> float:
        """How alike the words of a language's row that has nothing to do with the query are."""
        return USUAL if not self.is_question and self._home(language) == language else 0.0

    def best(self, language: int) -> float:
        """How alike the words of the best answer are that a language can have."""
        return 1.0 if self.is_question or self._home(language) == language else _BEST_WORDS_ACROSS

    def _compare(self, language: int, weighed: Weighed) -> Scores:
        if self.is_question:
            return answering(self.lexis, self.asked, language, weighed)
        home = self._home(language)
        if home != language:
            return alike_across(self.lexis, self.asked, home, language, weighed)
        return alike(self.lexis, self.asked, language, weighed)

    def _home(self, language: int) -> int | None:
        """The query's language, the compared one where it is not known, None where nothing else is in it."""
        return self.snapshot.languages.numbers.get(self.language) if self.language else language


@dataclass(frozen=True, slots=True)
class Meaning:
    """The dense side of one query: its vector, centred in its own language `home` where it has one."""

    dense: Dense
    snapshot: Snapshot
    vector: Vectors
    home: int | None
    is_question: bool

    def best(self, language: int) -> float:
        """The cosine of the best answer that a language can have."""
        if self.is_question:
            return _BEST_TO_QUESTION
        return 1.0 if self.home in {None, language} else _BEST_MEANING_ACROSS

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

    def excess(self, language: int, rows: Rows, cosine: Scores) -> Scores:
        """By how much each row's cosine exceeds half of what it has with its nearest in the query's language.

        Half of cross-domain similarity local scaling (Conneau and others 2018); the other half is the
        same for all rows. Within a language it is the cosine itself: there it helped nothing.
        """
        if self.home is None or self.home == language:
            return cosine
        slots = self.snapshot.columns.slot
        near = crowding(self.dense, self.home, slots[sample(self.snapshot, self.home, _CROWD)], language, slots[rows])
        return np.asarray(cosine - near / 2, np.float32)


def meaning(
    dense: Dense | None, snapshot: Snapshot, vector: Vectors | None, language: str | None, *, is_question: bool
) -> Meaning | None:
    """The dense side of a query; None without vectors."""
    if dense is None or vector is None:
        return None
    vector = np.asarray(vector, np.float32)
    home = snapshot.languages.numbers.get(language) if language else None
    return Meaning(dense, snapshot, vector if home is None else vector - dense.mean(home), home, is_question)


def sample(snapshot: Snapshot, language: int, most: int) -> Rows:
    """A fixed sample of a language's rows, about `most` of them, filters aside."""
    rows = np.flatnonzero(snapshot.columns.language == language)
    level = max(0, int(np.ceil(np.log2(max(1, len(rows)) / most))))
    return rows[snapshot.columns.sample[rows] >= level]
