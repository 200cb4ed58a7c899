"""Where the names around a cursor are defined in other files: the first line of each, for a generator's prompt.

Definitions are told by the tokens before and behind a name alone, so a few are missed and a few are none.
"""

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from codekin.completion.corpus import Corpus
from codekin.completion.gap import Gap
from codekin.completion.lexicon import BOUNDARY, Vocabulary
from codekin.completion.ngrams import run_hash
from codekin.completion.situation import situation_of
from codekin.completion.snippets import Snippet

OPENERS: Mapping[str, tuple[str, ...]] = {
    "elixir": ("def", "defmacro", "defdelegate", "defguard"),
    "python": ("def", "class"),
    "cpp": ("class", "struct", "enum"),
    "c": ("struct", "enum"),
}
"""Words that stand before a name where it is defined."""

REACH = 120
"""Tokens before the cursor whose names are looked up."""

LONGEST_LINE = 60
MOST_PLACES = 64


def definitions_for(corpus: Corpus, gap: Gap, most: int = 6) -> list[Snippet]:
    """The first lines of definitions of names in use before the cursor, those used last first."""
    situation = situation_of(corpus.vocabulary, gap)
    found: list[Snippet] = []
    for name in _names(corpus.vocabulary, situation.before[-REACH:]):
        if found_here := next(_definitions(corpus, gap, name), None):
            found.append(found_here)
        if len(found) == most:
            break
    return found


def _names(vocabulary: Vocabulary, tokens: NDArray[np.uint32]) -> list[str]:
    """Types, and names that are called, the last one first, each once; two letters tell nothing."""
    opening = vocabulary.known("(")
    is_called = np.append(tokens[1:] == opening, True)
    places = np.flatnonzero(vocabulary.traits["is_name"][tokens])[::-1].tolist()
    words = [(vocabulary.texts[int(tokens[at])].removeprefix(" "), bool(is_called[at])) for at in places]
    chosen = (word for word, called in words if len(word) > 2 and (called or word[0].isupper()))
    return list(dict.fromkeys(chosen))


def _definitions(corpus: Corpus, gap: Gap, name: str) -> Iterator[Snippet]:
    """Definitions of a name in other files, the nearest file's first."""
    token = corpus.vocabulary.known(" " + name)
    if token is None or not corpus.base.paths:
        return
    places: list[int] = []
    for opener in OPENERS.get(gap.language, ()):
        for first in (corpus.vocabulary.known(opener), corpus.vocabulary.known(" " + opener)):
            if first is not None:
                places += corpus.base.tables[1].find(run_hash(np.array([first, token], np.uint32))).tolist()
    home = corpus.place_of(gap.path)
    for place in sorted(places[:MOST_PLACES], key=lambda at: abs(at - home)):
        file = int(corpus.base.files_at(np.array([place]))[0])
        line = _line(corpus, place)
        begins = line.startswith(tuple(f"{opener} " for opener in OPENERS[gap.language]))
        if begins and not line.endswith(";") and not corpus.is_struck[file] and corpus.base.paths[file] != gap.path:
            yield Snippet(corpus.base.paths[file], line, 1.0)


def _line(corpus: Corpus, place: int) -> str:
    """The text of the line that holds a place."""
    breaks, tokens = corpus.base.breaks, corpus.base.tokens
    after = int(np.searchsorted(breaks, place, "right"))
    start, end = int(breaks[after - 1]) + 1, int(breaks[after])
    line = tokens[start : min(end, start + LONGEST_LINE)]
    return corpus.vocabulary.join(line[line > BOUNDARY].tolist()).strip()
