"""The embedding service: one loaded embedder, shared by all who ask, queries first.

Loads the embedder in its own thread, so that the caller starts at once and answers without
vectors until `ready`. A reload is a swap of one reference: jobs that run finish on the old
model. Knows nothing of HTTP, files or fragments.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np

from codekin.errors import Cancelled, CodekinError, ModelError
from codekin.models.lanes import Lanes, Priority
from codekin.models.residency import Residency
from codekin.seams import Embedder, Step, TextKind, Vectors

RESIDENT = "embedder"
"""The key of the embedder among the models in memory."""


@dataclass(frozen=True, slots=True)
class Embedded:
    """Vectors (n, dimensions), their space, the tokens read, and the positions of texts too long to be read whole."""

    vectors: Vectors
    space: str
    tokens: int = 0
    cut: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class EmbeddingState:
    """What the service can say about itself: `phase` is loading, ready, failed, or idle where it was let go."""

    phase: str
    name: str = ""
    space: str = ""
    dimensions: int = 0
    cut: int = 0
    problem: str = ""


@runtime_checkable
class SteppingEmbedder(Protocol):
    """An embedder that can be paused between two batches."""

    def steps(self, texts: Sequence[str], kind: TextKind = "passage") -> Iterator[Step]:
        """Positions and their vectors, a batch at a time."""
        ...


class EmbeddingService:
    """Embeds for many callers at once; `load` builds the embedder and may take long."""

    def __init__(
        self,
        load: Callable[[], Embedder],
        resident: Residency | None = None,
        size: Callable[[], int] = lambda: 0,
        forget: Callable[[], None] = lambda: None,
    ) -> None:
        """`size` tells the bytes that `load` is going to take of what the services share in `resident`.

        `forget` is called, in some thread, when the embedder was let go.
        """
        self._choose = load
        self._forget = forget
        self._size = size
        self._resident = resident or Residency()
        self._embedder: Embedder | None = None
        self._known = EmbeddingState("loading")
        self._problem = self._trouble = ""
        self._one_load = threading.Lock()
        self._lanes = Lanes()
        self._loading: Future[Embedder] = self._lanes.submit(lambda: iter([self._load(load)]))

    @property
    def ready(self) -> bool:
        """Whether it is known what the vectors will be; a model that was let go is loaded again by the next text."""
        return bool(self._known.space)

    def state(self) -> EmbeddingState:
        """Where the service stands, for a status line."""
        embedder = self._embedder
        if not self.ready:
            return EmbeddingState("failed" if self._problem else "loading", problem=self._problem)
        state = replace(self._known, phase="idle") if embedder is None else _state_of(embedder)
        return replace(state, problem=self._trouble or self._problem or state.problem)

    def embedder(self, timeout: float | None = None) -> Embedder:
        """The loaded embedder; waits for the load. Raises what the load raised, or ModelError."""
        if self._embedder is None:
            try:
                self._loading.result(timeout)
            except TimeoutError as error:
                raise ModelError("The embedding model is still loading; ask again in a moment.") from error
        return self._current()

    def submit(
        self,
        texts: Sequence[str],
        kind: TextKind = "passage",
        priority: Priority = "query",
        cancelled: threading.Event | None = None,
        embedder: Embedder | None = None,
    ) -> Future[Embedded]:
        """Embed soon, in a worker thread, with the loaded embedder or another one.

        The future holds the vectors and their space.
        """
        wanted = list(texts)
        return self._lanes.submit(lambda: self._steps(wanted, kind, embedder), priority, cancelled)

    def embed_batch(self, texts: Sequence[str], kind: TextKind = "passage", priority: Priority = "query") -> Vectors:
        """Vectors of shape (len(texts), dimensions); blocks until they are there."""
        return self.submit(texts, kind, priority).result().vectors

    def embed(self, text: str, kind: TextKind = "query") -> Vectors:
        """The vector of one text, shape (dimensions,)."""
        vector: Vectors = self.embed_batch([text], kind)[0]
        return vector

    def similarity(self, first: str, second: str) -> float:
        """Cosine of two texts' vectors, between -1 and 1."""
        vectors = self.embed_batch([first, second])
        return float(vectors[0] @ vectors[1])

    def reload(self, load: Callable[[], Embedder]) -> Future[Embedder]:
        """Load another embedder behind the jobs at hand and swap it in; keep the old one on failure."""
        return self._lanes.submit(lambda: iter([self._load(load)]), "index" if self.ready else "query")

    def close(self) -> None:
        """End the worker threads."""
        self._lanes.close()

    def _steps(self, texts: list[str], kind: TextKind, embedder: Embedder | None) -> Iterator[Embedded]:
        try:
            yield from _embedding_steps(embedder or self.embedder(), texts, kind)
        except Cancelled:
            raise
        except CodekinError as error:
            self._trouble = str(error)
            raise
        self._trouble = ""

    def _current(self) -> Embedder:
        """The embedder, loaded again where it was let go; what runs on one that is let go runs on."""
        self._resident.touch(RESIDENT)
        embedder = self._embedder
        if embedder is None:
            if not self.ready:
                raise ModelError(self._problem or "No embedding model is loaded; see `codekin doctor`.")
            with self._one_load:
                embedder = self._embedder or self._load(self._choose)
        return embedder

    def _load(self, load: Callable[[], Embedder]) -> Embedder:
        self._resident.enter(RESIDENT, self._size(), self._let_go)
        try:
            embedder = load()
        except CodekinError as error:
            self._problem = str(error)
            if self._embedder is None:
                self._resident.leave(RESIDENT)
            raise
        self._choose, self._problem, self._known, self._embedder = load, "", _state_of(embedder), embedder
        return embedder

    def _let_go(self) -> None:
        if self._embedder is not None:
            self._known, self._embedder = _state_of(self._embedder), None
            self._forget()


def _state_of(embedder: Embedder) -> EmbeddingState:
    cut, note = int(getattr(embedder, "cut", 0)), str(getattr(embedder, "note", ""))
    return EmbeddingState("ready", embedder.name, embedder.space, embedder.dimensions, cut, note)


def _embedding_steps(embedder: Embedder, texts: list[str], kind: TextKind) -> Iterator[Embedded]:
    """Yields after each batch; the last one yielded holds all vectors."""
    vectors = np.empty((len(texts), embedder.dimensions), dtype=np.float32)
    embedded = Embedded(vectors, embedder.space)
    if isinstance(embedder, SteppingEmbedder):
        for step in embedder.steps(texts, kind):
            vectors[step.positions] = step.vectors
            cut = (*embedded.cut, *step.cut)
            embedded = replace(embedded, tokens=embedded.tokens + step.tokens, cut=tuple(sorted(cut)))
            yield embedded
    elif texts:
        vectors[:] = embedder.embed(texts, kind)
    yield embedded
