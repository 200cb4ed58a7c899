"""Pairs the message of a small commit with the function that it changed, as the commit left it.

Reads the newest commits of a bare clone. A message that says nothing of its own (releases, merges,
formatting, one word) gives no pair, nor does a commit that touches more than three functions.
"""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from corpus import LANGUAGE_OF, SourceFile, read_all
from functions import Function, functions_of

MOST_COMMITS = 600
MOST_FUNCTIONS = 3
SECONDS = 90
_VAGUE = re.compile(
    r"^(?:merge|revert|release|bump|prepare|version|changelog|wip|v?\d+\.|fmt|format|typos?\b|lint|readme|docs?\b"
    r"|fix(?:es|ed)? (?:typos?|tests?|build|ci|warnings?|docs?|format\w*|lint)|(?:run|apply) (?:mix )?format"
    r"|update (?:deps|dep|readme|changelog))"
    r"|copyright|credo|dialyzer|travis|github actions|rename|refactor$|cleanup$|clean up$|review|deprecat|specs?\b",
    re.IGNORECASE,
)
_HUNK = re.compile(r"^@@ -\S+ \+(\d+)(?:,(\d+))? @@")


def commit_pairs(
    folder: Path, suffixes: tuple[str, ...] = (".ex", ".erl", ".cpp", ".cc", ".c")
) -> Iterator[tuple[str, Function]]:
    """Messages and changed functions of a clone's newest commits."""
    told = [(said, changed) for said, changed in _changes(folder, suffixes) if changed and len(changed) <= 2]
    names = [f"{commit}:{path}" for _, changed in told for commit, path, _ in changed]
    texts = iter(read_all(folder, names))
    for said, changed in told:
        touched: list[Function] = []
        for _, path, lines in changed:
            touched += _touched(path, next(texts), lines)
        if 1 <= len(touched) <= MOST_FUNCTIONS:
            yield said, touched[0]


def subject(line: str) -> str:
    """A commit's first line as a plain sentence; "" where it says little."""
    line = re.sub(r"\(?#\d+\)?|\[[^\]]*\]|https?://\S+|`", " ", line)
    line = re.sub(r"^\s*(?:\w+(?:\([^)]*\))?!?|[\w./-]+):\s+", "", " ".join(line.split()))
    words = re.findall(r"[A-Za-z]{2,}", line)
    return line if 4 <= len(words) <= 20 and not _VAGUE.search(line) else ""


Change = tuple[str, str, list[range]]


def _changes(folder: Path, suffixes: tuple[str, ...]) -> Iterator[tuple[str, list[Change]]]:
    """Each telling message with commit, path and changed lines of the files it left changed."""
    globs = [f"*{suffix}" for suffix in suffixes]
    command = ["git", f"--git-dir={folder}", "log", "--no-merges", f"-n{MOST_COMMITS}", "--diff-filter=M", "-U0", "-p",
               "--no-ext-diff", "--no-textconv", "--no-renames", "--format=%x01%H %s", "--", *globs]  # fmt: skip
    try:
        ran = subprocess.run(command, capture_output=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return
    for commit in ran.stdout.decode("utf-8", "replace").split("\x01")[1:]:
        head, _, diff = commit.partition("\n")
        digest, _, first = head.partition(" ")
        said = subject(first)
        if said and len(diff) < 20_000:
            yield said, list(_files(digest, diff))


def _files(digest: str, diff: str) -> Iterator[Change]:
    for part in diff.split("\ndiff --git ")[0:]:
        path = re.search(r"^\+\+\+ b/(.*)$", part, re.MULTILINE)
        if path and not re.search(r"(^|/)(tests?|spec|deps|vendor|third_party)/", path.group(1)):
            hunks = [_HUNK.match(line) for line in part.split("\n")]
            lines = [range(int(h[1]), int(h[1]) + max(1, int(h[2] or 1))) for h in hunks if h]
            yield digest, path.group(1), lines


def _touched(path: str, text: str, changed: list[range]) -> list[Function]:
    language = LANGUAGE_OF.get(Path(path).suffix)
    if not language or not text or len(text) > 80_000:
        return []
    functions = functions_of(SourceFile(path, language, text))
    return [
        f
        for f in functions
        if any(set(lines) & set(range(f.line, f.line + f.text.count("\n") + 1)) for lines in changed)
    ]
