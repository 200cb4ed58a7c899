"""The repository model's ranking of candidate lines, and the reranker that combines it with a generator's scores.

Both are small fitted models whose weights lie beside this file (scripts/fit_completion_ranking.py and
scripts/fit_completion_reranker.py); both include the probability that no candidate is right.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from codekin.completion.context import CursorPosition, read_context
from codekin.completion.corpus_snapshot import Corpus
from codekin.completion.features import candidate_features
from codekin.completion.ngrams import TokenIds
from codekin.protocols import TokenChoice

if TYPE_CHECKING:
    from codekin.models.generation.prompts import TokenGenerator


_MAX_COMPARED = 12
_SIMILARITY_WEIGHT = 0.3


@dataclass(frozen=True, slots=True)
class Guess:
    """A rest of the line, and the chance that it is exactly what the user will write."""

    text: str
    confidence: float
    estimate: float = 0.0
    """The confidence before the gate corrected it."""


def rank_guesses(corpus: Corpus, cursor: CursorPosition, limit: int = 5) -> list[Guess]:
    """The most likely rests of the line, best first; the rest of the cursor's own line is not read.

    The file at the cursor's path counts as it is passed in, not as it lies in the corpus.
    """
    context = read_context(corpus.vocabulary, cursor)
    lines, features = candidate_features(corpus, context)
    if not lines:
        return []
    texts = [corpus.vocabulary.join(line.tolist())[len(context.typed) :].rstrip() for line in lines]
    return _best_guesses(texts, lines, candidate_probabilities(features), limit)


def _best_guesses(texts: list[str], lines: list[TokenIds], chances: NDArray[np.float64], limit: int) -> list[Guess]:
    """Joins equal texts; among the likely, what is also like the others comes first."""
    totals: dict[str, float] = {}
    examples: dict[str, TokenIds] = {}
    for text, line, chance in zip(texts, lines, chances.tolist(), strict=True):
        if text.strip():
            totals[text] = totals.get(text, 0.0) + chance
            examples.setdefault(text, line)
    chosen = sorted(totals, key=lambda text: -totals[text])[:_MAX_COMPARED]
    worth = _expected_similarity([examples[text] for text in chosen], [totals[text] for text in chosen])
    order = sorted(range(len(chosen)), key=lambda at: -worth[at])[:limit]
    return [Guess(chosen[at], totals[chosen[at]]) for at in order]


def _expected_similarity(lines: list[TokenIds], chances: list[float]) -> list[float]:
    """Each line's chance, and a part of the chances of lines that share tokens with it (Dice's measure)."""
    if not lines:
        return []
    words, at = np.unique(np.concatenate(lines), return_inverse=True)
    row = np.repeat(np.arange(len(lines)), [len(line) for line in lines])
    bags = np.zeros((len(lines), len(words)))
    np.add.at(bags, (row, at), 1)
    shared = np.minimum(bags[:, None, :], bags[None, :, :]).sum(axis=2)
    sizes = bags.sum(axis=1)
    similar = 2 * shared / (sizes[:, None] + sizes[None, :])
    weights = np.array(chances)
    worth: list[float] = ((1 - _SIMILARITY_WEIGHT) * weights + _SIMILARITY_WEIGHT * similar @ weights).tolist()
    return worth


Matrix = NDArray[np.float64]

_RANKING_WEIGHTS = Path(__file__).with_name("ranking.npz")
_MAX_DEVIATION = 5.0


def candidate_probabilities(features: Matrix) -> Matrix:
    """The chance of each candidate to be exactly right, shape (n,); what is missing to 1 is the chance of none."""
    weights = _ranking_weights()
    scaled = np.clip((features - weights["mean"]) / weights["deviation"], -_MAX_DEVIATION, _MAX_DEVIATION)
    scores = _layers(scaled, weights, "candidate")
    nothing = _layers(scaled.mean(axis=0, keepdims=True), weights, "nothing")
    scores = np.concatenate([scores, nothing])
    chances = np.exp(scores - scores.max())
    shares: Matrix = chances[:-1] / chances.sum()
    return shares


def _layers(values: Matrix, weights: Mapping[str, Matrix], name: str) -> Matrix:
    depth = 0
    while f"{name}.{depth + 1}.weight" in weights:
        values = np.maximum(values @ weights[f"{name}.{depth}.weight"].T + weights[f"{name}.{depth}.bias"], 0.0)
        depth += 1
    return (values @ weights[f"{name}.{depth}.weight"].T + weights[f"{name}.{depth}.bias"])[:, 0]


@cache
def _ranking_weights() -> Mapping[str, Matrix]:
    with np.load(_RANKING_WEIGHTS, allow_pickle=False) as stored:
        return {name: stored[name].astype(np.float64) for name in stored.files}


SKIP_CONFIDENCE, SKIP_CONFIDENCE_BY_TRUST = 0.8, 0.15
"""Confidence from which the repository answers without the generator; more where the generator is trusted."""

MAX_TRUST = 0.8
SMALLEST_MODEL, TRUST_BY_SIZE = 1.35e8, 0.4
"""The model that the weights are fitted with, and how trust grows for each factor of ten in parameters."""

LOG_PROBABILITY_FEATURE, LOG_NONE_FEATURE = 0, 9
"""The features that hold the repository's own chance of a line, and of none."""

_RERANKER_WEIGHTS = Path(__file__).with_name("reranker.npz")
_MIN_LOG_PROBABILITY, _MIN_TOKEN_LOG_PROBABILITY = -60.0, -15.0


@dataclass(frozen=True, slots=True)
class ScoredLine:
    """A rest of the line: the repository's chance of it, whether the generator wrote it, and log-probabilities.

    `line` are those of its tokens and its end, `following` those of the first tokens of the next line behind it.
    """

    text: str
    chance: float
    is_generated: bool
    line: list[float]
    following: list[float]


def rerank(lines: Sequence[ScoredLine], trust: float) -> list[Guess]:
    """The lines with the chance of each to be exactly right, likeliest first.

    Two estimates of the same chance are mixed by their reliability: that of the fitted weights, and with `trust` the
    generator's own, the product of its chances of the tokens.
    """
    fitted = _reranker_weights()
    scaled = (line_features(lines) - fitted["mean"]) / fitted["deviation"]
    scores = np.append(scaled @ fitted["weights"], fitted["nothing"])
    shares = np.exp(scores - scores.max())
    shares /= shares.sum()
    generated = np.array([math.exp(sum(line.line)) for line in lines])
    chances = ((1 - trust) * shares[:-1] + trust * generated).tolist()
    ranked = sorted(zip(lines, chances, strict=True), key=lambda pair: -pair[1])
    return [Guess(line.text, chance) for line, chance in ranked]


def line_features(lines: Sequence[ScoredLine]) -> Matrix:
    """The features of each line, shape (n, f)."""
    chance = np.array([line.chance for line in lines])
    is_generated = np.array([line.is_generated for line in lines], float)
    size = np.array([len(line.line) for line in lines])
    total = np.maximum([sum(line.line) for line in lines], _MIN_LOG_PROBABILITY)
    following = np.array([sum(line.following) for line in lines])
    least = np.maximum([min(line.line) for line in lines], _MIN_TOKEN_LOG_PROBABILITY)
    likely = np.exp(total)
    nothing = np.full(len(lines), np.log(max(0.0, 1 - float(chance.sum())) + 0.02))
    return np.column_stack(
        [
            np.log(chance + 0.01),
            chance,
            total / 10,
            np.array([sum(line.line) for line in lines]) / size,
            following / 10,
            (following - following.max()) / 10,
            is_generated,
            is_generated * (chance > 0),
            is_generated * nothing,
            nothing,
            np.log(size),
            least / 10,
            np.full(len(lines), chance.max()),
            likely,
            is_generated * likely,
        ]
    )


@cache
def _reranker_weights() -> Mapping[str, Matrix]:
    with np.load(_RERANKER_WEIGHTS, allow_pickle=False) as stored:
        return {name: stored[name].astype(np.float64) for name in stored.files}


UNKNOWN_CONFIDENCE = 0.45
"""The confidence of a line of which no log-probabilities are known: above an unsure repository, below a sure one."""


@dataclass(frozen=True, slots=True)
class WrittenLine:
    """A rest of the line that a generator wrote: for each token where it ends in the text, and its log-probability.

    The line's end counts as a token; no tokens where the generator reports none.
    """

    text: str
    tokens: tuple[tuple[int, float], ...] = ()

    def rest(self, typed: int) -> "WrittenLine":
        """The rest after so many characters."""
        return WrittenLine(self.text[typed:], tuple((end - typed, each) for end, each in self.tokens if end > typed))


def read_written_line(text: str, choices: Sequence[TokenChoice], begins: str = "") -> WrittenLine:
    """The first line of a text behind what it had to begin with, with its tokens up to the line's end.

    A token that goes on from the beginning is weighed among its rivals that do so, too.
    """
    line = text[len(begins) :].partition("\n")[0].rstrip()
    tokens, at = [], -len(begins)
    for choice in choices:
        if at + len(choice.text) > 0 or (at >= 0 and not choice.text):
            tokens.append((at + max(1, len(choice.text)), _conditional_log_probability(choice, begins, at)))
        at += len(choice.text)
        if at > 0 and "\n" in choice.text:
            break
    return WrittenLine(line, tuple(tokens))


def _conditional_log_probability(choice: TokenChoice, begins: str, at: int) -> float:
    """The log-probability of a token, given what is left of the beginning at `at` (negative: characters to come)."""
    if at >= 0:
        return choice.logprob
    left, known = begins[at:], {**dict(choice.rivals), choice.text: choice.logprob}
    fitting = [each for text, each in known.items() if text.startswith(left) or (text and left.startswith(text))]
    return min(0.0, choice.logprob - math.log(sum(map(math.exp, fitting)))) if fitting else choice.logprob


def add_written_line(found: Sequence[Guess], line: WrittenLine) -> list[Guess]:
    """The repository's guesses and a generator's line by confidence; a line that both have rises."""
    chances = {guess.text: guess.confidence for guess in found}
    if line.text.strip():
        chances[line.text] = written_confidence(line, chances.get(line.text, 0.0))
    return [Guess(text, chance) for text, chance in sorted(chances.items(), key=lambda pair: -pair[1])]


def written_confidence(line: WrittenLine, known: float) -> float:
    """The chance that a written line is exactly right, of which the repository holds `known`."""
    own = math.exp(sum(each for _, each in line.tokens)) if line.tokens else UNKNOWN_CONFIDENCE
    return 1 - (1 - own) * (1 - known)


def generator_trust(generator: "TokenGenerator") -> float:
    """How far a generator's own chances are believed: not at all at 135 million parameters, two thirds at 7 billion."""
    parameters = generator.model.parameters or generator.device_bytes / 2
    return min(TRUST_BY_SIZE * math.log10(max(parameters, SMALLEST_MODEL) / SMALLEST_MODEL), MAX_TRUST)


def skip_threshold(trust: float) -> float:
    """The repository's confidence above which no generator is called."""
    return SKIP_CONFIDENCE + SKIP_CONFIDENCE_BY_TRUST * trust
