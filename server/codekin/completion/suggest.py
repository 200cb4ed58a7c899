"""From a gap to what is shown: guesses of the repository, filtered, checked against the syntax, with their extent."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from codekin.completion.block import extended
from codekin.completion.corpus import Corpus
from codekin.completion.filters import cut_to_parse, filtered
from codekin.completion.gap import Gap
from codekin.completion.repository import Guess, guesses
from codekin.syntax import LANGUAGES, CursorContext, cursor_context

LINES_OF_CONTEXT = 400
SPARE = 4


Tell = Callable[[Guess], None]
"""Hears what is certain so far of the best guess."""


@dataclass(frozen=True, slots=True)
class Wish:
    """How completions are wanted: how many, one line or (with auto, by syntax) a block.

    The best one has to be as likely as `threshold`; the alternatives to it need not.
    """

    alternatives: int = 1
    threshold: float = 0.0
    extent: Literal["auto", "line", "block"] = "auto"
    max_lines: int = 8


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A text to insert at the cursor; `kind` says whether it ends with the line."""

    text: str
    kind: Literal["line", "block"]
    confidence: float


def suggestions(
    corpus: Corpus, gap: Gap, wish: Wish, found: Sequence[Guess] | None = None, tell: Tell | None = None
) -> list[Suggestion]:
    """What would be shown, best first; often nothing. `found` are guesses made elsewhere, else the repository's own.

    `tell` hears the best one as its lines come.
    """
    found = guesses(corpus, gap, limit=wish.alternatives + SPARE) if found is None else found
    likely = likely_ones(gap, wish, found)
    if likely and wants_block(gap, context_at(gap), likely[0], wish):
        for grown in extended(corpus, gap, likely[0], wish.max_lines):
            likely[0] = grown
            if tell:
                tell(grown)
    return shown(gap, likely, wish.alternatives)


def likely_ones(gap: Gap, wish: Wish, found: Sequence[Guess]) -> list[Guess]:
    """The guesses that may stand at the cursor and are likely enough; behind them their alternatives, if wanted."""
    context = context_at(gap)
    if context.kind != "code" and not gap.line_before.strip():
        return []
    fitting = [guess for guess in found if fits(gap, context, guess.text)]
    likely = [guess for guess in fitting if guess.confidence >= wish.threshold]
    return (
        [*likely, *(guess for guess in fitting if guess not in likely)] if likely and wish.alternatives > 1 else likely
    )


def context_at(gap: Gap) -> CursorContext:
    """The cursor's context, read from the lines around it."""
    prefix = "".join(gap.prefix.splitlines(keepends=True)[-LINES_OF_CONTEXT:])
    return cursor_context(gap.language, prefix + gap.suffix[:4000], len(prefix))


def fits(gap: Gap, context: CursorContext, text: str) -> bool:
    """Whether a text may stand in code: a comment is offered only where the user has begun one."""
    row = LANGUAGES.get(gap.language)
    if context.kind != "code" or row is None:
        return True
    marks = [row.line_comment, *(opening for opening, _ in row.block_comments)]
    return not any(mark and text.lstrip().startswith(mark) for mark in marks)


def wants_block(gap: Gap, context: CursorContext, guess: Guess, wish: Wish) -> bool:
    """Whether more than the line is called for: asked for, or the cursor stands in an empty block."""
    if "\n" in guess.text or wish.extent == "line" or gap.line_behind.strip() or context.kind != "code":
        return False
    return wish.extent == "block" or (context.wants_block and not gap.line_before.strip() and guess.confidence > 0)


def shown(gap: Gap, guesses_: Sequence[Guess], most: int) -> list[Suggestion]:
    """The first few that are still something after all filters, each once."""
    found: dict[str, Suggestion] = {}
    for guess in guesses_:
        text = filtered(gap, guess.text)
        text = cut_to_parse(gap, text) if text else ""
        if text and text not in found:
            kind: Literal["line", "block"] = "block" if "\n" in text else "line"
            found[text] = Suggestion(text, kind, guess.confidence)
            if len(found) == most:
                break
    return list(found.values())


def without_carriage_returns(gap: Gap) -> Gap:
    """The gap with line feeds alone, as the room reads it."""
    return replace(gap, prefix=_plain(gap.prefix), suffix=_plain(gap.suffix))


def _plain(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text
