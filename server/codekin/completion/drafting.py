"""Drafts the next tokens of a generator from its prompt and the repository, to be verified in one step.

What followed the same ids before, in the prompt or the text so far, comes first; then what followed the same context
in the document and the corpus. Lossless: the generator keeps what it would have written itself. It knows nothing of
models but how their vocabulary turns text into ids and back.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from codekin.completion.block import indentation_unit
from codekin.completion.corpus import Corpus
from codekin.completion.gap import Gap
from codekin.completion.lexicon import BOUNDARY, Tokens
from codekin.completion.ngrams import Places, run_hash
from codekin.completion.segment import LONGEST_RUN, Segment
from codekin.completion.situation import Situation, situation_of

LEAST_RUN, LEAST_REPEATED = 4, 2
"""Tokens that must agree before the draft: of the repository, and of the prompt before the repository is asked."""

TOKENS_READ = 12
LOOKED_BACK, LONGEST_REPEATED = 2000, 16

Draft = Callable[[list[int]], list[int]]
"""From all ids so far to ids that may come next; empty for no idea."""


class Codec(Protocol):
    """What a draft needs of a generator's vocabulary."""

    def encode_inside(self, text: str) -> list[int]:
        """Ids of a text within a sequence."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids."""
        ...


def repository_draft(corpus: Corpus, gap: Gap, codec: Codec, prompt_length: int, begun: int = 0) -> Draft:
    """A draft for a generation that goes on at a gap, behind a prompt of so many ids.

    The first `begun` characters of what is generated stand before the gap already.
    """
    situation = situation_of(corpus.vocabulary, gap)
    before = np.concatenate([situation.before, corpus.vocabulary.encode(situation.typed)[0]])
    unit, width = indentation_unit(gap), len(gap.indentation)

    def draft(ids: list[int]) -> list[int]:
        length, repeated = _repeated(ids)
        if length >= LEAST_REPEATED:
            return repeated
        written = codec.decode(ids[prompt_length:])[begun:]
        settled = written.rstrip()
        tokens, indentation = corpus.vocabulary.encode(settled, width)
        found = _best_place(corpus, situation, np.concatenate([before, tokens])[-LONGEST_RUN:])
        if found is None:
            return repeated
        text, pending = _text_behind(corpus, *found, (indentation, unit)), written[len(settled) :]
        return codec.encode_inside(text[len(pending) :]) if text.startswith(pending) else repeated

    return draft


def _repeated(ids: list[int]) -> tuple[int, list[int]]:
    """The length of the longest run of ids that ended before as they end now, the latest of equals; what followed."""
    longest, place, last = 0, 0, len(ids) - 1
    for at in range(last - 1, max(-1, last - LOOKED_BACK), -1):
        if ids[at] != ids[last]:
            continue
        length = 1
        while length < LONGEST_REPEATED and length <= at and ids[at - length] == ids[last - length]:
            length += 1
        if length > longest:
            longest, place = length, at
            if length == LONGEST_REPEATED:
                break
    return longest, ids[place + 1 : place + 1 + TOKENS_READ] if longest else []


def _best_place(corpus: Corpus, situation: Situation, context: Tokens) -> tuple[Segment, int] | None:
    """Where the longest run at the context's end stood before: in the document, else nearest in the corpus."""
    for length in range(min(LONGEST_RUN, len(context)), LEAST_RUN - 1, -1):
        key = run_hash(context[-length:])
        places = situation.document.tables[length - 1].find(key)
        places = places[places != situation.cursor]
        if len(places):
            return situation.document, int(places[-1])
        found = _elsewhere(corpus, situation.path, corpus.base.tables[length - 1].find(key))
        if len(found):
            return corpus.base, int(found[np.argmin(np.abs(found - corpus.place_of(situation.path)))])
    return None


def _elsewhere(corpus: Corpus, path: str, places: Places) -> Places:
    """Places in files that are neither edited nor out of date."""
    if not len(places):
        return places
    files = corpus.base.files_at(places)
    is_out = corpus.is_struck[files] | (files == corpus.file_numbers.get(path, -1))
    return np.extract(~is_out, places).astype(np.int64)


def _text_behind(corpus: Corpus, segment: Segment, place: int, indentation: tuple[int, int]) -> str:
    """The text behind a place, its lines indented by their steps from `indentation` (the width now, and a level)."""
    width, unit = indentation
    parts = []
    for token in segment.tokens[place + 1 : place + 1 + TOKENS_READ].tolist():
        if token == BOUNDARY:
            break
        if token < BOUNDARY:
            width = max(0, width + unit * (token % 3 - 1))
            parts.append("\n" * (1 + token // 3) + " " * width)
        else:
            parts.append(corpus.vocabulary.texts[token])
    return "".join(parts)
