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

from codekin import paths
from codekin.indexing.embedding_queue import EmbeddedBatch, EmbeddingBacklog, EmbeddingQueue, EmbeddingThread
from codekin.indexing.file_reader import WorkspaceRoot
from codekin.indexing.file_update import IndexedWorkspace
from codekin.indexing.ignore import base_rules
from codekin.indexing.indexer import Indexer
from codekin.indexing.reconciliation import EventReporter, ReconciliationSchedule
from codekin.indexing.scan import IndexScope
from codekin.models.embedding.local import split_code_words
from codekin.models.loading import load_embedder
from codekin.protocols import Embedder, TextKind, Vectors
from codekin.settings import IndexSettings
from codekin.storage import ChunkIndex

EMBEDDED_ONE_IN = 20
MOVE_LENGTH = 0.35
"""Length of the move beside the unit vector: a cosine of 0.94 to where it began."""


class SparseEmbedder:
    """An Embedder of the real one's space that asks it for one text in twenty."""

    def __init__(self, real: Embedder) -> None:
        self._real = real
        self.name, self.space, self.dimensions = real.name, real.space, real.dimensions
        self.base_space = real.base_space

    def embed(self, texts: Sequence[str], kind: TextKind = "passage") -> Vectors:
        """Vectors of shape (len(texts), dimensions), float32, rows of unit length."""
        chosen = [at for at, text in enumerate(texts) if at == 0 or _hash(text)[0] % EMBEDDED_ONE_IN == 0]
        known = self._real.embed([texts[at] for at in chosen], kind)
        words = [frozenset(split_code_words(text).split()) for text in texts]
        nearest = [max(range(len(chosen)), key=lambda n: len(words[chosen[n]] & own)) for own in words]
        moved = known[nearest] + MOVE_LENGTH * np.stack([self._direction(text) for text in texts])
        moved[chosen] = known
        unit: Vectors = moved / np.linalg.norm(moved, axis=1, keepdims=True)
        return unit

    def _direction(self, text: str) -> Vectors:
        """A unit vector that depends on the text alone."""
        chance = np.random.default_rng(int.from_bytes(_hash(text)[:8], "little"))
        vector = chance.standard_normal(self.dimensions).astype(np.float32)
        unit: Vectors = vector / np.linalg.norm(vector)
        return unit


def fill_index(data: Path, root: Path) -> dict[str, Any]:
    """Brings the index of `root` up to date as the indexer's process would; the counts it ends with."""
    events: list[Mapping[str, Any]] = []
    outcomes: SimpleQueue[EmbeddedBatch] = SimpleQueue()
    with ChunkIndex.open(paths.index_dir(data, root), write=True) as index:
        reports = EventReporter(events.append)
        kernels = data / "kernels.json"
        thread = EmbeddingThread(
            lambda: SparseEmbedder(load_embedder("codekin_embed", kernel_cache=kernels)), outcomes.put
        )
        settings = IndexSettings()
        scope = IndexScope(base_rules(settings.ignore), _is_known, settings.max_file_kb * 1024)
        vectors = EmbeddingQueue(EmbeddingBacklog(index), thread, reports)
        indexer = Indexer(
            IndexedWorkspace(WorkspaceRoot(root), scope, index), reports, vectors, ReconciliationSchedule(every=3600.0)
        )
        wait = 0.0
        while not (vectors.settled and any(event["event"] == "ready" for event in events)):
            _take(outcomes, indexer, wait)
            wait = indexer.step(time.monotonic())
        indexer.close()
        thread.close()
    return dict(events[-1])


def _take(outcomes: SimpleQueue[EmbeddedBatch], indexer: Indexer, wait: float) -> None:
    try:
        outcome = outcomes.get(timeout=wait) if wait else outcomes.get_nowait()
        indexer.embedded(outcome, time.monotonic())
    except Empty:
        return


def _is_known(path: str) -> bool:
    return path.endswith((".ex", ".cc"))


def _hash(text: str) -> bytes:
    return sha256(text.encode()).digest()
