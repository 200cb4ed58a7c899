"""OpenAI's chat completions over the chat template of a local model: messages in, an assistant's message out."""

import time
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from codekin.daemon.routes.openai_completions import (
    SAMPLING_KEYS,
    TextChoices,
    read_sampling,
    refuse_unknown,
    token_usage,
)
from codekin.daemon.routes.request import RequestParams
from codekin.errors import UsageError
from codekin.protocols import ChatMessage, GeneratedText, GenerationRequest, TokenChoice

DEFAULT_TOKENS = 256
"""The longest answer where a request names no length: OpenAI's is the whole context, minutes on a processor."""

MAX_MESSAGES = 1000
MAX_ANSWERS = 16
_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
_CHAT_KEYS = SAMPLING_KEYS | {"messages", "max_completion_tokens", "top_logprobs"}
_LEAVE_AS_IT_IS = {
    "response_format": ({"type": "text"},),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "parallel_tool_calls": (True, False),
    "modalities": (["text"],),
}
"""Parameters that are not offered, with the values that ask for nothing."""


def read_chat(params: RequestParams, model: str) -> tuple[GenerationRequest, TextChoices]:
    """The request of a conversation, and how many answers it wants. Raises UsageError that names a wrong key."""
    for key, harmless in _LEAVE_AS_IT_IS.items():
        if (value := params.values.get(key)) is not None and value not in harmless:
            raise UsageError(f"`{key}` is not offered; leave it out.")
    refuse_unknown(params, _CHAT_KEYS.union(_LEAVE_AS_IT_IS))
    messages = _read_messages(params.values.get("messages"))
    wanted = params.flag("logprobs")
    values = dict(params.values) | {"logprobs": params.number("top_logprobs", 0, 0, 20) if wanted else None}
    values["max_tokens"] = _read_length(params)
    count = params.number("n", 1, 1, MAX_ANSWERS)
    request = GenerationRequest(
        prompt="", messages=messages, model=model, sampling=read_sampling(RequestParams(values))
    )
    return request, TextChoices(count, count, shows_logprobs=wanted)


class ChatResponse:
    """Writes the whole answer of a conversation, or its chunks."""

    def __init__(self, model: str, choices: TextChoices) -> None:
        self._choices = choices
        self._frame = {"id": f"chatcmpl-{uuid4().hex}", "created": int(time.time()), "model": model}

    def whole(self, found: Sequence[GeneratedText]) -> dict[str, Any]:
        """All answers, with what they cost in tokens."""
        rows = [
            {
                "index": at,
                "message": {"role": "assistant", "content": each.text, "refusal": None},
                "finish_reason": each.finish,
                "logprobs": self._logprobs(each.choices),
            }
            for at, each in enumerate(found)
        ]
        usage = token_usage(found, self._choices.drawn)
        return {**self._frame, "object": "chat.completion", "choices": rows, "usage": usage}

    def first(self, index: int) -> list[dict[str, Any]]:
        """The chunk that opens an answer."""
        return [self._chunk(index, {"role": "assistant", "content": ""}, None, ())]

    def chunk(self, index: int, text: str, finish: str, choices: Sequence[TokenChoice]) -> dict[str, Any]:
        """A part of a streamed answer; `finish` is empty until its end."""
        return self._chunk(index, {"content": text} if text else {}, finish or None, choices)

    def total(self, found: Sequence[GeneratedText]) -> dict[str, Any]:
        """The last chunk, for a client that requested the usage."""
        usage = token_usage(found, self._choices.drawn)
        return {**self._frame, "object": "chat.completion.chunk", "choices": [], "usage": usage}

    def _chunk(
        self, index: int, delta: dict[str, str], finish: str | None, choices: Sequence[TokenChoice]
    ) -> dict[str, Any]:
        row = {"index": index, "delta": delta, "finish_reason": finish, "logprobs": self._logprobs(choices)}
        return {**self._frame, "object": "chat.completion.chunk", "choices": [row]}

    def _logprobs(self, choices: Sequence[TokenChoice]) -> dict[str, Any] | None:
        if not self._choices.shows_logprobs:
            return None
        return {"content": [_token_row(choice.text, choice.logprob, choice.rivals) for choice in choices]}


def _token_row(text: str, logprob: float, rivals: Sequence[tuple[str, float]]) -> dict[str, Any]:
    row = {"token": text, "logprob": logprob, "bytes": list(text.encode())}
    return {**row, "top_logprobs": [{"token": each, "logprob": value} for each, value in rivals]}


def _read_length(params: RequestParams) -> int:
    key = "max_completion_tokens" if params.values.get("max_completion_tokens") is not None else "max_tokens"
    return params.number(key, DEFAULT_TOKENS, 1, 1 << 20)


def _read_messages(value: Any) -> tuple[ChatMessage, ...]:
    if not isinstance(value, list) or not 0 < len(value) <= MAX_MESSAGES:
        raise UsageError(f"`messages` must be a list of 1 to {MAX_MESSAGES} messages.")
    messages = tuple(_read_message(row) for row in value)
    if messages[-1].role != "user":
        raise UsageError("`messages` must end with what the user says.")
    return messages


def _read_message(row: Any) -> ChatMessage:
    if not isinstance(row, dict) or not isinstance(row.get("role"), str) or row["role"] not in _ROLES:
        raise UsageError(f"`messages` must hold objects with a role: {', '.join(_ROLES)}.")
    if row.get("tool_calls"):
        raise UsageError("`messages` must hold no calls of tools, which are not offered.")
    content = row.get("content")
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
    if not isinstance(parts, list) or not all(isinstance(part, dict) and part.get("type") == "text" for part in parts):
        raise UsageError("`messages` must hold texts; nothing else is read.")
    texts = RequestParams({"content": [part.get("text") for part in parts]}).texts("content")
    return ChatMessage(_ROLES[row["role"]], "\n".join(texts))
