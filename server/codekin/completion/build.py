"""Builds a workspace's corpus in a process of its own: `python -m codekin.completion.build`.

Tokenising 100,000 lines holds the interpreter for about a second, which the daemon cannot spare. The order comes
as one line of JSON on standard input, {"root", "folder", "hashes": {path: content hash}}; one line answers. The
process ends with its parent, at the end of that input.
"""

import contextlib
import json
import os
import stat
import sys
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

from codekin.completion.corpus import corpus_of
from codekin.completion.store import save

LARGEST_FILE = 4 << 20


def main() -> None:
    """Reads one order and carries it out."""
    with contextlib.suppress(OSError):
        os.nice(19)
    order = json.loads(sys.stdin.readline())
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    corpus = corpus_of(texts(Path(order["root"]), order["hashes"]))
    save(corpus, order["hashes"], Path(order["folder"]))
    sys.stdout.write(json.dumps({"files": len(corpus.base.paths), "tokens": len(corpus.base.tokens)}) + "\n")


def texts(root: Path, paths: Iterable[str]) -> Iterator[tuple[str, str]]:
    """The texts of files that can be read, with their paths."""
    for path in paths:
        text = read_text(root / path)
        if text is not None:
            yield path, text


def read_text(path: Path) -> str | None:
    """The text of a regular file of fair size, never through a link; None for all else."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError):
        return None
    with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_size > LARGEST_FILE:
            return None
        return file.read(LARGEST_FILE).decode("utf-8", "replace")


def _leave_with_parent() -> None:
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main()
