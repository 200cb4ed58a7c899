"""What a user waits for in a large repository, through the installed `codekin lsp`.

    python scripts/benchmarks/large_repository.py opening|saving|similar|memory [--chunks 50000] [--quick] [--json]

The repository is synthetic (synthetic_repository.py) and its index is filled by the product's own indexer
with a stand-in for most embeddings (index_filler.py), both once; they are kept in --folder. Queries are
embedded by the bundled encoder, in the daemon.
"""

import argparse
import functools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import index_filler
import numpy as np
import psutil
import synthetic_repository
from figures import Figure, show
from lsp_client import COMMAND, LspClient, percentile, timed

from codekin import paths
from codekin.daemon.client import DaemonClient
from codekin.daemon.process.startup import listener_pid
from codekin.daemon.services.code_queries import chunk_of_snippet
from codekin.errors import DaemonError
from codekin.models.embedding.remote import RemoteEmbedder
from codekin.ranking import find_similar
from codekin.ranking.scoring import rank_chunks
from codekin.storage import ChunkIndex

if TYPE_CHECKING:
    from codekin.protocols import Vectors

CHUNKS_PER_FUNCTION = 0.97
"""Clauses of one name are one chunk, so that a repository has a little fewer of them than functions."""

TOP = 20


@dataclass(frozen=True)
class Place:
    """A repository with a data folder of its own."""

    root: Path
    data: Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=MEASURES)
    parser.add_argument("--chunks", type=int, default=50_000)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "codekin-bench")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, and a tenth of the repository")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    count = options.chunks // 10 if options.quick else options.chunks
    place = prepared(options.folder, count)
    with daemon_of(place):
        show(MEASURES[options.what](place, options.quick), as_json=options.json)


def prepared(folder: Path, chunks: int) -> Place:
    """The repository and its filled index; what is there already is only brought up to date."""
    place = Place(folder / str(chunks) / "repository", folder / str(chunks) / "data")
    place.data.mkdir(parents=True, exist_ok=True)
    if not place.root.exists():
        synthetic_repository.write_repository(place.root, round(chunks / CHUNKS_PER_FUNCTION))
    os.environ["CODEKIN_BUILD"] = "1.0.0+1+bench"  # the daemon stays, whatever is edited meanwhile
    stop(place)
    began = time.perf_counter()
    counts = index_filler.fill_index(place.data, place.root)
    if counts["embedded"]:
        taken = time.perf_counter() - began
        print(
            f"  filled an index of {counts['chunks']} chunks in {taken:.0f} s, most vectors by a stand-in",
            file=sys.stderr,
        )
    return place


@contextmanager
def daemon_of(place: Place) -> Iterator[None]:
    """A daemon that has its model loaded; gone afterwards."""
    with DaemonClient.connect(place.data) as client:
        while client.post("/v1/embeddings", {"model": "codekin_embed", "input": ["ready"]}) is None:
            time.sleep(0.1)
    try:
        yield
    finally:
        stop(place)


def stop(place: Place) -> None:
    """Ends the daemon, where there is one."""
    subprocess.run([COMMAND, "daemon", "stop", "--data-dir", place.data], check=False, capture_output=True)


def opening(place: Place, quick: bool) -> list[Figure]:
    """From the opened folder to "ready", with the daemon there and not yet there."""
    rounds = [_open_once(place) for _ in range(3 if quick else 7)]
    warm, spent = [taken for taken, _ in rounds], statistics.median(used for _, used in rounds)
    stop(place)
    start = time.perf_counter()
    with LspClient(place.data) as window:
        window.begin(place.root)
        window.until_ready()
    cold = time.perf_counter() - start
    walk = timed(lambda: sum(path.stat().st_size for path in place.root.rglob("*"))) / 1000
    index = [COMMAND, "index", place.root, "--json", "--data-dir", place.data]
    counts = json.loads(subprocess.run(index, check=True, capture_output=True, text=True).stdout)
    beside = f"{spent:.2f} s of processor time; a bare walk of the tree {walk:.2f} s; {counts['chunks']} chunks"
    return [
        Figure("opening an unchanged repository, to ready", statistics.median(warm), "s", at_most=1, beside=beside),
        Figure("the same with the window and the daemon to start", cold, "s"),
        Figure("embedded again", float(counts["embedded"]), at_most=0),
    ]


def _open_once(place: Place) -> tuple[float, float]:
    """Seconds to ready, and the processor time of the indexer, which is a fresh process."""
    with DaemonClient.connect(place.data) as client:
        client.post("/workspaces/close", {"root": str(place.root)})
    with LspClient(place.data) as window:
        window.begin()
        window.ask("codekin/status")
        start = time.perf_counter()
        added = [{"uri": place.root.as_uri(), "name": "repository"}]
        window.send(
            {"method": "workspace/didChangeWorkspaceFolders", "params": {"event": {"added": added, "removed": []}}}
        )
        window.until_ready()
        taken = time.perf_counter() - start
        return taken, _indexer_seconds(place)


def _indexer_seconds(place: Place) -> float:
    children = psutil.Process(_daemon_of(place)).children()
    times = [child.cpu_times() for child in children if "codekin.indexing.process" in child.cmdline()]
    return float(sum(each.user + each.system for each in times))


def saving(place: Place, quick: bool) -> list[Figure]:
    """From a written file to the answer that names what is new in it."""
    path = place.root / synthetic_repository.source_file(0)[0]
    before = path.read_text(encoding="utf-8")
    taken = []
    try:
        with LspClient(place.data) as window:
            window.begin(place.root)
            window.until_ready()
            _search(window, "warm up")
            still = statistics.median(timed(lambda: _search(window, "nothing has changed")) for _ in range(5))
            for number in range(4 if quick else 12):
                taken.append(_save_once(window, path, before, f"zyx{number}{time.time_ns()}"))
                time.sleep(0.5)
    finally:
        path.write_text(before, encoding="utf-8")
    beside = f"worst {max(taken):.2f} s; one search {still:.0f} ms"
    return [Figure("from save to searchable", statistics.median(taken), "s", at_most=1, beside=beside)]


def _save_once(window: LspClient, path: Path, before: str, name: str) -> float:
    body = "herd\n    |> Enum.filter(&(&1.speed > speed))\n    |> Enum.map(fn one -> %{one | speed: one.speed * 2} end)"
    added = f"\n  def {name}(herd, speed) do\n    {body}\n    |> Enum.sort_by(& &1.{name}, :desc)\n  end\n"
    path.write_text(before.removesuffix("end\n") + added + "end\n", encoding="utf-8")
    start = time.perf_counter()
    while not any(name in hit["name"] for hit in _search(window, name)["hits"]):
        if time.perf_counter() - start > 60:
            raise TimeoutError("What was saved did not become searchable within a minute.")
        time.sleep(0.005)
    return time.perf_counter() - start


def _search(window: LspClient, text: str) -> Any:
    return window.ask("codekin/search", {"text": text, "limit": 5})


def similar(place: Place, quick: bool) -> list[Figure]:
    """Queries whose text the index does not hold, each embedded first; then the same by an exact scan."""
    asked = list(synthetic_repository.functions(60 if quick else 300, first=1_000_000))
    bodies = [{"snippet": text, "language": language, "limit": TOP} for language, text in asked]
    with LspClient(place.data) as window:
        window.begin(place.root)
        window.until_ready()
        for body in bodies[:20]:
            window.ask("codekin/similar", {**body, "limit": 5})
        window.until_ready()
        taken, answers, spent = _ask_each(place, window, bodies[20:])
    shares = _agreement(place, asked[20:], answers)
    middle = statistics.median(taken)
    beside = f"{len(taken)} queries, each {spent[0]:.0f} + {spent[1]:.0f} ms of processor time in daemon + window"
    return [
        Figure("codekin/similar, p50", middle, "ms", at_most=30, beside=_yardstick(place, middle)),
        Figure("codekin/similar, p99", percentile(taken, 0.99), "ms", at_most=100, beside=beside),
        Figure("top 20 as the exact scan's, share of places", statistics.mean(shares), "", at_least=0.99),
        Figure("the same, share of queries with all 20", statistics.mean(share == 1 for share in shares), ""),
    ]


def _ask_each(
    place: Place, window: LspClient, bodies: list[dict[str, Any]]
) -> tuple[list[float], list[Any], tuple[float, float]]:
    """Milliseconds and answers of queries, and the processor time of each in daemon and window."""
    before = _processor_ms(place, window)
    taken, answers = [], []
    for body in bodies:
        start = time.perf_counter()
        number = window.request("codekin/similar", body)
        answers.append(window.reply(number)["result"])
        taken.append((window.arrived[number] - start) * 1000)
    after = _processor_ms(place, window)
    return taken, answers, ((after[0] - before[0]) / len(taken), (after[1] - before[1]) / len(taken))


def _agreement(place: Place, asked: list[tuple[str, str]], answers: list[Mapping[str, Any]]) -> list[float]:
    """For each answer the share of its places that an exact scan finds for the same vector."""
    exact = functools.partial(rank_chunks, exact=True)
    embedder = RemoteEmbedder(paths.socket_path(place.data), priority="query")
    shares = []
    with (
        ChunkIndex.open(paths.index_dir(place.data, place.root)) as index,
        patch("codekin.ranking.similar.rank_chunks", exact),
    ):
        for (language, text), answer in zip(asked, answers, strict=True):
            query = chunk_of_snippet(text, language, f"snippet.{'ex' if language == 'elixir' else 'cpp'}")
            wanted = {(hit.path, hit.start_line) for hit in find_similar(index, embedder, query, limit=TOP)}
            found = {(hit["path"], hit["start_line"]) for hit in answer["hits"]}
            shares.append(len(wanted & found) / max(1, len(wanted)))
    return shares


def _processor_ms(place: Place, window: LspClient) -> tuple[float, float]:
    """Processor time of the daemon and the window up to now, which a busy machine does not stretch."""
    times = [psutil.Process(number).cpu_times() for number in (_daemon_of(place), window.process.pid)]
    return (times[0].user + times[0].system) * 1000, (times[1].user + times[1].system) * 1000


def _daemon_of(place: Place) -> int:
    number = listener_pid(place.data)
    if number is None:
        raise DaemonError("The daemon is gone.")
    return number


def _yardstick(place: Place, middle: float) -> str:
    """All vectors times one query in float32, as the plainest scan does it."""
    with ChunkIndex.open(paths.index_dir(place.data, place.root)) as index:
        space = index.status().space
        vectors: Vectors = np.concatenate([rows for _, rows in index.vectors(space)]).astype(np.float32)
    product = statistics.median(timed(lambda: vectors @ vectors[0]) for _ in range(20))
    return f"{middle / product:.1f} times one float32 product with all {len(vectors)} vectors ({product:.1f} ms)"


def memory(place: Place, quick: bool) -> list[Figure]:
    """What the processes hold after some work in the large repository."""
    asked = synthetic_repository.functions(40 if quick else 200, first=2_000_000)
    with LspClient(place.data) as window:
        window.begin(place.root)
        window.until_ready()
        for language, text in asked:
            window.ask("codekin/similar", {"snippet": text, "language": language, "limit": TOP})
        daemon = _megabytes(_daemon_of(place))
        bare = _bare("import pygls.lsp.server"), _bare("import torch")
        return [
            Figure(
                "memory of codekin lsp",
                _megabytes(window.process.pid),
                "MB",
                at_most=80,
                beside=f"an imported pygls {bare[0]:.0f} MB",
            ),
            Figure("memory of the daemon", daemon, "MB", at_most=700, beside=f"an imported torch {bare[1]:.0f} MB"),
        ]


def _megabytes(process: int) -> float:
    return float(psutil.Process(process).memory_info().rss) / 1e6


def _bare(statement: str) -> float:
    """The memory of a Python that has executed one statement."""
    code = f"{statement}; import psutil; print(psutil.Process().memory_info().rss / 1e6)"
    return float(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)


MEASURES: Mapping[str, Callable[[Place, bool], list[Figure]]] = {
    "opening": opening,
    "saving": saving,
    "similar": similar,
    "memory": memory,
}

if __name__ == "__main__":
    main()
