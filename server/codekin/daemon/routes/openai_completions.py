"""Converts between OpenAI's completions API and the generation service's dataclasses.

Whatever would change the answer is done, or refused by name: nothing is ignored in silence.
"""

import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

from codekin.daemon.routes.request import RequestParams, error_body
from codekin.errors import ModelNotFoundError, UsageError
from codekin.protocols import GeneratedText, GenerationRequest, Sampling, TokenChoice

MAX_PROMPTS, MAX_TEXTS = 64, 128
"""Prompts of a request, and the texts that it may bring in all."""

MAX_BEST_OF = 20

WITHOUT_EFFECT = frozenset(
    {"user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key", "prompt_cache_retention"}
)
"""Parameters of OpenAI's API that are about its accounts and caches."""

SAMPLING_KEYS = frozenset(
    {"model", "temperature", "top_p", "top_k", "repetition_penalty", "presence_penalty", "frequency_penalty"}
    | {"logit_bias", "seed", "stop", "regex", "grammar", "logprobs", "max_tokens", "n", "stream", "stream_options"}
)
_COMPLETION_KEYS = SAMPLING_KEYS | {"prompt", "suffix", "echo", "best_of", "chat"}
_NAMED_KEY = re.compile(r"`(\w+)`")


@dataclass(frozen=True, slots=True)
class TextChoices:
    """How many texts a prompt brings: the `count` best of `drawn`; `echo` puts the prompt in front of each."""

    count: int = 1
    drawn: int = 1
    echo: bool = False
    shows_logprobs: bool = False

    def requests(self, request: GenerationRequest) -> list[GenerationRequest]:
        """A request for each text, with a seed of its own where one was given; log-probabilities where it ranks."""
        sampling = request.sampling
        if self.drawn > self.count and sampling.logprobs is None:
            sampling = replace(sampling, logprobs=0)
        seeds = [None if sampling.seed is None else (sampling.seed + at) % 2**63 for at in range(self.drawn)]
        return [replace(request, sampling=replace(sampling, seed=seed)) for seed in seeds]

    def best(self, found: Sequence[GeneratedText]) -> list[GeneratedText]:
        """Of each prompt's texts those with the highest log-probability for each token, best first."""
        groups = [found[start : start + self.drawn] for start in range(0, len(found), self.drawn)]
        ranked = [
            sorted(group, key=_mean_logprob, reverse=True) if self.drawn > self.count else group for group in groups
        ]
        return [text for group in ranked for text in group[: self.count]]


def refuse_unknown(params: RequestParams, known: Iterable[str]) -> None:
    """Raises UsageError for a parameter that would be ignored."""
    offered = WITHOUT_EFFECT.union(known)
    for key, value in params.values.items():
        if key not in offered and value is not None:
            raise UsageError(f"`{key[:100]}` is not offered; leave it out.")


def read_prompts(params: RequestParams, model: str) -> tuple[list[GenerationRequest], TextChoices]:
    """A GenerationRequest for each prompt, and how many texts each brings. Raises UsageError that names a wrong key."""
    refuse_unknown(params, _COMPLETION_KEYS)
    prompts = _prompt_values(params.values.get("prompt"))
    choices = _read_choices(params, len(prompts))
    sampling, suffix, chat = read_sampling(params), params.optional_text("suffix"), params.flag("chat")
    if any(not isinstance(prompt, str) for prompt in prompts) and (suffix or choices.echo):
        raise UsageError("`prompt` must be a text where a suffix or echo is wanted.")
    return [
        GenerationRequest(
            prompt=prompt if isinstance(prompt, str) else "",
            prompt_ids=() if isinstance(prompt, str) else prompt,
            model=model,
            suffix=suffix or None,
            chat=chat,
            sampling=sampling,
        )
        for prompt in prompts
    ], choices


def read_sampling(params: RequestParams) -> Sampling:
    """OpenAI's keys, and `top_k`, `repetition_penalty`, `regex`, `grammar` beside them."""
    stop = params.values.get("stop") or ()
    return Sampling(
        max_tokens=params.number("max_tokens", 16, 1, 1 << 20),
        temperature=_read_number(params, "temperature", 1.0),
        top_p=_read_number(params, "top_p", 1.0),
        top_k=params.number("top_k", 0),
        repetition_penalty=_read_number(params, "repetition_penalty", 1.0),
        presence_penalty=_read_number(params, "presence_penalty", 0.0),
        frequency_penalty=_read_number(params, "frequency_penalty", 0.0),
        logit_bias=_read_biases(params),
        seed=None if params.values.get("seed") is None else params.number("seed", None, 0, 2**63 - 1),
        stop=(stop,) if isinstance(stop, str) else params.texts("stop"),
        regex=params.optional_text("regex"),
        grammar=params.optional_text("grammar"),
        logprobs=None if params.values.get("logprobs") is None else params.number("logprobs", None, 0, 20),
    )


def wants_usage(params: RequestParams) -> bool:
    """Whether a stream ends with the usage."""
    return RequestParams(params.table("stream_options") or {}).flag("include_usage")


class CompletionResponse:
    """Writes the whole answer of a request, or its chunks."""

    def __init__(self, model: str, choices: TextChoices, prompts: Sequence[str]) -> None:
        self._choices = choices
        self._prompts = prompts
        self._frame = {
            "id": f"cmpl-{uuid4().hex}",
            "object": "text_completion",
            "created": int(time.time()),
            "model": model,
        }

    def whole(self, found: Sequence[GeneratedText]) -> dict[str, Any]:
        """All texts, with what they cost in tokens."""
        shown = self._choices.best(found)
        rows = [
            self._choice(at, self.echoed_prompt(at) + each.text, each.finish, each.choices)
            for at, each in enumerate(shown)
        ]
        return {**self._frame, "choices": rows, "usage": token_usage(found, self._choices.drawn)}

    def echoed_prompt(self, index: int) -> str:
        """What stands in front of the text of a choice: the prompt, where it is to be repeated."""
        return self._prompts[index // self._choices.count] if self._choices.echo else ""

    def first(self, index: int) -> list[dict[str, Any]]:
        """The chunks that open the text of a choice."""
        return [self.chunk(index, text, "", ())] if (text := self.echoed_prompt(index)) else []

    def chunk(self, index: int, text: str, finish: str, choices: Sequence[TokenChoice]) -> dict[str, Any]:
        """A part of a streamed text; `finish` is empty until its end."""
        return {**self._frame, "choices": [self._choice(index, text, finish or None, choices)]}

    def total(self, found: Sequence[GeneratedText]) -> dict[str, Any]:
        """The last chunk, for a client that requested the usage."""
        return {**self._frame, "choices": [], "usage": token_usage(found, self._choices.drawn)}

    def _choice(self, index: int, text: str, finish: str | None, choices: Sequence[TokenChoice]) -> dict[str, Any]:
        logprobs = _logprobs_to_json(choices) if self._choices.shows_logprobs else None
        return {"index": index, "text": text, "finish_reason": finish, "logprobs": logprobs}


def token_usage(found: Sequence[GeneratedText], drawn: int = 1) -> dict[str, Any]:
    """Tokens of the prompts (each once) and of all texts, and how many of the prompts' came from a cache."""
    firsts = found[::drawn]
    prompts, texts = sum(each.prompt_tokens for each in firsts), sum(len(each.tokens) for each in found)
    return {
        "prompt_tokens": prompts,
        "completion_tokens": texts,
        "total_tokens": prompts + texts,
        "prompt_tokens_details": {"cached_tokens": sum(each.reused for each in firsts)},
    }


def openai_error_body(error: Exception) -> dict[str, Any]:
    """The shape of OpenAI's errors; `kind` is the class of ours, which our own clients raise again."""
    body = error_body(error)["error"]
    named = _NAMED_KEY.match(body["message"])
    code = "model_not_found" if isinstance(error, ModelNotFoundError) else None
    param = "model" if code else named[1] if named else None
    is_request = isinstance(error, UsageError | ModelNotFoundError)
    kind = "invalid_request_error" if is_request else "server_error"
    return {"error": {**body, "type": kind, "param": param, "code": code, "kind": body["type"]}}


def read_ids(value: Any) -> tuple[int, ...] | None:
    """Token ids, None where the value is none."""
    if not isinstance(value, list) or not value:
        return None
    is_id = [isinstance(number, int) and not isinstance(number, bool) and number >= 0 for number in value]
    return tuple(value) if all(is_id) else None


def _prompt_values(value: Any) -> list[str | tuple[int, ...]]:
    """The prompts of a request: a text, ids, or a list of either."""
    value = "" if value is None else value
    rows = [value] if isinstance(value, str) or read_ids(value) else value
    if not isinstance(rows, list) or not 0 < len(rows) <= MAX_PROMPTS:
        raise UsageError(f"`prompt` must be a text or a list of 1 to {MAX_PROMPTS} texts, or their token ids.")
    texts = RequestParams({"prompt": [row for row in rows if isinstance(row, str)]}).texts("prompt")
    well_formed = iter(texts)
    found = [next(well_formed) if isinstance(row, str) else read_ids(row) for row in rows]
    if any(row is None for row in found):
        raise UsageError("`prompt` must hold texts or lists of token ids.")
    return [row for row in found if row is not None]


def _read_choices(params: RequestParams, prompts: int) -> TextChoices:
    count = params.number("n", 1, 1, MAX_TEXTS)
    drawn = params.number("best_of", count, 1, MAX_BEST_OF) if params.values.get("best_of") is not None else count
    if drawn < count:
        raise UsageError("`best_of` must be at least as many as `n`.")
    if drawn * prompts > MAX_TEXTS:
        raise UsageError(
            f"`n` makes {drawn * prompts} texts of this request; at most {MAX_TEXTS} are written at a time."
        )
    if drawn > count and params.flag("stream"):
        raise UsageError("`best_of` needs whole texts; leave it out of a stream.")
    echo, shows_logprobs = params.flag("echo"), params.values.get("logprobs") is not None
    if echo and shows_logprobs:
        raise UsageError("`echo` is not offered beside logprobs; leave one of them out.")
    return TextChoices(count, drawn, echo, shows_logprobs)


def _read_biases(params: RequestParams) -> tuple[tuple[int, float], ...]:
    table = params.table("logit_bias") or {}
    try:
        pairs = [(int(token), _read_number(RequestParams(table), token, 0.0)) for token in table]
    except ValueError as error:
        raise UsageError("`logit_bias` must map token ids to numbers.") from error
    return tuple(pairs)


def _mean_logprob(text: GeneratedText) -> float:
    return sum(choice.logprob for choice in text.choices) / max(1, len(text.choices))


def _logprobs_to_json(choices: Sequence[TokenChoice]) -> Mapping[str, Any] | None:
    if not choices:
        return None
    offsets, place = [], 0
    for choice in choices:
        offsets.append(place)
        place += len(choice.text)
    return {
        "tokens": [choice.text for choice in choices],
        "token_logprobs": [choice.logprob for choice in choices],
        "top_logprobs": [dict(choice.rivals) for choice in choices],
        "text_offset": offsets,
    }


def _read_number(params: RequestParams, key: str, default: float) -> float:
    value = params.values.get(key)
    value = default if value is None else value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UsageError(f"`{key[:100]}` must be a number.")
    return float(value)
