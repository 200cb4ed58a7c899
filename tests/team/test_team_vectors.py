"""Nearest vectors on Postgres by the HNSW index: recall against an exact scan, with and without filters."""

from collections.abc import Callable

import numpy as np
import pytest

from codekin.team import queries, trees
from codekin.team.database import TeamDatabase
from codekin.team.statistics import refresh_statistics
from codekin.team.text_index import SearchScope
from codekin.team.trees import SourceFile, blob_key, write_files
from codekin.team.vectors import TeamVectors, has_index, require_space
from codekin.types import Chunk

CHUNKS, DIMENSIONS, CLUSTERS, TOP = 3000, 64, 60, 20


def clustered(count: int, seed: int) -> np.ndarray:
    """Unit rows (count, DIMENSIONS) around shared centres, as code's are."""
    centres = np.random.default_rng(1).standard_normal((CLUSTERS, DIMENSIONS))
    generator = np.random.default_rng(seed)
    rows = centres[generator.integers(0, CLUSTERS, count)] + 0.7 * generator.standard_normal((count, DIMENSIONS))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def chunk(number: int) -> Chunk:
    """A short function in one of a hundred folders."""
    text = f"def f{number}(): return {number}"
    return Chunk(f"d{number % 100}/f{number}.py", "python", "function", f"f{number}", 1, 1, text)


@pytest.fixture(scope="module")
def index(new_database: Callable[[], str]) -> tuple[TeamDatabase, dict[int, int], np.ndarray]:
    """An index of two repositories with its HNSW index; content ids by number; the vectors by number."""
    database = TeamDatabase(new_database())
    branches = [trees.add_repository(database, name, f"/{name}", ["main"])[0] for name in ("large", "small")]
    parts, rows = [chunk(number) for number in range(CHUNKS)], clustered(CHUNKS, 2)
    for branch, some in ((branches[0], parts[:-100]), (branches[1], parts[-100:])):
        keys = [blob_key("", one.language, one.path, one.text.encode()) for one in some]
        files = [SourceFile(one.path, "", key, [one]) for one, key in zip(some, keys, strict=True)]
        write_files(database, branch, files)
        refresh_statistics(database, branch)
    vectors = TeamVectors(database)
    vectors.ensure_space("space", "space", DIMENSIONS)
    assert vectors.put_vectors(dict(zip((one.digest for one in parts), rows, strict=True))) == CHUNKS
    assert not vectors.ensure_index("space")
    assert vectors.ensure_index("space", least=0)
    numbers = {one.digest: number for number, one in enumerate(parts)}
    ids = {row[0]: numbers[row[1].hex()] for row in database.rows("SELECT id, digest FROM content")}
    return database, ids, rows


@pytest.mark.parametrize(
    ("scope", "allowed", "least"),
    [
        (SearchScope((1, 2)), lambda _number: True, 0.98),
        (SearchScope((1, 2), paths=(queries.glob_to_regex("/d7/**"),)), lambda number: number % 100 == 7, 0.95),
        (SearchScope((2,)), lambda number: number >= CHUNKS - 100, 0.95),
    ],
    ids=["everywhere", "one folder of a hundred", "one small repository"],
)
def test_the_index_finds_nearly_what_an_exact_scan_finds(
    index: tuple[TeamDatabase, dict[int, int], np.ndarray],
    monkeypatch: pytest.MonkeyPatch,
    scope: SearchScope,
    allowed: Callable[[int], bool],
    least: float,
) -> None:
    """Recall@20 by the HNSW index, which scans on until enough meet the filters; nothing from outside comes."""
    monkeypatch.setattr(queries, "_EXACT_ROWS", 0)
    database, ids, rows = index
    with database.connection() as connection:
        space = require_space(connection, "space")
        assert has_index(connection, space)
    wanted = np.array([number for number in range(CHUNKS) if allowed(number)])
    recalls = []
    for probe in clustered(30, 3):
        found = [ids[content] for content, _ in queries.nearest_contents(database, scope, space, probe, TOP)]
        assert all(map(allowed, found))
        assert len(found) == min(TOP, len(wanted))
        best = wanted[np.argsort(-(rows[wanted].astype(np.float16).astype(np.float32) @ probe))[:TOP]]
        recalls.append(len(set(found) & set(best.tolist())) / TOP)
    assert np.mean(recalls) >= least


def test_a_small_scope_is_compared_row_by_row(index: tuple[TeamDatabase, dict[int, int], np.ndarray]) -> None:
    """A scope of few chunks needs no index: what is nearest is found, all of it."""
    database, ids, rows = index
    with database.connection() as connection:
        space = require_space(connection, "space")
    for probe in clustered(10, 4):
        found = [ids[one] for one, _ in queries.nearest_contents(database, SearchScope((2,)), space, probe, TOP)]
        exact = CHUNKS - 100 + np.argsort(-(rows[-100:] @ probe))[:TOP]
        assert len(set(found) & set(exact.tolist())) >= TOP - 1
