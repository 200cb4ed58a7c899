"""A generator and the repository together: the repository proposes, drafts and lends its kin; the generator weighs.

Where the repository is sure, it answers alone. Else the generator scores its guesses, writes one of its own, and the
best by both wins. It knows generators by their face alone, never their tensors.
"""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from codekin.completion.corpus import Corpus
from codekin.completion.definitions import definitions_for
from codekin.completion.drafting import repository_draft
from codekin.completion.filters import within_indentation
from codekin.completion.gap import Gap
from codekin.completion.kinship import Find
from codekin.completion.lately import Lately
from codekin.completion.prompt import KIN_SHARE, Prompt, prompt_for
from codekin.completion.repository import Guess, guesses
from codekin.completion.snippets import Snippet, snippets_for
from codekin.completion.suggest import SPARE, Wish, context_at, likely_ones, wants_block
from codekin.completion.weighing import Weighed, sure_from, trust_in, weighed

if TYPE_CHECKING:
    from codekin.models import generation

SCORED = 8
"""Guesses of the repository that the generator weighs."""

FOLLOWING = 8
"""Tokens of the next line that are weighed behind each of them."""

SNIPPETS, DEFINITIONS = 2, 5

LEADS_BLOCKS = 0.5
"""From this trust on the generator writes the lines behind the first one, else the repository does."""

T = TypeVar("T")
Ticks = Generator[list[Guess], None, T]
"""Work that pauses often, so that it can be withdrawn, and returns a T."""


@dataclass(frozen=True, slots=True)
class Generation:
    """How a generator is used: the most tokens of the text around the cursor and of the answer, and its helpers.

    `kin` finds code by meaning, if somebody can; `lately` keeps what was thought at the last key; `repository` is the
    name that some models' prompts begin with.
    """

    prompt_tokens: int = 1024
    max_tokens: int = 48
    has_snippets: bool = True
    has_guesses: bool = True
    has_drafts: bool = True
    kin: Find | None = None
    lately: Lately | None = None
    repository: str = ""


@dataclass(frozen=True, slots=True)
class Writers:
    """A generator and the repository, and how they work together."""

    generator: "generation.Generator"
    corpus: Corpus
    generation: Generation = Generation()

    @property
    def trust(self) -> float:
        """How far the generator's own chances are believed."""
        return trust_in(self.generator)


def answers(writers: Writers, gap: Gap, wish: Wish) -> Iterator[list[Guess]]:
    """Guesses of both, the best one as a block where that is wanted; the last value counts.

    Empty until something is certain; from then on the best guess only grows.
    """
    found = yield from generated_guesses(writers, gap, wish.alternatives + SPARE)
    yield found
    likely = likely_ones(gap, wish, found)
    if likely and writers.trust >= LEADS_BLOCKS and wants_block(gap, context_at(gap), likely[0], wish):
        for grown in _block_behind(writers, gap, likely[0], wish.max_lines):
            yield [grown, *likely[1:]]


def generated_guesses(writers: Writers, gap: Gap, limit: int) -> Ticks[list[Guess]]:
    """The rests of the line by both, best first."""
    found = guesses(writers.corpus, gap, limit=max(limit, SCORED)) if writers.generation.has_guesses else []
    if found and found[0].confidence >= sure_from(writers.trust):
        return found[:limit]
    lines = yield from considered(writers, gap, found)
    return weighed(lines, writers.trust)[:limit] if lines else []


def considered(writers: Writers, gap: Gap, found: Sequence[Guess]) -> Ticks[list[Weighed]]:
    """The guesses and the generator's own line, with what both think of them."""
    prompt = prompt_of(writers, gap)
    own = yield from _own_line(writers, gap, prompt)
    texts = list(dict.fromkeys([*(guess.text for guess in found), *([own] if own.strip() else [])]))
    if not texts:
        return []
    chances = {guess.text: guess.confidence for guess in found}
    scores = yield from _scores(writers, prompt, texts, _next_line(gap))
    return [
        Weighed(text, chances.get(text, 0.0), text == own, line, following)
        for text, (line, following) in zip(texts, scores, strict=True)
    ]


def finished(work: Ticks[T]) -> T:
    """What some work returns, done at once."""
    try:
        while True:
            next(work)
    except StopIteration as end:
        result: T = end.value
        return result


def prompt_of(writers: Writers, gap: Gap) -> Prompt:
    """The prompt for a gap, with kin if they are wanted."""
    generation = writers.generation
    kin = kin_for(writers.corpus, gap, generation)
    # Kin stand before the text, not in its place.
    most = generation.prompt_tokens + (generation.prompt_tokens // (KIN_SHARE - 1) if kin else 0)
    # A line and the block behind it have to find room, too.
    room = writers.generator.context - 2 * generation.max_tokens
    return prompt_for(writers.generator, gap, kin, most=min(most, room), repository=generation.repository)


def kin_for(corpus: Corpus, gap: Gap, generation: Generation) -> list[Snippet]:
    """Kin by meaning or by words, and definitions of names in use; none where they are not wanted."""
    if not generation.has_snippets:
        return []
    around = gap.around_line
    found = (generation.kin(around) if generation.kin else []) or snippets_for(corpus, around, SNIPPETS)
    return [*found[:SNIPPETS], *definitions_for(corpus, around, DEFINITIONS)]


def _block_behind(writers: Writers, gap: Gap, first: Guess, most_lines: int) -> Iterator[Guess]:
    """The first line with the lines that the generator writes behind it, as they come, until they leave its block."""
    from codekin.models.generation import Step  # noqa: PLC0415 - bring torch, which a generator has loaded
    from codekin.models.sampling import Sampling  # noqa: PLC0415

    prompt, vocabulary = prompt_of(writers, gap), writers.generator.vocabulary
    ids = [*prompt.ids, *vocabulary.encode_inside(f"{prompt.begins}{first.text}\n")]
    ahead = replace(gap, prefix=f"{gap.prefix}{first.text}\n")
    draft = repository_draft(writers.corpus, ahead, vocabulary, len(ids)) if writers.generation.has_drafts else None
    written = f"{first.text}\n"
    for step in writers.generator.steps(ids, Sampling(max_tokens=writers.generation.max_tokens), draft):
        written += step.text if isinstance(step, Step) else ""
        whole = written.rpartition("\n")[0]
        kept = "\n".join(within_indentation(gap, whole).split("\n")[:most_lines])
        yield replace(first, text=kept)
        if kept != whole:
            return


def _own_line(writers: Writers, gap: Gap, prompt: Prompt) -> Ticks[str]:
    """The generator's own rest of the line, or what is left of the one before."""
    from codekin.models.sampling import Sampling  # noqa: PLC0415 - brings torch, which a generator has loaded

    vocabulary, begun, lately = writers.generator.vocabulary, len(prompt.begins), writers.generation.lately
    if lately and (rest := lately.rest(prompt, vocabulary)) is not None:
        return rest
    draft = None
    if writers.generation.has_drafts:
        draft = repository_draft(writers.corpus, gap, vocabulary, len(prompt.ids), begun)
    sampling = Sampling(max_tokens=writers.generation.max_tokens, stop=("\n",), begins=prompt.begins)
    text = ""
    for step in writers.generator.steps(prompt.ids, sampling, draft):
        text = step.text  # the last one holds the whole
        yield []
    own = text[begun:].rstrip()
    if lately:
        lately.wrote(prompt, own)
    return own


def _scores(
    writers: Writers, prompt: Prompt, texts: list[str], behind: str
) -> Ticks[list[tuple[list[float], list[float]]]]:
    """For each text the log-probabilities of its tokens and the line's end, and of the next line's."""
    from codekin.models.scoring import log_probabilities  # noqa: PLC0415 - brings torch

    lately = writers.generation.lately or Lately()
    rows = [_within(writers, f"{prompt.begins}{text}", behind) for text in texts]
    new = [ids for ids, _ in rows if lately.scores(prompt, ids) is None]
    scores: list[list[float]] = []
    for so_far in log_probabilities(writers.generator, prompt.ids, new) if new else ():
        scores = so_far
        yield []
    for ids, found in zip(new, scores, strict=True):
        lately.weighed(prompt, ids, found)
    known = [lately.scores(prompt, ids) or [] for ids, _ in rows]
    return [(found[:end], found[end:]) for found, (_, end) in zip(known, rows, strict=True)]


def _within(writers: Writers, line: str, behind: str) -> tuple[list[int], int]:
    """Ids of a line and the beginning of the next, and where the line with its break ends among them."""
    vocabulary = writers.generator.vocabulary
    ids = vocabulary.encode_inside(line + behind)
    size, end = 0, 0
    while end < len(ids) and size < len(line.encode("utf-8", "replace")):
        size += len(vocabulary.bytes_of[ids[end]])
        end += 1
    return ids[: end + 1 + FOLLOWING], min(end + 1, len(ids))


def _next_line(gap: Gap) -> str:
    """The break at the end of the cursor's line and the line below it that is not empty."""
    below = gap.suffix[len(gap.line_behind) :]
    blank = len(below) - len(below.lstrip())
    end = below.find("\n", blank)
    return below[: end if end >= 0 else len(below)] or "\n"
