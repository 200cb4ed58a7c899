"""From logits to a token: greedy or drawn, with penalties, cuts and an allowed set.

Pure functions of one row of logits. Knows nothing of models, text or time.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from codekin.errors import UsageError

LARGEST_SEED = 2**63 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How tokens are chosen and when to stop; temperature 0 is greedy.

    `top_k` 0 and `top_p` 1 keep all tokens. `regex` or `grammar` (Lark) constrains the text; `begins` is what it
    begins with.
    `logprobs` asks for so many alternatives of each token.
    """

    max_tokens: int = 64
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    repetition_penalty: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    regex: str | None = None
    grammar: str | None = None
    begins: str = ""
    logprobs: int | None = None

    def __post_init__(self) -> None:
        """Raise UsageError for values out of bounds."""
        _require(1 <= self.max_tokens <= 1 << 20, "max_tokens must be at least 1")
        _require(0 <= self.temperature <= 100, "temperature must lie between 0 and 100")
        _require(0 < self.top_p <= 1, "top_p must lie above 0 and at most at 1")
        _require(self.top_k >= 0, "top_k must not be negative")
        _require(0.01 <= self.repetition_penalty <= 100, "repetition_penalty must lie between 0.01 and 100")
        _require(self.seed is None or 0 <= self.seed <= LARGEST_SEED, "seed must be a whole number from 0 on")
        _require(all(self.stop), "a stop string must not be empty")
        _require(len(self.stop) <= 64, "there may be at most 64 stop strings")
        _require(not (self.regex and self.grammar), "give a regular expression or a grammar, not both")
        _require(not (self.begins and (self.regex or self.grammar)), "give a beginning or a grammar, not both")
        _require(self.logprobs is None or 0 <= self.logprobs <= 20, "logprobs must lie between 0 and 20")


def random_source(sampling: Sampling) -> Generator:
    """A source of randomness of its own for each request."""
    source = Generator()
    if sampling.seed is None:
        source.seed()
    else:
        source.manual_seed(sampling.seed)
    return source


def choose(logits: Tensor, sampling: Sampling, before: Sequence[int], source: Generator) -> int:
    """The next token for one row of logits (vocabulary,), forbidden tokens at minus infinity."""
    if sampling.repetition_penalty != 1.0 and before:
        logits = penalised(logits, before, sampling.repetition_penalty)
    if sampling.temperature == 0:
        return int(logits.argmax())
    kept = nucleus(top(logits / sampling.temperature, sampling.top_k), sampling.top_p)
    return int(torch.multinomial(kept.softmax(-1).cpu(), 1, generator=source))


def penalised(logits: Tensor, before: Sequence[int], penalty: float) -> Tensor:
    """Tokens seen before made less likely, as in CTRL (arXiv 1909.05858)."""
    seen = torch.tensor(sorted(set(before)), device=logits.device)
    values = logits[seen]
    result = logits.clone()
    result[seen] = torch.where(values > 0, values / penalty, values * penalty)
    return result


def top(logits: Tensor, count: int) -> Tensor:
    """All but the `count` largest at minus infinity; 0 keeps all."""
    if not 0 < count < logits.shape[-1]:
        return logits
    values, places = logits.topk(count)
    return torch.full_like(logits, float("-inf")).scatter_(-1, places, values)


def nucleus(logits: Tensor, share: float) -> Tensor:
    """The smallest set of tokens whose probabilities sum to `share`, the rest at minus infinity."""
    if share >= 1:
        return logits
    ordered, places = logits.sort(descending=True)
    before = ordered.softmax(-1).cumsum(-1) - ordered.softmax(-1)
    return torch.full_like(logits, float("-inf")).scatter_(
        -1, places, ordered.masked_fill(before >= share, float("-inf"))
    )


def _require(holds: bool, sentence: str) -> None:
    if not holds:
        raise UsageError(f"{sentence[0].upper()}{sentence[1:]}.")
