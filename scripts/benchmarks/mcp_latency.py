"""Measures what an agent waits for: a client that starts cold, and one that is connected, on an indexed folder.

    python scripts/benchmarks/mcp_latency.py FOLDER [--runs 20] [--query WORDS]

Each run starts `codekin mcp` anew, introduces itself, searches twice and leaves. Printed are the median and the 95th
percentile of four times: from the start to the answer of `initialize`, from there to the first answer, the second
answer, and from the start to the first answer. The daemon and the process that serves agents run already;
CODEKIN_DATA_DIR names the data folder, as always.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

COMMAND = Path(sys.executable).with_name("codekin")
NAMES = ("start to initialize", "first search", "second search", "start to first answer")
HELLO = {
    "protocolVersion": "2025-06-18",
    "capabilities": {},
    "clientInfo": {"name": "benchmark", "version": "1"},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--query", default="retry with backoff")
    arguments = parser.parse_args()
    measure(arguments.folder, arguments.query)  # the processes are there from now on
    rows = [measure(arguments.folder, arguments.query) for _ in range(arguments.runs)]
    for name, times in zip(NAMES, zip(*rows, strict=True), strict=True):
        tail = statistics.quantiles(times, n=20)[-1] if len(times) > 1 else times[0]
        print(f"{name:24} median {statistics.median(times):6.0f} ms   p95 {tail:6.0f} ms")


def measure(folder: Path, query: str) -> list[float]:
    """The four times of one run in milliseconds. Raises RuntimeError where the server fails."""
    began = time.perf_counter()
    process = subprocess.Popen([COMMAND, "mcp"], cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with process:
        ask(process, 0, "initialize", HELLO)
        times = [time.perf_counter()]
        tell(process, {"method": "notifications/initialized"})
        for number in (1, 2):
            ask(process, number, "tools/call", {"name": "search", "arguments": {"query": f"{query} {number}"}})
            times.append(time.perf_counter())
        process.stdin.close()
    spans = [times[0] - began, times[1] - times[0], times[2] - times[1], times[1] - began]
    return [1000 * span for span in spans]


def ask(process: subprocess.Popen[bytes], number: int, method: str, params: dict[str, Any]) -> None:
    tell(process, {"id": number, "method": method, "params": params})
    for line in process.stdout:
        said = json.loads(line)
        if said.get("id") == number:
            if "error" in said or said["result"].get("isError"):
                raise RuntimeError(str(said))
            return
    raise RuntimeError("the server has left")


def tell(process: subprocess.Popen[bytes], message: dict[str, Any]) -> None:
    process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
    process.stdin.flush()


if __name__ == "__main__":
    main()
