"""The generation service: texts for many callers, one at a time, each withdrawn within a token.

Models are loaded when first asked for and released when idle. Knows nothing of HTTP.
"""

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import TypeVar, cast

from codekin.errors import Cancelled, CodekinError, ModelError, WireError
from codekin.models.drafting import Draft
from codekin.models.generation import Generated, Generator, Step
from codekin.models.lanes import Lanes
from codekin.models.remote_generation import RemoteGenerator
from codekin.models.residency import Residency
from codekin.models.sampling import Sampling
from codekin.models.together import generate_together

Result = TypeVar("Result")

REMOTE = "remote"
"""The key of the server of the settings."""


LOADED_AGAIN = 30.0
"""Seconds for which a generator that could not be loaded is not tried again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What to generate: a prompt to continue, with a `suffix` a gap to fill, with `chat` an instruction."""

    prompt: str
    model: str
    suffix: str | None = None
    chat: bool = False
    sampling: Sampling = field(default_factory=Sampling)
    draft: Draft | None = None


class GenerationService:
    """Generates in a worker thread; `load` builds a generator by key, `size` tells its bytes.

    Asks for the model `remote` go to the `remote` generator. Other services may share `resident`.
    """

    def __init__(
        self,
        load: Callable[[str], Generator],
        size: Callable[[str], int] = lambda _: 0,
        resident: Residency | None = None,
        remote: RemoteGenerator | None = None,
        stand_in: Callable[[], str] = lambda: "",
    ) -> None:
        """`stand_in` names a generator here that answers where the remote one fails; empty for none."""
        self._load = load
        self._remote = remote
        self._stand_in = stand_in
        self._failures: dict[str, tuple[float, CodekinError]] = {}
        self._size = size
        self._resident = resident or Residency()
        self._generators: dict[str, Generator] = {}
        self._lanes = Lanes()

    def submit(
        self,
        ask: Ask,
        cancelled: threading.Event | None = None,
        arrived: Callable[[Step | Generated], None] | None = None,
    ) -> Future[Generated]:
        """Generate soon; Cancelled is raised within a token after `cancelled` is set.

        `arrived` is called in the worker thread with each step that brings something.
        """
        future = self._lanes.submit(lambda: self._told(ask, arrived), "query", cancelled)
        return cast("Future[Generated]", future)  # the last step is the result

    def run(
        self, model: str, work: Callable[[Generator], Iterator[Result]], cancelled: threading.Event | None = None
    ) -> Future[Result]:
        """The last value that some work with a generator yields, done in turn with all other requests."""

        def steps() -> Iterator[Result]:
            yield from work(self._generator(model))

        return self._lanes.submit(steps, "query", cancelled)

    def generate(self, ask: Ask) -> Generated:
        """The whole text; blocks until it is there."""
        return self.submit(ask).result()

    def generate_batch(self, asks: Sequence[Ask]) -> list[Generated]:
        """The texts in the order asked for, those of one model written side by side; blocks until they are there."""
        return self.submit_batch(asks).result()

    def submit_batch(self, asks: Sequence[Ask], cancelled: threading.Event | None = None) -> Future[list[Generated]]:
        """The same, soon; Cancelled is raised within a token after `cancelled` is set."""
        future = self._lanes.submit(lambda: self._together(asks), "query", cancelled)
        return cast("Future[list[Generated]]", future)  # the last step is the result

    def stream(self, ask: Ask, cancelled: threading.Event | None = None) -> Iterator[Step | Generated]:
        """Steps as they come, the Generated last; leaving the iteration withdraws the work."""
        withdrawn = cancelled or threading.Event()
        steps: queue.SimpleQueue[Step | Generated | None] = queue.SimpleQueue()
        future = self.submit(ask, withdrawn, steps.put)
        future.add_done_callback(lambda _: steps.put(None))
        try:
            while (step := steps.get()) is not None:
                yield step
            error = future.exception()
            if error is not None and not isinstance(error, Cancelled):
                raise error
        finally:
            withdrawn.set()

    def loaded(self) -> dict[str, int]:
        """Keys and bytes of the generators in memory, the one used least lately first."""
        return {key: size for key, size in self._resident.held().items() if key in self._generators}

    def close(self) -> None:
        """End the worker threads."""
        self._lanes.close()
        if self._remote is not None:
            self._remote.close()

    def _told(self, ask: Ask, arrived: Callable[[Step | Generated], None] | None) -> Iterator[Step | Generated]:
        for step in self._steps(ask):
            if arrived is not None and step != Step():
                arrived(step)
            yield step

    def _together(self, asks: Sequence[Ask]) -> Iterator[Step | list[Generated]]:
        found: dict[int, Generated] = {}
        for model in dict.fromkeys(ask.model for ask in asks):
            numbers = [number for number, ask in enumerate(asks) if ask.model == model]
            for texts in self._of_one(model, [asks[number] for number in numbers]):
                yield Step()
                found |= dict(zip(numbers, texts, strict=False))
        yield [found[number] for number in range(len(asks))]

    def _of_one(self, model: str, asks: Sequence[Ask]) -> Iterator[list[Generated]]:
        """The texts of one model, last; nothing before. A server elsewhere is asked for one after the other."""
        if model == REMOTE and self._remote is not None:
            texts: list[Generated] = []
            for ask in asks:
                for step in self._steps(ask):
                    texts += [step] if isinstance(step, Generated) else []
                    yield []
            yield texts
            return
        generator = self._generator(model)
        requests = [(_ids(generator, ask), ask.sampling, ask.draft) for ask in asks]
        for each in generate_together(generator, requests):
            yield each if isinstance(each, list) else []

    def _steps(self, ask: Ask) -> Iterator[Step | Generated]:
        if ask.model == REMOTE and self._remote is not None:
            silent = True
            try:
                for step in self._remote.steps(ask):
                    silent = silent and step == Step()
                    yield step
            except WireError as error:
                model = self._stand_in()
                if not model or not silent:
                    raise ModelError(str(error)) from error
                ask = replace(ask, model=model)
            else:
                return
        generator = self._generator(ask.model)
        yield Step()
        yield from generator.steps(_ids(generator, ask), ask.sampling, ask.draft)

    def _generator(self, model: str) -> Generator:
        """The generator, loaded if need be once there is room; what runs on one that is let go runs on."""
        found = self._generators.get(model)
        if found is None:
            failed, error = self._failures.get(model, (0.0, None))
            if error and time.monotonic() - failed < LOADED_AGAIN:
                raise error
            self._resident.enter(model, self._size(model), lambda: self._let_go(model))
            try:
                found = self._load(model)
            except BaseException as error:
                self._resident.leave(model)
                if isinstance(error, CodekinError):
                    self._failures[model] = time.monotonic(), error
                raise
            self._failures.pop(model, None)
            if model in self._resident.held():  # else its room was taken while it was loaded: it serves this once
                self._generators[model] = found
        self._resident.touch(model)
        return found

    def _let_go(self, model: str) -> None:
        self._generators.pop(model, None)


def _ids(generator: Generator, ask: Ask) -> list[int]:
    if ask.suffix is None:
        return generator.prompt(ask.prompt, ask.chat)
    return generator.infill(ask.prompt, ask.suffix, generator.context - ask.sampling.max_tokens)
