"""The generation service: local generators and a remote OpenAI-compatible server, shared by many callers.

Models load at their first request and are released when idle; a request is cancelled within a token.
"""

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import Any, TypeVar, cast

from codekin.errors import Cancelled, CodekinError, HttpError, ModelError, UsageError
from codekin.http import parse_endpoint
from codekin.http.cancellation import PENDING, CancellableClient
from codekin.http.client import AnswerLimits
from codekin.models.generation.prompts import TokenGenerator
from codekin.models.planner import ModelCache
from codekin.models.queues import PriorityQueues
from codekin.models.vocabulary import strip_surrogates
from codekin.protocols import REMOTE_MODEL, GeneratedText, GenerationRequest, GenerationStep, TokenChoice

SERVER_RETRY_SECONDS = 60.0
"""Seconds for which a server that failed is left alone."""


UNAVAILABLE_STATUSES = frozenset({0, 401, 403, 502, 503, 504})
"""Statuses of a server that cannot answer now: none at all, a wrong key, one that is busy or behind another."""

REFUSED_STATUSES = frozenset({400, 422})
"""Statuses of a server that does not know a parameter."""

MAX_TOKEN_CHARACTERS = 64
"""No token of a common vocabulary is longer, but for runs of spaces."""

MAX_ANSWER_BYTES = 16 << 20
MAX_CALL_TIMEOUTS = 4
"""A whole answer may take so many times what the server may be silent for."""

_WRONG_FORMAT = "The server's completions are not in OpenAI's format; check its URL."


class RemoteGenerator:
    """Serves requests over an http(s) URL or a Unix socket's path."""

    def __init__(self, address: str, model: str, api_key: str = "", timeout: float = 60.0) -> None:
        base_url = address.rstrip("/")
        endpoint = parse_endpoint(base_url.removesuffix("/v1"), api_key, timeout)
        limits = AnswerLimits(MAX_ANSWER_BYTES, MAX_CALL_TIMEOUTS * timeout) if "://" in base_url else None
        self._client = CancellableClient(replace(endpoint, limits=limits))
        self._model = model
        self._timeout = timeout
        self._failed_at = 0.0
        self._takes_logprobs = True
        self.name = model or endpoint.name
        self.problem = ""

    def is_up(self) -> bool:
        """Whether it is worth asking: it answered the last time, or that is a while ago."""
        return not self.problem or time.monotonic() - self._failed_at > SERVER_RETRY_SECONDS

    def generate_steps(self, request: GenerationRequest) -> Iterator[GenerationStep | GeneratedText]:
        """Steps as the server sends them, the Generated last; `problem` then holds the outcome.

        Raises HttpError, UsageError, ModelError.
        """
        body, limit = self._body(request), request.sampling.max_tokens * MAX_TOKEN_CHARACTERS
        try:
            try:
                yield from self._stream(body, limit)
            except HttpError as error:
                if error.status not in REFUSED_STATUSES or "logprobs" not in body:
                    raise
                self._takes_logprobs = False
                yield from self._stream({key: body[key] for key in body if key != "logprobs"}, limit)
        except (HttpError, ModelError) as error:
            self._record_failure(error)
            raise
        self.problem = ""

    def _stream(self, body: dict[str, Any], limit: int) -> Iterator[GenerationStep | GeneratedText]:
        """The steps of one answer; a text longer than so many tokens can be is cut, and the server left."""
        text, finish, choices = "", "length", list[TokenChoice]()
        for event in self._client.lines("/v1/completions", body, self._timeout):
            if event is PENDING:
                yield GenerationStep()
                continue
            part, end, scored = _parse_event(event)
            choices += scored
            part = part[: limit - len(text)]
            text += part
            finish = end or finish
            yield GenerationStep(part, choices=scored, finish=end)
            if len(text) >= limit:
                finish = "length"
                break
        yield GeneratedText(text, (), finish, 0, choices=tuple(choices))

    def check(self) -> None:
        """See whether the server answers; `problem` says why not. Not every server can list its models."""
        try:
            self._client.get("/v1/models")
        except HttpError as error:
            if error.status in UNAVAILABLE_STATUSES:
                self._record_failure(error)
                return
        self.problem = ""

    def _record_failure(self, error: CodekinError) -> None:
        self.problem, self._failed_at = str(error), time.monotonic()

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def _body(self, request: GenerationRequest) -> dict[str, Any]:
        sampling = request.sampling
        if sampling.regex or sampling.grammar or request.chat or request.messages:
            raise UsageError("A remote model takes no regular expression, grammar or chat; use a local one.")
        body = {
            "model": self._model,
            "prompt": list(request.prompt_ids) or request.prompt,
            "suffix": request.suffix,
            "max_tokens": sampling.max_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "presence_penalty": sampling.presence_penalty or None,
            "frequency_penalty": sampling.frequency_penalty or None,
            "logit_bias": {str(token): bias for token, bias in sampling.logit_bias} or None,
            "seed": sampling.seed,
            "stop": list(sampling.stop) or None,
            "logprobs": sampling.logprobs if self._takes_logprobs else None,
            "stream": True,
        }
        return {key: value for key, value in body.items() if value is not None}


def _parse_event(event: Any) -> tuple[str, str, tuple[TokenChoice, ...]]:
    """The text, the reason to finish and the scored tokens of an event; an error in the stream is raised."""
    if not isinstance(event, dict):
        raise ModelError(_WRONG_FORMAT)
    if error := event.get("error"):
        raise ModelError(str(error.get("message") if isinstance(error, dict) else error)[:500])
    choices = event.get("choices")
    if choices == []:
        return "", "", ()
    choice = choices[0] if isinstance(choices, list) else None
    if not isinstance(choice, dict):
        raise ModelError(_WRONG_FORMAT)
    text, end = choice.get("text") or "", choice.get("finish_reason") or ""
    if not isinstance(text, str) or not isinstance(end, str):
        raise ModelError(_WRONG_FORMAT)
    return strip_surrogates(text), end, _parse_log_probabilities(choice.get("logprobs"))


def _parse_log_probabilities(found: Any) -> tuple[TokenChoice, ...]:
    """Tokens in the format of completions or in that of chats; none where they are in neither."""
    try:
        if isinstance(found.get("content"), list):
            pairs = [(row["token"], row["logprob"]) for row in found["content"]]
        else:
            pairs = list(zip(found["tokens"], found["token_logprobs"], strict=True))
        return tuple(TokenChoice(-1, str(text), min(0.0, float(logprob))) for text, logprob in pairs)
    except (AttributeError, KeyError, TypeError, ValueError):
        return ()


WorkResult = TypeVar("WorkResult")

LOAD_RETRY_SECONDS = 30.0
"""Seconds for which a generator that could not be loaded is not tried again."""


class GenerationService:
    """Generates in a worker thread; `load` builds a generator by key, `size` gives its bytes.

    Requests for the model `remote` go to the `remote` generator. Other services may share `model_cache`.
    """

    def __init__(
        self,
        load: Callable[[str], TokenGenerator],
        size: Callable[[str], int] = lambda _: 0,
        model_cache: ModelCache | None = None,
        remote: RemoteGenerator | None = None,
        fallback: Callable[[], str] = lambda: "",
    ) -> None:
        """`fallback` names a local generator that answers where the remote one fails; empty for none."""
        self._load = load
        self._remote = remote
        self._fallback = fallback
        self._failures: dict[str, tuple[float, CodekinError]] = {}
        self._size = size
        self._model_cache = model_cache or ModelCache()
        self._generators: dict[str, TokenGenerator] = {}
        self._queues = PriorityQueues(self._model_cache.threads)

    def submit(
        self,
        request: GenerationRequest,
        cancelled: threading.Event | None = None,
        on_step: Callable[[GenerationStep | GeneratedText], None] | None = None,
    ) -> Future[GeneratedText]:
        """Generate soon; Cancelled is raised within a token after `cancelled` is set.

        `on_step` is called in the worker thread with each step that brings something.
        """
        future = self._queues.submit(lambda: self._reported_steps(request, on_step), "query", cancelled)
        return cast("Future[GeneratedText]", future)  # the last step is the result

    def run(
        self,
        model: str,
        work: Callable[[TokenGenerator], Iterator[WorkResult]],
        cancelled: threading.Event | None = None,
    ) -> Future[WorkResult]:
        """The last value that some work with a generator yields, done in turn with all other requests."""

        def steps() -> Iterator[WorkResult]:
            yield from work(self._generator(model))

        return self._queues.submit(steps, "query", cancelled)

    def generate(self, request: GenerationRequest) -> GeneratedText:
        """The whole text; blocks until it is there."""
        return self.submit(request).result()

    def submit_batch(
        self, requests: Sequence[GenerationRequest], cancelled: threading.Event | None = None
    ) -> Future[list[GeneratedText]]:
        """The texts soon, in the order of the requests, those of one model written together.

        Cancelled is raised within a token after `cancelled` is set.
        """
        future = self._queues.submit(lambda: self._batch_steps(requests), "query", cancelled)
        return cast("Future[list[GeneratedText]]", future)  # the last step is the result

    def stream(
        self, request: GenerationRequest, cancelled: threading.Event | None = None
    ) -> Iterator[GenerationStep | GeneratedText]:
        """Steps as they come, the Generated last; leaving the iteration cancels the work."""
        cancellation = cancelled or threading.Event()
        steps: queue.SimpleQueue[GenerationStep | GeneratedText | None] = queue.SimpleQueue()
        future = self.submit(request, cancellation, steps.put)
        future.add_done_callback(lambda _: steps.put(None))
        try:
            while (step := steps.get()) is not None:
                yield step
            error = future.exception()
            if error is not None and not isinstance(error, Cancelled):
                raise error
        finally:
            cancellation.set()

    def loaded(self) -> dict[str, int]:
        """Keys and bytes of the generators in memory, the one used least recently first."""
        return {key: size for key, size in self._model_cache.sizes().items() if key in self._generators}

    def close(self) -> None:
        """End the worker threads."""
        self._queues.close()
        if self._remote is not None:
            self._remote.close()

    def _reported_steps(
        self, request: GenerationRequest, on_step: Callable[[GenerationStep | GeneratedText], None] | None
    ) -> Iterator[GenerationStep | GeneratedText]:
        for step in self._steps(request):
            if on_step is not None and step != GenerationStep():
                on_step(step)
            yield step

    def _batch_steps(self, requests: Sequence[GenerationRequest]) -> Iterator[GenerationStep | list[GeneratedText]]:
        found: dict[int, GeneratedText] = {}
        for model in dict.fromkeys(request.model for request in requests):
            numbers = [number for number, request in enumerate(requests) if request.model == model]
            for texts in self._batch_of_model(model, [requests[number] for number in numbers]):
                yield GenerationStep()
                found |= dict(zip(numbers, texts, strict=False))
        yield [found[number] for number in range(len(requests))]

    def _batch_of_model(self, model: str, requests: Sequence[GenerationRequest]) -> Iterator[list[GeneratedText]]:
        """The texts of one model, last; nothing before."""
        if model == REMOTE_MODEL and self._remote is not None:
            steps = [step for request in requests for step in self._steps(request)]
            yield [step for step in steps if isinstance(step, GeneratedText)]
            return
        for each in self._generator(model).generate_batch(requests):
            yield each if isinstance(each, list) else []

    def _steps(self, request: GenerationRequest) -> Iterator[GenerationStep | GeneratedText]:
        if request.model == REMOTE_MODEL and self._remote is not None:
            silent = True
            try:
                for step in self._remote.generate_steps(request):
                    silent = silent and step == GenerationStep()
                    yield step
            except (HttpError, ModelError) as error:
                model = self._fallback()
                if not model or not silent:
                    raise ModelError(str(error)) from error
                request = replace(request, model=model)
            else:
                return
        generator = self._generator(request.model)
        yield GenerationStep()
        yield from generator.generate_steps(request)

    def _generator(self, model: str) -> TokenGenerator:
        """The generator, loaded if need be once there is room; what runs on one that is unloaded runs on."""
        found = self._generators.get(model)
        if found is None:
            failed, error = self._failures.get(model, (0.0, None))
            if error and time.monotonic() - failed < LOAD_RETRY_SECONDS:
                raise error
            self._model_cache.reserve(model, self._size(model), lambda: self._unload(model))
            try:
                found = self._load(model)
            except BaseException as error:
                self._model_cache.discard(model)
                if isinstance(error, CodekinError):
                    self._failures[model] = time.monotonic(), error
                raise
            self._failures.pop(model, None)
            if model in self._model_cache.sizes():  # else its room was taken while it was loaded: it serves this once
                self._generators[model] = found
        self._model_cache.mark_used(model)
        return found

    def _unload(self, model: str) -> None:
        self._generators.pop(model, None)
