"""Completion by a generator together with the repository model.

Where the repository model is confident, it answers alone. Otherwise the generator scores its guesses, writes one of
its own, and the reranker picks the best. Scores and text of the last keystroke are cached. A generator that scores no
given lines (a GGUF file, a remote server) writes its own, which competes with the repository's guesses at the chance
that the log-probabilities of its tokens give it.
"""

import threading
from collections import OrderedDict
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from codekin.completion.context import CursorPosition
from codekin.completion.corpus_snapshot import Corpus
from codekin.completion.filters import keep_indentation
from codekin.completion.prompt import (
    CHARACTERS_PER_TOKEN,
    SNIPPET_SHARE,
    FindSimilar,
    Prompt,
    Snippet,
    as_comments,
    cut_prefix,
    find_definitions,
    find_snippets,
    make_prompt,
)
from codekin.completion.ranking import (
    Guess,
    ScoredLine,
    WrittenLine,
    add_written_line,
    generator_trust,
    rank_guesses,
    read_written_line,
    rerank,
    skip_threshold,
)
from codekin.completion.suggestions import (
    SPARE_GUESSES,
    CompletionOptions,
    TextCodec,
    context_at_cursor,
    likely_guesses,
    repository_draft,
    wants_block,
)
from codekin.protocols import REMOTE_MODEL, GeneratedText, GenerationRequest, GenerationStep, Sampling

if TYPE_CHECKING:
    from codekin.models.generation.prompts import TokenGenerator


MAX_CACHED_LINES = 64
"""Lines whose weights are kept."""


class GenerationCache:
    """The last line that a generator wrote, and the lines that it weighed; safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ids: list[int] = []
        self._begins = ""
        self._written = WrittenLine("")
        self._line_scores: OrderedDict[tuple[int, ...], list[float]] = OrderedDict()

    def record_line(self, prompt: Prompt, own: WrittenLine) -> None:
        """Takes note of a line behind a prompt."""
        with self._lock:
            self._ids, self._begins, self._written = prompt.ids, prompt.begins, own

    def remaining(self, prompt: Prompt, codec: TextCodec) -> WrittenLine | None:
        """What is left of the last line if the prompt goes on as it did, else None."""
        with self._lock:
            ids, begins, written = self._ids, self._begins, self._written
        if not written.text or prompt.ids[: len(ids)] != ids:
            return None
        typed, whole = codec.decode(prompt.ids[len(ids) :]) + prompt.begins, begins + written.text
        if not whole.startswith(typed) or not len(begins) <= len(typed) < len(whole):
            return None
        return written.rest(len(typed) - len(begins))

    def record_scores(self, prompt: Prompt, line: Sequence[int], scores: Sequence[float]) -> None:
        """Takes note of the log-probability of each of a line's ids behind a prompt."""
        with self._lock:
            self._line_scores[*prompt.ids, *line] = list(scores)
            while len(self._line_scores) > MAX_CACHED_LINES:
                self._line_scores.popitem(last=False)

    def scores(self, prompt: Prompt, line: Sequence[int]) -> list[float] | None:
        """What is known of a line's ids behind a prompt; None unless all of them are."""
        with self._lock:
            known = self._line_scores.get((*prompt.ids, *line))
        return known[len(known) - len(line) :] if known is not None and len(known) >= len(line) else None


MAX_RIVALS = 20
"""Alternatives of each token from which the confidence of a generator without line scores is estimated."""

MAX_SCORED = 8
"""Guesses of the repository that the generator weighs."""

NEXT_LINE_TOKENS = 8
"""Tokens of the next line that are weighed behind each of them."""

MAX_SNIPPETS, MAX_DEFINITIONS = 2, 5

BLOCK_TRUST = 0.5
"""From this trust on the generator writes the lines behind the first one, else the repository does."""

T = TypeVar("T")
PausingWork = Generator[list[Guess], None, T]
"""Work that pauses often, so that it can be cancelled, and returns a T."""


@dataclass(frozen=True, slots=True)
class GenerationConfig:
    """How a generator is used: the most tokens of the text around the cursor and of the answer, and its helpers.

    `similar` searches similar code by vectors, if available; `generation_cache` keeps the scores of the last keystroke;
    `repository` is the name that some models' prompts begin with.
    """

    prompt_tokens: int = 1024
    max_tokens: int = 48
    has_snippets: bool = True
    has_guesses: bool = True
    has_drafts: bool = True
    similar: FindSimilar | None = None
    generation_cache: GenerationCache | None = None
    repository: str = ""


@dataclass(frozen=True, slots=True)
class HybridModel:
    """A generator and the repository, and how they work together."""

    generator: "TokenGenerator"
    corpus: Corpus
    generation: GenerationConfig = GenerationConfig()

    @property
    def trust(self) -> float:
        """How far the generator's own chances are believed."""
        return generator_trust(self.generator)


def complete_with_generator(
    hybrid: HybridModel, cursor: CursorPosition, options: CompletionOptions
) -> Iterator[list[Guess]]:
    """Guesses of both, the best one as a block where that is wanted; the last value counts.

    Empty until something is certain; from then on the best guess only grows.
    """
    found = yield from generated_guesses(hybrid, cursor, options.alternatives + SPARE_GUESSES)
    yield found
    likely = likely_guesses(hybrid.corpus, cursor, options, found)
    if likely and hybrid.trust >= BLOCK_TRUST and wants_block(cursor, context_at_cursor(cursor), likely[0], options):
        for grown in _generate_block(hybrid, cursor, likely[0], options.max_lines):
            yield [grown, *likely[1:]]


def generated_guesses(hybrid: HybridModel, cursor: CursorPosition, limit: int) -> PausingWork[list[Guess]]:
    """The rests of the line by both, best first."""
    found = rank_guesses(hybrid.corpus, cursor, limit=max(limit, MAX_SCORED)) if hybrid.generation.has_guesses else []
    if found and found[0].confidence >= skip_threshold(hybrid.trust):
        return found[:limit]
    if not hybrid.generator.scores_lines:
        own = yield from _generate_line(hybrid, cursor, build_prompt(hybrid, cursor), MAX_RIVALS)
        return add_written_line(found, own)[:limit]
    lines = yield from score_candidates(hybrid, cursor, found)
    return rerank(lines, hybrid.trust)[:limit] if lines else []


def score_candidates(
    hybrid: HybridModel, cursor: CursorPosition, found: Sequence[Guess]
) -> PausingWork[list[ScoredLine]]:
    """The guesses and the generator's own line, with what both think of them."""
    prompt = build_prompt(hybrid, cursor)
    own = (yield from _generate_line(hybrid, cursor, prompt)).text
    texts = list(dict.fromkeys([*(guess.text for guess in found), *([own] if own.strip() else [])]))
    if not texts:
        return []
    chances = {guess.text: guess.confidence for guess in found}
    scores = yield from _score_lines(hybrid, prompt, texts, _next_line(cursor))
    return [
        ScoredLine(text, chances.get(text, 0.0), text == own, line, following)
        for text, (line, following) in zip(texts, scores, strict=True)
    ]


def run_to_end(work: PausingWork[T]) -> T:
    """What some work returns, done at once."""
    try:
        while True:
            next(work)
    except StopIteration as end:
        result: T = end.value
        return result


def build_prompt(hybrid: HybridModel, cursor: CursorPosition) -> Prompt:
    """The prompt for a gap, with snippets if they are wanted."""
    generation = hybrid.generation
    similar = prompt_snippets(hybrid.corpus, cursor, generation)
    # Snippets precede the text and do not replace it.
    most = generation.prompt_tokens + (generation.prompt_tokens // (SNIPPET_SHARE - 1) if similar else 0)
    # A line and the block behind it have to find room, too.
    budget = hybrid.generator.context - 2 * generation.max_tokens
    return make_prompt(hybrid.generator, cursor, similar, most=min(most, budget), repository=generation.repository)


def prompt_snippets(corpus: Corpus, cursor: CursorPosition, generation: GenerationConfig) -> list[Snippet]:
    """Snippets by meaning or by words, and definitions of names in use; none where they are not wanted."""
    if not generation.has_snippets:
        return []
    around = cursor.around_line
    found = (generation.similar(around) if generation.similar else []) or find_snippets(corpus, around, MAX_SNIPPETS)
    return [*found[:MAX_SNIPPETS], *find_definitions(corpus, around, MAX_DEFINITIONS)]


def _generate_block(hybrid: HybridModel, cursor: CursorPosition, first: Guess, most_lines: int) -> Iterator[Guess]:
    """The first line with the lines that the generator writes behind it, as they come, until they leave its block."""
    prompt, vocabulary = build_prompt(hybrid, cursor), hybrid.generator.vocabulary
    ids = [*prompt.ids, *vocabulary.encode_continuation(f"{prompt.begins}{first.text}\n")]
    ahead = replace(cursor, prefix=f"{cursor.prefix}{first.text}\n")
    draft = repository_draft(hybrid.corpus, ahead, vocabulary, len(ids)) if hybrid.generation.has_drafts else None
    written = f"{first.text}\n"
    for step in hybrid.generator.steps(ids, Sampling(max_tokens=hybrid.generation.max_tokens), draft):
        written += step.text if isinstance(step, GenerationStep) else ""
        whole = written.rpartition("\n")[0]
        kept = "\n".join(keep_indentation(cursor, whole).split("\n")[:most_lines])
        yield replace(first, text=kept)
        if kept != whole:
            return


def _generate_line(
    hybrid: HybridModel, cursor: CursorPosition, prompt: Prompt, logprobs: int | None = None
) -> PausingWork[WrittenLine]:
    """The generator's own rest of the line, or what is left of the one before."""
    vocabulary, generation_cache = hybrid.generator.vocabulary, hybrid.generation.generation_cache
    if generation_cache and (remaining := generation_cache.remaining(prompt, vocabulary)) is not None:
        return remaining
    draft = None
    if hybrid.generation.has_drafts:
        draft = repository_draft(hybrid.corpus, cursor, vocabulary, len(prompt.ids), len(prompt.begins))
    stop = ("\n",)
    sampling = Sampling(max_tokens=hybrid.generation.max_tokens, stop=stop, begins=prompt.begins, logprobs=logprobs)
    written = GeneratedText("", (), "", 0)
    for step in hybrid.generator.steps(prompt.ids, sampling, draft):
        written = step if isinstance(step, GeneratedText) else written
        yield []
    own = read_written_line(written.text, written.choices, prompt.begins)
    if generation_cache:
        generation_cache.record_line(prompt, own)
    return own


def _score_lines(
    hybrid: HybridModel, prompt: Prompt, texts: list[str], after: str
) -> PausingWork[list[tuple[list[float], list[float]]]]:
    """For each text the log-probabilities of its tokens and the line's end, and of the next line's."""
    generation_cache = hybrid.generation.generation_cache or GenerationCache()
    rows = [_line_ids(hybrid, f"{prompt.begins}{text}", after) for text in texts]
    new = [ids for ids, _ in rows if generation_cache.scores(prompt, ids) is None]
    scores: list[list[float]] = []
    for so_far in hybrid.generator.log_probabilities(prompt.ids, new) if new else ():
        scores = so_far
        yield []
    for ids, found in zip(new, scores, strict=True):
        generation_cache.record_scores(prompt, ids, found)
    known = [generation_cache.scores(prompt, ids) or [] for ids, _ in rows]
    return [(found[:end], found[end:]) for found, (_, end) in zip(known, rows, strict=True)]


def _line_ids(hybrid: HybridModel, line: str, after: str) -> tuple[list[int], int]:
    """Ids of a line and the beginning of the next, and where the line with its break ends among them."""
    vocabulary = hybrid.generator.vocabulary
    ids = vocabulary.encode_continuation(line + after)
    size, end = 0, 0
    while end < len(ids) and size < len(line.encode("utf-8", "replace")):
        size += len(vocabulary.bytes_of[ids[end]])
        end += 1
    return ids[: end + 1 + NEXT_LINE_TOKENS], min(end + 1, len(ids))


def _next_line(cursor: CursorPosition) -> str:
    """The break at the end of the cursor's line and the line below it that is not empty."""
    below = cursor.suffix[len(cursor.line_after) :]
    blank = len(below) - len(below.lstrip())
    end = below.find("\n", blank)
    return below[: end if end >= 0 else len(below)] or "\n"


def remote_request(corpus: Corpus, cursor: CursorPosition, generation: GenerationConfig) -> GenerationRequest:
    """The request for one line: similar code as comments, and the text around the cursor."""
    similar = as_comments(cursor.language, prompt_snippets(corpus, cursor, generation))
    most = generation.prompt_tokens * CHARACTERS_PER_TOKEN
    sampling = Sampling(max_tokens=generation.max_tokens, stop=("\n",), logprobs=1)
    return GenerationRequest(
        prompt=similar + cut_prefix(cursor.prefix, most),
        model=REMOTE_MODEL,
        suffix=cursor.suffix[:most] or None,
        sampling=sampling,
    )


def add_remote_guess(
    corpus: Corpus, cursor: CursorPosition, options: CompletionOptions, written: GeneratedText
) -> list[Guess]:
    """The repository's guesses and the server's line by confidence."""
    found = rank_guesses(corpus, cursor, limit=options.alternatives + SPARE_GUESSES)
    return add_written_line(found, read_written_line(written.text, written.choices))
