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
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

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
    with AgentProcess(folder) as agent:
        times = [time.perf_counter()]
        for number in (1, 2):
            agent.call("search", {"query": f"{query} {number}"})
            times.append(time.perf_counter())
    spans = [times[0] - began, times[1] - times[0], times[2] - times[1], times[1] - began]
    return [1000 * span for span in spans]


class AgentProcess:
    """`codekin mcp` for a folder, and the client that has introduced itself to it."""

    def __init__(self, folder: Path) -> None:
        self._process = subprocess.Popen([COMMAND, "mcp"], cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._number = 0
        self._ask("initialize", HELLO)
        self._tell({"method": "notifications/initialized"})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *about: object) -> None:
        self._process.stdin.close()
        self._process.wait()

    def call(self, tool: str, arguments: Mapping[str, Any]) -> Any:
        """What a tool gives. Raises RuntimeError where it fails."""
        return self._ask("tools/call", {"name": tool, "arguments": arguments})

    def _ask(self, method: str, params: Mapping[str, Any]) -> Any:
        self._number += 1
        self._tell({"id": self._number, "method": method, "params": params})
        for line in self._process.stdout:
            said = json.loads(line)
            if said.get("id") == self._number:
                if "error" in said or said["result"].get("isError"):
                    raise RuntimeError(str(said))
                return said["result"]
        raise RuntimeError("the server has left")

    def _tell(self, message: Mapping[str, Any]) -> None:
        self._process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
        self._process.stdin.flush()


if __name__ == "__main__":
    main()
