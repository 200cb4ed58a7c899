"""The repository model: how this codebase would end the line, with no weights of a language model.

It finds where the cursor's surroundings, or something of their shape, stood before, carries what followed into the
scope at hand, and ranks the results by what speaks for them. It completes one line at a time.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codekin.completion.corpus import Corpus
from codekin.completion.features import ranked_features
from codekin.completion.gap import Gap
from codekin.completion.lexicon import Tokens
from codekin.completion.ranking import probabilities
from codekin.completion.situation import situation_of

_CHOSEN_FROM = 12
_LIKENESS_WEIGHT = 0.3


@dataclass(frozen=True, slots=True)
class Guess:
    """A rest of the line, and the chance that it is exactly what the user will write."""

    text: str
    confidence: float


def guesses(corpus: Corpus, gap: Gap, limit: int = 5) -> list[Guess]:
    """The most likely rests of the line, best first; the rest of the cursor's own line is not read.

    The file at the gap's path counts as it is handed in, not as it lies in the corpus.
    """
    situation = situation_of(corpus.vocabulary, gap)
    lines, features = ranked_features(corpus, situation)
    if not lines:
        return []
    texts = [corpus.vocabulary.join(line.tolist())[len(situation.typed) :].rstrip() for line in lines]
    return _best(texts, lines, probabilities(features), limit)


def _best(texts: list[str], lines: list[Tokens], chances: NDArray[np.float64], limit: int) -> list[Guess]:
    """Joins equal texts; among the likely, what is also like the others comes first."""
    totals: dict[str, float] = {}
    examples: dict[str, Tokens] = {}
    for text, line, chance in zip(texts, lines, chances.tolist(), strict=True):
        if text.strip():
            totals[text] = totals.get(text, 0.0) + chance
            examples.setdefault(text, line)
    chosen = sorted(totals, key=lambda text: -totals[text])[:_CHOSEN_FROM]
    worth = _expected_likeness([examples[text] for text in chosen], [totals[text] for text in chosen])
    order = sorted(range(len(chosen)), key=lambda at: -worth[at])[:limit]
    return [Guess(chosen[at], totals[chosen[at]]) for at in order]


def _expected_likeness(lines: list[Tokens], chances: list[float]) -> list[float]:
    """Each line's chance, and a part of the chances of lines that share tokens with it (Dice's measure)."""
    if not lines:
        return []
    words, at = np.unique(np.concatenate(lines), return_inverse=True)
    row = np.repeat(np.arange(len(lines)), [len(line) for line in lines])
    bags = np.zeros((len(lines), len(words)))
    np.add.at(bags, (row, at), 1)
    shared = np.minimum(bags[:, None, :], bags[None, :, :]).sum(axis=2)
    sizes = bags.sum(axis=1)
    alike = 2 * shared / (sizes[:, None] + sizes[None, :])
    weights = np.array(chances)
    worth: list[float] = ((1 - _LIKENESS_WEIGHT) * weights + _LIKENESS_WEIGHT * alike @ weights).tolist()
    return worth
