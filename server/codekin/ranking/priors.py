"""What makes a chunk likelier to be meant, before and beside what its text says: one function for each idea.

The weights were fitted on questions about repositories that no published figure is measured on; docs/experiments.md has
the effect of each.
"""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from codekin.ranking.expansion import stem, words_meant
from codekin.ranking.query import asks_about_topic
from codekin.ranking.scoring import Ranking, RowMask
from codekin.ranking.signals import Scores
from codekin.storage.snapshot import IndexSnapshot, split_name
from codekin.storage.terms import TermStatistics, count_terms, split_subtokens

CONTAINERS = frozenset(
    {"namespace", "module", "class", "struct", "protocol", "implementation", "file", "describe"}
    | {"interface", "trait", "enum", "record", "section", "component"}
)
TEST_KINDS = frozenset({"test", "describe"})
_TEST_PATH = re.compile(
    r"(?:^|/)(?:tests?|specs?|mocks?|fixtures?|testing|gtest|fuzz\w*|bench\w*|examples?)/"
    r"|(?:^|[_/.-])(?:test|tests|spec|mock|mocks|fuzz|bench\w*)\.\w+$|(?:^|/)test_[^/]*$"
)
_VENDORED_PATH = re.compile(
    r"(?:^|/)(?:deps|vendor|vendored|third[_-]?party|3rdparty|external|extern|node_modules|bundled)/"
)
_GENERATED_PATH = re.compile(r"(?:^|/)(?:generated|gen|autogen)/|\.(?:pb|grpc\.pb)\.\w+$|(?:^|/)(?:moc|qrc|ui)_[^/]*$")


_TEST_WORDS = frozenset(map(stem, ("test", "mock", "fixture", "spec", "benchmark", "example", "fuzz")))
_MAX_SAID = 64
_SUPPORTING = 40
"""How many of the best say which file a topic is in."""

_CONTAINER_WORDS = frozenset(
    map(stem, ("module", "class", "struct", "namespace", "file", "protocol", "header", "overview"))
)
_DOCUMENT_WORDS = frozenset(
    map(stem, ("documentation", "docs", "guide", "readme", "changelog", "tutorial", "manual", "section", "markdown"))
)
_ASKED_FOR = (_TEST_WORDS, _CONTAINER_WORDS, _DOCUMENT_WORDS)
_STOP_WORDS = frozenset(
    """
    a an the of to in is are be for on and or with by from that this it its as at what which when where who how do
    does we i all any can not if into so use used using has have was were you our their them then than too
    """.split()  # noqa: SIM905 - sixty quoted words are harder to read
)


@dataclass(frozen=True, slots=True)
class PriorWeights:
    """What each idea adds to a fused score, in which 0 is the average and 1 the best there can be; 0 takes it away.

    `meaning` is added by cosine and `words` by likeness of words: a question weighs them otherwise than code does.
    `name_words` counts how much of the question a name says, `name_share` how much of the name the question says,
    `name_meaning` how near the name's words are to it in meaning; as these count already, a name that repeats the
    question's words, or a path that does, is less likely than one that does not. `length` is added by the logarithm of
    the number of lines: a function of one line seldom does what takes a sentence to say. `whole_name` is for a question
    that says every word of a name and its scope. To a question that names a topic the `topic_file` that is called so is
    an answer, a `topic_container` seldom is in the way, and `topic_support` is for the best place of the file that most
    of the best are in.
    """

    meaning: float = 0.15
    words: float = -0.10
    name_words: float = 0.10
    name_share: float = -0.08
    path_words: float = -0.12
    name_meaning: float = 0.30
    whole_name: float = 0.10
    length: float = 0.01
    test: float = -0.30
    container: float = -0.22
    asked_container: float = 0.10
    topic_container: float = -0.05
    topic_file: float = 0.15
    topic_support: float = 0.10
    section: float = -0.42
    vendored: float = -0.20
    generated: float = -0.20
    nearness: float = 0.005


DEFAULT_WEIGHTS = PriorWeights()


@dataclass(frozen=True, slots=True)
class QuestionWords:
    """The words of a question, each with its weight and in their order, and what the question asks for by name."""

    weights: Mapping[str, float]
    said: tuple[str, ...]
    wants_tests: bool
    wants_containers: bool
    wants_documents: bool
    names_topic: bool = False


def weigh_question(text: str, term_statistics: TermStatistics | None) -> QuestionWords:
    """The words of a question by how rare they are in the repository."""
    words = {stem(word) for word in split_subtokens(text) if word.isalnum() and word not in _STOP_WORDS}
    telling = words - _CONTAINER_WORDS or words
    weights = {word: _rarity(word, term_statistics) for word in telling}
    said = tuple(word for word in split_subtokens(text) if word.isalpha())[:_MAX_SAID]
    wants_tests, wants_containers, wants_documents = (bool(words & asked) for asked in _ASKED_FOR)
    return QuestionWords(weights, said, wants_tests, wants_containers, wants_documents, asks_about_topic(text))


def without_stop_words(text: str) -> str:
    """A question without the words that say nothing of the code; the whole of it where nothing would be left."""
    telling = [word for word in text.split() if word.lower().strip("?,.!") not in _STOP_WORDS]
    return " ".join(telling) or text


def _rarity(word: str, term_statistics: TermStatistics | None) -> float:
    """The inverse document frequency of a word over all languages."""
    if term_statistics is None or not term_statistics.languages:
        return 1.0
    numbers = count_terms(word) >> np.uint32(8)
    if not len(numbers):
        return 1.0
    return float(
        np.mean([one.inverse_document_frequency(numbers[:1])[0] for one in term_statistics.languages.values()])
    )


@lru_cache(maxsize=65536)
def _words_of(text: str) -> frozenset[str]:
    return frozenset(stem(word) for word in split_subtokens(text))


def _words_meant(question: QuestionWords, name: str) -> frozenset[str]:
    """The words of a name with those of the question that it stands for."""
    own = _words_of(name)
    meant = [word for part in _own_words(name) for word in words_meant(part, question.said)]
    return own.union(map(stem, meant)) if meant else own


@lru_cache(maxsize=65536)
def _own_words(name: str) -> tuple[str, ...]:
    return tuple(split_subtokens(name))


def covered_share(question: QuestionWords, text: str) -> float:
    """The share of the question's weight that is in a name or path."""
    total = sum(question.weights.values())
    own = _words_meant(question, text)
    return sum(weight for word, weight in question.weights.items() if word in own) / total if total else 0.0


def share_of_name(question: QuestionWords, name: str) -> float:
    """How many of the words of a name's last part are in the question."""
    parts = split_name(name)
    own = _words_of(parts[-1]) - _STOP_WORDS if parts else frozenset()
    return sum(word in question.weights for word in own) / len(own) if own else 0.0


def _says_whole_name(question: QuestionWords, name: str) -> bool:
    """Whether a question says all words of a name's last two parts, at least two."""
    words = _words_of(" ".join(split_name(name)[-2:]))
    return len(words) > 1 and words <= question.weights.keys()


@lru_cache(maxsize=65536)
def is_test_path(path: str) -> bool:
    """Whether a file holds tests, mocks, benchmarks or examples."""
    return bool(_TEST_PATH.search(path.lower()))


@lru_cache(maxsize=65536)
def is_vendored_path(path: str) -> bool:
    """Whether a file is a copy of another project's."""
    return bool(_VENDORED_PATH.search(path.lower()))


@lru_cache(maxsize=65536)
def is_generated_path(path: str) -> bool:
    """Whether a file is written by a program."""
    return bool(_GENERATED_PATH.search(path.lower()))


def nearness(path: str, asking_path: str) -> float:
    """How many of the asking file's folders a path shares, between 0 and 1."""
    own, asking = path.split("/"), asking_path.split("/")
    if not asking_path:
        return 0.0
    shared = next((at for at, (one, other) in enumerate(zip(own, asking, strict=False)) if one != other), len(own))
    return shared / max(1, len(asking))


def add_priors(
    snapshot: IndexSnapshot, ranking: Ranking, question: QuestionWords, asking_path: str, weights: PriorWeights
) -> Scores:
    """The fused scores of a question's candidates with everything else that is known of them."""
    columns, kinds = snapshot.columns, snapshot.kinds.words()
    added = np.empty(len(ranking.rows), np.float32)
    for place, row in enumerate(ranking.rows.tolist()):
        path = snapshot.paths.get(int(columns.file[row]), "")
        name, kind = snapshot.names.name(int(columns.name[row])), kinds[columns.kind[row]]
        added[place] = _words_prior("" if kind == "file" else name, path, question, weights)
        added[place] += _place_prior(kind, path, question, weights) + weights.nearness * nearness(path, asking_path)
    added += weights.length * np.log1p(columns.end[ranking.rows] - columns.start[ranking.rows])
    signals = weights.meaning * np.nan_to_num(ranking.cosine) + weights.words * np.nan_to_num(ranking.text_similarity)
    scores = np.asarray(ranking.scores + added + signals, np.float32)
    return _add_topic(snapshot, ranking, scores, question, weights) if question.names_topic else scores


def _add_topic(
    snapshot: IndexSnapshot, ranking: Ranking, scores: Scores, question: QuestionWords, weights: PriorWeights
) -> Scores:
    """The scores of a question that names a topic, with what files say of it."""
    files = snapshot.columns.file[ranking.rows].tolist()
    named = {file: _share_of_file_name(snapshot.paths.get(file, ""), question) for file in set(files)}
    support = support_of_files(files, scores.tolist(), _SUPPORTING)
    added = weights.topic_file * np.array([named[file] for file in files]) + weights.topic_support * np.array(support)
    return np.asarray(scores + added, np.float32)


def support_of_files(files: Sequence[int], scores: Sequence[float], considered: int) -> list[float]:
    """For the best candidate of each file how much of the `considered` best scores the file has; 0 for the others.

    The candidates come in any order; the file with the most has 1.
    """
    order = sorted(range(len(files)), key=lambda at: -scores[at])
    mass = defaultdict[int, float](float)
    for at in order[:considered]:
        mass[files[at]] += max(0.0, scores[at])
    most = max(mass.values(), default=0.0) or 1.0
    first = {files[at]: at for at in reversed(order)}
    return [mass[file] / most if first[file] == at else 0.0 for at, file in enumerate(files)]


def _share_of_file_name(path: str, question: QuestionWords) -> float:
    """How many of the words of a file's name are in the question; none of a test's."""
    base = path.rpartition("/")[2].partition(".")[0]
    words = [stem(word) for word in split_subtokens(base) if word.isalpha()]
    if not words or is_test_path(path):
        return 0.0
    return sum(word in question.weights for word in words) / len(words)


def shares_name_word(snapshot: IndexSnapshot, ranking: Ranking, question: QuestionWords) -> RowMask:
    """Which candidates have a word of the question in their name or in that of what is around them."""
    numbers = snapshot.columns.name[ranking.rows].tolist()
    names = map(snapshot.names.name, numbers)
    return np.array([bool(question.weights.keys() & _words_meant(question, one)) for one in names], bool)


def _words_prior(name: str, path: str, question: QuestionWords, weights: PriorWeights) -> float:
    """What the words of a name and path add."""
    named = weights.name_words * covered_share(question, name) + weights.name_share * share_of_name(question, name)
    named += weights.whole_name * _says_whole_name(question, name)
    return named + weights.path_words * covered_share(question, path)


def _place_prior(kind: str, path: str, question: QuestionWords, weights: PriorWeights) -> float:
    """What is taken from tests, from vendored and generated code, and from the containers of what is sought."""
    is_test = not question.wants_tests and (kind in TEST_KINDS or is_test_path(path))
    taken = weights.test * is_test + _container_prior(kind, question, weights)
    return taken + weights.vendored * is_vendored_path(path) + weights.generated * is_generated_path(path)


def _container_prior(kind: str, question: QuestionWords, weights: PriorWeights) -> float:
    """What a container is given where one is asked for, else what is taken from it."""
    if kind not in CONTAINERS:
        return 0.0
    if kind == "section":
        return 0.0 if question.wants_documents else weights.section
    if question.wants_containers:
        return weights.asked_container
    return weights.topic_container if question.names_topic else weights.container
