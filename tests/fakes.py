"""Deterministic fakes for the seams, shared by the rooms' tests."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from codekin.seams import TextKind, Vectors


@dataclass(frozen=True, slots=True)
class FakeEmbedder:
    """Adds up a fixed random vector for each word, so that texts with common words are near."""

    name: str = "fake"
    space: str = "fake-1"
    dimensions: int = 64

    def embed(self, texts: Sequence[str], kind: TextKind = "passage") -> Vectors:
        """Unit vectors (len(texts), dimensions)."""
        del kind
        return np.stack([self._embed(text) for text in texts]) if texts else np.zeros((0, self.dimensions), np.float32)

    def _embed(self, text: str) -> Vectors:
        total = np.full(self.dimensions, 1e-3, np.float32)
        for word in text.split():
            seed = zlib.crc32(f"{self.space} {word}".encode("utf-8", "replace"))
            total += np.random.default_rng(seed).standard_normal(self.dimensions).astype(np.float32)
        return total / np.linalg.norm(total)
