"""How soon `codekin lsp` answers: at its start, while indexing, and while fine-tuning.

    python scripts/benchmarks/lsp_latency.py start|echo|ghost|finetune-echo [--quick] [--json]

Each figure has its yardstick under the same load: the start is paired in turns with an import of
pygls, and beside the window a bare process answers requests sent at the same moments.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import synthetic_repository
from figures import Figure, show
from large_repository import COMMAND
from lsp_client import LspClient, percentile, timed

from codekin import paths
from codekin.daemon.client import DaemonClient
from codekin.http import JsonClient, parse_endpoint

EVERY = 0.02
"""Seconds between two requests."""

FUNCTIONS = 20_000
"""The size of the repository that is indexed meanwhile."""

FINETUNED_FUNCTIONS = 1_500
"""The size of the repository that is learned meanwhile."""

ECHO = """
import json, sys
read, write = sys.stdin.buffer, sys.stdout.buffer
while header := read.readline():
    read.readline()
    message = json.loads(read.read(int(header.split(b":")[1])))
    body = json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": None}).encode()
    write.write(b"Content-Length: %d\\r\\n\\r\\n%b" % (len(body), body))
    write.flush()
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=MEASURES)
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    show(MEASURES[options.what](options.quick), as_json=options.json)


def start(quick: bool) -> list[Figure]:
    """The start of a window to the reply to `initialize`, and an import of pygls, in turns."""
    ours, theirs = [], []
    with tempfile.TemporaryDirectory(prefix="ck") as folder:
        for _ in range(5 if quick else 15):
            theirs.append(timed(lambda: subprocess.run([sys.executable, "-c", "import pygls.lsp.server"], check=True)))
            ours.append(_start_once(Path(folder)))
    ratio = statistics.median(ours) / statistics.median(theirs)
    beside = f"{statistics.median(ours):.0f} ms beside {statistics.median(theirs):.0f} ms"
    return [
        Figure('start of codekin lsp / python -c "import pygls.lsp.server"', ratio, "x", at_most=1.6, beside=beside)
    ]


def _start_once(data: Path) -> float:
    begun = time.perf_counter()
    with LspClient(data) as window:
        number = window.request("initialize", {"processId": None, "capabilities": {}, "workspaceFolders": []})
        window.reply(number)
        return (window.arrived[number] - begun) * 1000


def echo(quick: bool) -> list[Figure]:
    """A cheap request every 20 ms while a fresh repository is indexed, and the same to a bare process."""
    with indexing() as (window, data, _), LspClient(data, [sys.executable, "-c", ECHO]) as bare:
        bare.ask("warm up")
        ours, floor, daemon = _echoes(window, bare, data, 10 if quick else 40)
    return [
        *_echo_figures(ours, floor, "indexing"),
        Figure("handshake of the daemon while indexing, p99", percentile(daemon, 0.99), "ms"),
    ]


def ghost(quick: bool) -> list[Figure]:
    """Keystrokes, each a change of the text and a request for ghost text, while a fresh repository is indexed."""
    path, text = synthetic_repository.source_file(FUNCTIONS // synthetic_repository.FUNCTIONS_PER_FILE)
    lines = text.splitlines()
    taken, shown = [], 0
    with indexing() as (window, _, root):
        uri = (root / path).as_uri()
        document = {"uri": uri, "languageId": "elixir", "version": 1, "text": lines[0] + "\n\nend\n"}
        window.send({"method": "textDocument/didOpen", "params": {"textDocument": document}})
        window.ask("textDocument/inlineCompletion", _cursor(uri, 1, 0))
        for number, (row, column, written) in enumerate(keystrokes(lines, 60 if quick else 300), 2):
            start = time.perf_counter()
            window.send({"method": "textDocument/didChange", "params": _typed(uri, number, row, column, written)})
            request = window.request("textDocument/inlineCompletion", _cursor(uri, row, column + len(written)))
            shown += bool(window.reply(request)["result"]["items"])
            taken.append((window.arrived[request] - start) * 1000)
            time.sleep(0.05)
    beside = f"{len(taken)} keystrokes, something shown after {shown}"
    return [
        Figure("ghost text while indexing, p50", statistics.median(taken), "ms", at_most=40, beside=beside),
        Figure("ghost text while indexing, p99", percentile(taken, 0.99), "ms", at_most=150),
    ]


def echo_finetune(quick: bool) -> list[Figure]:
    """Questions and ghost text at rest and while a fine-tuning run embeds, trains and evaluates."""
    count = 40 if quick else 150
    with tempfile.TemporaryDirectory(prefix="ck") as folder:
        root, data = Path(folder) / "repository", Path(folder) / "data"
        data.mkdir()
        synthetic_repository.write_repository(root, FINETUNED_FUNCTIONS)
        try:
            with LspClient(data) as window, LspClient(data, [sys.executable, "-c", ECHO]) as bare:
                window.begin(root)
                window.until_ready()
                bare.ask("warm up")
                at_rest = _asked(window, root, count)
                with subprocess.Popen(
                    [COMMAND, "finetune", root, "--dry-run", "--json", "--data-dir", data], stdout=subprocess.PIPE
                ) as run:
                    time.sleep(8)  # the run gathers its material before it embeds
                    meanwhile = _asked(window, root, count)
                    ours, floor, _ = _echoes(window, bare, data, 5 if quick else 20)
                    over = run.poll() is not None
                    run.kill()
        finally:
            subprocess.run([COMMAND, "daemon", "stop", "--data-dir", data], check=False, capture_output=True)
    if over:
        raise RuntimeError("The run was over too soon: this machine needs a larger repository.")
    ratios = [
        Figure(
            f"{name} while fine-tuning / at rest, median",
            statistics.median(meanwhile[name]) / statistics.median(at_rest[name]),
            "x",
            at_most=1.3,
            beside=f"{statistics.median(at_rest[name]):.1f} ms at rest",
        )
        for name in at_rest
    ]
    return [*ratios, *_echo_figures(ours, floor, "fine-tuning")]


def _asked(window: LspClient, root: Path, count: int) -> dict[str, list[float]]:
    """The milliseconds of questions and of requests for ghost text, in turns, all about files of the repository."""
    taken: dict[str, list[float]] = {"similar": [], "ghost text": []}
    for number in range(count):
        path, text = synthetic_repository.source_file(
            number % (FINETUNED_FUNCTIONS // synthetic_repository.FUNCTIONS_PER_FILE)
        )
        uri = (root / path).as_uri()
        document = {"uri": uri, "languageId": "elixir", "version": 1, "text": text}
        window.send({"method": "textDocument/didOpen", "params": {"textDocument": document}})
        row = 3 + number % 20
        asked = {"textDocument": {"uri": uri}, "position": {"line": row, "character": 4}}
        taken["similar"].append(timed(lambda asked=asked: window.ask("codekin/similar", asked)))  # type: ignore[misc]
        cursor = _cursor(uri, row, 4)
        taken["ghost text"].append(timed(lambda cursor=cursor: window.ask("textDocument/inlineCompletion", cursor)))  # type: ignore[misc]
        window.send({"method": "textDocument/didClose", "params": {"textDocument": {"uri": uri}}})
        time.sleep(0.05)
    return taken


@contextmanager
def indexing() -> Iterator[tuple[LspClient, Path, Path]]:
    """A window, its data folder and a repository that is being indexed, from before the body until after it.

    Raises RuntimeError when the indexing was over before the body was.
    """
    with tempfile.TemporaryDirectory(prefix="ck") as folder:
        root, data = Path(folder) / "repository", Path(folder) / "data"
        data.mkdir()
        synthetic_repository.write_repository(root, FUNCTIONS)
        try:
            with LspClient(data) as window:
                window.begin(root)
                window.wait(lambda: any(folder["total"] for folder in window.status.get("folders", ())))
                yield window, data, root
                if not window.status["busy"]:
                    raise RuntimeError("The repository was indexed too soon: this machine needs a larger one.")
        finally:
            subprocess.run([COMMAND, "daemon", "stop", "--data-dir", data], check=False, capture_output=True)


def keystrokes(lines: list[str], count: int) -> Iterator[tuple[int, int, str]]:
    """A file typed by hand below its first line: row, column and the character of each key; Enter brings the indent."""
    keys = (
        (row, 0, line[: len(line) - len(line.lstrip())]) if at < 0 else (row, at, line[at])
        for row, line in enumerate(filter(str.strip, lines[1:]), 1)
        for at in (-1, *range(len(line) - len(line.lstrip()), len(line)))
    )
    return islice(keys, count)


def _typed(uri: str, version: int, row: int, column: int, written: str) -> dict[str, Any]:
    """The change of one key; the first of a line begins a line of its own."""
    at = {"line": row - 1, "character": 10**6} if column == 0 else {"line": row, "character": column}
    change = {"range": {"start": at, "end": at}, "text": "\n" + written if column == 0 else written}
    return {"textDocument": {"uri": uri, "version": version}, "contentChanges": [change]}


def _cursor(uri: str, row: int, column: int) -> dict[str, Any]:
    return {
        "textDocument": {"uri": uri},
        "position": {"line": row, "character": column},
        "context": {"triggerKind": 2},
    }


def _echoes(
    window: LspClient, bare: LspClient, data: Path, seconds: float
) -> tuple[list[float], list[float], list[float]]:
    """Ours and the bare process's as sent, arrived, sent, arrived, … (seconds); the daemon's as milliseconds."""
    count = round(seconds / EVERY)
    sent: list[tuple[float, int, int]] = []
    daemon: list[float] = []
    asking = threading.Thread(target=_ask_daemon, args=(data, seconds, daemon))
    asking.start()
    begun = time.perf_counter()
    for number in range(count):
        time.sleep(max(0.0, begun + number * EVERY - time.perf_counter()))
        now = time.perf_counter()
        sent.append((now, window.request("codekin/status"), bare.request("echo")))
    for _, ours, other in sent:
        window.reply(ours)
        bare.reply(other)
    asking.join()
    ours = [when for at, number, _ in sent for when in (at, window.arrived[number])]
    return ours, [when for at, _, number in sent for when in (at, bare.arrived[number])], daemon


def _ask_daemon(data: Path, seconds: float, taken: list[float]) -> None:
    """The milliseconds of a handshake with the daemon every 20 ms."""
    with DaemonClient.connect(data), JsonClient(parse_endpoint(paths.socket_path(data))) as client:
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            taken.append(timed(lambda: client.get("/handshake")))
            time.sleep(EVERY)


def _echo_figures(ours: list[float], floor: list[float], during: str) -> list[Figure]:
    delays, bare = (
        [(back - sent) * 1000 for sent, back in zip(each[::2], each[1::2], strict=True)] for each in (ours, floor)
    )
    gap, bare_gap = (max((b - a) * 1000 for a, b in pairwise(each[1::2])) for each in (ours, floor))
    beside = f"a bare process at the same moments {percentile(bare, 0.99):.1f} ms"
    return [
        Figure(f"echo while {during}, p99", percentile(delays, 0.99), "ms", at_most=25, beside=beside),
        Figure(
            f"echo while {during}, longest gap", gap, "ms", at_most=200, beside=f"the bare process {bare_gap:.0f} ms"
        ),
    ]


MEASURES: Mapping[str, Callable[[bool], list[Figure]]] = {
    "start": start,
    "echo": echo,
    "ghost": ghost,
    "finetune-echo": echo_finetune,
}

if __name__ == "__main__":
    main()
