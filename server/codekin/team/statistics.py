"""How often each term occurs in a branch, by language: what the ranking weighs words by.

Counted from all chunks of a small branch and from a fixed sample of a large one, whenever the branch has changed.
Statistics are kept by branch, so that no answer depends on a repository that its reader may not see.
"""

import zlib
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from codekin.storage.terms import TERM_NUMBERS, DocumentFrequencies, unpack_terms
from codekin.team.database import Connection, TeamDatabase

SAMPLED_CHUNKS = 20_000
_IN_BRANCH = "FROM tree JOIN chunk USING (blob) JOIN content ON content.id = chunk.content WHERE tree.branch = %s"


def refresh_statistics(database: TeamDatabase, branch: int) -> None:
    """Counts the terms of a branch anew, and its files and chunks."""
    with database.transaction() as connection:
        totals = connection.execute(
            f"SELECT chunk.language, count(*) {_IN_BRANCH} GROUP BY chunk.language",
            (branch,),
        ).fetchall()
        connection.execute("DELETE FROM statistics WHERE branch=%s", (branch,))
        for language, total in totals:
            _count_language(connection, branch, language, total)
        connection.execute(
            "UPDATE branch SET chunks=%s, files=(SELECT count(*) FROM tree WHERE branch=%s) WHERE id=%s",
            (sum(total for _, total in totals), branch, branch),
        )


def _count_language(connection: Connection, branch: int, language: str, total: int) -> None:
    level = max(0, int(np.ceil(np.log2(max(1, total) / SAMPLED_CHUNKS))))
    cells = connection.execute(
        f"SELECT content.terms {_IN_BRANCH} AND content.language = %s AND content.sample >= %s",
        (branch, language, level),
    ).fetchall()
    numbers, counts = split_terms([cell for (cell,) in cells])[:2]
    documents = np.bincount(numbers, minlength=1)
    found = np.flatnonzero(documents)
    scale = total / max(1, len(cells))
    scaled = np.maximum(1, np.rint(documents[found] * scale)).astype(np.uint32)
    packed = zlib.compress(np.stack([found.astype(np.uint32), scaled]).tobytes(), 1)
    values = (branch, language, total, int(counts.sum(dtype=np.float64) * scale), packed)
    connection.execute("INSERT INTO statistics VALUES (%s, %s, %s, %s, %s)", values)


def split_terms(
    cells: Sequence[bytes],
) -> "tuple[np.ndarray[tuple[int], np.dtype[np.uint32]], np.ndarray[tuple[int], np.dtype[np.float32]], np.ndarray[tuple[int], np.dtype[np.int64]]]":  # noqa: E501
    """Of stored terms: all numbers, their counts, and which cell each belongs to; checksums are taken off."""
    sizes = np.array([len(cell) // 4 for cell in cells], np.int64)
    packed = np.frombuffer(b"".join(cells), np.uint32)
    keep = np.ones(len(packed), bool)
    keep[np.cumsum(sizes) - 1] = False
    owners = np.repeat(np.arange(len(cells)), sizes)
    numbers, counts = unpack_terms(packed[keep])
    return numbers, counts, owners[keep]


def load_frequencies(database: TeamDatabase, branches: Sequence[int]) -> dict[str, DocumentFrequencies]:
    """The frequencies of some branches together, by language; kept until one of them is indexed again."""
    return _load(database, branch_stamps(database, branches))


def branch_stamps(database: TeamDatabase, branches: Sequence[int]) -> tuple[tuple[object, ...], ...]:
    """Id, time of indexing and chunks of some branches: what is kept of them holds until one of these changes."""
    query = "SELECT id, indexed::text, chunks FROM branch WHERE id = ANY(%s) ORDER BY id"
    return tuple(map(tuple, database.rows(query, list(branches))))


@lru_cache(maxsize=8)
def _load(database: TeamDatabase, stamps: tuple[tuple[object, ...], ...]) -> dict[str, DocumentFrequencies]:
    found: dict[str, DocumentFrequencies] = {}
    rows = database.rows(
        "SELECT language, chunks, term_total, counts FROM statistics WHERE branch = ANY(%s)", [one[0] for one in stamps]
    )
    for language, chunks, term_total, packed in rows:
        known = found.get(language) or DocumentFrequencies(np.zeros(TERM_NUMBERS, np.int32), 0, 0)
        numbers, counts = np.frombuffer(zlib.decompress(packed), np.uint32).reshape(2, -1)
        known.document_counts[numbers] += counts.astype(np.int32)
        found[language] = DocumentFrequencies(
            known.document_counts, known.chunks + chunks, known.term_total + term_total
        )
    return found
