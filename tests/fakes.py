"""Deterministic fakes for the protocols, shared by all tests."""

import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codekin.errors import CheckpointError, StoreError
from codekin.models.checkpoints import head_files, write_checkpoint
from codekin.protocols import (
    EmbeddingBatch,
    EmbeddingSpace,
    GeneratedText,
    GenerationRequest,
    GenerationStep,
    IndexStatus,
    TextKind,
    TextQuery,
    Vectors,
)


@dataclass(frozen=True, slots=True)
class FakeEmbedder:
    """Adds up a fixed random vector for each word, so that texts with common words are near."""

    name: str = "fake"
    space: str = "fake-1"
    dimensions: int = 64
    truncations: tuple[int, ...] = ()
    truncated: int = 0
    note: str = ""

    @property
    def base_space(self) -> str:
        """Its own space."""
        return self.space

    def embed(self, texts: Sequence[str], kind: TextKind = "passage") -> Vectors:
        """Unit vectors (len(texts), dimensions)."""
        del kind
        return np.stack([self._embed(text) for text in texts]) if texts else np.zeros((0, self.dimensions), np.float32)

    def embed_batches(self, texts: Sequence[str], kind: TextKind = "passage") -> Iterator[EmbeddingBatch]:
        """Two texts at a time."""
        for start in range(0, len(texts), 2):
            some = texts[start : start + 2]
            yield EmbeddingBatch(list(range(start, start + len(some))), self.embed(some, kind), len(some))

    def decode(self, ids: Sequence[int]) -> str:
        """A word for each id."""
        return " ".join(map(str, ids))

    def with_adapter(self, folder: Path, name: str) -> "FakeEmbedder":
        """It has no weights to adapt."""
        raise CheckpointError(f"{self.name} takes no adapter ({folder}, {name}).")

    def _embed(self, text: str) -> Vectors:
        total = np.full(self.dimensions, 1e-3, np.float32)
        for word in text.split():
            seed = zlib.crc32(f"{self.space} {word}".encode("utf-8", "replace"))
            total += np.random.default_rng(seed).standard_normal(self.dimensions).astype(np.float32)
        return total / np.linalg.norm(total)


def frame_message(body: bytes) -> bytes:
    """A message of the language server protocol as it goes over the wire."""
    return b"Content-Length: %d\r\n\r\n" % len(body) + body


def write_head(folder: Path, name: str, head: Vectors, meta: Mapping[str, Any]) -> Path:
    """A checkpoint of a head."""
    return write_checkpoint(folder, name, head_files(head), meta)


def copy_earlier_tokens(longest: int = 3) -> Callable[[list[int]], list[int]]:
    """A draft that copies up to seven tokens which followed the latest earlier occurrence of the last ones."""

    def draft(ids: list[int]) -> list[int]:
        for length in range(min(longest, len(ids) - 1), 0, -1):
            tail = ids[-length:]
            starts = (at for at in range(len(ids) - length - 1, -1, -1) if ids[at : at + length] == tail)
            if (start := next(starts, None)) is not None:
                return ids[start + length : start + length + 7]
        return []

    return draft


@dataclass(frozen=True, slots=True)
class FakeGenerator:
    """Continues a prompt with the numbers from its length on, a word a token."""

    name: str = "fake"

    def generate_steps(self, request: GenerationRequest) -> Iterator[GenerationStep | GeneratedText]:
        """One step for each word, the whole text last."""
        text, finish = "", "length"
        for number in range(len(request.prompt), len(request.prompt) + request.sampling.max_tokens):
            word = f" {number}"
            if any(stop in text + word for stop in request.sampling.stop):
                finish = "stop"
                break
            text += word
            yield GenerationStep(word)
        yield GenerationStep(finish=finish)
        yield GeneratedText(text, (), finish, len(request.prompt.split()))


class FakeVectorStore:
    """Keeps vectors in dictionaries; `texts` are its live texts by digest."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        self._texts = dict(texts)
        self._spaces: dict[str, EmbeddingSpace] = {}
        self._vectors: dict[str, dict[str, Vectors]] = {}

    def ensure_space(self, fingerprint: str, name: str, dimensions: int) -> EmbeddingSpace:
        known = self._spaces.get(fingerprint)
        if known and known.dimensions != dimensions:
            raise StoreError(f"{name} has {known.dimensions} dimensions")
        if known is None or known.state == "dropped":
            state = "building" if self.serving_space() else "serving"
            self._spaces[fingerprint] = EmbeddingSpace(len(self._spaces) + 1, fingerprint, name, dimensions, state, 0)
            self._vectors[fingerprint] = {}
        return self._spaces[fingerprint]

    def status(self) -> IndexStatus:
        serving = self.serving_space()
        vectors = len(self._vectors[serving.fingerprint].keys() & self._texts.keys()) if serving else 0
        space = serving.fingerprint if serving else ""
        return IndexStatus(0, 1, 0, len(self._texts), vectors, space, tuple(self._spaces.values()), False, 0)

    def serving_space(self) -> EmbeddingSpace | None:
        return next((space for space in self._spaces.values() if space.state == "serving"), None)

    def put_vectors(self, vectors: Mapping[str, Vectors], space: str | None = None) -> int:
        serving = self.serving_space()
        kept = self._kept(space or (serving.fingerprint if serving else ""))
        fresh = {digest: row for digest, row in vectors.items() if digest in self._texts and digest not in kept}
        if not all(np.isfinite(row).all() for row in fresh.values()):
            raise StoreError("not finite")
        kept.update(fresh)
        return len(fresh)

    def missing_digests(self, space: str, digests: Iterable[str]) -> list[str]:
        return [digest for digest in dict.fromkeys(digests) if digest not in self._vectors.get(space, {})]

    def unembedded_texts(self, space: str, limit: int = 256) -> list[tuple[str, str]]:
        return [(digest, self._texts[digest]) for digest in self.missing_digests(space, self._texts)][:limit]

    def vectors(self, fingerprint: str) -> Iterator[tuple[list[str], Vectors]]:
        if kept := self._kept(fingerprint):
            yield list(kept), np.stack(list(kept.values()))

    def project_space(self, source: str, target: str, transform: Callable[[Vectors], Vectors]) -> int:
        found = {digest: row for digest, row in self._kept(source).items() if digest not in self._kept(target)}
        moved = transform(np.stack(list(found.values()))) if found else ()
        self._kept(target).update(zip(found, moved, strict=True))
        return len(found)

    def promote(self, fingerprint: str, keep_old: bool = False) -> None:
        self._kept(fingerprint)
        for name, space in self._spaces.items():
            if space.state == "serving":
                self._spaces[name] = replace(space, state="kept" if keep_old else "dropped")
        self._spaces[fingerprint] = replace(self._spaces[fingerprint], state="serving")

    def drop_space(self, fingerprint: str) -> None:
        self._kept(fingerprint)
        if self._spaces[fingerprint].state == "serving":
            raise StoreError(f"{fingerprint} is serving")
        del self._spaces[fingerprint], self._vectors[fingerprint]

    def _kept(self, fingerprint: str) -> dict[str, Vectors]:
        if fingerprint not in self._spaces:
            raise StoreError(f"there is no space {fingerprint!r}")
        return self._vectors[fingerprint]


@dataclass(frozen=True, slots=True)
class FakeTextIndex:
    """Scores by the number of common terms; entries are (id, file, language, terms)."""

    entries: Sequence[tuple[int, int, str, frozenset[str]]]

    @property
    def documents(self) -> int:
        return len(self.entries)

    def search(self, query: TextQuery, limit: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        found = [
            (len(terms & query.counts.keys()), -key)
            for key, file, language, terms in self.entries
            if query.language in (None, language) and (query.files is None or file in query.files)
        ]
        best = sorted((one for one in found if one[0]), reverse=True)[:limit]
        return np.array([-key for _, key in best], np.int64), np.array([score for score, _ in best], np.float32)
