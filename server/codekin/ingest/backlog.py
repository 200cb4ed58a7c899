"""Which texts still lack a vector, what is embedded next, and in which space the vectors go.

Texts that just changed come first, then the rest, in batches of similar length. The index
itself is the durable list of what is missing, so nothing is lost when the process ends.
Knows nothing of threads and embedders.
"""

from collections import deque
from collections.abc import Mapping
from typing import Final

from codekin.index import Index
from codekin.ingest.embedding import Embedded

MOST_TEXTS: Final = 32
MOST_CHARACTERS: Final = 32_000
"""Bounds of a batch: small enough that a fresh text never waits long behind another batch."""

_AHEAD: Final = 1_024
_MOST_FRESH: Final = 512


class Backlog:
    """The missing vectors of one index; used by the index's writing thread alone."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._fresh: dict[str, str] = {}
        self._waiting: deque[tuple[str, str]] = deque()
        self._more = True
        self.space = ""
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
        self._waiting.clear()

    def next_batch(self, most: int = MOST_TEXTS) -> dict[str, str]:
        """Up to `most` texts by digest to embed next; empty when every fragment has its vector."""
        while self._fresh:
            if fresh := self._next_fresh(most):
                return fresh
        if not self._waiting and self._more:
            self._look_ahead()
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
        """Stores a batch's vectors."""
        self.stored += self._index.put_vectors(embedded.vectors, embedded.space)

    def give_back(self, batch: Mapping[str, str]) -> None:
        """Takes back a batch that failed, behind all others."""
        self._waiting.extend(batch.items())

    def missing(self) -> int:
        """How many fragments lack a vector of this space, as far as it is known."""
        status = self._index.status()
        covered = status.vectors if status.space == self.space else 0
        return max(status.fragments - covered, 0)

    def finish(self) -> bool:
        """Makes the space, now whole, the serving one; False when it was already."""
        serving = self._index.serving_space()
        if not self.space or serving is None or serving.fingerprint == self.space:
            return False
        self._index.promote(self.space)
        return True

    def _next_fresh(self, most: int) -> dict[str, str]:
        """The oldest of the fresh texts, without those that have their vector already."""
        texts = {digest: self._fresh.pop(digest) for digest in list(self._fresh)[:most]}
        return {digest: texts[digest] for digest in self._index.missing_digests(self.space, texts)}

    def _look_ahead(self) -> None:
        """Fetches the next missing texts, alike in length side by side, so that little is padded."""
        found = self._index.unembedded(self.space, _AHEAD)
        self._waiting = deque(sorted(found, key=lambda item: len(item[1])))
        self._more = bool(found)
