"""Which texts still lack a vector, what is embedded next, and in which space the vectors go.

Texts that just changed come first, then the rest, in batches of similar length. The index
itself is the durable list of what is missing, so nothing is lost when the process ends.
Knows nothing of threads and embedders.
"""

from collections import deque
from collections.abc import Callable, Container, Mapping
from typing import Final

import numpy as np

from codekin.index import Index
from codekin.ingest.embedding import Embedded
from codekin.models.heads import Head

MOST_TEXTS: Final = 32
MOST_CHARACTERS: Final = 32_000
"""Bounds of a batch: small enough that a fresh text never waits long behind another batch."""

_AHEAD: Final = 1_024
_MOST_FRESH: Final = 512


ReadHead = Callable[[str], Head | None]


class Backlog:
    """The missing vectors of one index; used by the index's writing thread alone."""

    def __init__(self, index: Index, read_head: ReadHead = lambda _base: None) -> None:
        """`read_head` gives the head that was learned on a base space, if there is one."""
        self._index = index
        self._read_head = read_head
        self._head: Head | None = None
        self._fresh: dict[str, str] = {}
        self._waiting: deque[tuple[str, str]] = deque()
        self._more = True
        self.space = self._base = ""
        self.stored = 0

    def add(self, texts: Mapping[str, str], *, first: bool) -> None:
        """Notes fragments' texts that may lack a vector; `first` puts them before all others."""
        self._more = self._more or bool(texts)
        if first and len(self._fresh) < _MOST_FRESH:
            self._fresh.update(texts)

    def look_again(self) -> None:
        """Notes that vectors may be missing that were there before."""
        self._more = True

    def enter(self, opened: Embedded) -> None:
        """Goes on in the space of an embedder that was opened; what is missing there is looked up anew."""
        self._index.ensure_space(opened.space, opened.name, opened.dimensions)
        self.space, self._more = opened.space, True
        self._base = opened.base or opened.space
        self._waiting.clear()
        self.take_head()

    def next_batch(self, most: int = MOST_TEXTS, away: Container[str] = ()) -> dict[str, str]:
        """Up to `most` texts by digest to embed next; empty when all have their vector or are `away` for it."""
        while self._fresh:
            if fresh := self._next_fresh(most):
                return fresh
        if not self._waiting and self._more:
            self._look_ahead(away)
        batch: dict[str, str] = {}
        characters = 0
        while self._waiting and len(batch) < most:
            digest, text = self._waiting[0]
            characters += len(text)
            if batch and characters > MOST_CHARACTERS:
                break
            batch[digest] = text
            self._waiting.popleft()
        return batch

    def store(self, embedded: Embedded) -> None:
        """Stores a batch's vectors, and beside them what the head makes of them."""
        self.stored += self._index.put_vectors(embedded.vectors, embedded.space)
        if self._head and embedded.vectors:
            moved = self._head.move(np.asarray(list(embedded.vectors.values()), np.float32))
            self._index.put_vectors(dict(zip(embedded.vectors, moved, strict=True)), self._head.space)

    def take_head(self) -> None:
        """Goes on with the head that the workspace has learned by now, once all vectors have been moved; or without."""
        before, self._head = self._head, self._read_head(self.space) if self.space else None
        if self._head and self._head.space != (before.space if before else ""):
            self._index.ensure_space(self._head.space, self._head.name, len(self._head.matrix))
            self._index.project_space(self.space, self._head.space, self._head.move)
            self._more = True

    def give_back(self, batch: Mapping[str, str]) -> None:
        """Takes back a batch that failed, behind all others."""
        self._waiting.extend(batch.items())

    def missing(self) -> int:
        """How many fragments lack a vector of this space, as far as it is known."""
        status = self._index.status()
        covered = status.vectors if status.space in {self.space, self._target} else 0
        return max(status.fragments - covered, 0)

    def finish(self) -> bool:
        """Makes the space, now whole, the serving one; False when it was already.

        The base's vectors are kept under whatever was learned from it: the next head moves them, and the way back to
        the base finds them. Of other models and earlier nights none are.
        """
        serving = self._index.serving_space()
        if not self.space or serving is None or serving.fingerprint == self._target:
            return False
        for space in self._index.status().spaces:
            if space.state != "serving" and space.fingerprint not in {self._base, self.space, self._target}:
                self._index.drop_space(space.fingerprint)
        self._index.promote(self._target, keep_old=serving.fingerprint == self._base)
        return True

    @property
    def _target(self) -> str:
        """The space that shall serve."""
        return self._head.space if self._head else self.space

    def _next_fresh(self, most: int) -> dict[str, str]:
        """The oldest of the fresh texts, without those that have their vector already."""
        texts = {digest: self._fresh.pop(digest) for digest in list(self._fresh)[:most]}
        return {digest: texts[digest] for digest in self._index.missing_digests(self.space, texts)}

    def _look_ahead(self, away: Container[str]) -> None:
        """Fetches the next missing texts, alike in length side by side, so that little is padded."""
        found = self._index.unembedded(self.space, _AHEAD)
        wanted = [(digest, text) for digest, text in found if digest not in away]
        self._waiting = deque(sorted(wanted, key=lambda item: len(item[1])))
        self._more = bool(found)
