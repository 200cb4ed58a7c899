"""What each start-up boundary spares the process before it: milliseconds and megabytes of its import."""

import argparse
import subprocess
import sys

from figures import Figure, show

BOUNDARIES = {
    "the window (codekin.lsp.server)": "codekin.lsp.server",
    "its client (codekin.daemon.client, httpx)": "codekin.daemon.client",
    "a command (codekin.cli.search, typer, rich, httpx)": "codekin.cli.search",
    "the daemon (codekin.daemon.app)": "codekin.daemon.app",
    "reading an index (codekin.storage, numpy, tantivy)": "codekin.storage",
    "queries (code_queries, numpy, tantivy, tree-sitter)": "codekin.daemon.services.code_queries",
    "models (codekin.models.loading, torch, tokenizers)": "codekin.models.loading",
    "pulled models (codekin.models.fetching, huggingface_hub)": "codekin.models.fetching",
    "scheduling (codekin.finetune.scheduler, croniter)": "codekin.finetune.scheduler",
    "transformers": "transformers",
    "peft": "peft",
    "filelock": "filelock",
    "psutil": "psutil",
}
PROGRAM = """
import sys, time
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096
bytes_before, began = resident(), time.process_time()
__import__(sys.argv[1])
print(time.process_time() - began, resident() - bytes_before)
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="each once")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rounds = 1 if options.quick else 3
    figures = []
    for name, module in BOUNDARIES.items():
        seconds, size = min(measure(module) for _ in range(rounds))
        figures.append(Figure(name, seconds * 1000, "ms", beside=f"{size / 1e6:.1f} MB"))
    show(figures, as_json=options.json)
    return 0


def measure(module: str) -> tuple[float, float]:
    """Processor seconds and bytes of one import in a fresh interpreter."""
    done = subprocess.run([sys.executable, "-c", PROGRAM, module], capture_output=True, text=True, check=True)
    seconds, size = map(float, done.stdout.split())
    return seconds, size


if __name__ == "__main__":
    raise SystemExit(main())
