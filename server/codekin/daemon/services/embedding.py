"""The daemon's embedding model: loaded once on first use, swapped on reload, and the cache of fine-tuned embedders."""

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codekin.errors import CodekinError, ModelError
from codekin.models import planner
from codekin.models.planner import ModelCache
from codekin.settings import Settings

if TYPE_CHECKING:  # the protocols bring numpy, which the first handshake does not need
    from concurrent.futures import Future

    from codekin.models.embedding.service import EmbeddingService
    from codekin.protocols import Embedder, EmbeddingBatch, TextKind, Vectors

log = logging.getLogger(__name__)

MODEL_LOADING = "model is loading"
MAX_FINETUNED = 4
"""Fine-tuned models of workspaces that are held at a time."""


class EmbeddingEngine:
    """Holds the embedding service; every method may be called from any thread."""

    def __init__(self, data: Path, settings: Settings, changed: Callable[[bool], None]) -> None:
        """`changed` is called, in some thread, when the model is there or failed; True when it replaced another."""
        self._data = data
        self._settings = settings
        self._service: EmbeddingService | None = None
        self._changed = changed
        self._problem = ""
        self._finetuned: OrderedDict[tuple[str, Path, str], Embedder] = OrderedDict()
        self._load_started = threading.Lock()
        self._finetuned_lock = threading.Lock()
        self._imports_done = threading.Event()
        self._residency_lock = threading.Lock()
        self._model_cache: ModelCache | None = None

    def model_cache(self) -> ModelCache:
        """What keeps the embedder and the generators within the memory together; may import torch."""
        with self._residency_lock:
            if self._model_cache is None:
                models = self._settings.models
                free = int(models.memory_gb * (1 << 30)) or planner.free_memory(planner.choose_device(models.device))
                self._model_cache = ModelCache(free, threads=models.threads)
            return self._model_cache

    @property
    def is_remote(self) -> bool:
        """Whether texts are sent to a server of the user's to be embedded."""
        remote = self._settings.models.remote
        return remote is not None and bool(remote.url) and remote.serves != "completions"

    def release_idle(self) -> None:
        """Unloads the models that were idle for the time of the settings."""
        if self._model_cache is not None:
            for key in self._model_cache.release_idle(self._settings.models.idle_minutes * 60):
                log.info("The model %s was unloaded after %g idle minutes.", key, self._settings.models.idle_minutes)

    def start_loading(self) -> None:
        """Starts to load the model, the first time; returns at once."""
        if self._load_started.acquire(blocking=False):
            threading.Thread(target=self._load_first, name="codekin-load", daemon=True).start()

    def service(self, timeout: float = 120.0) -> "EmbeddingService":
        """The service, its model possibly still loading; waits for the imports. Raises ModelError."""
        self.start_loading()
        if not self._imports_done.wait(timeout) or self._service is None:
            raise ModelError(self._problem or "The embedding model is still loading; try again in a moment.")
        return self._service

    def embedder(self) -> "Embedder | None":
        """What embeds a query now, None while the model is loading or where it failed."""
        self.start_loading()
        if self._service is None or not self._service.ready:
            return None
        return QueryEmbedder(self._service)

    def finetuned_embedder(self, folder: Path, name: str) -> "Embedder":
        """What a workspace's checkpoint makes of the model; trained encoders take their turn with it in its queue.

        The latest few are kept. Raises CheckpointError where it is refused.
        """
        from codekin.models.embedding.finetuned import HeadedEmbedder, load_checkpoint  # noqa: PLC0415 - brings numpy

        service = self.service()
        base = QueryEmbedder(service)
        key = (base.space, folder, name)
        with self._finetuned_lock:
            found = self._finetuned.get(key)
            if found is None:
                found = load_checkpoint(folder, name, base)
                if not isinstance(found, HeadedEmbedder):  # an encoder of its own, not a head over the base
                    found = QueryEmbedder(service, found)
                self._finetuned[key] = found
            self._finetuned.move_to_end(key)
            while len(self._finetuned) > MAX_FINETUNED:
                self._finetuned.popitem(last=False)
        return found

    def reload(self, name: str = "") -> "Future[Embedder]":
        """Loads another embedder (the settings' choice where none is named) behind the jobs that wait.

        It takes the old one's place once it is loaded; when it fails, the old one serves on and
        the future raises why.
        """
        swapped = self.service().reload(partial(self._load, name))
        swapped.add_done_callback(lambda done: self._changed(not done.exception()))
        return swapped

    def degraded(self) -> str:
        """Why answers come without vectors; empty when they come with them."""
        state = self.state()
        return {"ready": "", "failed": str(state["problem"])}.get(str(state["phase"]), MODEL_LOADING)

    def state(self) -> dict[str, Any]:
        """For a status: phase (idle, loading, ready, failed), name, space, dimensions, truncated, problem."""
        if self._service is not None:
            state = asdict(self._service.state())
            return state if not self._problem else {**state, "phase": "failed", "problem": self._problem}
        phase = "failed" if self._problem else "loading" if self._load_started.locked() else "idle"
        return {"phase": phase, "name": "", "space": "", "dimensions": 0, "truncated": 0, "problem": self._problem}

    def _load_first(self) -> None:
        try:
            self._service = self._open_service()
            self._imports_done.set()
            self._service.embedder()
        except CodekinError as error:
            self._problem = str(error)
        except Exception as error:
            log.exception("The embedding model cannot be loaded.")
            self._problem = f"The embedding model cannot be loaded ({error}); see the daemon's log."
        finally:
            self._imports_done.set()
            self._changed(False)

    def _drop_finetuned(self) -> None:
        """The model was unloaded: so is what was made of it."""
        with self._finetuned_lock:
            self._finetuned.clear()

    def _open_service(self) -> "EmbeddingService":
        from codekin.models.embedding.service import EmbeddingService  # noqa: PLC0415 - brings numpy
        from codekin.models.loading import estimate_embedder_bytes  # noqa: PLC0415 - brings onnxruntime

        size = partial(estimate_embedder_bytes, self._settings.models)
        return EmbeddingService(self._load, self.model_cache(), size, self._drop_finetuned)

    def _load(self, name: str = "") -> "Embedder":
        from codekin.models import loading  # noqa: PLC0415 - brings onnxruntime

        kernels = self._data / "kernels.json"
        if name:
            return loading.load_embedder(name, kernel_cache=kernels)
        return loading.choose_embedder(self._settings.models, kernels)


class QueryEmbedder:
    """The service as an Embedder of one space: requests from before a reload finish on the old model."""

    def __init__(self, service: "EmbeddingService", embedder: "Embedder | None" = None) -> None:
        """`embedder` is what embeds in the service's queue in place of the model that it has loaded."""
        self._service = service
        self._override = embedder
        self.within = embedder or service.embedder()
        self.name = self.within.name
        self.space = self.within.space
        self.dimensions = self.within.dimensions
        self.base_space = self.within.base_space
        self.truncations = self.within.truncations
        self.note = self.within.note

    @property
    def truncated(self) -> int:
        """As many texts as the model has read in part."""
        return self.within.truncated

    def embed(self, texts: Sequence[str], kind: "TextKind" = "query") -> "Vectors":
        """Vectors of shape (len(texts), dimensions), before all background work."""
        embedded = self._service.submit(texts, kind, "query", embedder=self._override).result()
        return embedded.vectors if embedded.space == self.space else self.within.embed(texts, kind)

    def embed_batches(self, texts: Sequence[str], kind: "TextKind" = "query") -> "Iterator[EmbeddingBatch]":
        """The model's own batches, outside the queues."""
        return self.within.embed_batches(texts, kind)

    def decode(self, ids: Sequence[int]) -> str:
        """As the model decodes them."""
        return self.within.decode(ids)

    def with_adapter(self, folder: Path, name: str) -> "Embedder":
        """The model under an adapter. Raises CheckpointError where it takes none."""
        return self.within.with_adapter(folder, name)
