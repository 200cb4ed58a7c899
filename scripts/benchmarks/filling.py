"""Fills a workspace's index fast: the product's own indexer, with a stand-in for most embeddings.

Embedding 50,000 functions takes minutes and says nothing about serving them. So the encoder
itself embeds the first text of a batch and one text in twenty; every other text takes the vector of
the one among them that shares the most words with it, moved a little in a direction of its own.
The vectors have the spread of the encoder's own, lie in its space, and queries meet them through
the real encoder. What is read, cut, written and searched is the product's own doing.
"""

import time
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np

from codekin import places
from codekin.index import Index
from codekin.ingest.backlog import Backlog
from codekin.ingest.embedding import Embedded, EmbeddingThread
from codekin.ingest.ignore import base_rules
from codekin.ingest.indexer import Indexer
from codekin.ingest.reading import Root
from codekin.ingest.reports import Reports
from codekin.ingest.scan import Scope
from codekin.ingest.schedule import Schedule
from codekin.ingest.update import Workspace
from codekin.ingest.vectors import VectorWork
from codekin.models import load_embedder
from codekin.models.preparation import prepare
from codekin.seams import Embedder, TextKind, Vectors
from codekin.settings import IndexSettings

ONE_IN = 20
MOVED = 0.35
"""Length of the move beside the unit vector: a cosine of 0.94 to where it began."""


class StandIn:
    """An Embedder of the real one's space that asks it for one text in twenty."""

    def __init__(self, real: Embedder) -> None:
        self._real = real
        self.name, self.space, self.dimensions = real.name, real.space, real.dimensions

    def embed(self, texts: Sequence[str], kind: TextKind = "passage") -> Vectors:
        """Vectors of shape (len(texts), dimensions), float32, rows of unit length."""
        chosen = [at for at, text in enumerate(texts) if at == 0 or _hash(text)[0] % ONE_IN == 0]
        known = self._real.embed([texts[at] for at in chosen], kind)
        words = [frozenset(prepare(text).split()) for text in texts]
        nearest = [max(range(len(chosen)), key=lambda n: len(words[chosen[n]] & own)) for own in words]
        moved = known[nearest] + MOVED * np.stack([self._direction(text) for text in texts])
        moved[chosen] = known
        unit: Vectors = moved / np.linalg.norm(moved, axis=1, keepdims=True)
        return unit

    def _direction(self, text: str) -> Vectors:
        """A unit vector that depends on the text alone."""
        chance = np.random.default_rng(int.from_bytes(_hash(text)[:8], "little"))
        vector = chance.standard_normal(self.dimensions).astype(np.float32)
        unit: Vectors = vector / np.linalg.norm(vector)
        return unit


def fill(data: Path, root: Path) -> dict[str, Any]:
    """Brings the index of `root` up to date as the indexer's process would; the counts it ends with."""
    events: list[Mapping[str, Any]] = []
    outcomes: SimpleQueue[Embedded] = SimpleQueue()
    with Index.open(places.workspace_folder(data, root), write=True) as index:
        reports = Reports(events.append)
        kernels = data / "kernels.json"
        thread = EmbeddingThread(lambda: StandIn(load_embedder("codekin_embed", kernel_cache=kernels)), outcomes.put)
        settings = IndexSettings()
        scope = Scope(base_rules(settings.ignore), _is_known, settings.max_file_kb * 1024)
        vectors = VectorWork(Backlog(index), thread, reports)
        indexer = Indexer(Workspace(Root(root), scope, index), reports, vectors, Schedule(every=3600.0))
        wait = 0.0
        while not (vectors.settled and any(event["event"] == "ready" for event in events)):
            _take(outcomes, indexer, wait)
            wait = indexer.step(time.monotonic())
        indexer.close()
        thread.close()
    return dict(events[-1])


def _take(outcomes: SimpleQueue[Embedded], indexer: Indexer, wait: float) -> None:
    try:
        outcome = outcomes.get(timeout=wait) if wait else outcomes.get_nowait()
        indexer.embedded(outcome, time.monotonic())
    except Empty:
        return


def _is_known(path: str) -> bool:
    return path.endswith((".ex", ".cc"))


def _hash(text: str) -> bytes:
    return sha256(text.encode()).digest()
