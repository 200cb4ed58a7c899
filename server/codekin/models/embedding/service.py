"""The embedding service: one loaded embedder shared by many callers, queries first.

Loads the embedder in its own thread. A reload swaps one reference; running jobs finish on the old model.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace

import numpy as np

from codekin.errors import Cancelled, CodekinError, ModelError
from codekin.models.planner import ModelCache
from codekin.models.queues import JobPriority, PriorityQueues
from codekin.protocols import Embedder, TextKind, Vectors
from codekin.util.process import release_memory

EMBEDDER_KEY = "embedder"
"""The key of the embedder among the models in memory."""


@dataclass(frozen=True, slots=True)
class EmbeddedTexts:
    """Vectors (n, dimensions), their space, the tokens read, and the positions of texts too long to be read whole."""

    vectors: Vectors
    space: str
    tokens: int = 0
    truncated: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class EmbeddingState:
    """The state of the service: `phase` is loading, ready, failed, or idle where it was unloaded."""

    phase: str
    name: str = ""
    space: str = ""
    dimensions: int = 0
    truncated: int = 0
    problem: str = ""


class EmbeddingService:
    """Embeds for many callers at once; `load` builds the embedder and may take long."""

    def __init__(
        self,
        load: Callable[[], Embedder],
        model_cache: ModelCache | None = None,
        size: Callable[[], int] = lambda: 0,
        on_unload: Callable[[], None] = lambda: None,
    ) -> None:
        """`size` gives the bytes that `load` takes of the memory that the services share in `model_cache`.

        `on_unload` is called, in some thread, when the embedder was unloaded.
        """
        self._load_embedder = load
        self._on_unload = on_unload
        self._size = size
        self._model_cache = model_cache or ModelCache()
        self._embedder: Embedder | None = None
        self._last_state = EmbeddingState("loading")
        self._problem = self._last_error = ""
        self._load_lock = threading.Lock()
        self._queues = PriorityQueues(self._model_cache.threads)
        self._loading = self._queues.submit(self._load_first)

    @property
    def ready(self) -> bool:
        """Whether it is known what the vectors will be; a model that was unloaded is loaded again by the next text."""
        return bool(self._last_state.space)

    def state(self) -> EmbeddingState:
        """The state of the service, for a status line."""
        embedder = self._embedder
        if not self.ready:
            return EmbeddingState("failed" if self._problem else "loading", problem=self._problem)
        state = replace(self._last_state, phase="idle") if embedder is None else _embedder_state(embedder)
        return replace(state, problem=self._last_error or self._problem or state.problem)

    def embedder(self, timeout: float | None = None) -> Embedder:
        """The loaded embedder; waits for the load. Raises what the load raised, or ModelError."""
        if self._embedder is None:
            try:
                self._loading.result(timeout)
            except TimeoutError as error:
                raise ModelError("The embedding model is still loading; try again in a moment.") from error
        return self._loaded_embedder()

    def submit(
        self,
        texts: Sequence[str],
        kind: TextKind = "passage",
        priority: JobPriority = "query",
        cancelled: threading.Event | None = None,
        embedder: Embedder | None = None,
    ) -> Future[EmbeddedTexts]:
        """Embed soon, in a worker thread, with the loaded embedder or another one.

        The future holds the vectors and their space.
        """
        wanted = list(texts)
        return self._queues.submit(lambda: self._steps(wanted, kind, embedder), priority, cancelled)

    def embed_batch(self, texts: Sequence[str], kind: TextKind = "passage", priority: JobPriority = "query") -> Vectors:
        """Vectors of shape (len(texts), dimensions); blocks until they are there."""
        return self.submit(texts, kind, priority).result().vectors

    def embed(self, text: str, kind: TextKind = "query") -> Vectors:
        """The vector of one text, shape (dimensions,)."""
        vector: Vectors = self.embed_batch([text], kind)[0]
        return vector

    def reload(self, load: Callable[[], Embedder]) -> Future[Embedder]:
        """Load another embedder behind the queued jobs and swap it in; keep the old one on failure."""
        return self._queues.submit(lambda: iter([self._load(load)]), "index" if self.ready else "query")

    def close(self) -> None:
        """End the worker threads."""
        self._queues.close()

    def _steps(self, texts: list[str], kind: TextKind, embedder: Embedder | None) -> Iterator[EmbeddedTexts]:
        try:
            yield from _embed_in_batches(embedder or self.embedder(), texts, kind)
        except Cancelled:
            raise
        except CodekinError as error:
            self._last_error = str(error)
            raise
        self._last_error = ""

    def _loaded_embedder(self) -> Embedder:
        """The embedder, loaded again where it was unloaded; what runs on one that is unloaded runs on."""
        self._model_cache.mark_used(EMBEDDER_KEY)
        embedder = self._embedder
        if embedder is None:
            if not self.ready:
                raise ModelError(self._problem or "No embedding model is loaded; see `codekin doctor`.")
            with self._load_lock:
                embedder = self._embedder or self._load(self._load_embedder)
        return embedder

    def _load(self, load: Callable[[], Embedder]) -> Embedder:
        self._model_cache.reserve(EMBEDDER_KEY, self._size(), self._unload)
        try:
            embedder = load()
        except CodekinError as error:
            self._problem = str(error)
            if self._embedder is None:
                self._model_cache.discard(EMBEDDER_KEY)
            raise
        replaced, self._embedder = self._embedder, embedder
        self._load_embedder, self._problem, self._last_state = load, "", _embedder_state(embedder)
        if replaced is not None:
            del replaced
            release_memory()
        return embedder

    def _load_first(self) -> Iterator[str]:
        """Loads; what the callers wait for is a name, since a future would hold on to the embedder for ever."""
        yield self._load(self._load_embedder).name

    def _unload(self) -> None:
        if self._embedder is not None:
            self._last_state, self._embedder = _embedder_state(self._embedder), None
            self._on_unload()


def _embedder_state(embedder: Embedder) -> EmbeddingState:
    return EmbeddingState(
        "ready", embedder.name, embedder.space, embedder.dimensions, embedder.truncated, embedder.note
    )


def _embed_in_batches(embedder: Embedder, texts: list[str], kind: TextKind) -> Iterator[EmbeddedTexts]:
    """Yields after each batch; the last one yielded holds all vectors."""
    vectors = np.empty((len(texts), embedder.dimensions), dtype=np.float32)
    embedded = EmbeddedTexts(vectors, embedder.space)
    for batch in embedder.embed_batches(texts, kind):
        vectors[batch.positions] = batch.vectors
        truncated = tuple(sorted((*embedded.truncated, *batch.truncated)))
        embedded = replace(embedded, tokens=embedded.tokens + batch.tokens, truncated=truncated)
        yield embedded
    yield embedded
