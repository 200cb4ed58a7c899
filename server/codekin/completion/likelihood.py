"""How likely tokens are, one behind the other, by counts of runs in the repository and the document.

Interpolated n-gram estimate: p(t | run) = (count(run t) + k p(t | shorter run)) / (count(run) + k),
from single tokens up to runs of COUNTED_RUN; counts in the document weigh more.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from codekin.completion.corpus import COUNTED_RUN, Corpus
from codekin.completion.lexicon import Tokens
from codekin.completion.ngrams import Hashes, run_hashes
from codekin.completion.segment import LONGEST_RUN
from codekin.completion.situation import Situation

DOCUMENT_WEIGHT = 6.0
PRIOR = (50.0, 4.5, 3.0, 2.1, 1.5)
"""The k for runs of 1 to 5 tokens."""

Scores = NDArray[np.float64]


class Likelihood:
    """Counts of runs as one request sees them: the edited file counts as it is in the editor alone."""

    def __init__(self, corpus: Corpus, situation: Situation) -> None:
        self._corpus, self._document = corpus, situation.document
        on_disk = corpus.tokens_of(situation.path)
        self._hidden = run_hashes(on_disk, COUNTED_RUN) if len(on_disk) else None
        self.total = len(corpus.base.tokens) + DOCUMENT_WEIGHT * len(self._document.tokens)

    def log_probabilities(self, rows: NDArray[np.uint32], is_scored: NDArray[np.bool_]) -> Scores:
        """Natural logarithms for the chosen tokens of rows of text, shape of `rows`; 0 elsewhere.

        The first token of a row cannot be chosen.
        """
        row, column = np.nonzero(is_scored)
        is_needed = is_scored.copy()
        is_needed[:, :-1] |= is_scored[:, 1:]
        needed = np.nonzero(is_needed)
        probability = np.full(len(row), 1.0 / len(self._corpus.vocabulary))
        seen: NDArray[np.float64] = np.full(len(row), self.total)
        counts = np.zeros(rows.shape)
        for length, hashes in enumerate(run_hashes(rows, COUNTED_RUN), 1):
            if length > 1:
                seen = counts[row, column - 1]
            counts[needed] = self._counts(length, hashes[needed])
            prior = PRIOR[length - 1]
            probability = (np.minimum(counts[row, column], seen) + prior * probability) / (seen + prior)
        scores = np.zeros(rows.shape)
        scores[row, column] = np.log(probability)
        return scores

    def _counts(self, length: int, keys: Hashes) -> NDArray[np.float64]:
        unique, inverse = np.unique(keys, return_inverse=True)
        counts = self._corpus.counts(length, unique)
        counts += DOCUMENT_WEIGHT * self._document.tables[length - 1].counts(unique)
        if self._hidden is not None:
            counts -= _occurrences(self._hidden[length - 1], unique)
        return np.maximum(counts, 0.0)[inverse]


def _occurrences(hashes: Hashes, keys: Hashes) -> NDArray[np.float64]:
    """How often each of the ascending keys stands among hashes; quicker than sorting those."""
    at = np.minimum(np.searchsorted(keys, hashes), len(keys) - 1)
    return np.bincount(at[keys[at] == hashes], minlength=len(keys)).astype(np.float64)


def rows_of(before: Tokens, lines: Sequence[Tokens], behind: Tokens) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """Each line between its surroundings, padded with zeros, and the rows' lengths.

    A row begins with the last LONGEST_RUN tokens of `before` and ends with all of `behind`.
    """
    ahead = before[-LONGEST_RUN:]
    rows = [np.concatenate([ahead, line, behind]) for line in lines]
    lengths = np.array([len(row) for row in rows], np.int64)
    padded = np.zeros((len(rows), int(lengths.max())), np.uint32)
    for number, row in enumerate(rows):
        padded[number, : len(row)] = row
    return padded, lengths
