"""Turns filters into masks over a snapshot's rows.

Path patterns are globs on the whole relative path: `*` stops at a slash, `**` does not, and
a pattern without a slash matches at any depth, as in .gitignore; a folder matches all in it.
"""

import re
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from codekin.index.snapshot import Snapshot
from codekin.records import Filters

_PARTS = re.compile(r"\*\*/|\*\*|\*|\?|\[!?[^\]/]+\]|[^*?\[]+|\[")


def mask(snapshot: Snapshot, filters: Filters) -> NDArray[np.bool_]:
    """The rows that the filters let through (`min_score` aside)."""
    columns = snapshot.columns
    allowed = np.ones(len(snapshot), bool)
    for wanted, column, names in (
        (filters.languages, columns.language, snapshot.languages),
        (filters.kinds, columns.kind, snapshot.kinds),
    ):
        if wanted:
            allowed &= np.isin(column, [number for word, number in names.numbers.items() if word in wanted])
    if filters.paths:
        patterns = [pattern(glob) for glob in filters.paths]
        files = [key for key, path in snapshot.paths.items() if any(one.match(path) for one in patterns)]
        allowed &= np.isin(columns.file, files)
    return allowed


@lru_cache(maxsize=256)
def pattern(glob: str) -> re.Pattern[str]:
    """A glob as a regular expression without nested repetition, so that it cannot backtrack far."""
    body = glob.strip("/")
    anchored = "/" in body or glob.startswith("/")
    parts = re.sub(r"\*{3,}", "**", body)
    text = "".join(_translate(part) for part in _PARTS.findall(parts))
    return re.compile(("" if anchored else "(?:.*/)?") + text + r"(?:/.*)?\Z", re.DOTALL)


def _translate(part: str) -> str:
    """One piece of a glob."""
    fixed = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    if part in fixed:
        return fixed[part]
    if part.startswith("[") and part.endswith("]"):
        inner = part[1:-1].replace("\\", r"\\").replace("[", r"\[")
        return "[" + ("^" + inner[1:] if inner.startswith("!") else inner.replace("^", r"\^")) + "]"
    return re.escape(part)
