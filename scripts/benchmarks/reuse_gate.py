"""Measures the reuse gate on git histories: what it reports of added functions, planted copies, and merged duplicates.

    python scripts/benchmarks/reuse_gate.py REPOSITORY … [--commits 40] [--merged 10] [--seed 1]

Each REPOSITORY is a clone, bare or not. Three figures for each:

- added: the last commits without merges are checked out one after the other, and `codekin check --diff HEAD~1` says
  which of the functions that they add repeat what exists. Each finding is printed, to be judged by hand.
- planted: in the last of these trees, functions chosen at random are copied to another file with their own name and
  variables renamed; how many are found.
- merged: functions that a commit removed whose message speaks of duplication, in the tree before it; how many were
  found to repeat another one. Not all of them did: a commit may remove unused code besides.

Uses a data folder of its own, removed afterwards. The clones and trees are made in a temporary folder.
"""

import argparse
import json
import os
import random
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from codekin.daemon.client import DaemonClient
from codekin.parsing import cut_chunks, detect_language, read_local_names, rename_locals
from codekin.ranking.reuse import FUNCTION_KINDS, essence, is_checked
from codekin.types import Chunk

PLANTED = 40
DEDUPLICATION = r"duplicat\|dedup\|DRY "


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("repositories", nargs="+", type=Path)
    parser.add_argument("--commits", type=int, default=40)
    parser.add_argument("--merged", type=int, default=10, help="commits that speak of duplication")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ck", ignore_cleanup_errors=True) as folder:
        os.environ |= {f"CODEKIN_{name}_DIR": f"{folder}/{name}" for name in ("DATA", "RUNTIME", "CONFIG")}
        for repository in arguments.repositories:
            tree = Path(folder) / repository.parent.name.replace("+", "_") / "tree"
            git(Path(folder), "clone", "--quiet", "--shared", "--no-checkout", str(repository.resolve()), str(tree))
            measure(tree, arguments.commits, arguments.merged, random.Random(arguments.seed))
        run("daemon", "stop", cwd=Path(folder))


def measure(tree: Path, commits: int, merged: int, chance: random.Random) -> None:
    name, tip = tree.parent.name, git(tree, "rev-parse", "HEAD")
    chosen = git(tree, "rev-list", "--no-merges", "--first-parent", f"--max-count={commits + 1}", tip).split()[::-1]
    added, findings = measure_added(tree, chosen)
    found, planted = measure_planted(tree, chance)
    repeated, removed = measure_merged(tree, tip, merged)
    print(
        f"{name}: {len(findings)} of {added} added functions reported, "
        f"{found} of {planted} planted copies found, {repeated} of {removed} merged functions found",
        flush=True,
    )


def measure_added(tree: Path, commits: Sequence[str]) -> tuple[int, list[Any]]:
    """How many functions the commits add, and the findings, which are printed."""
    added, findings = 0, []
    for commit in commits[1:]:
        git(tree, "checkout", "--quiet", "--force", commit)
        run("index", str(tree), cwd=tree)
        result = ask_check(tree, "HEAD~1")
        added += result["added"]
        for function in result["functions"]:
            best = function["existing"][0]
            print(f"  {commit[:8]} {place(function['query'])} | {best['relation']} | {place(best['hit'])}", end=" | ")
            print("; ".join(best["evidence"]), flush=True)
        findings += result["functions"]
    return added, findings


def measure_planted(tree: Path, chance: random.Random) -> tuple[int, int]:
    """How many renamed copies are found, of how many."""
    functions = [chunk for chunk in functions_below(tree) if is_checked(chunk) and not chunk.part]
    chosen = chance.sample(functions, min(PLANTED, len(functions)))
    with DaemonClient.connect() as client:
        answers = [ask_reuse(client, tree, renamed(chunk), chunk.language) for chunk in chosen]
    hits = [{one["hit"]["path"] for one in answer} for answer in answers]
    return sum(chunk.path in paths for chunk, paths in zip(chosen, hits, strict=True)), len(chosen)


def measure_merged(tree: Path, tip: str, limit: int) -> tuple[int, int]:
    """How many functions that were removed as duplicates are found to repeat another one, of how many."""
    listed = git(
        tree, "log", "-i", f"--grep={DEDUPLICATION}", "--no-merges", f"--max-count={limit}", "--format=%H", tip
    )
    found = total = 0
    for commit in listed.split():
        removed = list(removed_functions(tree, commit))
        if not removed:
            continue
        git(tree, "checkout", "--quiet", "--force", f"{commit}~1")
        run("index", str(tree), cwd=tree)
        with DaemonClient.connect() as client:
            for chunk in removed:
                answer = ask_reuse(client, tree, chunk.text, chunk.language, own=(chunk.path, chunk.name))
                best = f"{answer[0]['relation']} of {place(answer[0]['hit'])}" if answer else "nothing"
                print(f"  merged in {commit[:8]}: {chunk.path} {chunk.name}: {best}", flush=True)
                found, total = found + bool(answer), total + 1
    return found, total


def removed_functions(tree: Path, commit: str) -> Iterator[Chunk]:
    """The functions of files that a commit changes which it removes, neither moved nor renamed nor tests."""
    paths = git(tree, "diff", "--name-only", "--no-renames", f"{commit}~1", commit).splitlines()
    before = [chunk for path in paths for chunk in functions_of(path, show(tree, f"{commit}~1:{path}"))]
    after = [chunk for path in paths for chunk in functions_of(path, show(tree, f"{commit}:{path}"))]
    names, texts = {(chunk.path, chunk.name) for chunk in after}, {essence(chunk) for chunk in after}
    bare = {chunk.name.rsplit(".", 1)[-1] for chunk in after}
    for chunk in before:
        is_kept = (chunk.path, chunk.name) in names or essence(chunk) in texts
        if is_checked(chunk) and not is_kept and chunk.name.rsplit(".", 1)[-1] not in bare:
            yield chunk


def functions_below(tree: Path) -> list[Chunk]:
    paths = [path for path in git(tree, "ls-files").splitlines() if (tree / path).is_file()]
    return [chunk for path in paths for chunk in functions_of(path, (tree / path).read_text("utf-8", "replace"))]


def functions_of(path: str, text: str) -> list[Chunk]:
    if not detect_language(path, text):
        return []
    return [chunk for chunk in cut_chunks(path, text)[0] if chunk.kind in FUNCTION_KINDS and chunk.part <= 1]


def renamed(chunk: Chunk) -> str:
    """The text with the function's own name and its variables changed."""
    own = re.split(r"[.:]", chunk.name.split("/")[0])[-1]
    names = {name: f"{name}_too" for name in read_local_names(chunk.language, chunk.text)}
    return re.sub(rf"\b{re.escape(own)}\b", f"{own}_again", rename_locals(chunk.text, chunk.language, names))


def ask_check(tree: Path, base: str) -> Any:
    with DaemonClient.connect() as client:
        *_, last = client.lines("/check", {"root": str(tree), "base": base})
    return last["result"]


def ask_reuse(client: DaemonClient, tree: Path, code: str, language: str, own: tuple[str, str] = ("", "")) -> list[Any]:
    body = {"root": str(tree), "code": code, "language": language}
    existing = [one for function in client.post("/reuse", body)["functions"] for one in function["existing"]]
    return [one for one in existing if (one["hit"]["path"], one["hit"]["name"]) != own]


def place(row: Any) -> str:
    return f"{row['path']}:{row['start_line']} {row['name']}"


def show(tree: Path, name: str) -> str:
    done = subprocess.run(["git", "-C", str(tree), "show", name], check=False, capture_output=True)
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else ""


def git(folder: Path, *words: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *words], check=True, capture_output=True)
    return done.stdout.decode("utf-8", "replace").strip()


def run(*words: str, cwd: Path) -> Any:
    command = [sys.executable, "-m", "codekin", *words, *(["--json"] if words[0] == "index" else [])]
    done = subprocess.run(command, check=True, capture_output=True, cwd=cwd)
    return json.loads(done.stdout) if words[0] == "index" else None


if __name__ == "__main__":
    main()
