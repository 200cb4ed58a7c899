"""The shapes of answers, the same for every surface: hits, queries, groups.

Knows nothing of how they were found.
"""

import time
from typing import Any

from codekin.daemon.kin import Found
from codekin.records import Fragment, Hit


def hit_row(hit: Hit) -> dict[str, Any]:
    """A place found."""
    return {
        "path": hit.path,
        "name": hit.name,
        "kind": hit.kind,
        "language": hit.language,
        "start_line": hit.start_line,
        "end_line": hit.end_line,
        "code_line": hit.code_line,
        "score": round(hit.score, 4),
        "reasons": list(hit.reasons),
    }


def query_row(query: Fragment) -> dict[str, Any]:
    """What was asked about."""
    return {
        "path": query.path,
        "name": query.name,
        "language": query.language,
        "start_line": query.start_line,
        "end_line": query.end_line,
    }


def found_answer(query: dict[str, Any], found: Found, began: float) -> dict[str, Any]:
    """The answer to a query; `degraded` is there only where vectors had no part in it."""
    answer = {
        "query": query,
        "hits": [hit_row(hit) for hit in found.hits],
        "space": found.space,
        "ms": round((time.perf_counter() - began) * 1000, 1),
    }
    return {**answer, "degraded": found.degraded} if found.degraded else answer
