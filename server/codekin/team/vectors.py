"""Embedding spaces and their vectors on Postgres: a table for each space, one row for each content hash.

A space's vectors are half-precision (halfvec). Small tables are compared row by row; a large one gets an HNSW index
(Malkov and Yashunin 2018), which filters leave by iterative scans. Vectors of two spaces never meet in one table.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from psycopg.rows import TupleRow

from codekin.errors import StoreError
from codekin.protocols import EmbeddingSpace, IndexStatus, Vectors
from codekin.storage.database import decompress_text
from codekin.team.database import Connection, TeamDatabase, statement

INDEXED_ROWS = 20_000
"""From so many vectors on a space has an HNSW index: below, comparing all of them is as fast and exact."""

_HNSW_LINKS, _HNSW_BUILD = 16, 64
_ROWS_PER_BLOCK = 2048
_COPY_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_COPY_END = b"\xff\xff"
_SPACE = "SELECT id, fingerprint, name, dimensions, state, 0 FROM space"
_LIVE_CONTENT = "EXISTS (SELECT 1 FROM chunk JOIN tree USING (blob) WHERE chunk.content = content.id)"


class TeamVectors:
    """The vector store of a team's index: `protocols.VectorStore` on Postgres."""

    def __init__(self, database: TeamDatabase) -> None:
        self._database = database

    def ensure_space(self, fingerprint: str, name: str, dimensions: int) -> EmbeddingSpace:
        """The space with this fingerprint; the first one serves at once, a later one is building."""
        with self._database.transaction() as connection:
            connection.execute("LOCK TABLE space IN SHARE ROW EXCLUSIVE MODE")
            if found := _find_space(connection, fingerprint):
                if found.dimensions != dimensions:
                    raise StoreError(
                        f"The space {name} holds {found.dimensions} dimensions, the model gives {dimensions}."
                    )
                if found.state == "dropped":
                    connection.execute("UPDATE space SET state='building' WHERE id=%s", (found.id,))
                return require_space(connection, fingerprint)
            _create_space(connection, fingerprint, name, dimensions)
            return require_space(connection, fingerprint)

    def status(self) -> IndexStatus:
        """Counts and spaces of the whole index."""
        with self._database.connection() as connection:
            spaces = tuple(EmbeddingSpace(*row) for row in connection.execute(_SPACE + " ORDER BY id").fetchall())
            serving = next((space for space in spaces if space.state == "serving"), None)
            files, chunks = _one_row(
                connection, "SELECT count(*), (SELECT count(*) FROM chunk JOIN tree USING (blob)) FROM tree"
            )
            vectors = vector_table(serving) if serving else ""
            covered = f"SELECT count(*) FROM chunk JOIN tree USING (blob) JOIN {vectors} USING (content)"
            return IndexStatus(
                seq=int(_one_row(connection, "SELECT coalesce(max(id), 0) FROM content")[0]),
                files=files,
                skipped=0,
                chunks=chunks,
                vectors=int(_one_row(connection, covered)[0]) if serving else 0,
                space=serving.fingerprint if serving else "",
                spaces=spaces,
                text_index_behind=False,
                size_bytes=int(_one_row(connection, "SELECT pg_database_size(current_database())")[0]),
            )

    def serving_space(self) -> EmbeddingSpace | None:
        """The space that answers queries."""
        rows = self._database.rows(_SPACE + " WHERE state='serving'")
        return EmbeddingSpace(*rows[0]) if rows else None

    def put_vectors(self, vectors: Mapping[str, Vectors], space: str | None = None) -> int:
        """Stores unit vectors by digest for known texts, in the serving space by default; returns how many were new."""
        with self._database.transaction() as connection:
            target = require_space(connection, space) if space else _require_serving(connection)
            if not vectors:
                return 0
            matrix = np.asarray(list(vectors.values()), np.float32)
            check_vectors(matrix, target)
            return copy_vectors(connection, target, list(vectors), matrix)

    def missing_digests(self, space: str, digests: Iterable[str]) -> list[str]:
        """Those digests, in order and once each, that have no vector in the space."""
        unique = list(dict.fromkeys(digests))
        with self._database.connection() as connection:
            found = _find_space(connection, space)
            if found is None:
                return unique
            query = f"SELECT digest FROM content JOIN {vector_table(found)} ON content=id WHERE digest = ANY(%s)"
            keys = [bytes.fromhex(digest) for digest in unique]
            known = {row[0].hex() for row in connection.execute(statement(query), (keys,)).fetchall()}
        return [digest for digest in unique if digest not in known]

    def unembedded_texts(self, space: str, limit: int = 256) -> list[tuple[str, str]]:
        """Up to `limit` live texts without a vector in the space, after their digests."""
        with self._database.connection() as connection:
            found = _find_space(connection, space)
            if found is None:
                return []
            query = (
                f"SELECT digest, body FROM content WHERE NOT EXISTS (SELECT 1 FROM {vector_table(found)} v"
                f" WHERE v.content = content.id) AND {_LIVE_CONTENT} ORDER BY id LIMIT %s"
            )
            rows = connection.execute(statement(query), (limit,)).fetchall()
        return [(digest.hex(), decompress_text(body) or "") for digest, body in rows]

    def vectors(self, fingerprint: str) -> Iterator[tuple[list[str], Vectors]]:
        """All vectors of a space in blocks: digests and float32 rows."""
        with self._database.connection() as connection:
            space = require_space(connection, fingerprint)
            yield from _read_blocks(connection, space)

    def project_space(self, source: str, target: str, transform: Callable[[Vectors], Vectors]) -> int:
        """Fills the space `target` with the transformed vectors of `source`; returns how many.

        Each block is one transaction, so that it can be stopped and run again.
        """
        stored = 0
        with self._database.connection() as connection:
            old, new = require_space(connection, source), require_space(connection, target)
            for digests, rows in _read_blocks(connection, old, lacking=new):
                moved = np.asarray(transform(rows), np.float32)
                check_vectors(moved, new)
                with self._database.transaction() as writing:
                    stored += copy_vectors(writing, new, digests, moved)
        return stored

    def promote(self, fingerprint: str, keep_old: bool = False) -> None:
        """Makes a space the serving one, in one step; the old one is kept or dropped."""
        self.ensure_index(fingerprint)
        with self._database.transaction() as connection:
            connection.execute("LOCK TABLE space IN SHARE ROW EXCLUSIVE MODE")
            space = require_space(connection, fingerprint)
            old = "kept" if keep_old else "dropped"
            connection.execute("UPDATE space SET state=%s WHERE state='serving' AND id<>%s", (old, space.id))
            connection.execute("UPDATE space SET state='serving' WHERE id=%s", (space.id,))

    def drop_space(self, fingerprint: str) -> None:
        """Gives up a space that does not serve, and its table."""
        with self._database.transaction() as connection:
            connection.execute("LOCK TABLE space IN SHARE ROW EXCLUSIVE MODE")
            space = require_space(connection, fingerprint)
            if space.state == "serving":
                raise StoreError(f"The space {space.name} is serving: promote another one first.")
            connection.execute(statement(f"DROP TABLE {vector_table(space)}"))
            connection.execute("DELETE FROM space WHERE id=%s", (space.id,))

    def ensure_index(self, fingerprint: str, least: int = INDEXED_ROWS) -> bool:
        """Builds the HNSW index of a space that has become large and has none; whether there is one now."""
        with self._database.connection() as connection:
            space = require_space(connection, fingerprint)
            table = vector_table(space)
            if has_index(connection, space):
                return True
            if _one_row(connection, f"SELECT count(*) FROM {table}")[0] < least:
                return False
            with connection.transaction():
                connection.execute("SELECT pg_advisory_xact_lock(%s, %s)", (0x636F64, space.id))
                connection.execute("SET LOCAL maintenance_work_mem = '1GB'")
                options = f"WITH (m = {_HNSW_LINKS}, ef_construction = {_HNSW_BUILD})"
                target = f"{table} USING hnsw (embedding halfvec_cosine_ops) {options}"
                connection.execute(statement(f"CREATE INDEX IF NOT EXISTS {table}_hnsw ON {target}"))
            connection.execute(statement(f"ANALYZE {table}"))
        return True


def vector_table(space: EmbeddingSpace) -> str:
    """The name of the table of a space's vectors."""
    return f"vectors_{int(space.id)}"


def has_index(connection: Connection, space: EmbeddingSpace) -> bool:
    """Whether a space has its HNSW index."""
    return bool(_one_row(connection, "SELECT to_regclass(%s) IS NOT NULL", f"{vector_table(space)}_hnsw")[0])


def require_space(connection: Connection, fingerprint: str) -> EmbeddingSpace:
    """The space with this fingerprint. Raises StoreError without one."""
    if space := _find_space(connection, fingerprint):
        return space
    raise StoreError(f"There is no embedding space {fingerprint}: let a worker with its model index first.")


def _find_space(connection: Connection, fingerprint: str) -> EmbeddingSpace | None:
    row = connection.execute(_SPACE + " WHERE fingerprint=%s", (fingerprint,)).fetchone()
    return EmbeddingSpace(*row) if row else None


def _require_serving(connection: Connection) -> EmbeddingSpace:
    row = connection.execute(_SPACE + " WHERE state='serving'").fetchone()
    if row is None:
        raise StoreError("The index has no embedding space yet: call ensure_space first.")
    return EmbeddingSpace(*row)


def _create_space(connection: Connection, fingerprint: str, name: str, dimensions: int) -> None:
    serves = connection.execute("SELECT 1 FROM space WHERE state='serving'").fetchone() is None
    values = (fingerprint, name, dimensions, "serving" if serves else "building")
    row = connection.execute(
        "INSERT INTO space (fingerprint, name, dimensions, state) VALUES (%s, %s, %s, %s) RETURNING id", values
    ).fetchone()
    columns = (
        f"content bigint PRIMARY KEY REFERENCES content ON DELETE CASCADE, language text NOT NULL,"
        f" embedding halfvec({int(dimensions)}) NOT NULL"
    )
    connection.execute(statement(f"CREATE TABLE vectors_{int(row[0] if row else 0)} ({columns})"))


def check_vectors(matrix: Vectors, space: EmbeddingSpace) -> None:
    """Raises StoreError for rows of other dimensions, and for numbers that are not finite."""
    if matrix.shape[1:] != (space.dimensions,):
        raise StoreError(f"The space {space.name} holds {space.dimensions} dimensions, not {matrix.shape[1:]}.")
    if not np.isfinite(matrix).all():
        raise StoreError(f"The model of {space.name} gave vectors that are not finite: they were not stored.")


def copy_vectors(connection: Connection, space: EmbeddingSpace, digests: Sequence[str], matrix: Vectors) -> int:
    """Loads checked rows (n, dimensions) by COPY, for known digests that lack a vector; how many were new."""
    connection.execute(
        statement(f"CREATE TEMP TABLE incoming (digest bytea, embedding halfvec({space.dimensions})) ON COMMIT DROP")
    )
    with connection.cursor().copy("COPY incoming FROM STDIN (FORMAT BINARY)") as copy:
        copy.write(_binary_rows(digests, matrix))
    query = (
        f"INSERT INTO {vector_table(space)} SELECT content.id, language, embedding FROM incoming"
        " JOIN content USING (digest) ORDER BY content.id ON CONFLICT DO NOTHING"
    )
    stored = connection.execute(statement(query)).rowcount
    connection.execute("DROP TABLE incoming")
    return stored


def _binary_rows(digests: Sequence[str], matrix: Vectors) -> bytes:
    """COPY's binary format (Postgres manual, "COPY"), with pgvector's halfvec: dimensions, zero, big-endian halves."""
    dimensions = matrix.shape[1]
    row = np.dtype([
        ("fields", ">i2"), ("digest_size", ">i4"), ("digest", "V32"),
        ("vector_size", ">i4"), ("dimensions", ">i2"), ("unused", ">i2"), ("vector", ">f2", (dimensions,)),
    ])  # fmt: skip
    rows = np.zeros(len(matrix), row)
    rows["fields"], rows["digest_size"], rows["vector_size"] = 2, 32, 4 + 2 * dimensions
    rows["digest"] = np.frombuffer(bytes.fromhex("".join(digests)), "V32")
    rows["dimensions"], rows["vector"] = dimensions, matrix
    return _COPY_HEADER + rows.tobytes() + _COPY_END


def decode_vectors(cells: Sequence[bytes], dimensions: int) -> Vectors:
    """Float32 rows (n, dimensions) from halfvecs in pgvector's binary format."""
    data = b"".join(cell[4:] for cell in cells)
    return np.frombuffer(data, ">f2").reshape(-1, dimensions).astype(np.float32)


def vector_literal(vector: Vectors) -> str:
    """A vector (dimensions,) as pgvector reads it."""
    return "[" + ",".join(map(repr, vector.astype(np.float16).tolist())) + "]"


def _read_blocks(
    connection: Connection, space: EmbeddingSpace, lacking: EmbeddingSpace | None = None
) -> Iterator[tuple[list[str], Vectors]]:
    """The vectors of a space by content id, those alone that another space lacks if one is given."""
    missing = f"AND NOT EXISTS (SELECT 1 FROM {vector_table(lacking)} o WHERE o.content = v.content)" if lacking else ""
    query = statement(
        f"SELECT content, digest, embedding FROM {vector_table(space)} v JOIN content ON content.id = v.content"
        f" WHERE content > %s {missing} ORDER BY content LIMIT {_ROWS_PER_BLOCK}"
    )
    last = 0
    while rows := connection.execute(query, (last,), binary=True).fetchall():
        last = rows[-1][0]
        yield [row[1].hex() for row in rows], decode_vectors([row[2] for row in rows], space.dimensions)


def _one_row(connection: Connection, query: str, *values: Any) -> TupleRow:
    row = connection.execute(statement(query), values).fetchone()
    if row is None:
        raise StoreError("Postgres gave no answer: try again.")
    return row
