"""Generates text with a decoder: prefill in slices, cache reuse, drafts, constraints, stops.

One `Generator` serves one request at a time and yields after each step, so that whoever runs it
can withdraw it within a token. Knows nothing of threads or HTTP.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from time import perf_counter

import torch
from torch import Tensor

from codekin.errors import UsageError
from codekin.models.beginning import Beginning, Openings
from codekin.models.catalogue import Model
from codekin.models.constrained import Constraint, Grammars
from codekin.models.decoder import Cache, Decoder
from codekin.models.drafting import Draft, Drafting, Pace
from codekin.models.infill import Origin, infill_ids, prompt_ids
from codekin.models.sampling import Sampling, choose, random_source
from codekin.models.streaming import TextStream
from codekin.models.vocabulary import Vocabulary

PREFILL_SLICE = 128
"""Tokens of a prompt read between two chances to withdraw."""

CACHES = 2
WORTH_KEEPING = 0.5
"""A request takes over the cache that it shares at least this part of, and copies from another."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A generated token with its log-probability, and those of its rivals when asked for."""

    token: int
    text: str
    logprob: float
    rivals: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """What came since the step before: text that is certain, tokens, and `finish` at the end (stop or length)."""

    text: str = ""
    tokens: tuple[int, ...] = ()
    choices: tuple[Choice, ...] = ()
    finish: str = ""


@dataclass(frozen=True, slots=True)
class Generated:
    """A finished text; `reused` prompt tokens came from a cache, `drafted` tokens from a draft."""

    text: str
    tokens: tuple[int, ...]
    finish: str
    prompt_tokens: int
    reused: int = 0
    drafted: int = 0
    choices: tuple[Choice, ...] = ()


@dataclass(slots=True)
class Generator:
    """A decoder with its vocabulary and what it remembers of earlier requests."""

    name: str
    model: Model
    decoder: Decoder
    vocabulary: Vocabulary
    device_bytes: int = 0
    grammars: Grammars = field(init=False)
    openings: Openings = field(init=False)
    pace: Pace = field(default_factory=Pace)
    _caches: list[Cache] = field(default_factory=list)

    def __post_init__(self) -> None:
        """The tables of grammars and beginnings are built when first needed."""
        self.openings = Openings(self.vocabulary)
        self.grammars = Grammars(self.vocabulary, self.decoder.shape.vocabulary, self.stop_ids)

    @property
    def stop_ids(self) -> tuple[int, ...]:
        """Tokens that end a text."""
        ends = () if self.model.end_id is None else (self.model.end_id,)
        return tuple(dict.fromkeys([*self.model.stop_ids, *ends]))

    @property
    def context(self) -> int:
        """The most tokens of prompt and text together."""
        return min(self.model.context or self.decoder.shape.context, self.decoder.shape.context)

    def prompt(self, text: str, chat: bool = False) -> list[int]:
        """Ids of a text to continue."""
        return prompt_ids(self.vocabulary, self.model, text, chat)

    def infill(
        self,
        prefix: str,
        suffix: str,
        room: int | None = None,
        *,
        suffix_first: bool = False,
        origin: Origin | None = None,
    ) -> list[int]:
        """Ids of a gap to fill, as `infill_ids` puts it."""
        return infill_ids(self.vocabulary, self.model, prefix, suffix, room, suffix_first=suffix_first, origin=origin)

    def steps(self, ids: Sequence[int], sampling: Sampling, draft: Draft | None = None) -> Iterator[Step | Generated]:
        """Steps with new text, many of them empty during the prefill; the last value is the Generated."""
        run = self.begin(ids, sampling, draft)
        yield from run.prefill()
        while not run.finish:
            offered = run.offer()
            begun = perf_counter()
            step = run.take(self.decoder.forward(offered, run.cache, every=True))
            self.pace.stepped(len(offered), perf_counter() - begun)
            yield step
        yield run.result()

    def begin(
        self, ids: Sequence[int], sampling: Sampling, draft: Draft | None = None, busy: Sequence[Cache] = ()
    ) -> "Run":
        """A request that is about to be prefilled, beside others whose caches are `busy`. Raises UsageError."""
        self._require_room(ids, sampling)
        constraint = Beginning(self.openings, sampling.begins) if sampling.begins else self.grammars.start(sampling)
        cache, reused = self.cache_for(ids, busy)
        return Run(self, list(ids), sampling, constraint, Drafting(draft, self.pace), cache, reused)

    def generate(self, ids: Sequence[int], sampling: Sampling, draft: Draft | None = None) -> Generated:
        """The whole text at once."""
        last: Step | Generated = Step()
        for last in self.steps(ids, sampling, draft):  # noqa: B007 - the last one is the result
            pass
        if not isinstance(last, Generated):
            raise TypeError("A generation ends with its result.")
        return last

    def forget(self) -> None:
        """Drop the caches of earlier requests."""
        self._caches.clear()

    def _require_room(self, ids: Sequence[int], sampling: Sampling) -> None:
        if len(ids) + sampling.max_tokens > self.context:
            raise UsageError(
                f"The prompt has {len(ids)} tokens and {sampling.max_tokens} are asked for, but {self.name} reads "
                f"{self.context}; shorten the prompt or ask for fewer."
            )

    def cache_for(self, ids: Sequence[int], busy: Sequence[Cache] = ()) -> tuple[Cache, int]:
        """A cache that holds a prefix of the prompt (all but its last token at most), and how much.

        What the `busy` caches of other requests hold is copied.
        """
        known = [*self._caches, *(cache for cache in busy if not _is_among(cache, self._caches))]
        shared = [(_common(cache.ids, ids), number) for number, cache in enumerate(known)]
        length, number = max(shared, default=(0, -1))
        length = min(length, len(ids) - 1)
        if not length:
            cache = self.decoder.new_cache()
        elif length >= WORTH_KEEPING * len(known[number].ids) and not _is_among(known[number], busy):
            cache = self._caches.pop(number)
            cache.cut(length)
        else:
            cache = known[number].copy(length)
        self._caches = [*self._caches, cache][-CACHES:]
        return cache, length


@dataclass(slots=True, eq=False)
class Run:
    """One request under way: `ids` are the prompt and what came so far, `reused` of them were in the cache.

    After `prefill` whoever runs it reads what `offer` gives and hands the logits to `take`, until there is a `finish`.
    """

    generator: Generator
    ids: list[int]
    sampling: Sampling
    constraint: Constraint | Beginning | None
    drafting: Drafting
    cache: Cache
    reused: int = 0
    finish: str = ""
    choices: list[Choice] = field(default_factory=list)
    prompt_length: int = field(init=False)
    text: TextStream = field(init=False)
    source: torch.Generator = field(init=False)
    _draft: list[int] = field(default_factory=list)
    _pending: int = 0

    def __post_init__(self) -> None:
        self.prompt_length = len(self.ids)
        self.text = TextStream(self.sampling.stop)
        self.source = random_source(self.sampling)

    def prefill(self) -> Iterator[Step]:
        """Reads the prompt but for its last token, slice by slice."""
        last = self.prompt_length - 1
        for start in range(self.reused, last, PREFILL_SLICE):
            self.generator.decoder.forward(self.ids[start : min(start + PREFILL_SLICE, last)], self.cache)
            yield Step()

    def offer(self) -> list[int]:
        """The tokens to be read next: what the cache lacks, and a draft."""
        room = self.sampling.max_tokens - (len(self.ids) - self.prompt_length) - 1
        self._draft = self.drafting.propose(self.ids, room)
        pending = self.ids[len(self.cache.ids) :]
        self._pending = len(pending)
        return [*pending, *self._draft]

    def take(self, logits: Tensor) -> Step:
        """What comes of the logits (n, vocabulary) after each offered token."""
        before, known, draft = len(self.ids), len(self.choices), self._draft
        pieces = self._walk(logits[self._pending - 1 :], draft)
        self.drafting.learn(len(draft), min(len(draft), max(0, len(self.ids) - before - 1)))
        # What was drafted wrongly must not stay in the cache.
        self.cache.cut(min(len(self.cache.ids), len(self.ids) - 1))
        if self.finish:
            pieces += self.text.finish()
        return Step(pieces, tuple(self.ids[before:]), tuple(self.choices[known:]), self.finish)

    def result(self) -> Generated:
        """All of it."""
        tokens = tuple(self.ids[self.prompt_length :])
        counts = self.prompt_length, self.reused, self.drafting.accepted
        return Generated(self.text.text, tokens, self.finish, *counts, tuple(self.choices))

    def _walk(self, logits: Tensor, draft: list[int]) -> str:
        """Choose a token for each row of logits as long as the draft foresaw the one before."""
        pieces = ""
        for number, row in enumerate(logits):
            allowed = self.constraint.restrict(row) if self.constraint else row
            token = choose(allowed, self.sampling, self.ids, self.source)
            pieces += self._take(token, allowed)
            if self.finish or number >= len(draft) or token != draft[number]:
                break
        return pieces

    def _take(self, token: int, logits: Tensor) -> str:
        """Append a token, and see whether it is the last one; gives text that became certain."""
        if token in self.generator.stop_ids:
            self.finish = "stop"
            return ""
        self.ids.append(token)
        piece = self.generator.vocabulary.bytes_of[token]
        if self.sampling.logprobs is not None:
            self.choices.append(self._choice(token, piece, logits))
        text = self.text.push(piece)
        if self.text.stopped or (self.constraint and not self.constraint.accept(token)):
            self.finish = "stop"
        elif len(self.ids) - self.prompt_length >= self.sampling.max_tokens:
            self.finish = "length"
        return text

    def _choice(self, token: int, piece: bytes, logits: Tensor) -> Choice:
        logprobs = torch.log_softmax(logits, -1)
        values, tokens = logprobs.topk(self.sampling.logprobs or 1)
        table = self.generator.vocabulary.bytes_of
        rivals = tuple(
            (table[int(rival)].decode("utf-8", "replace"), float(value))
            for rival, value in zip(tokens, values, strict=True)
        )
        return Choice(
            token, piece.decode("utf-8", "replace"), float(logprobs[token]), rivals if self.sampling.logprobs else ()
        )


def _is_among(cache: Cache, others: Sequence[Cache]) -> bool:
    """The very same cache, whatever it holds."""
    return any(cache is other for other in others)


def _common(first: Sequence[int], second: Sequence[int]) -> int:
    """How many tokens two sequences begin with in common."""
    shortest = min(len(first), len(second))
    if first[:shortest] == list(second[:shortest]):
        return shortest
    return next(at for at in range(shortest) if first[at] != second[at])
