"""Why two fragments are kin, in plain words; the most telling reasons first."""

from collections.abc import Iterable
from functools import lru_cache

from codekin.index.sketch import resemblance
from codekin.index.tokens import pieces
from codekin.records import Fragment

NEAR_DUPLICATE = 0.8
_SIMILAR_MEANING = 0.5
_WORTH_COMPARING = 0.6
_SHOWN = 3
_COMMON = frozenset(
    """
    def defp do end fn if else case cond when return int void const auto bool
    char for while std the a of to is in and or not nil true false
    null self this class struct public private static size string ok error new with import use
    """.split()  # noqa: SIM905 - eighty quoted words are harder to read
)
"""Words too common to tell anything."""


def is_copy(query: Fragment, kin: Fragment) -> bool:
    """Whether the texts are the same, in the same language where the query has one."""
    return query.text.strip() == kin.text.strip() and query.language in {"", kin.language}


def reasons(query: Fragment, kin: Fragment, cosine: float, score: float) -> tuple[str, ...]:
    """Up to four reasons; at least one."""
    found = [*_likeness(query, kin, score), *_roles(query, kin)]
    if cosine >= _SIMILAR_MEANING:
        found.append("similar meaning")
    if len(found) < 4 and (shared := _shared_words(query.text, kin.text)):
        found.append("shares words: " + ", ".join(shared))
    return tuple(found[:4]) or ("similar meaning" if cosine > 0 else "shares words",)


def _likeness(query: Fragment, kin: Fragment, score: float) -> Iterable[str]:
    if is_copy(query, kin):
        yield "identical copy"
    elif score >= _WORTH_COMPARING and resemblance(query.text, kin.text) >= NEAR_DUPLICATE:
        yield "near-duplicate"
    if query.name and _last(query.name) == _last(kin.name):
        yield "same name"


def _roles(query: Fragment, kin: Fragment) -> Iterable[str]:
    behaviours = _both(query.shape.behaviours, kin.shape.behaviours)
    callbacks = _both(query.shape.callbacks, kin.shape.callbacks)
    if callbacks:
        owners = behaviours or _both(query.shape.uses, kin.shape.uses)
        owner = f"{owners[0]}." if len(owners) == 1 and "." not in callbacks[0] else ""
        yield f"both implement {owner}{callbacks[0]}"
    elif behaviours:
        yield "same behaviour: " + ", ".join(behaviours[:_SHOWN])
    if calls := _both(query.shape.calls, kin.shape.calls):
        yield "calls the same: " + ", ".join(calls[:_SHOWN])
    if uses := _both(query.shape.uses, kin.shape.uses):
        yield "uses the same: " + ", ".join(uses[:_SHOWN])


def _both(one: Iterable[str], other: Iterable[str]) -> list[str]:
    """Names in both, in the order of the first."""
    present = set(other)
    return [name for name in dict.fromkeys(one) if name in present]


def _last(name: str) -> str:
    """`handle_call` of `MyApp.Server.handle_call/3`, `method` of `ns::Class::method`."""
    return name.split("/", maxsplit=1)[0].rsplit("::", maxsplit=1)[-1].rsplit(".", maxsplit=1)[-1].lower()


def _shared_words(one: str, other: str) -> list[str]:
    """The longest words of both."""
    return sorted(_telling_words(one) & _telling_words(other), key=lambda word: (-len(word), word))[:_SHOWN]


@lru_cache(maxsize=256)
def _telling_words(text: str) -> frozenset[str]:
    return frozenset(word for word in set(pieces(text)) - _COMMON if len(word) > 2 and word.isalpha())
