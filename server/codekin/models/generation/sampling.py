"""Chooses the next tokens: sampling, grammar constraints, forced prefixes, and drafts that are worth checking.

A checked draft makes a step wider; what that costs depends on the machine, the model and its dtype. A draft is
checked where it is expected to pay, within a budget of what earlier drafts gained and a small share of the time.
"""

import json
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Sequence
from functools import cached_property
from time import perf_counter

import llguidance
import llguidance.numpy
import numpy as np
import torch
from torch import Generator, Tensor, full_like

from codekin.errors import UsageError
from codekin.models.vocabulary import ModelVocabulary
from codekin.protocols import DraftFunction, Sampling

SHORT_DRAFT, LONG_DRAFT = 3, 7
"""Tokens of a draft; with the one before them they fill the rows that products are made for. A long one follows a
draft that was right to its end."""

DRAFT_CREDIT, DRAFT_TIME_SHARE = 0.25, 0.03
"""What drafts that fail may lose: so many steps of a text, and this part of its time."""

GAIN_SMOOTHING = 0.3
INITIAL_GAINS = {SHORT_DRAFT: 1.5, LONG_DRAFT: 6.0}
"""How fast the estimate of what drafts gain follows, and the tokens that they are first expected to gain."""

MAX_PAUSE = 32
KEPT_TIMINGS, MIN_TIMINGS = 8, 3
_ASSUMED_COSTS = {0: 1.0, SHORT_DRAFT: 1.2, LONG_DRAFT: 1.6}
"""What a step is taken to cost before it was timed, by the draft's length."""


class StepTimings:
    """What steps and drafts cost, as the latest were timed: the least of a few, since others can only slow them."""

    def __init__(self) -> None:
        self._steps = {length: deque[float](maxlen=KEPT_TIMINGS) for length in _ASSUMED_COSTS}
        self._drafts = deque[float](maxlen=KEPT_TIMINGS)

    def record_step(self, rows: int, seconds: float) -> None:
        """Records the time of a step over so many rows; one wider than a long draft is ignored."""
        if rows <= LONG_DRAFT + 1:
            self._steps[_length_class(rows - 1)].append(seconds)

    def drafted(self, seconds: float) -> None:
        """Records the seconds that a draft took."""
        self._drafts.append(seconds)

    def step(self, drafted: int) -> float:
        """What a step costs with so many drafted tokens, in steps without any."""
        plain, wide = self._steps[0], self._steps[_length_class(drafted)]
        is_known = plain and len(wide) >= MIN_TIMINGS  # the first of a kind is slow
        return max(1.0, min(wide) / min(plain)) if is_known else _ASSUMED_COSTS[_length_class(drafted)]

    @property
    def is_known(self) -> bool:
        """Whether a step without a draft was timed, to compare with."""
        return bool(self._steps[0])

    @property
    def draft(self) -> float:
        """What making a draft costs, in steps."""
        return min(self._drafts) / min(self._steps[0]) if self._drafts and self._steps[0] else 0.0


def _length_class(drafted: int) -> int:
    return next(length for length in _ASSUMED_COSTS if drafted <= length)


class DraftPolicy:
    """The draft of one request, with its successes."""

    def __init__(self, draft: DraftFunction | None, timings: StepTimings) -> None:
        self._draft = draft
        self._timings = timings
        self._balance = DRAFT_CREDIT
        self._gains = dict(INITIAL_GAINS)
        self._longest = SHORT_DRAFT
        self._pause, self._next_pause = 0, 1
        self.accepted = 0

    def propose(self, ids: list[int], limit: int) -> list[int]:
        """At most `limit` tokens to check now, often none."""
        if self._draft is None or limit <= 0 or not self._timings.is_known or not (length := self._worth_checking()):
            return []
        begun = perf_counter()
        found = list(self._draft(ids))[: min(limit, length)]
        self._timings.drafted(perf_counter() - begun)
        self._balance -= self._timings.draft
        return found

    def record_outcome(self, offered: int, accepted: int) -> None:
        """Take note of a step: how many tokens of a draft were offered to it, and how many of them were right."""
        self._balance += accepted + DRAFT_TIME_SHARE * (1 + accepted)
        if not offered:
            return
        self._balance -= self._timings.step(offered) - 1
        self.accepted += accepted
        length = _length_class(offered)
        self._gains[length] += GAIN_SMOOTHING * (accepted - self._gains[length])
        self._longest = LONG_DRAFT if accepted == offered else SHORT_DRAFT
        self._pause = 0 if accepted else self._next_pause
        self._next_pause = 1 if accepted else min(2 * self._next_pause, MAX_PAUSE)

    def _worth_checking(self) -> int:
        """The length of the draft that is expected to gain most; where none does, a short one now and then."""
        lengths = [
            length for length in INITIAL_GAINS if length <= self._longest and self._cost(length) - 1 <= self._balance
        ]
        gains = {length: (1 + self._gains[length]) / self._cost(length) for length in lengths}
        best = max(gains, key=gains.__getitem__, default=0)
        if not best or gains[best] > 1:
            return best
        self._pause -= 1
        return SHORT_DRAFT if self._pause < 0 and SHORT_DRAFT in gains else 0

    def _cost(self, length: int) -> float:
        return self._timings.step(length) + self._timings.draft


def random_source(sampling: Sampling) -> Generator:
    """A source of randomness of its own for each request."""
    source = Generator()
    if sampling.seed is None:
        source.seed()
    else:
        source.manual_seed(sampling.seed)
    return source


def choose_token(
    logits: Tensor, sampling: Sampling, before: Sequence[int], source: Generator, prompt_length: int = 0
) -> int:
    """The next token for one row of logits (vocabulary,), forbidden tokens at minus infinity.

    `before` are all tokens so far, the first `prompt_length` of them the prompt's.
    """
    if sampling.presence_penalty or sampling.frequency_penalty or sampling.logit_bias:
        logits = _shift_logits(logits, sampling, before[prompt_length:])
    if sampling.repetition_penalty != 1.0 and before:
        logits = penalise_repetition(logits, before, sampling.repetition_penalty)
    if sampling.temperature == 0:
        return int(logits.argmax())
    kept = keep_top_p(keep_top_k(logits / sampling.temperature, sampling.top_k), sampling.top_p)
    return int(torch.multinomial(kept.softmax(-1).cpu(), 1, generator=source))


def penalise_repetition(logits: Tensor, before: Sequence[int], penalty: float) -> Tensor:
    """Tokens seen before made less likely, as in CTRL (arXiv 1909.05858)."""
    seen = torch.tensor(sorted(set(before)), device=logits.device)
    values = logits[seen]
    result = logits.clone()
    result[seen] = torch.where(values > 0, values / penalty, values * penalty)
    return result


def _shift_logits(logits: Tensor, sampling: Sampling, written: Sequence[int]) -> Tensor:
    """OpenAI's penalties: a token's logit falls by its count times one and by the other once; then the biases."""
    shifts: dict[int, float] = {}
    for token, count in Counter(written).items():
        shifts[token] = -count * sampling.frequency_penalty - sampling.presence_penalty
    for token, bias in sampling.logit_bias:
        if token >= logits.shape[-1]:
            raise UsageError(f"`logit_bias` names the token {token}; the model has {logits.shape[-1]}.")
        shifts[token] = shifts.get(token, 0.0) + (float("-inf") if bias <= -100 else bias)
    result = logits.clone()
    result[list(shifts)] += torch.tensor(list(shifts.values()), dtype=logits.dtype, device=logits.device)
    return result


def keep_top_k(logits: Tensor, count: int) -> Tensor:
    """All but the `count` largest at minus infinity; 0 keeps all."""
    if not 0 < count < logits.shape[-1]:
        return logits
    values, indices = logits.topk(count)
    return torch.full_like(logits, float("-inf")).scatter_(-1, indices, values)


def keep_top_p(logits: Tensor, share: float) -> Tensor:
    """The smallest set of tokens whose probabilities sum to `share`, the rest at minus infinity."""
    if share >= 1:
        return logits
    ordered, indices = logits.sort(descending=True)
    before = ordered.softmax(-1).cumsum(-1) - ordered.softmax(-1)
    return torch.full_like(logits, float("-inf")).scatter_(
        -1, indices, ordered.masked_fill(before >= share, float("-inf"))
    )


class GrammarCompiler:
    """Compiles constraints for one vocabulary; the tables are built at the first use."""

    def __init__(self, vocabulary: ModelVocabulary, size: int, end_ids: Sequence[int]) -> None:
        self._vocabulary = vocabulary
        self._size = size
        self._end_ids = list(end_ids)
        self._tokenizer: llguidance.LLTokenizer | None = None

    def start(self, sampling: Sampling) -> "GrammarConstraint | None":
        """A fresh matcher for a request, None without a constraint. Raises UsageError."""
        if not sampling.regex and not sampling.grammar:
            return None
        try:
            if sampling.regex:
                grammar = llguidance.LLMatcher.grammar_from_regex(sampling.regex)
            else:
                grammar = llguidance.LLMatcher.grammar_from_lark(sampling.grammar or "")
        except ValueError as error:
            raise UsageError(f"The grammar cannot be used ({error}); correct it.") from error
        matcher = llguidance.LLMatcher(self._tables(), grammar, log_level=0)
        if problem := matcher.get_error():
            raise UsageError(f"The grammar cannot be used ({' '.join(problem.split())[:300]}); correct it.")
        return GrammarConstraint(matcher, self._size, self._end_ids)

    def _tables(self) -> llguidance.LLTokenizer:
        if self._tokenizer is None:
            source = json.dumps(self._vocabulary.source)
            self._tokenizer = llguidance.LLTokenizer(source, n_vocab=self._size, eos_token=self._end_ids or None)
        return self._tokenizer


class GrammarConstraint:
    """The state of one request within its grammar."""

    def __init__(self, matcher: llguidance.LLMatcher, size: int, end_ids: list[int]) -> None:
        self._matcher = matcher
        self._mask = llguidance.numpy.allocate_token_bitmask(1, size)
        self._size = size
        self._end_ids = end_ids

    def restrict(self, logits: Tensor) -> Tensor:
        """The logits with every token that cannot come next at minus infinity."""
        llguidance.numpy.fill_next_token_bitmask(self._matcher, self._mask, 0)
        bits = np.unpackbits(self._mask[0].view(np.uint8), bitorder="little")[: self._size]
        allowed = torch.from_numpy(bits.astype(bool)).to(logits.device)
        if not bool(allowed.any()):
            allowed[self._end_ids] = True
        return logits.masked_fill(~allowed, float("-inf"))

    def accept(self, token: int) -> bool:
        """Take a token; false where the text is complete and nothing can follow."""
        self._matcher.consume_token(token)
        return not self._matcher.is_stopped()


class PrefixIndex:
    """Finds the tokens that agree with bytes to come; one for each vocabulary."""

    def __init__(self, vocabulary: ModelVocabulary) -> None:
        self._vocabulary = vocabulary

    def compatible_tokens(self, rest: bytes) -> list[int]:
        """Ids of the tokens that begin with the bytes, or with which the bytes begin."""
        low, high = bisect_left(self._sorted, (rest, -1)), bisect_left(self._sorted, (rest + b"\xff" * 8, -1))
        longer = [token for _, token in self._sorted[low:high]]
        return longer + [token for size in range(1, len(rest)) for token in self._shorter.get(rest[:size], ())]

    def bytes_of(self, token: int) -> bytes:
        """The bytes of a token."""
        return self._vocabulary.bytes_of[token]

    @cached_property
    def _sorted(self) -> list[tuple[bytes, int]]:
        return sorted(
            (token_bytes, token) for token, token_bytes in enumerate(self._vocabulary.bytes_of) if token_bytes
        )

    @cached_property
    def _shorter(self) -> dict[bytes, list[int]]:
        found: dict[bytes, list[int]] = {}
        for token_bytes, token in self._sorted:
            found.setdefault(token_bytes, []).append(token)
        return found


class PrefixConstraint:
    """The state of one request: which bytes are still to come."""

    def __init__(self, prefix_index: PrefixIndex, text: str) -> None:
        self._prefix_index = prefix_index
        self._rest = text.encode("utf-8", "replace")

    def restrict(self, logits: Tensor) -> Tensor:
        """The logits with every token that leaves the beginning at minus infinity."""
        allowed = self._prefix_index.compatible_tokens(self._rest) if self._rest else []
        if not allowed:
            return logits
        kept = full_like(logits, float("-inf"))
        kept[allowed] = logits[allowed]
        return kept

    def accept(self, token: int) -> bool:
        """Take a token; the text may always go on."""
        self._rest = self._rest[len(self._prefix_index.bytes_of(token)) :]
        return True
