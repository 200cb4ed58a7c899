"""Reads a request of OpenAI's completions API and writes its answers.

Pure translation between JSON and the generation service's dataclasses; imported with torch.
"""

import time
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from codekin.daemon.asked import Asked
from codekin.errors import UsageError
from codekin.models.generation import Choice, Generated
from codekin.models.generators import Ask
from codekin.models.sampling import Sampling

REFUSED = {"echo": (None, False), "n": (None, 1), "best_of": (None, 1)}
"""Parts of the API that are not offered, with the values that ask for nothing."""


def read_ask(asked: Asked, model: str) -> list[Ask]:
    """An Ask for each prompt of the request. Raises UsageError that names a wrong key."""
    for key, harmless in REFUSED.items():
        if asked.values.get(key) not in harmless:
            raise UsageError(f"`{key}` is not offered; leave it out.")
    prompt = asked.values.get("prompt", "")
    prompts = [prompt] if isinstance(prompt, str) else list(asked.texts("prompt"))
    if not prompts or len(prompts) > 64:
        raise UsageError("`prompt` must be a text or a list of 1 to 64 texts.")
    sampling, suffix = read_sampling(asked), asked.optional_text("suffix")
    chat = asked.flag("chat")
    return [Ask(prompt=text, model=model, suffix=suffix or None, chat=chat, sampling=sampling) for text in prompts]


def read_sampling(asked: Asked) -> Sampling:
    """OpenAI's keys, and `top_k`, `repetition_penalty`, `regex`, `grammar` beside them."""
    stop = asked.values.get("stop") or ()
    return Sampling(
        max_tokens=asked.number("max_tokens", 16, 1, 1 << 20),
        temperature=_decimal(asked, "temperature", 1.0),
        top_p=_decimal(asked, "top_p", 1.0),
        top_k=asked.number("top_k", 0),
        repetition_penalty=_decimal(asked, "repetition_penalty", 1.0),
        seed=None if asked.values.get("seed") is None else asked.number("seed", None, 0, 2**63 - 1),
        stop=(stop,) if isinstance(stop, str) else asked.texts("stop"),
        regex=asked.optional_text("regex"),
        grammar=asked.optional_text("grammar"),
        logprobs=None if asked.values.get("logprobs") is None else asked.number("logprobs", None, 0, 20),
    )


class Answer:
    """Writes the whole answer of a request, or its chunks."""

    def __init__(self, model: str) -> None:
        self._frame = {
            "id": f"cmpl-{uuid4().hex}",
            "object": "text_completion",
            "created": int(time.time()),
            "model": model,
        }

    def whole(self, found: Sequence[Generated]) -> dict[str, Any]:
        """All texts, with what they cost in tokens."""
        choices = [self._choice(at, each.text, each.finish, _logprobs(each.choices)) for at, each in enumerate(found)]
        return {**self._frame, "choices": choices, "usage": usage(found)}

    def chunk(self, index: int, text: str, finish: str, choices: Sequence[Choice]) -> dict[str, Any]:
        """A piece of a streamed text; `finish` is empty until its end."""
        return {**self._frame, "choices": [self._choice(index, text, finish or None, _logprobs(choices))]}

    def total(self, found: Sequence[Generated]) -> dict[str, Any]:
        """The last chunk, for a client that asked for the usage."""
        return {**self._frame, "choices": [], "usage": usage(found)}

    @staticmethod
    def _choice(index: int, text: str, finish: str | None, logprobs: Any) -> dict[str, Any]:
        return {"index": index, "text": text, "finish_reason": finish, "logprobs": logprobs}


def usage(found: Sequence[Generated]) -> dict[str, Any]:
    """Tokens of the prompts and texts, and how many of the prompts' came from a cache."""
    prompts, texts = sum(each.prompt_tokens for each in found), sum(len(each.tokens) for each in found)
    return {
        "prompt_tokens": prompts,
        "completion_tokens": texts,
        "total_tokens": prompts + texts,
        "prompt_tokens_details": {"cached_tokens": sum(each.reused for each in found)},
    }


def _logprobs(choices: Sequence[Choice]) -> dict[str, Any] | None:
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


def _decimal(asked: Asked, key: str, default: float) -> float:
    value = asked.values.get(key)
    value = default if value is None else value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UsageError(f"`{key}` must be a number.")
    return float(value)
