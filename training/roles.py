"""Finds functions of one role by several hands: the Elixir development set's labels.

Two functions of different repositories are of one role if their names are the same words and either
their documentation says alike what they do (cosine of TF-IDF at least ALIKE), or they stand in files of
one name, as the two `deliver` of two `mailgun.ex`. Names that every library has (`start_link`) and file
names that say little (`utils`) are no witness; copies and forks are left out. Rows do not show what
the labels were made of: names are masked, documentation is gone.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import log, sqrt

from codekin.storage.terms import jaccard_similarity
from functions import Function, bare
from mine_groups import words_of

MIN_SIMILARITY = 0.4
COPY = 0.4
SHORTEST = 120
MOST_PLACES = 400
MOST_PAIRS = 9
"""A name and file name that make more pairs than this say little."""

EVERYWHERE = frozenset(
    """
    start_link init child_spec new call start stop changeset handle_call handle_info handle_cast inspect id name type
    terminate message exception run build validate process main execute using before_compile
    """.split()  # noqa: SIM905 - a table of words reads best as words
)
VAGUE = frozenset(
    """
    encoder decoder parser config router application builder schema base utils messages store client query
    """.split()  # noqa: SIM905
)
FORKS = (
    {"ankhers/mongodb", "zookzook/elixir-mongodb-driver"},
    {"stavro/arc", "elixir-waffle/waffle"},
    {"lau/calendar", "lau/tzdata"},
    {"commanded/commanded", "commanded/eventstore"},
    {"commanded/commanded", "phoenixframework/phoenix_pubsub"},
)


@dataclass(frozen=True, slots=True)
class Place:
    """A function and where it stands."""

    repository: str
    path: str
    function: Function


def roles(places: Sequence[Place]) -> list[list[Place]]:
    """Groups of functions of one role, one a repository, at least two in each."""
    by_name: dict[str, list[Place]] = defaultdict(list)
    for place in places:
        if len(bare(place.function)) >= SHORTEST and place.function.name not in EVERYWHERE:
            by_name["_".join(words_of(place.function.name))].append(place)
    are_similar = _similar_documentation([place.function.doc for place in places if place.function.doc])
    groups = [group for some in by_name.values() for group in _groups(some, are_similar)]
    return [group for group in groups if len(group) > 1]


def _groups(places: Sequence[Place], are_similar: Callable[[str, str], bool]) -> Iterator[list[Place]]:
    """The functions of one name, joined where a witness says that two are of one role."""
    by_file = Counter(_file_name(place) for place in places)
    joined = {number: {number} for number in range(len(places))}
    for one, other in combinations(range(len(places)), 2) if len(places) <= MOST_PLACES else ():
        if _agree(places[one], places[other], by_file, are_similar):
            both = joined[one] | joined[other]
            joined |= dict.fromkeys(both, both)
    for group in {min(group): group for group in joined.values()}.values():
        yield list({places[number].repository: places[number] for number in sorted(group, reverse=True)}.values())


def _agree(one: Place, other: Place, by_file: Mapping[str, int], are_similar: Callable[[str, str], bool]) -> bool:
    """Whether two functions of one name are of one role, and not copies."""
    repositories = {one.repository, other.repository}
    if len(repositories) == 1 or repositories in FORKS:
        return False
    file = _file_name(one)
    same_file = (
        file == _file_name(other) and file not in VAGUE and by_file[file] * (by_file[file] - 1) / 2 <= MOST_PAIRS
    )
    docs = one.function.doc, other.function.doc
    if not (same_file or (all(docs) and are_similar(*docs))):
        return False
    return jaccard_similarity(bare(one.function), bare(other.function)) < COPY


def _file_name(place: Place) -> str:
    return re.sub(r"_(adapter|impl|helpers?|utils?)$", "", place.path.rsplit("/", 1)[-1].removesuffix(".ex"))


def _similar_documentation(docs: Sequence[str]) -> Callable[[str, str], bool]:
    """Whether two documentations say the same, by the rarity of words among all of them."""
    having = Counter(word for doc in docs for word in set(_words(doc)))

    def weigh(doc: str) -> dict[str, float]:
        counts = Counter(_words(doc))
        weights = {word: (1 + log(n)) * log(len(docs) / (1 + having[word])) for word, n in counts.items()}
        length = sqrt(sum(weight**2 for weight in weights.values())) or 1.0
        return {word: weight / length for word, weight in weights.items()}

    def are_similar(one: str, other: str) -> bool:
        left, right = weigh(one), weigh(other)
        return sum(weight * right.get(word, 0.0) for word, weight in left.items()) >= MIN_SIMILARITY

    return are_similar


_COMMON = frozenset(
    """
    the an of to is in and or for with that this it be if by on as will are from given returns return function value
    whether which when can
    """.split()  # noqa: SIM905
)


def _words(doc: str) -> list[str]:
    words = [word for word in re.findall(r"[a-z]{2,}", doc.lower()) if word not in _COMMON]
    return [re.sub(r"(ing|ed|es|s|e)$", "", word) if len(word) > 4 else word for word in words]
