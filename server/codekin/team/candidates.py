"""A small index in memory, made of one query's candidates, on which the product's own ranking runs.

Postgres finds the nearest vectors, the texts with the rarest words and the names that are spelled. Beside them lies a
fixed sample of the branches that are searched, which says how scores are spread: candidates alone would be their own
average. So a team's hit has the score that it would have at home.
"""

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from codekin.protocols import EmbeddingSpace, Vectors
from codekin.storage import ChunkIndex
from codekin.storage.database import decode_detail, decompress_text
from codekin.storage.dense_vectors import DenseVectors
from codekin.storage.reader import IndexView
from codekin.storage.snapshot import ChunkColumns, IndexSnapshot, LabelEncoder, NameTable
from codekin.storage.terms import DocumentFrequencies, TermCounts, TermStatistics, decode_terms
from codekin.storage.vectors import record_dtype
from codekin.team.database import TeamDatabase, statement
from codekin.team.statistics import branch_stamps, load_frequencies
from codekin.team.text_index import SearchScope
from codekin.team.vectors import decode_vectors, vector_table
from codekin.types import Chunk

SAMPLED_ROWS = 512
"""About so many chunks of each language give the spread of scores."""

PLACES_OF_A_TEXT = 3
"""A text that lies in many files is shown at so many places."""

NOT_SAMPLED = -1
PATH_SEPARATOR = "\0"
"""Between repository and path: two repositories may have files of one path."""


class CandidateRow(NamedTuple):
    """A chunk at one place of the index, with its text and vector (b"" without one)."""

    chunk: int
    content: int
    repository: str
    branch: str
    path: str
    language: str
    kind: str
    name: str
    start_line: int
    end_line: int
    part: int
    detail: bytes
    digest: bytes
    body: bytes
    terms: bytes
    embedding: bytes

    def to_chunk(self) -> Chunk:
        """The chunk; its path begins with its repository."""
        doc, shape = decode_detail(self.detail)
        path = f"{self.repository}{PATH_SEPARATOR}{self.path}"
        text = decompress_text(self.body) or ""
        return Chunk(
            path, self.language, self.kind, self.name, self.start_line, self.end_line, text, doc, self.part, shape
        )


_COLUMNS = (
    "chunk.id, chunk.content, repository.name, branch.name, tree.path, chunk.language, chunk.kind, chunk.name,"
    " chunk.start_line, chunk.end_line, chunk.part, chunk.detail, content.digest, content.body, content.terms"
)
_TABLES = (
    "chunk JOIN tree USING (blob) JOIN branch ON branch.id = tree.branch JOIN repository ON repository.id ="
    " branch.repository JOIN content ON content.id = chunk.content"
)


def read_places(
    database: TeamDatabase, scope: SearchScope, space: EmbeddingSpace | None, contents: Sequence[int]
) -> list[CandidateRow]:
    """The places of some contents within a scope, a few for each, in a steady order."""
    values: dict[str, Any] = {"contents": list(contents), "most": PLACES_OF_A_TEXT}
    vector, join = _vector_columns(space)
    inner = (
        f"SELECT {_COLUMNS}, {vector}, row_number() OVER (PARTITION BY chunk.content, chunk.name ORDER BY branch.id,"
        f" tree.path, chunk.id) AS place FROM {_TABLES} {join}"
        f" WHERE chunk.content = ANY(%(contents)s) AND {scope.condition(values)}"
    )
    return _read(database, f"SELECT * FROM ({inner}) AS found WHERE place <= %(most)s", values)


def _read(database: TeamDatabase, query: str, values: Mapping[str, Any]) -> list[CandidateRow]:
    with database.connection() as connection:
        rows = connection.execute(statement(query), values, binary=True).fetchall()
    return [CandidateRow(*row[:16]) for row in rows]


def _vector_columns(space: EmbeddingSpace | None) -> tuple[str, str]:
    if space is None:
        return "''::bytea", ""
    return "vector.embedding", f"LEFT JOIN {vector_table(space)} AS vector ON vector.content = chunk.content"


@dataclass(eq=False)
class ScopeSample:
    """What the ranking knows of the branches that are searched: term frequencies and a sample of their chunks."""

    space: EmbeddingSpace | None
    rows: list[CandidateRow]
    frequencies: Mapping[str, DocumentFrequencies]
    languages: LabelEncoder = field(default_factory=LabelEncoder)
    kinds: LabelEncoder = field(default_factory=LabelEncoder)
    weighted: dict[int, Any] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def chunks(self) -> int:
        """How many chunks the branches have."""
        return sum(one.chunks for one in self.frequencies.values())


def open_sample(database: TeamDatabase, branches: Sequence[int], space: EmbeddingSpace | None) -> ScopeSample:
    """The sample of some branches, kept until one of them is indexed again."""
    return _open_sample(database, branch_stamps(database, branches), space)


@lru_cache(maxsize=8)
def _open_sample(
    database: TeamDatabase, stamps: tuple[tuple[object, ...], ...], space: EmbeddingSpace | None
) -> ScopeSample:
    branches = [int(str(one[0])) for one in stamps]
    frequencies = load_frequencies(database, branches)
    vector, join = _vector_columns(space)
    rows: list[CandidateRow] = []
    for language, known in sorted(frequencies.items()):
        level = max(0, int(np.ceil(np.log2(max(1, known.chunks) / SAMPLED_ROWS))))
        query = (
            f"SELECT DISTINCT ON (chunk.content) {_COLUMNS}, {vector} FROM {_TABLES} {join} WHERE content.sample >= %s"
            " AND content.language = %s AND tree.branch = ANY(%s)"
            " ORDER BY chunk.content, chunk.id, branch.id, tree.path"
        )
        with database.connection() as connection:
            found = connection.execute(statement(query), (level, language, branches), binary=True).fetchall()
        rows += [CandidateRow(*row) for row in found]
    sample = ScopeSample(space, rows, frequencies)
    for row in rows:
        sample.languages.number(row.language)
    return sample


class CandidateIndex(ChunkIndex):
    """A ChunkIndex without files: the candidates of one query and the sample of its scope."""

    def __init__(self, sample: ScopeSample, candidates: Iterable[CandidateRow]) -> None:
        self.folder = Path()
        sampled = {(row.chunk, row.repository, row.path) for row in sample.rows}
        new = [row for row in candidates if (row.chunk, row.repository, row.path) not in sampled]
        self.rows = [*sample.rows, *new]
        self._sample = sample
        with sample.lock:
            self._view = _build_view(sample, self.rows)

    def view(self) -> IndexView:
        """The one state that there is."""
        return self._view

    def vector(self, digest: str, view: IndexView | None = None) -> Vectors | None:
        """The vector of a candidate by its content hash."""
        del view
        key, space = bytes.fromhex(digest), self._sample.space
        cell = next((row.embedding for row in self.rows if row.digest == key and row.embedding), None)
        return decode_vectors([cell], space.dimensions)[0] if cell and space else None

    def chunks_by_id(self, ids: Sequence[int]) -> dict[int, Chunk]:
        """Chunks by row."""
        return {key: self.rows[key].to_chunk() for key in ids if 0 <= key < len(self.rows)}


def _build_view(sample: ScopeSample, rows: Sequence[CandidateRow]) -> IndexView:
    snapshot = _build_snapshot(sample, rows)
    texts: dict[int, TermCounts] = {row.content: decode_terms(row.terms) for row in rows}
    known = {sample.languages.number(language): one for language, one in sample.frequencies.items()}
    statistics = TermStatistics(texts, known, 0, sample.weighted)
    return IndexView(
        snapshot, _build_dense(sample, snapshot, rows), statistics, None, lambda _statistics, _contents: None
    )


def _build_snapshot(sample: ScopeSample, rows: Sequence[CandidateRow]) -> IndexSnapshot:
    names, files = NameTable(), dict[tuple[str, str, str], int]()
    file = [files.setdefault((row.repository, row.branch, row.path), len(files)) for row in rows]
    count = len(sample.rows)
    slots = np.where([bool(row.embedding) for row in rows], np.arange(len(rows)), -1)

    def column(values: Iterable[int]) -> NDArray[np.int32]:
        return np.fromiter(values, np.int32, len(rows))

    columns = ChunkColumns(
        id=np.arange(len(rows), dtype=np.int64),
        file=np.array(file, np.int64),
        content=np.fromiter((row.content for row in rows), np.int64, len(rows)),
        language=column(sample.languages.number(row.language) for row in rows),
        kind=column(sample.kinds.number(row.kind) for row in rows),
        name=column(names.number(row.name) for row in rows),
        start=column(row.start_line for row in rows),
        end=column(row.end_line for row in rows),
        part=column(row.part for row in rows),
        sample=column(0 if at < count else NOT_SAMPLED for at in range(len(rows))),
        slot=slots.astype(np.int32),
    )
    paths = {number: path for (_, _, path), number in files.items()}
    return IndexSnapshot(0, columns, paths, sample.space, sample.languages, sample.kinds, names)


def _build_dense(sample: ScopeSample, snapshot: IndexSnapshot, rows: Sequence[CandidateRow]) -> DenseVectors | None:
    space = sample.space
    if space is None:
        return None
    records = np.zeros(len(rows), record_dtype(space.dimensions))
    present = np.array([bool(row.embedding) for row in rows], bool)
    records["vector"][present] = decode_vectors([row.embedding for row in rows if row.embedding], space.dimensions)
    sums = {}
    for language, known in sample.frequencies.items():
        number = sample.languages.number(language)
        own = present & (snapshot.columns.language == number) & (snapshot.columns.sample != NOT_SAMPLED)
        if count := int(own.sum()):
            mean = records["vector"][own].astype(np.float64).mean(axis=0)
            sums[number] = (mean * max(count, known.chunks), max(count, known.chunks))
    codes = np.zeros((-(-space.dimensions // 64), len(rows)), np.uint64)
    return DenseVectors(space, Path(), records, present, sums, {}, codes)
