"""The feature matrix of the candidate lines, for the ranking.

Candidates come from matches, verbatim and adapted to the scope; the same text from several positions is one candidate
with several occurrences.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from codekin.completion.context import CompletionContext
from codekin.completion.corpus_snapshot import Corpus
from codekin.completion.matches import MAX_MATCH, ContextMatches, find_matches, read_continuation
from codekin.completion.ngrams import FILE_BOUNDARY, TokenIds, TokenVocabulary
from codekin.completion.variants import MAX_VARIANTS, NgramModel, VariantKind, adapt_names, make_variants, pad_rows

MAX_LINE_TOKENS = 48
MAX_MATCHED = 44
MAX_RANKED = MAX_MATCHED + MAX_VARIANTS
FOLLOWING_TOKENS = 5
MAX_ADAPTED = 24
_NEARNESS_WEIGHT = np.array([1.0, 1.3, 1.6, 2.0])
_ADAPTED_SHAPE = 4
_NEARBY = 300
_SOON, _LATER = 20, 80
_LINES_ABOVE, _LINES_BELOW = 30, 15

Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Candidates:
    """Continuations and their witnesses; the arrays have one entry a witness, `line` is its candidate's number.

    `similarity_before` and `similarity_after` are in thousandths.
    """

    lines: list[TokenIds]
    is_adapted: NDArray[np.bool_]
    line: NDArray[np.int64]
    matched: NDArray[np.int64]
    shaped: NDArray[np.int64]
    followed: NDArray[np.int64]
    nearness: NDArray[np.int64]
    distance: NDArray[np.int64]
    file: NDArray[np.int64]
    similarity_before: NDArray[np.int64]
    similarity_after: NDArray[np.int64]


def collect_candidates(corpus: Corpus, context: CompletionContext) -> Candidates | None:
    """All continuations that memories offer; None if there are none."""
    gathered = _CandidateCollector()
    for matches in find_matches(corpus, context):
        gathered.add(matches, corpus.vocabulary, context)
    return gathered.candidates()


class _CandidateCollector:
    """Candidates while they are being collected, keyed by their tokens."""

    def __init__(self) -> None:
        self.numbers: dict[bytes, int] = {}
        self.lines: list[TokenIds] = []
        self.is_adapted: list[bool] = []
        self.occurrences: list[tuple[int, ...]] = []

    def add(self, matches: ContextMatches, vocabulary: TokenVocabulary, context: CompletionContext) -> None:
        here = context.before[::-1][:MAX_MATCH]
        files = matches.segment.files_at(matches.positions)
        columns = (
            *(matches.matched, matches.shaped, matches.followed, matches.nearness, matches.distance, files),
            *((1000 * share).astype(np.int64) for share in (matches.similarity_before, matches.similarity_after)),
        )
        occurrences = list(zip(*(column.tolist() for column in columns), strict=True))
        for at, occurrence in enumerate(occurrences):
            self._add(read_continuation(matches, at, MAX_LINE_TOKENS), occurrence, is_adapted=False)
        for at in _adaptable(matches).tolist():
            shaped = int(matches.shaped[at])
            line = read_continuation(matches, at, MAX_LINE_TOKENS)
            other = adapt_names(vocabulary, line, matches.earlier[at, :shaped], here[:shaped])
            if other is not None and vocabulary.texts[other[0]].startswith(context.typed):
                self._add(other, occurrences[at], is_adapted=True)

    def _add(self, line: TokenIds, occurrence: tuple[int, ...], *, is_adapted: bool) -> None:
        number = self.numbers.setdefault(line.tobytes(), len(self.lines))
        if number == len(self.lines):
            self.lines.append(line)
            self.is_adapted.append(is_adapted)
        self.occurrences.append((number, *occurrence))

    def candidates(self) -> Candidates | None:
        if not self.lines:
            return None
        columns = np.array(self.occurrences, np.int64)
        columns = columns[np.argsort(columns[:, 0], kind="stable")]
        return Candidates(self.lines, np.array(self.is_adapted), *columns.T)


def _adaptable(matches: ContextMatches) -> NDArray[np.int64]:
    """The best places whose surroundings have the shape of the cursor's, but other names."""
    positions = np.flatnonzero((matches.shaped >= _ADAPTED_SHAPE) & (matches.shaped > matches.matched))
    worth = matches.shaped[positions] + matches.followed[positions] + matches.nearness[positions]
    return positions[np.argsort(-worth, kind="stable")[:MAX_ADAPTED]]


@dataclass(frozen=True, slots=True)
class _Shortlist:
    """The lines to rank, remembered and composed; `support` and `origin` have one row for each."""

    lines: list[TokenIds]
    support: Matrix
    origin: Matrix


def candidate_features(corpus: Corpus, context: CompletionContext) -> tuple[list[TokenIds], Matrix]:
    """The most promising lines and their features, shape (at most RANKED, f)."""
    candidates = collect_candidates(corpus, context)
    if candidates is None:
        return [], np.zeros((0, 0))
    support = _support_features(candidates)
    shortlist = _shortlist(corpus.vocabulary, context, candidates, support)
    whole = np.array(
        [
            context.is_c_like,
            context.line_start == len(context.before) - 1,
            bool(context.typed.strip()),
            np.log(len(candidates.lines)),
            support[:, _VOTES].max(),
            support[:, _VOTES + 2].max(),
            np.log1p(candidates.matched.max()),
        ]
    )
    columns = [
        shortlist.support,
        shortlist.origin,
        _likelihood_features(corpus, context, shortlist.lines),
        _text_features(corpus.vocabulary, context, shortlist.lines),
        np.broadcast_to(whole, (len(shortlist.lines), len(whole))),
    ]
    return shortlist.lines, np.hstack(columns)


def _shortlist(
    vocabulary: TokenVocabulary, context: CompletionContext, candidates: Candidates, support: Matrix
) -> _Shortlist:
    chosen = _preselect(support)
    lines = [candidates.lines[number] for number in chosen.tolist()]
    new = make_variants(vocabulary, context, lines)
    origin = np.zeros((len(lines) + len(new), 1 + len(VariantKind)))
    origin[: len(lines), 0] = candidates.is_adapted[chosen]
    origin[len(lines) + np.arange(len(new)), [1 + one.kind for one in new]] = 1
    supported = support[chosen]
    none = np.zeros(support.shape[1])
    return _Shortlist(
        lines=[*lines, *(np.array(one.line, np.uint32) for one in new)],
        support=np.vstack([supported, *(none if one.source is None else supported[one.source] for one in new)]),
        origin=origin,
    )


_VOTES = 10


def _support_features(candidates: Candidates) -> Matrix:
    """Per candidate: the longest matches by nearness, both sides, witnesses, and shares of four votes."""
    starts = np.flatnonzero(np.diff(candidates.line, prepend=-1))
    matched, followed, nearness = candidates.matched, candidates.followed, candidates.nearness
    weight = _NEARNESS_WEIGHT[nearness]
    first = np.array([line[0] for line in candidates.lines], np.int64)

    def best(values: NDArray[np.int64]) -> Matrix:
        return np.maximum.reduceat(values, starts).astype(np.float64)

    def total(values: NDArray[np.floating]) -> Matrix:
        sums: Matrix = np.add.reduceat(values, starts).astype(np.float64)
        return sums / max(float(sums.sum()), 1e-9)

    by_match = total(2.0 ** np.minimum(matched, 14) * weight)
    files = np.unique(np.stack([candidates.line, candidates.file]), axis=1)[0]
    similarity = candidates.similarity_before + candidates.similarity_after
    _, same_first = np.unique(first, return_inverse=True)
    longest = best(matched)
    return np.column_stack(
        [
            np.log1p(longest),
            np.log1p(best(np.where(nearness == 3, matched, 0))),
            np.log1p(best(np.where(nearness == 2, matched, 0))),
            np.log1p(best(np.where(nearness < 2, matched, 0))),
            np.log1p(best(candidates.shaped)),
            np.log1p(best(followed)),
            np.log1p(best(matched * followed)),
            (longest - longest.max()) / 8,
            np.log1p(np.diff(np.append(starts, len(candidates.line)))),
            np.log1p(np.minimum.reduceat(candidates.distance, starts)),
            by_match,
            total((matched + 1.0) ** 2 * weight),
            total(3.0 ** np.minimum(followed, 6) - 1),
            total(1.5**candidates.shaped),
            np.log1p(np.bincount(files, minlength=len(starts))),
            np.log1p(np.add.reduceat((nearness == 3).astype(np.int64), starts)),
            best(candidates.similarity_before) / 1000,
            best(candidates.similarity_after) / 1000,
            best(similarity) / 1000,
            total(np.exp(similarity / 150)),
            np.log1p(best(matched * (similarity > 1000))),
            np.bincount(same_first, by_match).astype(np.float64)[same_first],
        ]
    )


def _preselect(support: Matrix) -> NDArray[np.int64]:
    """Numbers of the candidates worth a closer look: the most voted for, and those with the best witnesses."""
    votes = support[:, _VOTES : _VOTES + 4] @ np.array([1.0, 2.0, 1.0, 0.5])
    occurrence = np.expm1(support[:, 0]) + 1.5 * np.expm1(support[:, 5]) + 0.3 * np.expm1(support[:, 4])
    by_votes = np.argsort(-votes, kind="stable")[: MAX_MATCHED * 2 // 3]
    by_witness = np.argsort(-occurrence, kind="stable")[:MAX_MATCHED]
    return np.array(list(dict.fromkeys([*by_votes.tolist(), *by_witness.tolist()]))[:MAX_MATCHED], np.int64)


def _likelihood_features(corpus: Corpus, context: CompletionContext, lines: Sequence[TokenIds]) -> Matrix:
    """Log probabilities: of the line (sum, mean, least, first), and of what follows given the line (sum, first)."""
    after = context.after[:FOLLOWING_TOKENS]
    rows, lengths = pad_rows(context.before, lines, after)
    column = np.arange(rows.shape[1])[None, :]
    ends = lengths[:, None]
    start = min(len(context.before), 6)
    scores = NgramModel(corpus, context).log_probabilities(rows, (column >= start) & (column < ends))
    is_line = (column >= start) & (column < ends - len(after))
    line_scores = np.where(is_line, scores, 0.0)
    sums = line_scores.sum(axis=1)
    following = scores.sum(axis=1) - sums
    at_end = scores[np.arange(len(rows)), lengths - len(after)] if len(after) else np.zeros(len(rows))
    return np.column_stack(
        [sums, sums / is_line.sum(axis=1), line_scores.min(axis=1), scores[:, start], following, at_end]
    )


def _text_features(vocabulary: TokenVocabulary, context: CompletionContext, lines: Sequence[TokenIds]) -> Matrix:
    """Per candidate: length, brackets, how its end fits the next line, names unseen nearby, repeated lines."""
    traits = vocabulary.traits
    sizes = np.array([len(line) for line in lines], np.int64)
    flat = np.concatenate(lines)
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    last = flat[starts + sizes - 1]
    step = int(context.after[0]) % 3 if len(context.after) and context.after[0] < FILE_BOUNDARY else 1
    so_far = context.before[context.line_start + 1 :]
    is_name = traits["is_name"][flat]
    in_file = is_name & ~_words_in(vocabulary, [context.before, context.after])[traits["word"][flat]]
    nearby = is_name & ~_words_in(vocabulary, [context.before[-_NEARBY:]])[traits["word"][flat]]
    names = np.add.reduceat(is_name.astype(np.int64), starts)
    characters = np.array([sum(len(vocabulary.texts[token]) for token in line.tolist()) for line in lines])
    return np.column_stack(
        [
            sizes,
            characters / 20,
            traits["opens_block"][last] == (step == 2),
            traits["is_continued"][last],
            np.full(len(lines), step == 2),
            np.full(len(lines), step == 0),
            *_bracket_features(vocabulary, context, flat, starts),
            np.add.reduceat(in_file.astype(np.int64), starts),
            np.add.reduceat(nearby.astype(np.int64), starts) / np.maximum(names, 1),
            *_upcoming_name_features(vocabulary, context, flat, starts),
            *_repetition_features(context, so_far, lines),
        ]
    )


def _bracket_features(
    vocabulary: TokenVocabulary, context: CompletionContext, flat: TokenIds, starts: NDArray[np.int64]
) -> tuple[Matrix, Matrix, Matrix]:
    """The depth at each line's end and the lowest depth within, both from the line's start; the depth before that."""
    depth = vocabulary.traits["depth"].astype(np.int64)
    so_far = int(depth[context.before[context.line_start + 1 :]].sum())
    around = int(depth[context.before[: context.line_start][-_NEARBY:]].sum())
    running = np.cumsum(depth[flat])
    before = np.concatenate([[0], running])[starts]
    ends = np.append(starts[1:], len(flat)) - 1
    lowest = np.minimum.reduceat(running, starts) - before
    at_end = so_far + running[ends] - before
    return at_end.astype(np.float64), (so_far + lowest).astype(np.float64), np.full(len(starts), float(around))


def _upcoming_name_features(
    vocabulary: TokenVocabulary, context: CompletionContext, flat: TokenIds, starts: NDArray[np.int64]
) -> list[Matrix]:
    """Names that follow soon, and later, but did not occur before: in each line, in all; shares of names close by."""
    words, is_name = vocabulary.traits["word"][flat], vocabulary.traits["is_name"][flat]
    names = np.maximum(np.add.reduceat(is_name.astype(np.int64), starts), 1)
    here = vocabulary.traits["word"][context.before[-_NEARBY:]]
    columns: list[Matrix] = []
    for reach in (_SOON, _LATER):
        following = context.after[:reach]
        is_awaited = _words_in(vocabulary, [following[vocabulary.traits["is_name"][following]]])
        is_awaited[here] = False
        columns.append(np.add.reduceat(is_awaited[words].astype(np.float64), starts))
        columns.append(np.full(len(starts), np.log1p(float(is_awaited.sum()))))
    close = [
        _words_in(vocabulary, [part])[words] & is_name for part in (context.before[-_SOON:], context.after[:_SOON])
    ]
    return [*columns, *(np.add.reduceat(each.astype(np.float64), starts) / names for each in close)]


def _words_in(vocabulary: TokenVocabulary, parts: Sequence[TokenIds]) -> NDArray[np.bool_]:
    seen = np.zeros(len(vocabulary), bool)
    for part in parts:
        seen[vocabulary.traits["word"][part]] = True
    return seen


def _repetition_features(context: CompletionContext, so_far: TokenIds, lines: Sequence[TokenIds]) -> list[list[float]]:
    """Whether the whole line equals the next one, or the one before; how often it occurs close by, and farther off."""
    above, below = _lines_in(context.before[: context.line_start + 1]), _lines_in(context.after)
    near, all_ = Counter([*above[-_LINES_ABOVE:], *below[:_LINES_BELOW]]), Counter([*above, *below])
    whole = [np.concatenate([so_far, line]).tobytes() for line in lines]
    return [
        [line in below[:1] for line in whole],
        [line in above[-1:] for line in whole],
        [np.log1p(near[line]) for line in whole],
        [np.log1p(all_[line] - near[line]) for line in whole],
    ]


def _lines_in(tokens: TokenIds) -> list[bytes]:
    """The lines between two breaks each."""
    breaks = np.flatnonzero(tokens <= FILE_BOUNDARY).tolist()
    return [tokens[start + 1 : end].tobytes() for start, end in pairwise(breaks)]
