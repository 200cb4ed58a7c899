"""Other words for those of a question: their forms, what programmers also call the same thing, and abbreviations.

`polls` is found by `polling`, `mask` by `redact` (`synonyms.txt`), `mph` by "miles per hour" and `btn` by "button". A
word found so counts less than the question's own. An abbreviation with a vowel has to be all the initials of words in
a row: `lru` is "least recently used", but `stop` is not "stages of a pipeline".
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, lru_cache
from pathlib import Path

FORM_WEIGHT, SYNONYM_WEIGHT = 0.8, 0.4
_ENDINGS = ("", "s", "e", "es", "ed", "ing", "er", "or", "y", "ies", "ion", "ation", "ment")
_SHORTEST = 3
"""Letters of a word that has other forms."""

_VOWELS = frozenset("aeiou")
_SHORTEST_ABBREVIATION, _LONGEST_ABBREVIATION, _SHORTEST_OF_ONE_WORD = 2, 6, 3
_SHORTEST_ACRONYM = 3
_LETTERS_LEFT_OUT = 2
"""By how many letters at least a word is longer than its abbreviation."""

_SKIPPED_LENGTH = 3
"""Words so short may be missing in an abbreviation of several: the `per` of "kilometres per hour" in `kmh`."""


@lru_cache(maxsize=65536)
def stem(word: str) -> str:
    """A word without the endings that English adds to it, roughly; `polls`, `polling` and `polled` become one."""
    for ending in (
        "ations",
        "ation",
        "ments",
        "ment",
        "ings",
        "ing",
        "ers",
        "er",
        "ors",
        "or",
        "ies",
        "ed",
        "es",
        "e",
        "s",
        "y",
    ):
        if len(word) - len(ending) >= 3 and word.endswith(ending):
            word = word.removesuffix(ending)
            break
    return word[:-1] if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "ls" else word


def expand_words(words: Sequence[str]) -> dict[str, float]:
    """What else the words of a question may be called in code, each with its weight, which is below 1."""
    found = {other: SYNONYM_WEIGHT for word in words for other in synonyms_of(word)}
    found |= {form: FORM_WEIGHT for word in words for form in forms_of(word)}
    return {word: weight for word, weight in found.items() if word not in words}


@lru_cache(maxsize=4096)
def forms_of(word: str) -> tuple[str, ...]:
    """Forms of a word that may occur; not all of them are English."""
    if len(word) < _SHORTEST or not word.isalpha():
        return ()
    root = stem(word)
    doubled = root + root[-1]
    forms = dict.fromkeys([*(root + ending for ending in _ENDINGS), doubled + "ed", doubled + "ing", doubled + "er"])
    return tuple(form for form in forms if form != word and stem(form) == root)


@lru_cache(maxsize=4096)
def synonyms_of(word: str) -> frozenset[str]:
    """What programmers also call what a word says, in plain forms; nothing for a word without synonyms."""
    return _groups().get(stem(word), frozenset())


@lru_cache(maxsize=65536)
def words_meant(word: str, said: tuple[str, ...]) -> tuple[str, ...]:
    """The words of a question that a word of a name stands for: it abbreviates them, or is another word for them."""
    return spell_out(word, said) or _in_other_words(word, said)


def _in_other_words(word: str, said: tuple[str, ...]) -> tuple[str, ...]:
    own = {stem(other) for other in synonyms_of(word)}
    return tuple(one for one in said if stem(one) in own)


@cache
def _groups() -> Mapping[str, frozenset[str]]:
    """The synonyms of each stem."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for group in _read_groups():
        for word in group:
            found[stem(word)].update(other for other in group if other != word)
    return {word: frozenset(others) for word, others in found.items()}


def _read_groups() -> Iterator[list[str]]:
    text = Path(__file__).with_name("synonyms.txt").read_text("utf-8")
    return (line.split() for line in text.splitlines() if line and not line.startswith("#"))


def spell_out(abbreviation: str, words: tuple[str, ...]) -> tuple[str, ...]:
    """The words of a question, in its order and in lower case, that a word of a name abbreviates; none otherwise."""
    if abbreviation in words:
        return ()
    if not is_abbreviation(abbreviation):
        return _read_acronym(abbreviation, words)
    for start in range(len(words)):
        if len(found := _read_initials(abbreviation, words[start:])) > 1:
            return found
    return next(((word,) for word in words if _is_contraction(abbreviation, word)), ())


def _read_acronym(acronym: str, words: Sequence[str]) -> tuple[str, ...]:
    """The words in a row whose initials make up an acronym."""
    initials = "".join(word[0] for word in words)
    start = initials.find(acronym) if len(acronym) >= _SHORTEST_ACRONYM else -1
    return tuple(words[start : start + len(acronym)]) if start >= 0 else ()


def is_abbreviation(word: str) -> bool:
    """Whether a word of a name may stand for others: a few letters without a vowel."""
    return _SHORTEST_ABBREVIATION <= len(word) <= _LONGEST_ABBREVIATION and word.isalpha() and not _VOWELS & set(word)


def _read_initials(letters: str, words: Sequence[str], *, is_first: bool = True) -> tuple[str, ...]:
    """The words that begin with all the letters in turn, each by one or by one with another of its consonants."""
    if not words:
        return ()
    word, rest = words[0], words[1:]
    for length in (1, 2):
        piece, left = letters[:length], letters[length:]
        if len(piece) == length and word[:1] == piece[0] and (length == 1 or piece[1] in word[1:]):
            found = _read_initials(left, rest, is_first=False) if left else ()
            if found or not left:
                return (word, *found)
    if not is_first and len(word) <= _SKIPPED_LENGTH:
        return _read_initials(letters, rest, is_first=False)
    return ()


def _is_contraction(abbreviation: str, word: str) -> bool:
    """Whether a word is longer, begins alike, and has the abbreviation's letters in their order."""
    if len(abbreviation) < _SHORTEST_OF_ONE_WORD or len(word) < len(abbreviation) + _LETTERS_LEFT_OUT:
        return False
    letters = iter(word)
    return word[0] == abbreviation[0] and all(letter in letters for letter in abbreviation)
