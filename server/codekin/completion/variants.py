"""Candidate lines that occur nowhere: matched lines spliced, renamed or with the next number.

An interpolated n-gram model over the corpus and the open document says what follows.

p(t | run) = (count(run t) + k p(t | shorter run)) / (count(run) + k), from single tokens up to MAX_COUNTED_NGRAM;
counts in the document weigh more.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import islice, pairwise

import numpy as np
from numpy.typing import NDArray

from codekin.completion.context import CompletionContext
from codekin.completion.corpus_snapshot import MAX_COUNTED_NGRAM, Corpus
from codekin.completion.ngrams import FILE_BOUNDARY, MAX_NGRAM, Hashes, TokenIds, TokenVocabulary, ngram_hashes
from codekin.types import to_pascal_case, to_snake_case

DOCUMENT_WEIGHT = 6.0
PRIOR = (50.0, 4.5, 3.0, 2.1, 1.5)
"""The k for runs of 1 to 5 tokens."""

Scores = NDArray[np.float64]


class NgramModel:
    """Counts of runs as one request sees them: the edited file counts as it is in the editor alone."""

    def __init__(self, corpus: Corpus, context: CompletionContext) -> None:
        self._corpus, self._document = corpus, context.document
        on_disk = corpus.tokens_of(context.path)
        self._hidden = ngram_hashes(on_disk, MAX_COUNTED_NGRAM) if len(on_disk) else None
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
        for length, hashes in enumerate(ngram_hashes(rows, MAX_COUNTED_NGRAM), 1):
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
    """How often each of the ascending keys occurs among the hashes; faster than sorting them."""
    at = np.minimum(np.searchsorted(keys, hashes), len(keys) - 1)
    return np.bincount(at[keys[at] == hashes], minlength=len(keys)).astype(np.float64)


def pad_rows(
    before: TokenIds, lines: Sequence[TokenIds], after: TokenIds
) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """Each line between its surroundings, padded with zeros, and the rows' lengths.

    A row begins with the last LONGEST_RUN tokens of `before` and ends with all of `after`.
    """
    ahead = before[-MAX_NGRAM:]
    rows = [np.concatenate([ahead, line, after]) for line in lines]
    lengths = np.array([len(row) for row in rows], np.int64)
    padded = np.zeros((len(rows), int(lengths.max())), np.uint32)
    for number, row in enumerate(rows):
        padded[number, : len(row)] = row
    return padded, lengths


LINES_ABOVE, LINES_BELOW = 8, 3
"""Lines that count as beside the cursor."""

_MAX_TOKENS_READ = 400
_NUMBER = re.compile(r"\d{1,6}")

TokenLine = tuple[int, ...]


def continue_series(vocabulary: TokenVocabulary, context: CompletionContext) -> Iterator[TokenLine]:
    """The rests of lines that begin as the cursor's does but for their numbers, with these counted on."""
    here = [vocabulary.texts[token] for token in context.before[context.line_start + 1 :].tolist()]
    for line, step in _neighbour_lines(context):
        texts = [vocabulary.texts[token] for token in line]
        changed = _numbers_changed(texts[: len(here)], here)
        if changed is not None and len(texts) > len(here):
            for numbers in _series(texts[len(here) :], changed, step):
                yield tuple(vocabulary.number(_with_numbers(text, numbers)) for text in texts[len(here) :])


def _series(rest: list[str], changed: Mapping[str, str], step: int) -> Iterator[Mapping[str, str]]:
    """What numbers may become: those that changed before the cursor, then each of the others, then all of them."""
    values = list(dict.fromkeys(number for text in rest for number in _NUMBER.findall(text)))
    next_ones = {value: _next_number(value, step) for value in values}
    if changed.keys() & values:
        yield changed
    for value in values:
        if value not in changed:
            yield {**changed, value: next_ones[value]}
    if len(values) > 1:
        yield {**next_ones, **changed}


def _next_number(number: str, step: int) -> str:
    return str(max(0, int(number) + step)).zfill(len(number))


def _numbers_changed(there: list[str], here: list[str]) -> Mapping[str, str] | None:
    """How numbers differ in two beginnings of a line; None if anything else does."""
    changed: dict[str, str] = {}
    if len(there) != len(here):
        return None
    for old, new in zip(there, here, strict=True):
        if old != new:
            if _NUMBER.sub("0", old) != _NUMBER.sub("0", new):
                return None
            changed.update(zip(_NUMBER.findall(old), _NUMBER.findall(new), strict=True))
    return changed


def _with_numbers(text: str, numbers: Mapping[str, str]) -> str:
    return _NUMBER.sub(lambda found: numbers.get(found[0], found[0]), text)


def _neighbour_lines(context: CompletionContext) -> Iterator[tuple[TokenLine, int]]:
    """The lines above, nearest first, each with 1, and those below with -1; the first below comes second."""
    above = _split_lines(context.before[: context.line_start + 1][-_MAX_TOKENS_READ:])[::-1][:LINES_ABOVE]
    below = _split_lines(context.after[:_MAX_TOKENS_READ])[:LINES_BELOW]
    yield from ((line, 1) for line in above[:1])
    yield from ((line, -1) for line in below[:1])
    yield from ((line, 1) for line in above[1:])
    yield from ((line, -1) for line in below[1:])


def _split_lines(tokens: TokenIds) -> list[TokenLine]:
    """The lines between two breaks each."""
    breaks = np.flatnonzero(tokens <= FILE_BOUNDARY).tolist()
    return [tuple(tokens[start + 1 : end].tolist()) for start, end in pairwise(breaks) if end > start + 1]


MAX_SPLICED_LINES, MAX_RENAMED_LINES = 16, 8
MAX_NAMES_PER_POSITION = 3
_REACH = 250


class VariantKind(IntEnum):
    """The way in which a line was made."""

    SPLICED = 0
    RENAMED = 1
    COUNTED = 2


MAX_PER_KIND = {VariantKind.SPLICED: 14, VariantKind.RENAMED: 14, VariantKind.COUNTED: 8}
"""The most new lines of each way."""

MAX_VARIANTS = sum(MAX_PER_KIND.values())

VariantLines = Iterator[tuple[TokenLine, int | None]]
"""Lines, each with the number of the remembered line that it was made from, if any."""


@dataclass(frozen=True, slots=True)
class LineVariant:
    """A line made from the remembered one with number `source`, or from one beside the cursor where that is None."""

    line: TokenLine
    source: int | None
    kind: VariantKind


def make_variants(
    vocabulary: TokenVocabulary, context: CompletionContext, lines: Sequence[TokenIds]
) -> list[LineVariant]:
    """New lines, at most COMPOSED, from lines that are ordered best first; none equals one of them."""
    rows: list[TokenLine] = [tuple(line.tolist()) for line in lines]
    makers: Mapping[VariantKind, VariantLines] = {
        VariantKind.SPLICED: _splice_lines(rows[:MAX_SPLICED_LINES], context),
        VariantKind.RENAMED: _substitute_names(vocabulary, rows[:MAX_RENAMED_LINES], context),
        VariantKind.COUNTED: ((line, None) for line in continue_series(vocabulary, context)),
    }
    known = set(rows)
    return [
        LineVariant(line, source, kind)
        for kind, made in makers.items()
        for line, source in islice(_unseen(made, known, vocabulary, context.typed), MAX_PER_KIND[kind])
    ]


def _unseen(made: VariantLines, known: set[TokenLine], vocabulary: TokenVocabulary, typed: str) -> VariantLines:
    """New lines that begin with what is being typed."""
    for line, source in made:
        if line not in known and vocabulary.texts[line[0]].startswith(typed):
            known.add(line)
            yield line, source


def _splice_lines(rows: Sequence[TokenLine], context: CompletionContext) -> VariantLines:
    """Joins two lines at a pair of tokens that they share."""
    ahead = int(context.before[-1])
    at_pair: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for number, row in enumerate(rows):
        for position, pair in enumerate(zip((ahead, *row), row[:-1], strict=False)):
            at_pair.setdefault(pair, []).append((number, position))
    for number, row in enumerate(rows):
        for position, pair in enumerate(zip((ahead, *row), row[:-1], strict=False)):
            for other, there in at_pair[pair]:
                if other != number and rows[other][there + 1] != row[position + 1]:
                    yield row[: position + 1] + rows[other][there + 1 :], number


def _substitute_names(
    vocabulary: TokenVocabulary, rows: Sequence[TokenLine], context: CompletionContext
) -> VariantLines:
    """Replaces a name by a nearby one that has the same neighbour elsewhere in the document."""
    names = _names_nearby(vocabulary, context)
    pairs = _token_pairs(context)
    ahead = int(context.before[-1])
    is_name = vocabulary.traits["is_name"]
    for number, row in enumerate(rows):
        for position in np.flatnonzero(is_name[list(row)]).tolist():
            left = row[position - 1] if position else ahead
            right = row[position + 1] if position + 1 < len(row) else None
            fitting = _fitting_names(vocabulary, names, pairs, row[position], (left, right))
            for token in fitting:
                yield (*row[:position], token, *row[position + 1 :]), number


def _fitting_names(
    vocabulary: TokenVocabulary, names: Sequence[str], pairs: set[int], old: int, neighbours: tuple[int, int | None]
) -> list[int]:
    """The first few names of the same kind that occur beside one of the neighbours."""
    text = vocabulary.texts[old]
    blank, word = (" ", text[1:]) if text.startswith(" ") else ("", text)
    left, right = neighbours
    found: list[int] = []
    for name in names:
        token = vocabulary.known(blank + name)
        if token is None or name == word or name[0].isupper() != word[0].isupper():
            continue
        if left << 32 | token in pairs or (right is not None and token << 32 | right in pairs):
            found.append(token)
            if len(found) == MAX_NAMES_PER_POSITION:
                break
    return found


def _names_nearby(vocabulary: TokenVocabulary, context: CompletionContext) -> list[str]:
    """Names before the cursor, nearest first."""
    recent = context.before[-_REACH:][::-1]
    tokens = recent[vocabulary.traits["is_name"][recent]].tolist()
    return list(dict.fromkeys(vocabulary.texts[token].removeprefix(" ") for token in tokens))


def _token_pairs(context: CompletionContext) -> set[int]:
    """All pairs of neighbouring tokens of the document, packed into one number each."""
    tokens = context.document.tokens.astype(np.uint64)
    return set(((tokens[:-1] << np.uint64(32)) | tokens[1:]).tolist())


MIN_NAME_PART = 4


def adapt_names(vocabulary: TokenVocabulary, line: TokenIds, there: TokenIds, here: TokenIds) -> TokenIds | None:
    """The line with names replaced; None if nothing changes.

    `there` and `here` are the tokens before the line and before the cursor, nearest first, of equal shape and length.
    """
    names = _name_mapping(vocabulary, there, here)
    if not names:
        return None
    texts = [vocabulary.texts[token] for token in line.tolist()]
    renamed = [_adapt_token(text, names, vocabulary) for text in texts]
    if renamed == texts:
        return None
    return np.array([vocabulary.number(text) for text in renamed], np.uint32)


def _name_mapping(vocabulary: TokenVocabulary, there: TokenIds, here: TokenIds) -> dict[str, str]:
    traits, texts = vocabulary.traits, vocabulary.texts
    differ = np.flatnonzero((there != here) & traits["is_name"][there])
    names: dict[str, str] = {}
    for at in differ.tolist():
        old, new = texts[there[at]].removeprefix(" "), texts[here[at]].removeprefix(" ")
        if old != new:
            names.setdefault(old, new)
    return names


def _adapt_token(text: str, names: Mapping[str, str], vocabulary: TokenVocabulary) -> str:
    blank, word = (" ", text[1:]) if text.startswith(" ") else ("", text)
    if word in names:
        return blank + names[word]
    if len(word) < MIN_NAME_PART or not (word[0].isalpha() or word[0] == "_"):
        return text
    for old, new in names.items():
        if len(old) >= MIN_NAME_PART and old.lower() in word.lower():
            return blank + _replace_part(word, old, new, vocabulary)
    return text


def _replace_part(word: str, old: str, new: str, vocabulary: TokenVocabulary) -> str:
    """Replaces whole parts of a word, in the part's own case; other letters only where that gives a known word."""
    cases = (old, new), (to_pascal_case(old), to_pascal_case(new)), (to_snake_case(old), to_snake_case(new))
    there, here = next((case for case in cases if case[0] in word), ("", ""))
    if not there:
        return word
    start = r"(?<![A-Z])" if there[0].isupper() else r"(?<![A-Za-z0-9])"
    plural = "" if new.endswith(("s", "d")) else "s?"
    whole = here.join(re.split(rf"{start}{re.escape(there)}(?={plural}(?![a-z]))", word))
    if whole != word:
        return whole
    joined = word.replace(there, here)
    is_known = any(vocabulary.known(blank + joined) is not None for blank in ("", " "))
    return joined if is_known else word
