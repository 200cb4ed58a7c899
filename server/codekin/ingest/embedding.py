"""Embeds texts in a thread of its own, so that reading files goes on while a model works.

The embedder is opened at the first batch and opened anew after a failure: its server may be
restarting, loading a model, or serving another one by then. Knows nothing of the index.
"""

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from queue import SimpleQueue

from codekin.errors import CodekinError
from codekin.seams import Embedder, Vectors

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Embedded:
    """The outcome of one batch: `vectors` (unit rows by digest) of one space, or a `failure` in a sentence.

    `base` is the space of the model that the embedder was trained from, its own where it was not. An empty batch
    only opens the embedder.
    """

    space: str = ""
    name: str = ""
    dimensions: int = 0
    vectors: Mapping[str, Vectors] = field(default_factory=dict)
    failure: str = ""
    base: str = ""


class EmbeddingThread:
    """One batch after the other; `done` is called in this thread with each outcome."""

    def __init__(self, open_embedder: Callable[[], Embedder], done: Callable[[Embedded], None]) -> None:
        self._open = open_embedder
        self._done = done
        self._batches: SimpleQueue[Mapping[str, str] | None] = SimpleQueue()
        self._embedder: Embedder | None = None
        self._thread = threading.Thread(target=self._run, name="embedding", daemon=True)
        self._thread.start()

    def submit(self, texts: Mapping[str, str]) -> None:
        """Asks for the vectors of texts by digest; outcomes come in the order of the batches."""
        self._batches.put(texts)

    def close(self) -> None:
        """Ends the thread after the batch it is at."""
        self._batches.put(None)

    def _run(self) -> None:
        while (texts := self._batches.get()) is not None:
            self._done(self._embedded(texts))

    def _embedded(self, texts: Mapping[str, str]) -> Embedded:
        try:
            embedder = self._embedder = self._embedder or self._open()
            rows = embedder.embed(list(texts.values())) if texts else ()
        except CodekinError as error:
            self._embedder = None
            return Embedded(failure=str(error))
        except Exception as error:
            # The thread must outlive an embedder's defect: words are still found meanwhile.
            log.exception("Embedding failed.")
            self._embedder = None
            return Embedded(failure=f"The embedder failed ({type(error).__name__}): see the log.")
        found = dict(zip(texts, rows, strict=bool(texts)))
        base = getattr(embedder, "base_space", embedder.space)
        return Embedded(embedder.space, embedder.name, embedder.dimensions, found, base=base)
