"""Calls a generator for ghost text and cancels the call when its caller is gone; brings tokenizers.

`services.completion` imports this module when a generator completes for the first time.
"""

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from codekin.completion.context import CursorPosition
from codekin.completion.corpus_snapshot import Corpus
from codekin.completion.generation import (
    GenerationConfig,
    HybridModel,
    add_remote_guess,
    complete_with_generator,
    remote_request,
)
from codekin.completion.ranking import Guess
from codekin.completion.suggestions import CompletionOptions, GuessCallback
from codekin.daemon.services.generation import REMOTE_GENERATOR
from codekin.models.generation.prompts import TokenGenerator
from codekin.models.generation.service import GenerationService


@dataclass(frozen=True, slots=True)
class GeneratorCall:
    """The generator of one request: a key of the service, and how the repository takes part."""

    service: GenerationService
    key: str
    config: GenerationConfig

    async def __call__(
        self, corpus: Corpus, cursor: CursorPosition, options: CompletionOptions, on_guess: GuessCallback
    ) -> list[Guess]:
        """Guesses of the generator and the repository together; cancelling ends the work within a token."""
        cancelled = threading.Event()
        try:
            if self.key == REMOTE_GENERATOR:
                request = remote_request(corpus, cursor, self.config)
                written = await asyncio.wrap_future(self.service.submit(request, cancelled))
                return await asyncio.to_thread(add_remote_guess, corpus, cursor, options, written)
            work = partial(self._steps, corpus, cursor, options, on_guess)
            return await asyncio.wrap_future(self.service.run(self.key, work, cancelled))
        except asyncio.CancelledError:
            cancelled.set()
            raise

    def _steps(
        self,
        corpus: Corpus,
        cursor: CursorPosition,
        options: CompletionOptions,
        on_guess: GuessCallback,
        generator: TokenGenerator,
    ) -> Iterator[list[Guess]]:
        for found in complete_with_generator(HybridModel(generator, corpus, self.config), cursor, options):
            if found:
                on_guess(found[0])
            yield found
