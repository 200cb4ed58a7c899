"""Turns filters into masks over a snapshot's rows.

Path patterns are globs on the whole relative path: `*` stops at a slash, `**` does not, a
pattern without a slash matches at any depth, as in .gitignore, and a folder matches all in it.
"""

import re
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from codekin.errors import UsageError
from codekin.index.snapshot import Snapshot
from codekin.records import Filters

_PARTS = re.compile(r"\*\*/|\*\*|\*|\?|\[!?[^\]/]+\]|[^*?\[]+|\[")
_MOST_DEEP_STARS = 3


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
    """A glob as a regular expression; raises UsageError when matching it could take long.

    A star takes as little as it can and never tries again (an atomic group), so that only
    `**` backtracks, over the few folders of a path.
    """
    body = re.sub(r"(?:\*\*/)+", "**/", re.sub(r"\*{3,}", "**", glob.removeprefix("./").strip("/")))
    if body.count("**") > _MOST_DEEP_STARS:
        raise UsageError(f"the path pattern {glob!r} has more than {_MOST_DEEP_STARS} `**`: leave some out")
    anchored = "/" in body or glob.startswith("/")
    return re.compile(("" if anchored else "(?:.*/)?") + _expression(body) + r"(?:/.*)?\Z", re.DOTALL)


def _expression(body: str) -> str:
    """The glob without its anchors; each star is bound to the fixed text that follows it."""
    done, star = "", ""
    for part in _PARTS.findall(body):
        if part == "*" or part.startswith("**"):
            done, star = done + star + (")" if star else ""), ""
            if part == "*":
                star = "(?>[^/]*?"
            else:
                done += "(?:.*/)?" if part == "**/" else ".*"
        elif star:
            star += _fixed(part)
        else:
            done += _fixed(part)
    if star == "(?>[^/]*?":
        return done + "[^/]*"
    # The last star must reach the end of its name, so it may not stop at the first fit.
    return done + star.replace("(?>[^/]*?", "[^/]*", 1)


def _fixed(part: str) -> str:
    """A piece of a glob without stars."""
    if part == "?":
        return "[^/]"
    if part.startswith("[") and part.endswith("]"):
        inner = part[1:-1].replace("\\", r"\\").replace("[", r"\[")
        return "[" + ("^" + inner[1:] if inner.startswith("!") else inner.replace("^", r"\^")) + "]"
    return re.escape(part)
