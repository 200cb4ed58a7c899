"""Abbreviations in names, read by a question's own words: `mph` is "miles per hour", `btn` a "button".

Only words without a vowel are read so: `stop` is not "stages of a pipeline".
"""

from collections.abc import Sequence
from functools import lru_cache

_VOWELS = frozenset("aeiou")
_SHORTEST, _LONGEST, _SHORTEST_OF_ONE_WORD = 2, 6, 3
_LETTERS_LEFT_OUT = 2
"""By how many letters at least a word is longer than its abbreviation."""

_SKIPPED_LENGTH = 3
"""Words so short may be missing in an abbreviation of several: the `per` of "kilometres per hour" in `kmh`."""


@lru_cache(maxsize=65536)
def spell_out(abbreviation: str, words: tuple[str, ...]) -> tuple[str, ...]:
    """The words of a question, in its order and in lower case, that a word of a name abbreviates; none otherwise."""
    if not is_abbreviation(abbreviation) or abbreviation in words:
        return ()
    for start in range(len(words)):
        if len(found := _read_initials(abbreviation, words[start:])) > 1:
            return found
    return next(((word,) for word in words if _is_contraction(abbreviation, word)), ())


def is_abbreviation(word: str) -> bool:
    """Whether a word of a name may stand for others: a few letters without a vowel."""
    return _SHORTEST <= len(word) <= _LONGEST and word.isalpha() and not _VOWELS & set(word)


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
