"""A team's index on a synthetic corpus: load rate, index build, bytes a chunk, recall, times at 1 and 8 clients.

    python scripts/benchmarks/team.py [--chunks 100000] [--quick] [--json]

Real functions (examples/mixed and this package) are permuted: each chunk is one of them with its lines shuffled and a
number in its names. Its vector is that of the function it was made from, moved at random to a cosine of .94, as the
encoder spreads near-copies. The server runs as a process of its own; clients are threads that each hold a token.
"""

import argparse
import os
import random
import re
import secrets
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

REPOSITORY = Path(__file__).parents[2]
sys.path.append(str(REPOSITORY / "tests"))

from figures import Figure, show  # noqa: E402

import postgres  # noqa: E402
from codekin import parsing  # noqa: E402
from codekin.errors import HttpError  # noqa: E402
from codekin.http import JsonClient, parse_endpoint  # noqa: E402
from codekin.models.embedding.local import load_bundled  # noqa: E402
from codekin.team import access, queries, trees  # noqa: E402
from codekin.team.database import TeamDatabase, statement  # noqa: E402
from codekin.team.statistics import refresh_statistics  # noqa: E402
from codekin.team.text_index import SearchScope  # noqa: E402
from codekin.team.vectors import TeamVectors, copy_vectors, require_space, vector_literal, vector_table  # noqa: E402
from codekin.types import Chunk  # noqa: E402

CHUNKS_PER_FILE, FILES_PER_BATCH, REPOSITORIES = 20, 100, 10
MOVE_LENGTH = 0.35
QUESTIONS = 100
TOP = 20
_NAME = re.compile(r"\b[a-z]+_[a-z_]+\b")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chunks", type=int, default=100_000)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    count = 20_000 if options.quick else options.chunks
    with postgres.empty_databases() as make:
        address = make()
        with TeamDatabase(address) as database:
            figures = measure(database, address, count)
    show(figures, as_json=options.json)
    return 0


def measure(database: TeamDatabase, address: str, count: int) -> list[Figure]:
    embedder = load_bundled()
    originals = real_chunks()
    vectors = embedder.embed([chunk.text for chunk in originals])
    space = TeamVectors(database).ensure_space(embedder.space, embedder.name, embedder.dimensions)
    figures, branches = load(database, originals, vectors, count)
    began = time.perf_counter()
    TeamVectors(database).ensure_index(space.fingerprint, least=0)
    figures.append(Figure(f"HNSW of {count:,} vectors", time.perf_counter() - began, "s"))
    size = database.value("SELECT pg_database_size(current_database())")
    index = database.value("SELECT pg_relation_size(%s::regclass)", f"{vector_table(space)}_hnsw")
    figures += [Figure("bytes a chunk, all in all", size / count, "B"), Figure("of it HNSW", index / count, "B")]
    probes = probe_vectors(vectors)
    figures += recall(database, branches, probes, space.fingerprint)
    return [*figures, *serve_and_ask(database, address, originals)]


def real_chunks() -> list[Chunk]:
    """Functions of this repository."""
    found = []
    for path in sorted([*REPOSITORY.glob("examples/mixed/**/*.*"), *REPOSITORY.glob("server/codekin/**/*.py")]):
        language = parsing.detect_language(path.name, "")
        if language:
            text = path.read_text(encoding="utf-8", errors="replace")
            found += [one for one in parsing.cut_chunks(path.name, text, language)[0] if 80 < len(one.text) < 3000]
    return found


def permuted(chunk: Chunk, number: int, chance: random.Random) -> Chunk:
    """A chunk that is like another one and the same as none."""
    head, *lines = chunk.text.split("\n")
    chance.shuffle(lines)
    text = _NAME.sub(lambda name: f"{name[0]}_{chance.randrange(50)}", "\n".join([head, *lines]))
    start = 1 + number % CHUNKS_PER_FILE * 40
    path = f"d{number // CHUNKS_PER_FILE % 100}/f{number // CHUNKS_PER_FILE}.py"
    name = f"{chunk.name}_{number}"
    return Chunk(
        path, chunk.language, chunk.kind, name, start, start + len(lines), f"{text}\n# {number}", shape=chunk.shape
    )


def load(
    database: TeamDatabase, originals: list[Chunk], vectors: np.ndarray, count: int
) -> tuple[list[Figure], list[int]]:
    """Fills the index; rates of preparing (in Python) and of storing (in Postgres)."""
    chance, generator = random.Random(7), np.random.default_rng(7)
    branches = [trees.add_repository(database, f"repo{n}", f"/repo{n}", ["main"])[0] for n in range(REPOSITORIES)]
    space = TeamVectors(database).serving_space()
    assert space is not None
    per_batch, whole, rates = CHUNKS_PER_FILE * FILES_PER_BATCH, 0.0, []
    for batch, start in enumerate(range(0, count, per_batch)):
        picked = generator.integers(0, len(originals), per_batch)
        chunks = [permuted(originals[one], start + at, chance) for at, one in enumerate(picked)]
        moved = vectors[picked] + MOVE_LENGTH * unit(generator.standard_normal((per_batch, space.dimensions)))
        files = [
            trees.SourceFile(some[0].path, "", trees.blob_key("", "", some[0].path, str(start + at).encode()), some)
            for at in range(0, per_batch, CHUNKS_PER_FILE)
            if (some := chunks[at : at + CHUNKS_PER_FILE])
        ]
        began = time.perf_counter()
        trees.write_files(database, branches[batch % REPOSITORIES], files)
        with database.transaction() as connection:
            target = require_space(connection, space.fingerprint)
            copy_vectors(connection, target, [chunk.digest for chunk in chunks], unit(moved))
        rates.append(per_batch / (time.perf_counter() - began))
        whole += time.perf_counter() - began
    began = time.perf_counter()
    for branch in branches:
        refresh_statistics(database, branch)
        database.run("UPDATE branch SET indexed=now() WHERE id=%s", branch)
    database.run("DELETE FROM job")
    with database.connection() as connection:
        connection.execute("ANALYZE")
    half = len(rates) // 2
    return [
        Figure("chunks a second, prepared and stored by one process", count / whole, at_least=5000),
        Figure("the second half's rate beside the first's", np.mean(rates[half:]) / np.mean(rates[:half])),
        Figure("term statistics of all branches", time.perf_counter() - began, "s"),
    ], branches


def unit(rows: np.ndarray) -> np.ndarray:
    """Float32 rows of unit length."""
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def probe_vectors(vectors: np.ndarray) -> np.ndarray:
    generator = np.random.default_rng(11)
    picked = vectors[generator.integers(0, len(vectors), QUESTIONS)]
    return unit(picked + MOVE_LENGTH * unit(generator.standard_normal(picked.shape)))


def recall(database: TeamDatabase, branches: list[int], probes: np.ndarray, fingerprint: str) -> list[Figure]:
    """Recall@20 against exact, and the time of a scan: everywhere, in one folder of a hundred, in one repository."""
    scopes = {
        "without a filter": (SearchScope(tuple(branches)), 0.98),
        "under a 1 % filter (path)": (SearchScope(tuple(branches), paths=(queries.glob_to_regex("/d7/**"),)), 0.95),
        "in one repository of ten": (SearchScope((branches[3],)), 0.95),
    }
    figures = []
    for name, (scope, bar) in scopes.items():
        found, times = [], []
        with database.connection() as connection:
            space = require_space(connection, fingerprint)
        for probe in probes:
            began = time.perf_counter()
            got = queries.nearest_contents(database, scope, space, probe, TOP)
            times.append(time.perf_counter() - began)
            best = exact(database, scope, space, probe)
            found.append(len({one for one, _ in got} & best) / max(1, len(best)))
        figures.append(Figure(f"recall@20 {name}", float(np.mean(found)), at_least=bar))
        figures.append(Figure(f"vector scan {name}, p50", float(np.median(times)) * 1000, "ms"))
    return figures


def exact(database: TeamDatabase, scope: SearchScope, space: object, probe: np.ndarray) -> set[int]:
    """The contents that comparing every row gives."""
    values: dict[str, object] = {"vector": vector_literal(probe)}
    query = (
        f"SELECT content FROM (SELECT DISTINCT v.content, v.embedding <=> %(vector)s::halfvec AS distance FROM"
        f" {vector_table(space)} v JOIN chunk ON chunk.content = v.content JOIN tree USING (blob)"
        f" WHERE {scope.condition(values)}) AS one ORDER BY distance LIMIT {TOP}"
    )
    with database.connection() as connection:
        return {row[0] for row in connection.execute(statement(query), values).fetchall()}


def serve_and_ask(database: TeamDatabase, address: str, originals: list[Chunk]) -> list[Figure]:
    """Times of whole requests against a server process."""
    tokens = [access.add_token(database, secrets.token_hex(4)) for _ in range(16)]
    scoped = [access.add_token(database, secrets.token_hex(4), ["repo3"]) for _ in range(8)]
    with server(address) as url:
        figures = []
        for route, body in (("/search", search_body), ("/similar", similar_body)):
            ask(url, tokens[:1], route, lambda n, body=body: body(originals, n), 5)
            for clients in (1, 8):
                times, seconds = ask(
                    url, tokens[:clients], route, lambda n, body=body: body(originals, n), 10 * clients + 20
                )
                figures += _figures(f"{route[1:]}, {clients} client{'s'[: clients > 1]}", times, seconds, clients)
        times, seconds = ask(url, scoped, "/search", lambda n: search_body(originals, n), 100)
        return [*figures, *_figures("search by a scoped token, 8 clients", times, seconds, 0)]


def _figures(name: str, times: list[float], seconds: float, clients: int) -> list[Figure]:
    busy = clients == 8
    return [
        Figure(f"{name}, p50", float(np.median(times)) * 1000, "ms", at_most=60 if busy else None),
        Figure(f"{name}, p99", float(np.quantile(times, 0.99)) * 1000, "ms", at_most=300 if busy else None),
        Figure(f"{name}, queries a second", len(times) / seconds, "", at_least=50 if busy else None),
    ]


def search_body(originals: list[Chunk], number: int) -> dict[str, object]:
    words = re.findall(r"[a-z]{3,}", originals[number * 37 % len(originals)].doc.lower() or "parse the next token")
    return {"text": " ".join(words[:8]) or "retry after a failure"}


def similar_body(originals: list[Chunk], number: int) -> dict[str, object]:
    chunk = originals[number * 53 % len(originals)]
    return {"snippet": chunk.text, "language": chunk.language}


def ask(
    url: str, tokens: list[str], route: str, body: Callable[[int], dict[str, object]], requests: int
) -> tuple[list[float], float]:
    """Seconds of each request, and of all; clients take turns at the numbers."""
    times: list[float] = []
    numbers, mutex = iter(range(requests)), threading.Lock()

    def run(token: str) -> None:
        with JsonClient(parse_endpoint(url, token, 60.0)) as client:
            while True:
                with mutex:
                    number = next(numbers, None)
                if number is None:
                    return
                began = time.perf_counter()
                client.post(route, body(number))
                times.append(time.perf_counter() - began)

    threads = [threading.Thread(target=run, args=(token,)) for token in tokens]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return times, time.perf_counter() - began


class server:  # noqa: N801 - used as a function
    """A server process on a free port; gives its URL."""

    def __init__(self, address: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self._url, self._data = f"http://127.0.0.1:{port}", tempfile.TemporaryDirectory()
        command = [Path(sys.executable).with_name("codekin"), "server", "--port", str(port)]
        environment = {**os.environ, "CODEKIN_DATABASE": address, "CODEKIN_DATA_DIR": self._data.name}
        self._process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)

    def __enter__(self) -> str:
        for _ in self._waits():
            try:
                with JsonClient(parse_endpoint(self._url, attempts=1)) as client:
                    client.get("/ready")
            except HttpError:
                continue
            return self._url
        raise SystemExit("the server did not start")

    def _waits(self) -> Iterator[None]:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and self._process.poll() is None:
            time.sleep(0.2)
            yield

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()
        self._data.cleanup()


if __name__ == "__main__":
    raise SystemExit(main())
