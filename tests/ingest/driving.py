"""Drives an indexer without threads or waiting: time is handed in, embedding happens at once."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from codekin import syntax
from codekin.index import Index
from codekin.ingest.backlog import Backlog
from codekin.ingest.embedding import Embedded
from codekin.ingest.ignore import base_rules
from codekin.ingest.indexer import Indexer
from codekin.ingest.reading import Root
from codekin.ingest.reports import Reports
from codekin.ingest.scan import Scope
from codekin.ingest.schedule import Schedule
from codekin.ingest.update import Workspace
from codekin.ingest.vectors import VectorWork
from codekin.seams import Embedder
from fakes import FakeEmbedder


class Driven:
    """One indexer over a root and an index folder; `embedder` None fails every batch."""

    def __init__(self, root: Path, folder: Path, embedder: Embedder | None = None, globs: Iterable[str] = ()) -> None:
        self.embedder: Embedder | None = embedder or FakeEmbedder()
        self.batches: list[Mapping[str, str]] = []
        self.events: list[dict[str, Any]] = []
        self.index = Index.open(folder, write=True)
        self.workspace = Workspace(Root(root), scope(globs), self.index)
        reports = Reports(self.events.append)
        vectors = VectorWork(Backlog(self.index), self, reports)
        self.indexer = Indexer(self.workspace, reports, vectors, Schedule(every=700.0))
        self.now = time.monotonic()
        self._submitted: list[Mapping[str, str]] = []

    def submit(self, texts: Mapping[str, str]) -> None:
        """Takes a batch, as the embedding thread would."""
        self._submitted.append(texts)
        self.batches.append(texts)

    def ignoring(self, *globs: str) -> Workspace:
        """The workspace under other settings."""
        return replace(self.workspace, scope=scope(globs))

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

    def _outcome(self, texts: Mapping[str, str]) -> Embedded:
        if self.embedder is None:
            return Embedded(failure="The model is not there.")
        rows = self.embedder.embed(list(texts.values()))
        return Embedded(
            self.embedder.space, self.embedder.name, self.embedder.dimensions, dict(zip(texts, rows, strict=True))
        )


def scope(globs: Iterable[str] = ()) -> Scope:
    """The rules a workspace has by default."""
    return Scope(base_rules(globs), lambda path: syntax.language_of(path, "") is not None)


def contents(index: Index) -> dict[str, tuple[object, ...]]:
    """All that an index says of the tree: for each path its hash, language, reason and fragments."""
    return {
        path: (state.hash, state.language, state.skipped, state.buffer, tuple(index.fragments(path)))
        for path, state in index.files().items()
    }


def fresh_contents(root: Path, folder: Path) -> dict[str, tuple[object, ...]]:
    """What an index built from nothing says of the tree as it is now."""
    driven = Driven(root, folder)
    driven.settle()
    found = contents(driven.index)
    driven.close()
    return found


def assert_whole(index: Index) -> None:
    """Every fragment has its words and its vector."""
    status = index.status()
    assert (status.vectors, status.lexical_behind) == (status.fragments, False)
