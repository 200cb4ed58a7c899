"""Whether two functions share a pattern, and why; or are strangers that only look alike.

Read from shapes, names and documentation, never from vectors. A kinship needs evidence beyond a common name, and a
stranger must be one by every sign: what is in between is neither.
"""

import re
from collections.abc import Set as AbstractSet
from functools import lru_cache

from codekin.learning.pieces import Piece

NEAR_COPY = 0.8
"""Token runs in common from which on two texts are one and the same, for learning."""

COMMON_CALLS = 0.1
"""Strangers have a smaller part than this of their calls in common."""

COMMON_TEXT = 0.15
"""And less than this of their token runs: what is written alike does alike."""

LANGUAGE_FAMILIES = {"elixir": "elixir", "cpp": "cpp", "c": "cpp"}
_SAYS_NOTHING = frozenset({"get", "set", "do", "is", "to", "of", "the", "and", "for", "with", "from", "this", "that"})
_VERBS = (
    "get fetch load read find lookup take",
    "create new build make generate construct",
    "delete remove drop clear erase unset pop",
    "update put set change replace modify assign",
    "validate check verify ensure assert",
    "parse decode deserialize cast load",
    "encode serialize dump render format print",
    "start init open setup begin connect",
    "stop close terminate finish shutdown disconnect",
    "send dispatch publish notify emit broadcast push",
    "process run execute perform call",
    "add append insert register",
    "list all each",
)
"""Verbs that name one role; after each other on a line they are used for one another."""


def kinship(one: Piece, other: Piece) -> str:
    """Why two pieces share a pattern; empty when they do not.

    version, callback, role, synonym, documentation, structure or uses; across languages vocabulary.
    """
    if one is other or is_version(one, other):
        return "" if one is other else "version"
    if one.earlier or other.earlier or one.fragment.path == other.fragment.path:
        return ""
    if family(one) != family(other):
        return "vocabulary" if _same_vocabulary(one, other) else ""
    return next((kind for kind, holds in _KINDS if holds(one, other)), "")


def is_version(one: Piece, other: Piece) -> bool:
    """Whether the other is an earlier text of the same function."""
    a, b = one.fragment, other.fragment
    return other.earlier and not one.earlier and (a.path, a.name) == (b.path, b.name)


def strangers(one: Piece, other: Piece) -> bool:
    """Whether two pieces of two files share no pattern by any sign."""
    return one.fragment.path != other.fragment.path and unlike(one, other)


def unlike(one: Piece, other: Piece) -> bool:
    """Whether two pieces, of one file or two, differ in role, words of the name, calls, callbacks and text."""
    a, b = one.fragment, other.fragment
    if other.earlier or kinship(one, other) or kinship(other, one):
        return False
    if words(one.role) & words(other.role) or _mentions(one, other) or _mentions(other, one):
        return False
    if a.shape.callbacks and b.shape.callbacks and (_owners(one) & _owners(other) or one.role == other.role):
        return False
    return _overlap(one.calls, other.calls) < COMMON_CALLS and _overlap(one.runs, other.runs) < COMMON_TEXT


def near_copies(one: Piece, other: Piece) -> bool:
    """Whether two pieces are nearly the same text."""
    return _overlap(one.runs, other.runs) >= NEAR_COPY


def family(piece: Piece) -> str:
    """`cpp` for C and C++, which share their headers; else the language."""
    return LANGUAGE_FAMILIES.get(piece.fragment.language, piece.fragment.language)


@lru_cache(maxsize=100_000)
def words(name: str) -> frozenset[str]:
    """The words of a name or a sentence that say something, in lower case."""
    return frozenset(word.lower() for word in re.findall(r"[A-Z]?[a-z]{2,}|[A-Z]{2,}", name)) - _SAYS_NOTHING


def _same_callback(one: Piece, other: Piece) -> bool:
    """The same callback of one behaviour: `init/1` of a server and of a plug are two."""
    shared = set(one.fragment.shape.callbacks) & set(other.fragment.shape.callbacks)
    return one.role == other.role and bool(shared) and bool(_owners(one) & _owners(other))


def _owners(piece: Piece) -> set[str]:
    """What a callback may belong to: the behaviours and the used modules around it."""
    return {*piece.fragment.shape.behaviours, *piece.fragment.shape.uses}


def _same_role(one: Piece, other: Piece) -> bool:
    """The same name and arity in another module; a name of one word needs calls in common as well."""
    if one.role != other.role or not words(one.role):
        return False
    return len(words(one.role)) > 1 or bool(_shared_calls(one, other))


def _same_role_by_another_name(one: Piece, other: Piece) -> bool:
    """`fetch_user/1` and `load_user/1`: verbs for one another, the other words the same."""
    a, b = words(one.role), words(other.role)
    verbs = a ^ b
    renamed = len(a & b) >= 1 and len(verbs) == 2 and len(a) == len(b) and any(verbs <= each for each in _FAMILIES)
    return renamed and bool(_shared_calls(one, other))


def _same_documentation(one: Piece, other: Piece) -> bool:
    a, b = words(one.sentence), words(other.sentence)
    return len(a & b) >= 4 and _overlap(a, b) >= 0.6


def _same_structure(one: Piece, other: Piece) -> bool:
    a, b = one.fragment.shape, other.fragment.shape
    same = len(a.control) >= 2 and a.control == b.control
    return same and len(_shared_calls(one, other)) >= 2 and _overlap(one.calls, other.calls) >= 0.3


def _same_uses(one: Piece, other: Piece) -> bool:
    a, b = one.fragment.shape, other.fragment.shape
    enough = len(_shared_calls(one, other)) >= 3 and _overlap(one.calls, other.calls) >= 0.5
    return enough and bool(set(a.uses) & set(b.uses))


_KINDS = (
    ("callback", _same_callback),
    ("role", _same_role),
    ("synonym", _same_role_by_another_name),
    ("documentation", _same_documentation),
    ("structure", _same_structure),
    ("uses", _same_uses),
)
_FAMILIES = tuple(frozenset(line.split()) for line in _VERBS)


def _same_vocabulary(one: Piece, other: Piece) -> bool:
    """Across languages: the same words in the name, or a word of the name and several of the calls."""
    names = words(one.role) & words(other.role)
    if len(names) >= 2 or (names and words(one.role) == words(other.role)):
        return True
    return bool(names) and len(_words_of(one.calls) & _words_of(other.calls)) >= 3


def _mentions(one: Piece, other: Piece) -> bool:
    """Whether one calls the other by its name: a function and its helper are no strangers."""
    return other.own_name in one.called


@lru_cache(maxsize=100_000)
def _words_of(calls: frozenset[str]) -> frozenset[str]:
    return frozenset(word for call in calls for word in words(call))


def _shared_calls(one: Piece, other: Piece) -> frozenset[str]:
    return one.calls & other.calls


def _overlap(one: AbstractSet[object], other: AbstractSet[object]) -> float:
    """Jaccard similarity of two sets."""
    common = len(one & other)
    return common / (len(one) + len(other) - common) if common else 0.0
