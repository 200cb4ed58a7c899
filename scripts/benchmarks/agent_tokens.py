"""How many tokens an agent reads to see the right function: by `codekin mcp`, and by ripgrep and whole files.

    python scripts/benchmarks/agent_tokens.py --questions FILE.jsonl --repos DIR [--only NAME …] [--json]

FILE has rows {"repo": "owner/name", "q", "answers"}; DIR holds the repositories, each under its name. A function counts
as seen where its name ends with one of the answers. By `codekin mcp` the agent asks `search` once, with `max_tokens`,
and reads all of the answer. By ripgrep (`rg`) it looks for each telling word of the question, begins with the file that
has most of them, and reads whole files until it has seen the function or read so many; of what ripgrep prints, the
counts by file are read. A token is taken for three bytes on both sides.
"""

import argparse
import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import mean
from typing import Any

from figures import Figure, show
from mcp_latency import AgentProcess

from codekin.mcp.rendering import count_tokens
from codekin.parsing import cut_chunks, detect_language
from codekin.ranking.priors import without_stop_words

CODEKIN = Path(sys.executable).with_name("codekin")
BUDGETS = (500, 1000, 2000)
BUDGET = 1000
MOST_FILES = 20
RECALL_BAR, SHARE_BAR = 0.85, 1 / 20
ARITY = re.compile(r"/\d+$")


@dataclass(frozen=True, slots=True)
class Reading:
    """The tokens that were read, and whether the function was among them."""

    tokens: int
    found: bool


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", type=Path, required=True)
    parser.add_argument("--repos", type=Path, required=True)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = [json.loads(line) for line in options.questions.read_text("utf-8").splitlines() if line.strip()]
    by_agent: dict[int, list[Reading]] = {budget: [] for budget in BUDGETS}
    by_files: list[Reading] = []
    for name in dict.fromkeys(row["repo"].rpartition("/")[2] for row in rows):
        folder = options.repos / name
        if folder.is_dir() and (not options.only or name in options.only):
            asked = [row for row in rows if row["repo"].endswith(f"/{name}")]
            for budget, readings in ask_agent(folder, asked).items():
                by_agent[budget] += readings
            by_files += [read_files(folder, row) for row in asked]
    show(figures_of(by_agent, by_files), as_json=options.json)


def figures_of(by_agent: Mapping[int, Sequence[Reading]], by_files: Sequence[Reading]) -> list[Figure]:
    """Recall and tokens of both ways, and what share of the one the other is."""
    figures = []
    for budget, readings in by_agent.items():
        bar = {"at_least": RECALL_BAR} if budget == BUDGET else {}
        figures.append(Figure(f"recall at {budget} tokens", recall(readings), beside=f"of {len(readings)}", **bar))
    figures.append(Figure(f"recall by ripgrep and {MOST_FILES} whole files", recall(by_files)))
    read = mean(reading.tokens for reading in by_agent[BUDGET])
    files = mean(reading.tokens for reading in by_files)
    figures += [Figure("tokens read by codekin mcp", read), Figure("tokens read by ripgrep and files", files)]
    figures.append(Figure("share of the tokens", read / files, at_most=SHARE_BAR))
    both = [(one, other) for one, other in zip(by_agent[BUDGET], by_files, strict=True) if one.found and other.found]
    share = sum(one.tokens for one, _ in both) / sum(other.tokens for _, other in both)
    return [*figures, Figure("the same where both find it", share, beside=f"{len(both)} questions", at_most=SHARE_BAR)]


def recall(readings: Sequence[Reading]) -> float:
    return mean(reading.found for reading in readings)


def ask_agent(folder: Path, rows: Sequence[Mapping[str, Any]]) -> dict[int, list[Reading]]:
    """What an agent reads for each question, by budget."""
    subprocess.run([CODEKIN, "index", folder], check=True, capture_output=True)
    with AgentProcess(folder) as agent:
        return {budget: [_ask(agent, row, budget) for row in rows] for budget in BUDGETS}


def _ask(agent: AgentProcess, row: Mapping[str, Any], budget: int) -> Reading:
    found = agent.call("search", {"query": row["q"], "max_tokens": budget})
    names = [place["name"] for place in found["structuredContent"]["places"]]
    return Reading(count_tokens(found["content"][0]["text"]), is_answer(names, row["answers"]))


def is_answer(names: Sequence[str], answers: Sequence[str]) -> bool:
    """Whether one of the names ends with one of the answers."""
    ends = tuple(ARITY.sub("", answer) for answer in answers)
    return any(ARITY.sub("", name).endswith(ends) for name in names)


def read_files(folder: Path, row: Mapping[str, Any]) -> Reading:
    """What is read by ripgrep and whole files."""
    counts: Counter[str] = Counter()
    listings = 0
    words = without_stop_words(row["q"]).split()
    for word in words:
        done = subprocess.run(["rg", "-ciF", word, "."], cwd=folder, capture_output=True, text=True, check=False)
        listings += count_tokens(done.stdout)
        for line in done.stdout.splitlines():
            counts[line.rpartition(":")[0].removeprefix("./")] += 1000 + min(999, int(line.rpartition(":")[2]))
    tokens = listings
    for path, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:MOST_FILES]:
        size, names = contents(folder / path)
        tokens += size
        if is_answer(names, row["answers"]):
            return Reading(tokens, found=True)
    return Reading(tokens, found=False)


@cache
def contents(path: Path) -> tuple[int, tuple[str, ...]]:
    """A file's tokens and the names of what it defines."""
    text = path.read_text("utf-8", "replace")
    names = [chunk.name for chunk in cut_chunks(path.name, text)[0]] if detect_language(path.name, text) else []
    return count_tokens(text), tuple(names)


if __name__ == "__main__":
    main()
