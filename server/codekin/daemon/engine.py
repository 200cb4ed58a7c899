"""The embedding model as the daemon holds it: loaded once, behind the answers, named when it fails.

Nothing is imported or loaded until somebody needs vectors. Knows nothing of HTTP or files.
"""

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codekin.errors import CodekinError, ModelError
from codekin.settings import Settings

if TYPE_CHECKING:  # the seams bring numpy, which the first handshake does not need
    from concurrent.futures import Future

    from codekin.models.residency import Residency
    from codekin.models.service import EmbeddingService
    from codekin.seams import Embedder, TextKind, Vectors

log = logging.getLogger(__name__)

LOADING = "model is loading"
MOST_LEARNED = 4
"""Learned models of workspaces that are held at a time."""


class Engine:
    """Holds the embedding service; every method may be called from any thread."""

    def __init__(self, data: Path, settings: Settings, changed: Callable[[bool], None]) -> None:
        """`changed` is called, in some thread, when the model is there or failed; True when it replaced another."""
        self._data = data
        self._settings = settings
        self._service: EmbeddingService | None = None
        self._changed = changed
        self._problem = ""
        self._learned: OrderedDict[tuple[str, Path, str], Embedder] = OrderedDict()
        self._begun = threading.Lock()
        self._reading = threading.Lock()
        self._imported = threading.Event()
        self._sizing = threading.Lock()
        self._resident: Residency | None = None

    def resident(self) -> "Residency":
        """What keeps the embedder and the generators within the memory together; may import torch."""
        with self._sizing:
            if self._resident is None:
                from codekin.models import planner  # noqa: PLC0415 - looks at the machine
                from codekin.models.residency import Residency  # noqa: PLC0415

                models = self._settings.models
                free = int(models.memory_gb * (1 << 30)) or planner.free_memory(planner.device_for(models.device))
                self._resident = Residency(free)
            return self._resident

    def release_idle(self) -> None:
        """Lets go of the models that nobody has used for the time of the settings."""
        if self._resident is not None:
            for key in self._resident.release_idle(self._settings.models.idle_minutes * 60):
                log.info("The model %s was let go of after %g idle minutes.", key, self._settings.models.idle_minutes)

    def begin(self) -> None:
        """Starts to load the model, the first time; returns at once."""
        if self._begun.acquire(blocking=False):
            threading.Thread(target=self._load, name="codekin-load", daemon=True).start()

    def service(self, timeout: float = 120.0) -> "EmbeddingService":
        """The service, its model possibly still loading; waits for the imports. Raises ModelError."""
        self.begin()
        if not self._imported.wait(timeout) or self._service is None:
            raise ModelError(self._problem or "The embedding model is still loading; ask again in a moment.")
        return self._service

    def embedder(self) -> "Embedder | None":
        """What embeds a query now, None while the model is loading or where it failed."""
        self.begin()
        if self._service is None or not self._service.ready:
            return None
        return QueryEmbedder(self._service)

    def learned(self, folder: Path, name: str) -> "Embedder":
        """What a workspace's checkpoint makes of the model; trained encoders take their turn with it in its lanes.

        The latest few are kept. Raises CheckpointError where it is refused.
        """
        from codekin.models.learned import read_learned  # noqa: PLC0415 - brings numpy

        service = self.service()
        base = QueryEmbedder(service)
        key = (base.space, folder, name)
        with self._reading:
            found = self._learned.get(key)
            if found is None:
                found = read_learned(folder, name, base)
                if hasattr(found, "steps"):  # an encoder of its own, not a head over the base
                    found = QueryEmbedder(service, found)
                self._learned[key] = found
            self._learned.move_to_end(key)
            while len(self._learned) > MOST_LEARNED:
                self._learned.popitem(last=False)
        return found

    def reload(self, load: "Callable[[], Embedder] | None" = None) -> "Future[Embedder]":
        """Loads another embedder (the settings' choice where none is given) behind the jobs at hand.

        It takes the old one's place once it is loaded; when it fails, the old one serves on and
        the future raises why.
        """
        swapped = self.service().reload(load or self._chosen)
        swapped.add_done_callback(lambda done: self._changed(not done.exception()))
        return swapped

    def degraded(self) -> str:
        """Why answers come without vectors; empty when they come with them."""
        state = self.state()
        return {"ready": "", "failed": str(state["problem"])}.get(str(state["phase"]), LOADING)

    def state(self) -> dict[str, Any]:
        """For a status: phase (idle, loading, ready, failed), name, space, dimensions, cut, problem."""
        if self._service is not None:
            state = asdict(self._service.state())
            return state if not self._problem else {**state, "phase": "failed", "problem": self._problem}
        phase = "failed" if self._problem else "loading" if self._begun.locked() else "idle"
        return {"phase": phase, "name": "", "space": "", "dimensions": 0, "cut": 0, "problem": self._problem}

    def _load(self) -> None:
        try:
            from codekin.models.loading import expected_bytes  # noqa: PLC0415
            from codekin.models.service import EmbeddingService  # noqa: PLC0415 - brings torch

            size = partial(expected_bytes, self._settings.models)
            self._service = EmbeddingService(self._chosen, self.resident(), size, self._forget)
            self._imported.set()
            self._service.embedder()
        except CodekinError as error:
            self._problem = str(error)
        except Exception as error:
            log.exception("The embedding model cannot be loaded.")
            self._problem = f"The embedding model cannot be loaded ({error}); see the daemon's log."
        finally:
            self._imported.set()
            self._changed(False)

    def _forget(self) -> None:
        """The model was let go: so is what was made of it."""
        with self._reading:
            self._learned.clear()

    def _chosen(self) -> "Embedder":
        from codekin.models import choose_embedder  # noqa: PLC0415 - brings torch

        return choose_embedder(self._settings.models, self._data / "kernels.json")


class QueryEmbedder:
    """The service as an Embedder of one space: what was asked for before a reload ends on the old model."""

    def __init__(self, service: "EmbeddingService", embedder: "Embedder | None" = None) -> None:
        """`embedder` is what embeds in the service's lanes in place of the model that it has loaded."""
        self._service = service
        self._own = embedder
        self.within = embedder or service.embedder()
        self.name = self.within.name
        self.space = self.within.space
        self.dimensions = self.within.dimensions
        self.adapt = getattr(self.within, "adapt", None)

    def embed(self, texts: Sequence[str], kind: "TextKind" = "query") -> "Vectors":
        """Vectors of shape (len(texts), dimensions), before all background work."""
        embedded = self._service.submit(texts, kind, "query", embedder=self._own).result()
        return embedded.vectors if embedded.space == self.space else self.within.embed(texts, kind)
