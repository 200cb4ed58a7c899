"""Finds similar code, searches by words, finds duplicates and counts matches for code lenses.

`evaluate_retrieval` measures the same code on labelled rows.
"""

from codekin.ranking.evaluation import evaluate_patterns, evaluate_retrieval
from codekin.ranking.hits import drop_noise
from codekin.ranking.name_meaning import embed_frequent_words
from codekin.ranking.reuse import ExistingCode, find_existing
from codekin.ranking.search import search_code
from codekin.ranking.similar import count_similar, find_duplicates, find_similar

__all__ = [
    "ExistingCode",
    "count_similar",
    "drop_noise",
    "embed_frequent_words",
    "evaluate_patterns",
    "evaluate_retrieval",
    "find_duplicates",
    "find_existing",
    "find_similar",
    "search_code",
]
