"""Finds kin: joins the embedder, the index and the syntax of the query.

The four questions are `similar`, `search`, `duplicates` and `lens`; `evaluate` measures
the same code on labelled rows. Knows nothing of editors or processes.
"""

from codekin.retrieval.duplicates import duplicates
from codekin.retrieval.evaluate import evaluate
from codekin.retrieval.hits import worth_showing
from codekin.retrieval.kin import lens, search, similar

__all__ = ["duplicates", "evaluate", "lens", "search", "similar", "worth_showing"]
