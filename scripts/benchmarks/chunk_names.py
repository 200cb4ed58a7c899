"""The names of C and C++ functions beside those of another tool, universal-ctags, on a checkout.

    python scripts/benchmarks/chunk_names.py DIR [--show N] [--json]

Counted are the functions that ctags finds a body for and that span at least three lines; tests in
macros and what stands in unnamed scopes other than namespaces are left out, as the two tools name
them differently. ctags is no judge: it errs too, in about one of a hundred.
"""

import argparse
import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from figures import Figure, show

from codekin.parsing import cut_chunks, detect_language
from codekin.types import Chunk

LEAST_LINES = 3
LARGEST = 1_000_000
CONTAINERS = {"namespace", "class", "struct", "file"}
_UNNAMED = re.compile(r"__anon\w+|\(anonymousnamespace\)")


@dataclass(frozen=True)
class Function:
    """A function as ctags sees it; `line` is that of its name."""

    path: str
    line: int
    name: str


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--show", type=int, default=0, help="so many of the functions that differ")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if shutil.which("ctags") is None:
        parser.error("there is no ctags: install universal-ctags")
    found = {path: cut for path, cut in _cut(options.folder) if cut}
    verdicts = [(function, _verdict(function, found[function.path])) for function in _tagged(options.folder, found)]
    total = max(1, len(verdicts))
    figures = [
        Figure(f"functions that {word}, share", sum(verdict == word for _, verdict in verdicts) / total)
        for word in ("agree", "differ", "are missed")
    ]
    show([Figure("functions with a body", float(len(verdicts))), *figures], as_json=options.json)
    for function, verdict in [pair for pair in verdicts if pair[1] != "agree"][: options.show]:
        print(f"  {verdict}: {function.path}:{function.line} {function.name}")


def _cut(folder: Path) -> Iterator[tuple[str, list[Chunk]]]:
    listed = subprocess.run(["git", "-C", folder, "ls-files", "-z"], check=True, capture_output=True, text=True)
    for name in listed.stdout.split("\0"):
        path = folder / name
        if not name or path.is_symlink() or not path.is_file() or path.stat().st_size > LARGEST:
            continue
        text = path.read_text("utf-8", "replace")
        if detect_language(name, text) in {"c", "cpp"}:
            yield name, cut_chunks(name, text)[0]


def _tagged(folder: Path, paths: Mapping[str, object]) -> Iterator[Function]:
    command = ["ctags", "--output-format=json", "--fields=+neKS", "--kinds-C++=f", "--language-force=C++", "-L", "-"]
    done = subprocess.run(
        [*command, "-f", "-"], input="\n".join(paths), check=True, capture_output=True, text=True, cwd=folder
    )
    for line in done.stdout.splitlines():
        tag: dict[str, Any] = json.loads(line)
        scope, last = str(tag.get("scope", "")), str(tag.get("name", ""))
        is_unnamed = "__anon" in last or ("__anon" in scope and tag.get("scopeKind") != "namespace")
        if is_unnamed or "TEST" in scope + last or tag.get("end", 0) - tag.get("line", 0) < LEAST_LINES:
            continue
        yield Function(tag["path"], tag["line"], _plain(f"{scope}::{last}"))


def _verdict(function: Function, found: list[Chunk]) -> str:
    """A name agrees when it ends alike and holds every scope that ctags names."""
    names = [
        _plain(one.name)
        for one in found
        if one.start_line <= function.line <= one.end_line and one.kind not in CONTAINERS
    ]
    wanted = function.name.split("::")
    if not names:
        return "are missed"
    agrees = any(parts[-1] == wanted[-1] and set(wanted) <= set(parts) for parts in (one.split("::") for one in names))
    return "agree" if agrees else "differ"


def _plain(name: str) -> str:
    return "::".join(part for part in _UNNAMED.sub("", name.replace(" ", "")).split("::") if part)


if __name__ == "__main__":
    main()
