"""A generator that lives in another process: any server with OpenAI's `/v1/completions`.

Streams, so that leaving the iteration closes the connection and withdraws the work there.
Knows nothing of tokens or weights.
"""

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from codekin.errors import CodekinError, ModelError, UsageError, WireError
from codekin.models.generation import Generated, Step
from codekin.wire import WAITING, WithdrawableClient, endpoint

if TYPE_CHECKING:
    from codekin.models.generators import Ask


ASKED_AGAIN = 60.0
"""Seconds for which a server that failed is left alone."""


AWAY = frozenset({0, 401, 403, 502, 503, 504})
"""Statuses of a server that cannot be asked now: none at all, a wrong key, one that is busy or behind another."""


class RemoteGenerator:
    """Answers asks over an http(s) URL or a Unix socket's path."""

    def __init__(self, address: str, model: str, api_key: str = "", timeout: float = 60.0) -> None:
        place = address.rstrip("/")
        self._client = WithdrawableClient(endpoint(place.removesuffix("/v1"), api_key, timeout))
        self._model = model
        self._timeout = timeout
        self._failed = 0.0
        self.problem = ""

    def is_up(self) -> bool:
        """Whether it is worth asking: it answered the last time, or that is a while ago."""
        return not self.problem or time.monotonic() - self._failed > ASKED_AGAIN

    def steps(self, ask: "Ask") -> Iterator[Step | Generated]:
        """Steps as the server sends them, the Generated last; `problem` then tells how it went.

        Raises WireError, UsageError, ModelError.
        """
        body = self._body(ask)
        try:
            yield from self._answer(body)
        except (WireError, ModelError) as error:
            self._fail(error)
            raise
        self.problem = ""

    def _answer(self, body: dict[str, Any]) -> Iterator[Step | Generated]:
        parts: list[str] = []
        finish = "length"
        for event in self._client.lines("/v1/completions", body, self._timeout):
            if event is WAITING:
                yield Step()
                continue
            text, end = _piece(event)
            parts.append(text)
            finish = end or finish
            yield Step(text, finish=end)
        yield Generated("".join(parts), (), finish, 0)

    def check(self) -> None:
        """See whether the server answers; `problem` says why not. Not every server can list its models."""
        try:
            self._client.get("/v1/models")
        except WireError as error:
            if error.status in AWAY:
                self._fail(error)
                return
        self.problem = ""

    def _fail(self, error: CodekinError) -> None:
        self.problem, self._failed = str(error), time.monotonic()

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def _body(self, ask: "Ask") -> dict[str, Any]:
        sampling = ask.sampling
        if sampling.regex or sampling.grammar or ask.chat:
            raise UsageError("A remote model takes no regular expression, grammar or chat; use a local one.")
        body = {
            "model": self._model,
            "prompt": ask.prompt,
            "suffix": ask.suffix,
            "max_tokens": sampling.max_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "seed": sampling.seed,
            "stop": list(sampling.stop) or None,
            "stream": True,
        }
        return {key: value for key, value in body.items() if value is not None}


def _piece(event: Any) -> tuple[str, str]:
    """The text and the reason to finish of an event; an error in the stream is raised."""
    if isinstance(event, dict) and (error := event.get("error")):
        raise ModelError(str(error.get("message") if isinstance(error, dict) else error))
    try:
        choices = event["choices"]
        if not choices:
            return "", ""
        return str(choices[0].get("text") or ""), str(choices[0].get("finish_reason") or "")
    except (TypeError, KeyError, AttributeError) as error:
        raise ModelError("The server's completions are not in OpenAI's format; check its URL.") from error
