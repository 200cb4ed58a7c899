"""Generates text with a decoder: prefill in slices, cache reuse, drafts, constraints, batches, and log-probabilities.

Yields after each step, so that a caller can cancel within a token.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from time import perf_counter

import torch
from torch import Tensor

from codekin.errors import ModelError
from codekin.models.catalogue import ModelSpec
from codekin.models.generation.decoder import Decoder, KeyValueCache
from codekin.models.generation.prompts import TokenGenerator, TokenLogProbabilities
from codekin.models.generation.sampling import (
    DraftPolicy,
    GrammarCompiler,
    GrammarConstraint,
    PrefixConstraint,
    PrefixIndex,
    StepTimings,
    choose_token,
    random_source,
)
from codekin.models.linear import MAX_INT8_ROWS
from codekin.models.planner import PREFILL_TOKENS
from codekin.models.vocabulary import ModelVocabulary, TokenTextStream
from codekin.protocols import DraftFunction, GeneratedText, GenerationRequest, GenerationStep, Sampling, TokenChoice

MAX_CACHES = 2
MIN_SHARED_PREFIX = 0.5
"""A request takes over the cache that it shares at least this part of, and copies from another."""


@dataclass(slots=True)
class LocalGenerator(TokenGenerator):
    """A decoder with its vocabulary and what it remembers of earlier requests."""

    name: str
    model: ModelSpec
    decoder: Decoder
    vocabulary: ModelVocabulary
    device_bytes: int = 0
    grammar_compiler: GrammarCompiler = field(init=False)
    prefix_index: PrefixIndex = field(init=False)
    timings: StepTimings = field(default_factory=StepTimings)
    _caches: list[KeyValueCache] = field(default_factory=list)

    def __post_init__(self) -> None:
        """The tables of grammars and beginnings are built when first needed."""
        self.prefix_index = PrefixIndex(self.vocabulary)
        self.grammar_compiler = GrammarCompiler(self.vocabulary, self.decoder.shape.vocabulary, self.stop_ids)

    @property
    def stop_ids(self) -> tuple[int, ...]:
        """Tokens that end a text."""
        ends = () if self.model.end_id is None else (self.model.end_id,)
        return tuple(dict.fromkeys([*self.model.stop_ids, *ends]))

    @property
    def context(self) -> int:
        """The most tokens of prompt and text together."""
        return min(self.model.context or self.decoder.shape.context, self.decoder.shape.context)

    @property
    def scores_lines(self) -> bool:
        """Many lines in one pass."""
        return True

    def log_probabilities(
        self, ids: Sequence[int], continuations: Sequence[Sequence[int]]
    ) -> Iterator[TokenLogProbabilities]:
        """The scores of continuations, which share what they begin with; yields [] until the last value."""
        cache, reused = self.cache_for(ids)
        for start in range(reused, len(ids) - 1, PREFILL_TOKENS):
            self.decoder.forward(ids[start : min(start + PREFILL_TOKENS, len(ids) - 1)], cache)
            yield []
        cache.cut(len(ids) - 1)
        tree = _TokenTree(ids[-1])
        positions = [tree.add(continuation) for continuation in continuations]
        rows = torch.log_softmax(self.decoder.branches(tree.tokens, tree.parents, cache), -1)
        yield [
            rows[[before for before, _ in steps], [token for _, token in steps]].tolist() if steps else []
            for steps in positions
        ]

    def generate_batch(self, requests: Sequence[GenerationRequest]) -> Iterator[GenerationStep | list[GeneratedText]]:
        """The texts side by side, in one pass a token."""
        prompts = [(self.request_ids(request), request.sampling, request.draft) for request in requests]
        return generate_many(self, prompts)

    def steps(
        self, ids: Sequence[int], sampling: Sampling, draft: DraftFunction | None = None
    ) -> Iterator[GenerationStep | GeneratedText]:
        """Steps with new text, many of them empty during the prefill; the last value is the Generated."""
        run = self.start_run(ids, sampling, draft)
        yield from run.prefill()
        while not run.finish:
            offered = run.next_input()
            begun = perf_counter()
            step = run.accept_logits(self.decoder.forward(offered, run.cache, every=True))
            self.timings.record_step(len(offered), perf_counter() - begun)
            yield step
        yield run.result()

    def start_run(
        self,
        ids: Sequence[int],
        sampling: Sampling,
        draft: DraftFunction | None = None,
        busy: Sequence[KeyValueCache] = (),
    ) -> "GenerationRun":
        """A request that is about to be prefilled, beside others whose caches are `busy`. Raises UsageError."""
        self.require_context(ids, sampling)
        constraint = (
            PrefixConstraint(self.prefix_index, sampling.begins)
            if sampling.begins
            else self.grammar_compiler.start(sampling)
        )
        cache, reused = self.cache_for(ids, busy)
        return GenerationRun(self, list(ids), sampling, constraint, DraftPolicy(draft, self.timings), cache, reused)

    def generate(self, ids: Sequence[int], sampling: Sampling, draft: DraftFunction | None = None) -> GeneratedText:
        """The whole text at once."""
        last: GenerationStep | GeneratedText = GenerationStep()
        for last in self.steps(ids, sampling, draft):  # noqa: B007 - the last one is the result
            pass
        if not isinstance(last, GeneratedText):
            raise TypeError("A generation ends with its result.")
        return last

    def clear_caches(self) -> None:
        """Drop the caches of earlier requests."""
        self._caches.clear()

    def cache_for(self, ids: Sequence[int], busy: Sequence[KeyValueCache] = ()) -> tuple[KeyValueCache, int]:
        """A cache that holds a prefix of the prompt (all but its last token at most), and how much.

        What the `busy` caches of other requests hold is copied.
        """
        known = [*self._caches, *(cache for cache in busy if not _contains_cache(cache, self._caches))]
        shared = [(_common_prefix_length(cache.ids, ids), number) for number, cache in enumerate(known)]
        length, number = max(shared, default=(0, -1))
        length = min(length, len(ids) - 1)
        if not length:
            cache = self.decoder.new_cache()
        elif length >= MIN_SHARED_PREFIX * len(known[number].ids) and not _contains_cache(known[number], busy):
            cache = self._caches.pop(number)
            cache.cut(length)
        else:
            cache = known[number].copy(length)
        self._caches = [*self._caches, cache][-MAX_CACHES:]
        return cache, length


@dataclass(slots=True, eq=False)
class GenerationRun:
    """One request under way: `ids` are the prompt and what came so far, `reused` of them were in the cache.

    After `prefill` the caller reads `next_input` and passes the logits to `accept_logits`, until `finish` is set.
    """

    generator: LocalGenerator
    ids: list[int]
    sampling: Sampling
    constraint: GrammarConstraint | PrefixConstraint | None
    draft_policy: DraftPolicy
    cache: KeyValueCache
    reused: int = 0
    finish: str = ""
    choices: list[TokenChoice] = field(default_factory=list)
    prompt_length: int = field(init=False)
    text: TokenTextStream = field(init=False)
    source: torch.Generator = field(init=False)
    _draft: list[int] = field(default_factory=list)
    _pending: int = 0

    def __post_init__(self) -> None:
        self.prompt_length = len(self.ids)
        self.text = TokenTextStream(self.sampling.stop)
        self.source = random_source(self.sampling)

    def prefill(self) -> Iterator[GenerationStep]:
        """Reads the prompt but for its last token, slice by slice."""
        last = self.prompt_length - 1
        for start in range(self.reused, last, PREFILL_TOKENS):
            self.generator.decoder.forward(self.ids[start : min(start + PREFILL_TOKENS, last)], self.cache)
            yield GenerationStep()

    def next_input(self) -> list[int]:
        """The tokens to be read next: what the cache lacks, and a draft."""
        limit = self.sampling.max_tokens - (len(self.ids) - self.prompt_length) - 1
        self._draft = self.draft_policy.propose(self.ids, limit)
        pending = self.ids[len(self.cache.ids) :]
        self._pending = len(pending)
        return [*pending, *self._draft]

    def accept_logits(self, logits: Tensor) -> GenerationStep:
        """What comes of the logits (n, vocabulary) after each token of the input."""
        if bool(logits.isnan().any()):
            raise ModelError(f"{self.generator.name} gave numbers that are not finite: set models.dtype to float32.")
        before, known, draft = len(self.ids), len(self.choices), self._draft
        new_text = self._walk(logits[self._pending - 1 :], draft)
        self.draft_policy.record_outcome(len(draft), min(len(draft), max(0, len(self.ids) - before - 1)))
        # What was drafted wrongly must not stay in the cache.
        self.cache.cut(min(len(self.cache.ids), len(self.ids) - 1))
        if self.finish:
            new_text += self.text.finish()
        return GenerationStep(new_text, tuple(self.ids[before:]), tuple(self.choices[known:]), self.finish)

    def result(self) -> GeneratedText:
        """All of it."""
        tokens = tuple(self.ids[self.prompt_length :])
        counts = self.prompt_length, self.reused, self.draft_policy.accepted
        return GeneratedText(self.text.text, tokens, self.finish, *counts, tuple(self.choices))

    def _walk(self, logits: Tensor, draft: list[int]) -> str:
        """Choose a token for each row of logits as long as the draft foresaw the one before."""
        new_text = ""
        for number, row in enumerate(logits):
            allowed = self.constraint.restrict(row) if self.constraint else row
            token = choose_token(allowed, self.sampling, self.ids, self.source, self.prompt_length)
            new_text += self._append_token(token, allowed)
            if self.finish or number >= len(draft) or token != draft[number]:
                break
        return new_text

    def _append_token(self, token: int, logits: Tensor) -> str:
        """Append a token, and see whether it is the last one; gives text that became certain."""
        if token in self.generator.stop_ids:
            self.finish = "stop"
            return ""
        self.ids.append(token)
        token_bytes = self.generator.vocabulary.bytes_of[token]
        if self.sampling.logprobs is not None:
            self.choices.append(self._choice(token, token_bytes, logits))
        text = self.text.push(token_bytes)
        if self.text.stopped or (self.constraint and not self.constraint.accept(token)):
            self.finish = "stop"
        elif len(self.ids) - self.prompt_length >= self.sampling.max_tokens:
            self.finish = "length"
        return text

    def _choice(self, token: int, token_bytes: bytes, logits: Tensor) -> TokenChoice:
        logprobs = torch.log_softmax(logits, -1)
        values, tokens = logprobs.topk(self.sampling.logprobs or 1)
        table = self.generator.vocabulary.bytes_of
        rivals = tuple(
            (table[int(rival)].decode("utf-8", "replace"), float(value))
            for rival, value in zip(tokens, values, strict=True)
        )
        return TokenChoice(
            token,
            token_bytes.decode("utf-8", "replace"),
            float(logprobs[token]),
            rivals if self.sampling.logprobs else (),
        )


def _contains_cache(cache: KeyValueCache, others: Sequence[KeyValueCache]) -> bool:
    """The very same cache, whatever it holds."""
    return any(cache is other for other in others)


def _common_prefix_length(first: Sequence[int], second: Sequence[int]) -> int:
    """How many tokens two sequences begin with in common."""
    shortest = min(len(first), len(second))
    if first[:shortest] == list(second[:shortest]):
        return shortest
    return next(at for at in range(shortest) if first[at] != second[at])


MAX_BATCH_TEXTS = MAX_INT8_ROWS
"""Texts at a time: beyond so many rows the 8-bit product is not the faster one."""

BatchRequest = tuple[Sequence[int], Sampling, DraftFunction | None]
"""The prompt's ids, how to go on, and who drafts."""


def generate_many(
    generator: LocalGenerator, requests: Sequence[BatchRequest]
) -> Iterator[GenerationStep | list[GeneratedText]]:
    """Empty steps, between which it can be left; the last value is the texts, in the order of the requests."""
    found: dict[int, GeneratedText] = {}
    runs: dict[int, GenerationRun] = {}
    waiting = list(range(len(requests)))
    while waiting or runs:
        while waiting and len(runs) < MAX_BATCH_TEXTS:
            number = waiting.pop(0)
            run = generator.start_run(*requests[number], busy=[other.cache for other in runs.values()])
            yield from run.prefill()
            runs[number] = run
        inputs = [(run.next_input(), run.cache) for run in runs.values()]
        for run, logits in zip(runs.values(), generator.decoder.forward_many(inputs), strict=True):
            run.accept_logits(logits)
        found |= {number: run.result() for number, run in runs.items() if run.finish}
        runs = {number: run for number, run in runs.items() if not run.finish}
        yield GenerationStep()
    yield [found[number] for number in range(len(requests))]


class _TokenTree:
    """Tokens that each follow an earlier one; equal beginnings are shared."""

    def __init__(self, first: int) -> None:
        self.tokens = [first]
        self.parents = [-1]
        self._numbers: dict[tuple[int, int], int] = {}

    def add(self, continuation: Sequence[int]) -> list[tuple[int, int]]:
        """For each token the place in the tree of the one before it, and the token; the last is not put into it."""
        steps, at = [], 0
        for number, token in enumerate(continuation):
            steps.append((at, token))
            if number + 1 < len(continuation):
                at = self._position(at, token)
        return steps

    def _position(self, parent: int, token: int) -> int:
        found = self._numbers.setdefault((parent, token), len(self.tokens))
        if found == len(self.tokens):
            self.tokens.append(token)
            self.parents.append(parent)
        return found
