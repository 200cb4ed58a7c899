"""BM25 over a team's chunks on Postgres: a GIN index over word numbers finds candidates, numpy scores them.

The rarest words of a query choose the candidates, about `CANDIDATES` of them, and all its words score them (Robertson
and Zaragoza 2009), with the frequencies of the branches that are searched.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from psycopg.rows import TupleRow

from codekin.protocols import TextQuery
from codekin.storage.terms import FIRST_PAIR_NUMBER, TERM_NUMBERS, DocumentFrequencies
from codekin.team.database import TeamDatabase, statement
from codekin.team.statistics import load_frequencies, split_terms
from codekin.team.trees import word_number

CANDIDATES = 2000
_MAX_TERMS = 32
_K1, _B = 1.2, 0.75

IN_SCOPE = "EXISTS (SELECT 1 FROM chunk JOIN tree USING (blob) WHERE chunk.content = content.id AND {condition})"


@dataclass(frozen=True, slots=True)
class SearchScope:
    """Where to search: branches by id, with filters; every query of a reader goes through one.

    `paths` are regular expressions (Postgres) for whole paths, any of which must match; empty tuples allow everything.
    """

    branches: tuple[int, ...]
    languages: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    blobs: tuple[int, ...] | None = None

    def condition(self, values: dict[str, object]) -> str:
        """The condition on `tree` and `chunk`; its parameters are added to `values`."""
        values["branches"] = list(self.branches)
        parts = ["tree.branch = ANY(%(branches)s)"]
        for column, wanted in (
            ("chunk.kind", self.kinds),
            ("chunk.language", self.languages),
            ("tree.blob", self.blobs),
        ):
            if wanted or wanted is self.blobs is not None:
                key = column.replace(".", "_")
                values[key] = list(wanted or ())
                parts.append(f"{column} = ANY(%({key})s)")
        if self.paths:
            values["paths"] = list(self.paths)
            parts.append("tree.path ~ ANY(%(paths)s)")
        return " AND ".join(parts)


@dataclass(frozen=True, slots=True)
class _QueryWords:
    """The words of a query by number: how much each counts, and in how many chunks it occurs."""

    numbers: NDArray[np.int64]
    weights: NDArray[np.float32]
    documents: NDArray[np.float32]

    def rarest(self, most: int) -> list[int]:
        """The rarest, until they have brought about `most` candidates together; at least one."""
        order = np.argsort(self.documents, kind="stable")
        brought = np.cumsum(self.documents[order])
        return [int(number) for number in self.numbers[order[: max(1, int(np.searchsorted(brought, most)))]]]


@dataclass(frozen=True, slots=True)
class TeamTextIndex:
    """The text index of some branches: `protocols.TextIndex`; ids are those of chunks, files those of blobs."""

    database: TeamDatabase
    scope: SearchScope
    frequencies: Mapping[str, DocumentFrequencies] = field(default_factory=dict)

    @classmethod
    def open(cls, database: TeamDatabase, scope: SearchScope) -> "TeamTextIndex":
        """The index of a scope, with the frequencies of its branches."""
        return cls(database, scope, load_frequencies(database, scope.branches))

    @property
    def documents(self) -> int:
        """How many chunks it holds."""
        query = "SELECT count(*) FROM chunk JOIN tree USING (blob) WHERE tree.branch = ANY(%s)"
        return int(self.database.value(query, list(self.scope.branches)))

    def search(self, query: TextQuery, limit: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Ids and scores (both (n,), n at most `limit`) of the best matches, best first; raises StoreError."""
        scope = SearchScope(
            self.scope.branches,
            (query.language,) if query.language else self.scope.languages,
            self.scope.kinds,
            self.scope.paths,
            self.scope.blobs if query.files is None else tuple(query.files),
        )
        contents, scores = self.best_contents(query.counts, scope, limit)
        values: dict[str, object] = {"contents": contents.tolist()}
        rows = self._rows(
            f"SELECT content, min(chunk.id) FROM chunk JOIN tree USING (blob) WHERE content = ANY(%(contents)s)"
            f" AND {scope.condition(values)} GROUP BY content",
            values,
        )
        chunk_of: dict[int, int] = dict(rows)
        known = np.array([content in chunk_of for content in contents.tolist()], bool)
        ids = [chunk_of[content] for content in contents[known].tolist()]
        return np.array(ids, np.int64), scores[known]

    def best_contents(
        self, counts: Mapping[str, float], scope: SearchScope, limit: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Content ids in a scope and their scores, best first."""
        words = self._weigh(counts, scope.languages)
        if not len(words.numbers):
            return np.zeros(0, np.int64), np.zeros(0, np.float32)
        values: dict[str, object] = {"words": words.rarest(CANDIDATES), "most": 2 * CANDIDATES}
        compounds = [int(number) for number in words.numbers if number >= TERM_NUMBERS]
        values["compounds"] = compounds
        rows = self._rows(
            f"SELECT content.id, content.terms, content.words && %(compounds)s::int[] FROM content"
            f" WHERE content.words && %(words)s::int[] AND {IN_SCOPE.format(condition=scope.condition(values))}"
            " LIMIT %(most)s",
            values,
        )
        scores = self._score(words, [row[1] for row in rows])
        scores += np.array([row[2] for row in rows], np.float32) * _rarest_weight(words)
        order = np.argsort(-scores, kind="stable")[:limit]
        return np.array([row[0] for row in rows], np.int64)[order], scores[order]

    def _rows(self, query: str, values: Mapping[str, object]) -> list[TupleRow]:
        with self.database.connection() as connection:
            return connection.execute(statement(query), values, binary=True).fetchall()

    def _weigh(self, counts: Mapping[str, float], languages: Sequence[str]) -> _QueryWords:
        """The words that say most."""
        by_number = {word_number(word): count for word, count in counts.items()}
        numbers = np.array(list(by_number), np.int64)
        weights = np.array([1 + np.log2(count) / 2 for count in by_number.values()], np.float32)
        documents = np.ones(len(numbers), np.float32)
        single = numbers < TERM_NUMBERS
        for language, known in self.frequencies.items():
            if not languages or language in languages:
                documents[single] += known.document_counts[numbers[single]]
        order = np.argsort(-weights * self._inverse_document_frequency(documents), kind="stable")[:_MAX_TERMS]
        return _QueryWords(numbers[order], weights[order], documents[order])

    def _inverse_document_frequency(self, documents: NDArray[np.float32]) -> NDArray[np.float32]:
        total = sum(one.chunks for one in self.frequencies.values()) + 1
        unlike = np.log(np.maximum(total - documents, 0) + 1.5) - np.log(documents + 0.5)
        return np.asarray(unlike, np.float32)

    def _score(self, words: _QueryWords, cells: Sequence[bytes]) -> NDArray[np.float32]:
        """BM25 of the single words of each text."""
        if not cells:
            return np.zeros(0, np.float32)
        numbers, counts, owners = split_terms(cells)
        single = numbers < FIRST_PAIR_NUMBER
        numbers, counts, owners = numbers[single], counts[single], owners[single]
        lengths = np.bincount(owners, counts, minlength=len(cells))
        total = sum(one.term_total for one in self.frequencies.values())
        typical = max(1.0, total / max(1, sum(one.chunks for one in self.frequencies.values())) / 2)
        order = np.argsort(words.numbers)
        place = np.minimum(np.searchsorted(words.numbers[order], numbers), len(order) - 1)
        shared = words.numbers[order][place] == numbers
        weight = (words.weights * self._inverse_document_frequency(words.documents))[order][place[shared]]
        norm = _K1 * (1 - _B + _B * lengths[owners[shared]] / typical)
        held = weight * counts[shared] * (_K1 + 1) / (counts[shared] + norm)
        return np.bincount(owners[shared], held, minlength=len(cells)).astype(np.float32)


def _rarest_weight(words: _QueryWords) -> float:
    """What a compound name that occurs as it is written adds."""
    return float(words.weights.max(initial=1.0))
