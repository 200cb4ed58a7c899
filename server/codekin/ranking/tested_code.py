"""Functions whose tests say what is asked: a test's name is a sentence about the code that it tests.

The tested file has the test's file name without its mark (`error_test.exs`: `error.ex`), and the function shares words
with the test's name.
"""

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache

import numpy as np

from codekin.ranking.expansion import stem
from codekin.ranking.priors import CONTAINERS, TEST_KINDS, is_test_path
from codekin.ranking.scoring import Ranking
from codekin.storage.snapshot import IndexSnapshot, split_name
from codekin.storage.terms import split_subtokens

_TESTS_READ = 30
_TEST_MARK = re.compile(r"^(?:tests?|t)_|[_.-]?(?:tests?|spec|unittest)$")


def scores_by_tests(snapshot: IndexSnapshot, ranking: Ranking) -> Mapping[int, float]:
    """What each tested row has from its best test: the test's score by how much of the row's name the test says."""
    found: defaultdict[int, float] = defaultdict(float)
    tests = list(_best_tests(snapshot, ranking))
    by_topic = _files_by_topic(snapshot, {_topic(path) for path, _, _ in tests}) if tests else {}
    functions = _functions_by_file(snapshot, [file for files in by_topic.values() for file in files])
    for path, name, score in tests:
        said = frozenset(map(stem, split_subtokens(name)))
        for row in (
            row for file in _nearest(snapshot, by_topic.get(_topic(path), ()), path) for row in functions[file]
        ):
            share = _share_said(snapshot.names.name(int(snapshot.columns.name[row])), said)
            found[row] = max(found[row], score * share)
    return {row: score for row, score in found.items() if score}


def _best_tests(snapshot: IndexSnapshot, ranking: Ranking) -> Iterator[tuple[str, str, float]]:
    """Paths, names and scores of the tests among the best."""
    columns, kinds = snapshot.columns, snapshot.kinds.words()
    for row, score in zip(ranking.rows[:_TESTS_READ].tolist(), ranking.scores.tolist(), strict=False):
        path, kind = snapshot.paths.get(int(columns.file[row]), ""), kinds[columns.kind[row]]
        if score > 0 and kind not in {"file", "module"} and (kind in TEST_KINDS or is_test_path(path)):
            yield path, (split_name(snapshot.names.name(int(columns.name[row]))) or ("",))[-1], score


@lru_cache(maxsize=65536)
def _topic(path: str) -> str:
    """What a file is about by its name, without the marks of a test."""
    base = path.rpartition("/")[2].partition(".")[0].lower()
    return _TEST_MARK.sub("", base).replace("_", "")


def _files_by_topic(snapshot: IndexSnapshot, topics: Collection[str]) -> Mapping[str, list[int]]:
    found: defaultdict[str, list[int]] = defaultdict(list)
    for file, path in snapshot.paths.items():
        if _topic(path) in topics and not is_test_path(path):
            found[_topic(path)].append(file)
    return found


def _nearest(snapshot: IndexSnapshot, files: Iterable[int], path: str) -> list[int]:
    """Those files that share the most folders with a test."""
    folders = set(path.split("/")[:-1])
    shared = {file: len(folders & set(snapshot.paths[file].split("/")[:-1])) for file in files}
    most = max(shared.values(), default=0)
    return [file for file, count in shared.items() if count == most]


def _functions_by_file(snapshot: IndexSnapshot, files: Sequence[int]) -> Mapping[int, list[int]]:
    """The rows of some files that are no containers."""
    found: defaultdict[int, list[int]] = defaultdict(list)
    columns, kinds = snapshot.columns, snapshot.kinds.words()
    for row in np.flatnonzero(np.isin(columns.file, files)).tolist() if files else ():
        if kinds[columns.kind[row]] not in CONTAINERS:
            found[int(columns.file[row])].append(row)
    return found


def _share_said(name: str, said: frozenset[str]) -> float:
    """How much of the last part of a name a test's name says."""
    words = [stem(word) for word in split_subtokens((split_name(name) or ("",))[-1]) if word.isalnum()]
    return sum(word in said for word in words) / len(words) if words else 0.0
