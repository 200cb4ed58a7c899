"""From a cursor position to suggestions: guesses filtered, checked against the syntax, and extended to blocks.

Also drafts from the repository, which a generator verifies in one step (speculative decoding). They are lossless: the
generator keeps what it would have written itself.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Literal, Protocol

import numpy as np

from codekin.completion.context import CompletionContext, CursorPosition, read_context
from codekin.completion.corpus_snapshot import Corpus
from codekin.completion.filters import apply_filters, cut_to_parse
from codekin.completion.gate import Gate, default_gate, place_of
from codekin.completion.ngrams import FILE_BOUNDARY, MAX_NGRAM, CorpusSegment, Positions, TokenIds, ngram_hash
from codekin.completion.plausibility import CursorPlace
from codekin.completion.ranking import Guess, rank_guesses
from codekin.completion.variants import NgramModel, pad_rows
from codekin.parsing import LANGUAGES, CursorContext, read_cursor_context

CONTEXT_LINES = 400
SPARE_GUESSES = 4


GuessCallback = Callable[[Guess], None]
"""Called with the certain part of the best guess."""


@dataclass(frozen=True, slots=True)
class CompletionOptions:
    """Which completions are wanted: how many, and one line or (with auto, by syntax) a block.

    The best one has to be as likely as `threshold`; the alternatives to it need not.
    """

    alternatives: int = 1
    threshold: float = 0.0
    extent: Literal["auto", "line", "block"] = "auto"
    max_lines: int = 8
    gate: Gate = field(default_factory=default_gate)


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A text to insert at the cursor; `kind` is whether it ends with the line."""

    text: str
    kind: Literal["line", "block"]
    confidence: float
    estimate: float = 0.0


def make_suggestions(
    corpus: Corpus,
    cursor: CursorPosition,
    options: CompletionOptions,
    found: Sequence[Guess] | None = None,
    on_guess: GuessCallback | None = None,
) -> list[Suggestion]:
    """What would be shown, best first; often nothing. `found` are guesses made elsewhere, else the repository's own.

    `on_guess` is called with the best one as its lines are added.
    """
    found = rank_guesses(corpus, cursor, limit=options.alternatives + SPARE_GUESSES) if found is None else found
    likely = likely_guesses(corpus, cursor, options, found)
    if likely and wants_block(cursor, context_at_cursor(cursor), likely[0], options):
        for grown in extend_to_block(corpus, cursor, likely[0], options.max_lines):
            likely[0] = grown
            if on_guess:
                on_guess(grown)
    return filter_suggestions(cursor, likely, options.alternatives)


def likely_guesses(
    corpus: Corpus, cursor: CursorPosition, options: CompletionOptions, found: Sequence[Guess]
) -> list[Guess]:
    """The plausible guesses that are likely enough; behind them their alternatives, if wanted."""
    context = context_at_cursor(cursor)
    if context.kind != "code" and not cursor.line_before.strip():
        return []
    place = CursorPlace(corpus, cursor, context)
    found = [_through_gate(options.gate, cursor, context, guess) for guess in found]
    wanted = found if options.alternatives > 1 else [guess for guess in found if guess.confidence >= options.threshold]
    fitting = [guess for guess in wanted if fits(cursor, context, guess.text) and place.is_plausible(guess.text)]
    likely = [guess for guess in fitting if guess.confidence >= options.threshold]
    return [*likely, *(guess for guess in fitting if guess not in likely)] if likely else []


def _through_gate(gate: Gate, cursor: CursorPosition, context: CursorContext, guess: Guess) -> Guess:
    chance = gate.chance(guess.confidence, cursor.language, place_of(cursor, context.kind))
    return Guess(guess.text, chance, guess.confidence)


def context_at_cursor(cursor: CursorPosition) -> CursorContext:
    """The cursor's context, read from the lines around it."""
    prefix = "".join(cursor.prefix.splitlines(keepends=True)[-CONTEXT_LINES:])
    return read_cursor_context(cursor.language, prefix + cursor.suffix[:4000], len(prefix))


def fits(cursor: CursorPosition, context: CursorContext, text: str) -> bool:
    """Whether a text may be inserted in code: a comment is offered only where the user has begun one."""
    row = LANGUAGES.get(cursor.language)
    if context.kind != "code" or row is None:
        return True
    marks = [row.line_comment, *(opening for opening, _ in row.block_comments)]
    return not any(mark and text.lstrip().startswith(mark) for mark in marks)


def wants_block(cursor: CursorPosition, context: CursorContext, guess: Guess, options: CompletionOptions) -> bool:
    """Whether to complete more than the line: on request, or when the cursor is in an empty block."""
    if "\n" in guess.text or options.extent == "line" or cursor.line_after.strip() or context.kind != "code":
        return False
    return options.extent == "block" or (
        context.wants_block and not cursor.line_before.strip() and guess.confidence > 0
    )


def filter_suggestions(cursor: CursorPosition, guesses_: Sequence[Guess], most: int) -> list[Suggestion]:
    """The first few that pass all filters, each once."""
    found: dict[str, Suggestion] = {}
    for guess in guesses_:
        text = apply_filters(cursor, guess.text)
        text = cut_to_parse(cursor, text) if text else ""
        if text and text not in found:
            kind: Literal["line", "block"] = "block" if "\n" in text else "line"
            found[text] = Suggestion(text, kind, guess.confidence, guess.estimate)
            if len(found) == most:
                break
    return list(found.values())


def normalize_newlines(cursor: CursorPosition) -> CursorPosition:
    """The gap with line feeds alone, as the room reads it."""
    return replace(cursor, prefix=_normalize(cursor.prefix), suffix=_normalize(cursor.suffix))


def _normalize(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


MIN_BLOCK_CONFIDENCE = 0.3
_BREAKS = np.arange(3, dtype=np.uint32)
_OUTWARD, _LEVEL, _INWARD = 0, 1, 2


def extend_to_block(corpus: Corpus, cursor: CursorPosition, first: Guess, most_lines: int) -> Iterator[Guess]:
    """The first line, then with each line of its block that is likely enough; its own confidence stays."""
    text = first.text
    base = len(cursor.indentation)
    yield first
    for _ in range(most_lines - 1):
        indentation = _next_indentation(corpus, cursor, text, base)
        if indentation is None:
            return
        ahead = replace(cursor, prefix=cursor.prefix + text + "\n" + indentation)
        found = rank_guesses(corpus, ahead, limit=1)
        if not found or found[0].confidence < MIN_BLOCK_CONFIDENCE or not found[0].text.strip():
            return
        text += "\n" + indentation + found[0].text
        yield replace(first, text=text)
        if len(indentation) <= base:
            return


def _next_indentation(corpus: Corpus, cursor: CursorPosition, text: str, base: int) -> str | None:
    """The white space of the line behind `text`, None where the block is over."""
    line = (cursor.prefix + text).rpartition("\n")[2]
    here = len(line) - len(line.lstrip())
    step = _next_step(corpus, replace(cursor, prefix=cursor.prefix + text))
    unit = indentation_unit(cursor)
    width = here + unit * (step == _INWARD) - unit * (step == _OUTWARD)
    if width < base or (width == base and "\n" not in text):
        return None
    return (cursor.indentation[:1] or " ") * width


def _next_step(corpus: Corpus, cursor: CursorPosition) -> int:
    """Whether the line after such a line is mostly indented less, the same or more."""
    context = read_context(corpus.vocabulary, cursor)
    typed = corpus.vocabulary.encode(context.typed)[0] if context.typed else context.before[:0]
    before = np.concatenate([context.before, typed])
    rows, lengths = pad_rows(before, [_BREAKS[step : step + 1] for step in range(3)], before[:0])
    is_scored = np.arange(rows.shape[1])[None, :] == lengths[:, None] - 1
    scores = NgramModel(corpus, context).log_probabilities(rows, is_scored)
    return int(scores.sum(axis=1).argmax())


def indentation_unit(cursor: CursorPosition) -> int:
    """The width of one level in a document: the commonest step inward."""
    widths = [
        len(line)
        for line in re.findall(r"^[ \t]*(?=\S)", cursor.prefix[-20_000:] + cursor.suffix[:20_000], re.MULTILINE)
    ]
    steps = Counter(deeper - wide for wide, deeper in pairwise(widths) if 0 < deeper - wide <= 8)
    return steps.most_common(1)[0][0] if steps else 2


def next_line_cursor(cursor: CursorPosition) -> CursorPosition:
    """The gap at the start of the next line, indented as an editor would."""
    line = cursor.line_before
    deeper = line.rstrip().endswith(("do", "{", "(", "[", "->", "fn", ":"))
    width = len(cursor.indentation) + indentation_unit(cursor) * deeper
    return replace(cursor, prefix=cursor.prefix + "\n" + (cursor.indentation[:1] or " ") * width)


MIN_NGRAM, MIN_REPEATED = 4, 2
"""Tokens that must agree before the draft: of the repository, and of the prompt before the repository is searched."""

MAX_DRAFT_TOKENS = 12
REPETITION_LOOKBACK, MAX_REPEATED = 2000, 16

DraftFunction = Callable[[list[int]], list[int]]
"""From all ids so far to ids that may come next; empty for no idea."""


class TextCodec(Protocol):
    """What a draft needs of a generator's vocabulary."""

    def encode_continuation(self, text: str) -> list[int]:
        """Ids of a text within a sequence."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids."""
        ...


def repository_draft(
    corpus: Corpus, cursor: CursorPosition, codec: TextCodec, prompt_length: int, begun: int = 0
) -> DraftFunction:
    """A draft for a generation that goes on at a gap, behind a prompt of so many ids.

    The first `begun` characters of what is generated already precede the gap.
    """
    context = read_context(corpus.vocabulary, cursor)
    before = np.concatenate([context.before, corpus.vocabulary.encode(context.typed)[0]])
    unit, width = indentation_unit(cursor), len(cursor.indentation)

    def draft(ids: list[int]) -> list[int]:
        length, repeated = _longest_repetition(ids)
        if length >= MIN_REPEATED:
            return repeated
        written = codec.decode(ids[prompt_length:])[begun:]
        settled = written.rstrip()
        tokens, indentation = corpus.vocabulary.encode(settled, width)
        found = _best_position(corpus, context, np.concatenate([before, tokens])[-MAX_NGRAM:])
        if found is None:
            return repeated
        text, pending = _text_after(corpus, *found, (indentation, unit)), written[len(settled) :]
        return codec.encode_continuation(text[len(pending) :]) if text.startswith(pending) else repeated

    return draft


def _longest_repetition(ids: list[int]) -> tuple[int, list[int]]:
    """The length of the longest run of ids that ended before as they end now, the latest of equals; what followed."""
    longest, position, last = 0, 0, len(ids) - 1
    for at in range(last - 1, max(-1, last - REPETITION_LOOKBACK), -1):
        if ids[at] != ids[last]:
            continue
        length = 1
        while length < MAX_REPEATED and length <= at and ids[at - length] == ids[last - length]:
            length += 1
        if length > longest:
            longest, position = length, at
            if length == MAX_REPEATED:
                break
    return longest, ids[position + 1 : position + 1 + MAX_DRAFT_TOKENS] if longest else []


def _best_position(corpus: Corpus, context: CompletionContext, recent: TokenIds) -> tuple[CorpusSegment, int] | None:
    """Where the longest run at the context's end stood before: in the document, else nearest in the corpus."""
    for length in range(min(MAX_NGRAM, len(recent)), MIN_NGRAM - 1, -1):
        key = ngram_hash(recent[-length:])
        positions = context.document.tables[length - 1].find(key)
        positions = positions[positions != context.cursor_index]
        if len(positions):
            return context.document, int(positions[-1])
        found = _current_positions(corpus, context.path, corpus.base.tables[length - 1].find(key))
        if len(found):
            return corpus.base, int(found[np.argmin(np.abs(found - corpus.position_of(context.path)))])
    return None


def _current_positions(corpus: Corpus, path: str, positions: Positions) -> Positions:
    """Places in files that are neither edited nor out of date."""
    if not len(positions):
        return positions
    files = corpus.base.files_at(positions)
    is_out = corpus.is_outdated[files] | (files == corpus.file_numbers.get(path, -1))
    return np.extract(~is_out, positions).astype(np.int64)


def _text_after(corpus: Corpus, segment: CorpusSegment, position: int, indentation: tuple[int, int]) -> str:
    """The text behind a place, its lines indented by their steps from `indentation` (the width now, and a level)."""
    width, unit = indentation
    parts = []
    for token in segment.tokens[position + 1 : position + 1 + MAX_DRAFT_TOKENS].tolist():
        if token == FILE_BOUNDARY:
            break
        if token < FILE_BOUNDARY:
            width = max(0, width + unit * (token % 3 - 1))
            parts.append("\n" * (1 + token // 3) + " " * width)
        else:
            parts.append(corpus.vocabulary.texts[token])
    return "".join(parts)
