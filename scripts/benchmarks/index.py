"""Builds a synthetic index of any size fast and times what the index promises.

    .venv/bin/python scripts/benchmarks/index.py --chunks 50000

Prints one JSON object: milliseconds for opening, refreshing after a save and querying
(each beside a yardstick taken in the same run), the share of the exact scan's top 20 that
the prefiltered scan finds, and sizes. Texts follow Zipf's law over invented identifiers,
vectors are clustered; the figures tell of scale, not of quality.
"""

import argparse
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from codekin.protocols import Vectors
from codekin.ranking import find_duplicates, find_similar
from codekin.ranking.query import build_mask
from codekin.ranking.scoring import RankingQuery, rank_chunks
from codekin.storage import ChunkIndex, FileState
from codekin.types import Chunk, CodeShape, Filters

SPACE = "synthetic"
LANGUAGES = ("elixir", "cpp")
_FUNCTIONS_PER_FILE = 10


def synthetic_chunks(count: int, seed: int = 0) -> Iterator[list[Chunk]]:
    """Files of ten functions each, until there are `count` functions."""
    generator = np.random.default_rng(seed)
    parts = [f"{a}{b}" for a in ("get", "put", "list", "user", "order", "node", "parse", "send") for b in range(40)]
    vocabulary = [f"{parts[i % 320]}_{parts[(i * 7 + 3) % 320]}" for i in range(20000)] + parts
    for file in range((count + _FUNCTIONS_PER_FILE - 1) // _FUNCTIONS_PER_FILE):
        language = LANGUAGES[file % 2]
        path = f"lib/area{file % 50}/file{file}.{'ex' if language == 'elixir' else 'cpp'}"
        number = min(_FUNCTIONS_PER_FILE, count - file * _FUNCTIONS_PER_FILE)
        yield [_function(generator, vocabulary, path, language, place) for place in range(number)]


def _function(generator: np.random.Generator, vocabulary: list[str], path: str, language: str, place: int) -> Chunk:
    names = [vocabulary[rank % len(vocabulary)] for rank in generator.zipf(1.2, 60)]
    lines = [f"  {a} = {b}({c}, {d}) |> {a}" for a, b, c, d in zip(*[iter(names)] * 4, strict=True)]
    name = f"{path}.{names[0]}_{place}"
    text = "\n".join([f"def {names[0]}_{place}({names[1]}) do", *lines, "end"])
    shape = CodeShape(calls=tuple(names[1:6]))
    return Chunk(path, language, "function", name, place * 20 + 1, place * 20 + 18, text, shape=shape)


def synthetic_vectors(count: int, dimensions: int = 384, seed: int = 0) -> Vectors:
    """Unit vectors (count, dimensions) around one centre for every 50 of them."""
    generator = np.random.default_rng(seed)
    centres = generator.standard_normal((max(1, count // 50), dimensions)).astype(np.float32)
    vectors = centres[generator.integers(0, len(centres), count)]
    vectors += 0.8 * generator.standard_normal((count, dimensions)).astype(np.float32) + 0.5
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def build(folder: Path, count: int, dimensions: int = 384) -> None:
    """Writes a synthetic index of `count` chunks into `folder`."""
    vectors = synthetic_vectors(count, dimensions)
    place = 0
    with ChunkIndex.open(folder, write=True) as index:
        index.ensure_space(SPACE, SPACE, dimensions)
        with index.batch():
            for chunks in synthetic_chunks(count):
                by_digest = {one.digest: vectors[place + n] for n, one in enumerate(chunks)}
                state = FileState(1, 1, 1, chunks[0].digest, chunks[0].language)
                index.replace_file(chunks[0].path, state, chunks, by_digest)
                place += len(chunks)


def milliseconds(action: Callable[[], object], repeats: int) -> list[float]:
    """Sorted times of an action."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        action()
        times.append((time.perf_counter() - start) * 1000)
    return sorted(times)


def measure(folder: Path, repeats: int) -> dict[str, float]:
    """Times of opening, refreshing and querying, and the agreement of both scans."""
    start = time.perf_counter()
    index = ChunkIndex.open(folder)
    view = index.view()
    figures = {"open_ms": (time.perf_counter() - start) * 1000, "chunks": float(len(view.snapshot))}
    queries = [
        index.chunks_by_id([int(key)])[int(key)] for key in view.snapshot.columns.id[:: len(view.snapshot) // repeats]
    ]
    waiting = iter(queries * 2)
    times = milliseconds(lambda: find_similar(index, None, next(waiting), limit=20), len(queries))
    figures |= {"similar_p50_ms": statistics.median(times), "similar_p99_ms": times[int(len(times) * 0.99)]}
    figures["agreement"] = statistics.mean(_agreement(index, query) for query in queries[:50])
    figures["refresh_after_save_ms"] = _refresh(folder, index, queries[0])
    figures["duplicates_ms"] = milliseconds(lambda: find_duplicates(index), 1)[0]
    figures["yardstick_matrix_product_ms"] = _yardstick(len(view.snapshot))
    figures["megabytes"] = index.status().size_bytes / 1e6
    return figures


def _agreement(index: ChunkIndex, query: Chunk) -> float:
    """The share of the exact scan's first 20 rows that the prefiltered scan has."""
    view = index.view()
    asked = RankingQuery(query.text, index.vector(query.digest), query.language, query.name)
    allowed = build_mask(view.snapshot, Filters())
    exact, fast = (rank_chunks(view, asked, allowed, limit=20, exact=way).rows for way in (True, False))
    return len(np.intersect1d(exact, fast)) / max(1, len(exact))


def _refresh(folder: Path, index: ChunkIndex, chunk: Chunk) -> float:
    """The time until a reader's view has what was just saved."""
    with ChunkIndex.open(folder, write=True) as writer:
        changed = [Chunk(chunk.path, chunk.language, "function", "saved", 1, 5, f"def saved, do: {time.time()}")]
        writer.replace_file(
            chunk.path, FileState(2, 2, 2, "saved"), changed, {changed[0].digest: synthetic_vectors(1)[0]}
        )
    return milliseconds(index.view, 1)[0]


def _yardstick(count: int) -> float:
    """One query against all vectors as a float32 matrix product."""
    vectors = synthetic_vectors(count)
    return statistics.median(milliseconds(lambda: vectors @ vectors[0], 10))


def main() -> None:
    """Builds, measures, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chunks", type=int, default=50000)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--folder", type=Path, help="reuse or keep the index here")
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="codekin-bench-"))
    try:
        if not (folder / "index.sqlite").exists():
            start = time.perf_counter()
            build(folder, options.chunks)
            print(json.dumps({"build_seconds": round(time.perf_counter() - start, 1)}))
        print(json.dumps({key: round(value, 3) for key, value in measure(folder, options.queries).items()}, indent=1))
    finally:
        if options.folder is None:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
