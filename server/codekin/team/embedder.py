"""The embedder of a server's queries: one call at a time, and the vectors of the latest questions are kept."""

import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from codekin.protocols import Embedder, EmbeddingBatch, TextKind, Vectors

_KEPT = 512


class SharedEmbedder:
    """Another embedder for many threads; `protocols.Embedder`."""

    def __init__(self, within: Embedder) -> None:
        self._within, self._mutex = within, threading.Lock()
        self._known: OrderedDict[tuple[str, TextKind], Vectors] = OrderedDict()
        self.name, self.space, self.base_space = within.name, within.space, within.base_space
        self.dimensions, self.truncations, self.note = within.dimensions, within.truncations, within.note

    @property
    def truncated(self) -> int:
        """As many texts as the model has read in part."""
        return self._within.truncated

    def embed(self, texts: Sequence[str], kind: TextKind = "passage") -> Vectors:
        """Vectors of shape (len(texts), dimensions)."""
        with self._mutex:
            if len(texts) != 1:
                return self._within.embed(texts, kind)
            key = texts[0], kind
            if key not in self._known:
                self._known[key] = np.asarray(self._within.embed(texts, kind), np.float32)
            self._known.move_to_end(key)
            while len(self._known) > _KEPT:
                self._known.popitem(last=False)
            return self._known[key]

    def embed_batches(self, texts: Sequence[str], kind: TextKind = "passage") -> Iterator[EmbeddingBatch]:
        """The model's own batches."""
        return self._within.embed_batches(texts, kind)

    def decode(self, ids: Sequence[int]) -> str:
        """As the model decodes them."""
        return self._within.decode(ids)

    def with_adapter(self, folder: Path, name: str) -> Embedder:
        """The model under an adapter. Raises CheckpointError where it takes none."""
        return self._within.with_adapter(folder, name)
