"""Carries a remembered line into the scope at hand: names that differ in the surroundings are replaced.

Where two surroundings have the same shape, each name there stands for the name here: a copied `user` becomes the
local `account`, and `user_id`, `User` follow it.
"""

import re
from collections.abc import Mapping

import numpy as np

from codekin.completion.lexicon import Tokens, Vocabulary

SHORTEST_PART = 4


def adapted(vocabulary: Vocabulary, line: Tokens, there: Tokens, here: Tokens) -> Tokens | None:
    """The line with names replaced; None if nothing changes.

    `there` and `here` are the tokens before the line and before the cursor, nearest first, of equal shape and length.
    """
    names = _renamings(vocabulary, there, here)
    if not names:
        return None
    texts = [vocabulary.texts[token] for token in line.tolist()]
    renamed = [_renamed(text, names) for text in texts]
    if renamed == texts:
        return None
    return np.array([vocabulary.number(text) for text in renamed], np.uint32)


def _renamings(vocabulary: Vocabulary, there: Tokens, here: Tokens) -> dict[str, str]:
    traits, texts = vocabulary.traits, vocabulary.texts
    differ = np.flatnonzero((there != here) & traits["is_name"][there])
    names: dict[str, str] = {}
    for at in differ.tolist():
        old, new = texts[there[at]].removeprefix(" "), texts[here[at]].removeprefix(" ")
        if old != new:
            names.setdefault(old, new)
    return names


def _renamed(text: str, names: Mapping[str, str]) -> str:
    blank, word = (" ", text[1:]) if text.startswith(" ") else ("", text)
    if word in names:
        return blank + names[word]
    if len(word) < SHORTEST_PART or not (word[0].isalpha() or word[0] == "_"):
        return text
    for old, new in names.items():
        if len(old) >= SHORTEST_PART and old.lower() in word.lower():
            return blank + _with_part(word, old, new)
    return text


def _with_part(word: str, old: str, new: str) -> str:
    """Replaces a part of a word, in the part's own case."""
    if old in word:
        return word.replace(old, new)
    camel, snake = _camel(old), _snake(old)
    if camel in word:
        return word.replace(camel, _camel(new))
    return word.replace(snake, _snake(new)) if snake in word else word


def _camel(word: str) -> str:
    return "".join(part[:1].upper() + part[1:] for part in word.split("_"))


def _snake(word: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", word).lower()
