"""Drives an indexer without threads or waiting: time is handed in, embedding happens at once."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from codekin.indexing.embedding_queue import EmbeddedBatch, EmbeddingBacklog, EmbeddingQueue
from codekin.indexing.file_reader import WorkspaceRoot
from codekin.indexing.file_update import IndexedWorkspace
from codekin.indexing.indexer import Indexer
from codekin.indexing.reconciliation import EventReporter, ReconciliationSchedule
from codekin.indexing.scan import IndexScope, scope_of_settings
from codekin.protocols import Embedder
from codekin.settings import IndexSettings
from codekin.storage import ChunkIndex
from fakes import FakeEmbedder


class Driven:
    """One indexer over a root and an index folder; `embedder` None fails every batch."""

    def __init__(self, root: Path, folder: Path, embedder: Embedder | None = None, globs: Iterable[str] = ()) -> None:
        self.embedder: Embedder | None = embedder or FakeEmbedder()
        self.batches: list[Mapping[str, str]] = []
        self.events: list[dict[str, Any]] = []
        self.index = ChunkIndex.open(folder, write=True)
        self.workspace = IndexedWorkspace(WorkspaceRoot(root), scope(globs), self.index)
        reporter = EventReporter(self.events.append)
        vectors = EmbeddingQueue(EmbeddingBacklog(self.index), self, reporter)
        self.indexer = Indexer(self.workspace, reporter, vectors, ReconciliationSchedule(every=700.0))
        self.now = time.monotonic()
        self._submitted: list[Mapping[str, str]] = []

    def submit(self, texts: Mapping[str, str]) -> None:
        """Takes a batch, as the embedding thread would."""
        self._submitted.append(texts)
        self.batches.append(texts)

    def ignoring(self, *globs: str) -> IndexedWorkspace:
        """The workspace under other settings."""
        return replace(self.workspace, scope=scope(globs))

    def mapping(self, **extensions: str) -> IndexedWorkspace:
        """The workspace where the settings map extensions (without their dot) to languages."""
        settings = IndexSettings(extensions={f".{name}": language for name, language in extensions.items()})
        return replace(self.workspace, scope=scope_of_settings(settings))

    def hint(self, *paths: str | None) -> None:
        """Hints, then steps until everything is done."""
        for path in paths:
            self.indexer.hint(path, self.now)
        self.settle()

    def buffer(self, path: str, text: str | None) -> None:
        """An unsaved text, then steps until everything is done."""
        self.indexer.buffer(path, text, self.now)
        self.settle()

    def settle(self) -> dict[str, Any]:
        """Steps until nothing is left to do for a while; the last event `ready`."""
        for _ in range(10_000):
            self.now = max(self.now, time.monotonic())
            wait = self.indexer.step(self.now)
            while self._submitted:
                self.indexer.embedded(self._outcome(self._submitted.pop(0)), self.now)
                wait = 0.0
            if wait >= 5.0:
                break
            self.now += wait
        else:
            raise AssertionError("the indexer never came to rest")
        return [event for event in self.events if event["event"] == "ready"][-1]

    def told(self, kind: str) -> list[dict[str, Any]]:
        """All events of a kind."""
        return [event for event in self.events if event["event"] == kind]

    def close(self) -> None:
        """Lets go of the index."""
        self.indexer.close()
        self.index.close()

    def _outcome(self, texts: Mapping[str, str]) -> EmbeddedBatch:
        if self.embedder is None:
            return EmbeddedBatch(failure="The model is not there.")
        rows = self.embedder.embed(list(texts.values()))
        return EmbeddedBatch(
            self.embedder.space, self.embedder.name, self.embedder.dimensions, dict(zip(texts, rows, strict=True))
        )


def scope(globs: Iterable[str] = ()) -> IndexScope:
    """The rules a workspace has by default."""
    return scope_of_settings(IndexSettings(ignore=tuple(globs)))


def contents(index: ChunkIndex) -> dict[str, tuple[object, ...]]:
    """All that an index says of the tree: for each path its hash, language, reason and fragments."""
    return {
        path: (state.hash, state.language, state.skipped, state.buffer, tuple(index.chunks(path)))
        for path, state in index.files().items()
    }


def fresh_contents(root: Path, folder: Path) -> dict[str, tuple[object, ...]]:
    """What an index built from nothing says of the tree as it is now."""
    driven = Driven(root, folder)
    driven.settle()
    found = contents(driven.index)
    driven.close()
    return found


def assert_whole(index: ChunkIndex) -> None:
    """Every chunk has its words and its vector."""
    status = index.status()
    assert (status.vectors, status.text_index_behind) == (status.chunks, False)
