"""Names first: which chunks a text names, and how surely.

A name may be written as Codekin prints it (`Shop.Ledger.close_month/2`), with some of its scopes (`Class::method`,
`Ledger.close_month`), bare, in another case, as words (`close month`), in part, or with one letter wrong. A function
comes before the helper that does its work: `publish` before `do_publish`, `parse` before `parse_impl`.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import islice

import numpy as np

from codekin.ranking.scoring import Ranking
from codekin.ranking.signals import Scores
from codekin.storage.snapshot import IndexSnapshot, NameTable, arity_of, name_key, split_name
from codekin.storage.terms import split_subtokens

EXACT = 1.0
_OTHER_SPELLING = 0.93
_ONE_LETTER_OFF = 0.75
_PART = 0.55
_MENTIONED = 0.6
"""How surely a name is meant: as it is written, in another case or as words, nearly, in part, within a question."""

DEFINED_WITHIN = 0.9
"""How surely a container is meant that has the definition of a name."""

SURE = 0.8
"""From here on a name counts as meant: what is not named comes after it."""

_OUTER_SCOPE_LEFT_OUT = 0.004
_MAX_SCOPES_COUNTED = 5
_DESTRUCTOR = 0.1
_MAX_WORDS = 6
_MIN_PART = 3
_MIN_MISSPELT = 4
_MAX_MISSPELT_WORDS = 4
_MAX_PARTIAL_KEYS = 200
_HELPERS_SOUGHT = 60
_HELPER_BEFORE = frozenset({"do", "really"})
_HELPER_AFTER = frozenset({"impl", "internal", "inner", "helper", "aux"})
_QUOTES = " \t\n`'\"&@;,"
_CALL = re.compile(r"(?<=[\w?!~>])\s*\(.*\)?$", re.DOTALL)
_KEYWORDS = re.compile(
    r"^(?:def|defp|defmacro|defmodule|defprotocol|defguard|class|struct|namespace|function|module)\s+"
)
_IDENTIFIER = re.compile(
    r"\w+(?:(?:::|\.)~?\w+[?!]?)+(?:/\d+)?|\w+_\w+[?!]?(?:/\d+)?|[a-z]+[A-Z]\w+|[A-Z]\w*[a-z]\w*[A-Z]\w*"
)


def find_names(snapshot: IndexSnapshot, text: str) -> dict[int, float]:
    """The numbers of the names that a text may mean, with how surely between 0 and 1."""
    spelled = _KEYWORDS.sub("", _CALL.sub("", text.strip(_QUOTES)))
    if not spelled or len(spelled) > 300:
        return {}
    words = spelled.split()
    if len(words) > 1:
        return _names_as_words(snapshot.names, words) or _names_mentioned(snapshot.names, text)
    found = _names_spelled(snapshot.names, spelled)
    return found or _names_nearly(snapshot.names, spelled)


def is_name_query(text: str) -> bool:
    """Whether a text is one name, perhaps with scopes, arity or parentheses, rather than words or code."""
    return bool(_ONE_NAME.fullmatch(text.strip(_QUOTES)))


_ONE_NAME = re.compile(r"~?[\w~]+[?!]?(?:(?:::|\.|->|#|:)~?[\w~]+[?!]?)*(?:::operator\S+|/\d+|\(\))?|operator\W+")


def _names_spelled(names: NameTable, spelled: str) -> dict[int, float]:
    """The names that end with the parts of a spelling; in its very case if there are any."""
    parts, arity = split_name(spelled), arity_of(spelled)
    if not parts:
        return {}
    folded = tuple(map(name_key, parts))
    found, exact = {}, {}
    for number in names.with_key(folded[-1]):
        name = names.name(number)
        own = split_name(name)
        if arity is not None and arity_of(name) != arity:
            continue
        outer = _outer_scopes_left_out(own, parts[-1], len(parts))
        if own[-len(parts) :] == parts:
            exact[number] = EXACT - outer
        elif tuple(map(name_key, own[-len(parts) :])) == folded:
            found[number] = _OTHER_SPELLING - outer
        elif _are_in_order(folded[:-1], list(map(name_key, own[:-1]))):
            found[number] = _OTHER_SPELLING - 0.1
    return found | exact


def _outer_scopes_left_out(own: Sequence[str], last: str, given: int) -> float:
    """What a name loses for each scope that was not given, and where one of the two is a destructor."""
    is_other = own[-1].startswith("~") != last.startswith("~")
    return _OUTER_SCOPE_LEFT_OUT * min(len(own) - given, _MAX_SCOPES_COUNTED) + _DESTRUCTOR * is_other


def _are_in_order(some: Sequence[str], all_of: Sequence[str]) -> bool:
    """Whether some scopes are among all of them, in their order."""
    rest = iter(all_of)
    return all(any(one == other for other in rest) for one in some)


def _names_nearly(names: NameTable, spelled: str) -> dict[int, float]:
    """The names that a spelling is part of, or differs from by one letter."""
    parts = split_name(spelled)
    key = name_key(parts[-1]) if parts else ""
    scopes = [name_key(part) for part in parts[:-1]]
    found: dict[int, float] = {}
    if len(key) >= _MIN_MISSPELT:
        found |= _names_with_keys(names, dict.fromkeys(names.keys_one_letter_off(key), _ONE_LETTER_OFF), scopes)
    if len(key) >= _MIN_PART:
        keys = islice(names.keys_containing(key), _MAX_PARTIAL_KEYS)
        shares = {one: _PART + 0.25 * len(key) / len(one) + 0.1 * one.startswith(key) for one in keys}
        found |= _names_with_keys(names, shares, scopes)
    return found


def _names_with_keys(names: NameTable, keys: Mapping[str, float], scopes: Sequence[str]) -> dict[int, float]:
    return {
        number: sureness
        for key, sureness in keys.items()
        for number in names.with_key(key)
        if _are_in_order(scopes, list(map(name_key, split_name(names.name(number))[:-1])))
    }


def _names_as_words(names: NameTable, words: Sequence[str]) -> dict[int, float]:
    """The names that a few words make up: the last of them the name, the others words of its scopes."""
    if len(words) > _MAX_WORDS:
        return {}
    keys = list(map(name_key, words))
    for start in range(len(words)):
        scopes = set(keys[:start])
        found = [
            number
            for number in names.with_key("".join(keys[start:]))
            if scopes <= set(_scope_words(names.name(number)))
        ]
        if found and (start == 0 or scopes):
            owns = {number: split_name(names.name(number)) for number in found}
            return {number: _OTHER_SPELLING - _outer_scopes_left_out(own, "", 1) for number, own in owns.items()}
    return _names_misspelt(names, "".join(keys)) if len(words) <= _MAX_MISSPELT_WORDS else {}


def _names_misspelt(names: NameTable, key: str) -> dict[int, float]:
    """The names that differ from a key by one letter."""
    if len(key) < _MIN_MISSPELT:
        return {}
    return _names_with_keys(names, dict.fromkeys(names.keys_one_letter_off(key), _ONE_LETTER_OFF), ())


def _scope_words(name: str) -> Iterator[str]:
    for part in split_name(name)[:-1]:
        yield name_key(part)
        yield from split_subtokens(part)


def _names_mentioned(names: NameTable, text: str) -> dict[int, float]:
    """The names of the identifiers within a question."""
    found: dict[int, float] = {}
    for identifier in _IDENTIFIER.findall(text)[:_MAX_WORDS]:
        found |= dict.fromkeys(_names_spelled(names, identifier), _MENTIONED)
    return found


def defines(text: str, name: str) -> bool:
    """Whether a text has the definition of a name: short functions have no chunk of their own."""
    last = (split_name(name) or (name,))[-1]
    return last in text and bool(_definition_pattern(last).search(text))


@lru_cache(maxsize=64)
def _definition_pattern(name: str) -> re.Pattern[str]:
    word = rf"(?<!\w){re.escape(name)}(?!\w)"
    keyword = r"\b(?:def\w*|class|struct|enum|union|typedef|using|fn|function|record|\#\s*define)\s+(?:\w+::)*"
    result = r"^[ \t]*(?!return|throw|else|new)[\w:<>,*&~ ]*[\w>*&:~][ *&]*"
    body = r"\s*\([^;{}]*\)[\w\s]*(?:\{|:\s)"
    return re.compile(f"{keyword}{word}|{result}{word}{body}", re.MULTILINE)


def named_rows(snapshot: IndexSnapshot, found: Mapping[int, float]) -> Scores:
    """For each row of the snapshot how surely its name is meant, 0 where it is not."""
    sureness = np.zeros(len(snapshot), np.float32)
    if found:
        numbers = np.array(sorted(found), np.int32)
        values = np.array([found[number] for number in numbers.tolist()], np.float32)
        place = np.minimum(np.searchsorted(numbers, snapshot.columns.name), len(numbers) - 1)
        sureness = np.where(numbers[place] == snapshot.columns.name, values[place], sureness)
    return sureness


def put_helpers_below(snapshot: IndexSnapshot, ranking: Ranking) -> Ranking:
    """The ranking in which a function changes places with a helper of it that was above."""
    names = [snapshot.names.name(number) for number in snapshot.columns.name[ranking.rows].tolist()]
    files = snapshot.columns.file[ranking.rows].tolist()
    places: dict[tuple[int, tuple[str, ...]], int] = {}
    for place, (file, name) in enumerate(zip(files, names, strict=True)):
        places.setdefault((file, split_name(name)), place)
    order = np.arange(len(names))
    for place in range(min(_HELPERS_SOUGHT, len(names))):
        helped = places.get((files[place], helped_by(names[place])), 0)
        if helped > place:
            order[[place, helped]] = order[[helped, place]]
    return ranking if (order == np.arange(len(names))).all() else _reordered(ranking, order)


def helped_by(name: str) -> tuple[str, ...]:
    """The parts of the name of the function that does its work by a helper of this name; none if it is no helper."""
    *scopes, own = split_name(name) or ("",)
    words = split_subtokens(own)
    is_before, is_after = words[:1] and words[0] in _HELPER_BEFORE, words[-1:] and words[-1] in _HELPER_AFTER
    helped = words[1:] if is_before else words[:-1] if is_after else []
    if not helped:
        return ()
    is_camel = "_" not in own
    joined = helped[0] + "".join(map(str.capitalize, helped[1:])) if is_camel else "_".join(helped)
    return (*scopes, joined)


def _reordered(ranking: Ranking, order: np.ndarray) -> Ranking:
    """The rows in another order, the scores where they were."""
    moved = ranking.select(order)
    return Ranking(moved.rows, ranking.scores, moved.cosine, moved.text_similarity)
