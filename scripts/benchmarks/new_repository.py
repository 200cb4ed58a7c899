"""A repository that Codekin sees for the first time, and the first queries after a start of the daemon.

    python scripts/benchmarks/new_repository.py REPOSITORY [--starts 5] [--pause 8] [--json]

A copy of the repository is indexed and embedded in a data folder of its own: wall seconds from the request until every
chunk has its vector, and processor seconds of the daemon and of the indexer. Then the daemon is started anew several
times; after a pause, in which it loads the model, the first search and the first `similar` are timed, and the second.
"""

import argparse
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import psutil
from figures import Figure, show

from codekin.daemon.client import DaemonClient

BAR_SECONDS, BAR_CHUNKS = 100, 8084
FIRST_QUERY_MS = 150
MEMORY_MB = 250


def main() -> None:
    """Measures both and prints them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("repository", type=Path)
    parser.add_argument("--starts", type=int, default=5)
    parser.add_argument("--pause", type=float, default=8.0, help="seconds between the start and the first query")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="codekin-") as folder:
        root, data = Path(folder) / options.repository.name, Path(folder) / "data"
        shutil.copytree(options.repository, root, symlinks=True)
        data.mkdir()
        figures = index_anew(data, root)
        show(figures, as_json=options.json)
        show(first_queries(data, root, options.starts, options.pause), as_json=options.json)


def index_anew(data: Path, root: Path) -> list[Figure]:
    """Wall and processor seconds of a first index, and the daemon's memory at its end."""
    with DaemonClient.connect(data) as client:
        began = time.perf_counter()
        *_, last = client.lines("/index", {"root": str(root), "rebuild": False})
        seconds = time.perf_counter() - began
        daemon = find_daemon(client)
        indexer = sum(sum(child.cpu_times()[:2]) for child in daemon.children())
        model, memory = sum(daemon.cpu_times()[:2]), daemon.memory_info().rss / 1e6
        chunks = int(last["result"]["chunks"])
        client.post("/shutdown")
    wait_for_end(daemon)
    bar = BAR_SECONDS * chunks / BAR_CHUNKS
    beside = f"processor seconds: daemon {model:.0f}, indexer {indexer:.0f}; load {psutil.getloadavg()[0]:.0f}"
    return [
        Figure(f"{chunks} chunks indexed and embedded", seconds, "s", at_most=round(bar, 1), beside=beside),
        Figure("chunks for each processor second of the daemon", chunks / model),
        Figure("daemon's memory after it", memory, "MB", at_most=MEMORY_MB),
    ]


def first_queries(data: Path, root: Path, starts: int, pause: float) -> list[Figure]:
    """Medians of the first and second search and `similar`, each pair after a start of its own."""
    path = next(path for path in sorted(root.rglob("*.ex*")) if path.stat().st_size > 500)
    similar = {"root": str(root), "path": str(path.relative_to(root)), "line": 12, "limit": 5}
    queries = {"search": {"root": str(root), "text": "check that a user may publish"}, "similar": similar}
    figures = []
    for name, body in queries.items():
        rows = [timed_start(data, root, f"/{name}", body, pause) for _ in range(starts)]
        first, second, memory = (statistics.median(column) for column in zip(*rows, strict=True))
        beside = f"the second {second:.0f} ms; memory {memory:.0f} MB"
        figures.append(Figure(f"first {name} after a start", first, "ms", at_most=FIRST_QUERY_MS, beside=beside))
    return figures


def timed_start(
    data: Path, root: Path, route: str, body: dict[str, object], pause: float
) -> tuple[float, float, float]:
    """Milliseconds of the first and the second query, and megabytes of the daemon."""
    with DaemonClient.connect(data) as client:
        client.post("/workspaces/open", {"root": str(root)})
        time.sleep(pause)
        times = []
        for _ in range(2):
            began = time.perf_counter()
            client.post(route, body)
            times.append(1000 * (time.perf_counter() - began))
        daemon = find_daemon(client)
        memory = daemon.memory_info().rss / 1e6
        client.post("/shutdown")
    wait_for_end(daemon)
    return times[0], times[1], memory


def find_daemon(client: DaemonClient) -> psutil.Process:
    """The process of the daemon."""
    return psutil.Process(client.get("/handshake")["pid"])


def wait_for_end(daemon: psutil.Process) -> None:
    """Until the process has ended."""
    daemon.wait(60)


if __name__ == "__main__":
    main()
