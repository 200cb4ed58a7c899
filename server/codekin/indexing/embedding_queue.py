"""Embeds the texts that lack a vector: batches by priority and length, two in flight, with retries after failures.

The index is the durable list of what is missing, so nothing is lost when the process ends.
"""

import base64
import hmac
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from queue import SimpleQueue
from typing import Final, Protocol

import numpy as np

from codekin.errors import CodekinError, HttpError
from codekin.http import JsonClient, parse_endpoint
from codekin.indexing.reconciliation import EventReporter
from codekin.models.embedding.finetuned import EmbeddingHead
from codekin.protocols import Embedder, Vectors, VectorStore

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class EmbeddedBatch:
    """The outcome of one batch: `vectors` (unit rows by digest) of one space, or a `failure` in a sentence.

    `base` is the space of the model that the embedder was trained from, its own where it was not. An empty batch
    only opens the embedder.
    """

    space: str = ""
    name: str = ""
    dimensions: int = 0
    vectors: Mapping[str, Vectors] = field(default_factory=dict)
    failure: str = ""
    base: str = ""


_TEAM_TIMEOUT_SECONDS: Final = 10.0
_TEAM_PAUSE_SECONDS: Final = 60.0
"""After a failure the team's server is left alone for so long: an editor never waits for it twice in a row."""


def possession_proof(key: bytes, text: str) -> str:
    """What only somebody with the text and the key can say: HMAC-SHA256, in hex."""
    return hmac.new(key, text.encode("utf-8", "surrogatepass"), sha256).hexdigest()


@dataclass(slots=True)
class TeamVectorSource:
    """Takes vectors from a team's server that has embedded the texts already; used by one thread.

    It proves that it has each text: it sends the content hash and a MAC of the text under its token, never the text.
    What the server does not have, or cannot be reached for, is embedded here.
    """

    url: str
    token: str = field(repr=False)
    _silent_until: float = 0.0

    def vectors(self, space: str, dimensions: int, texts: Mapping[str, str]) -> dict[str, Vectors]:
        """Vectors by digest for those `texts` (by digest) that the server has in this space; none where it fails."""
        if not self.url or not texts or time.monotonic() < self._silent_until:
            return {}
        key = sha256(self.token.encode()).digest()
        proofs = {digest: possession_proof(key, text) for digest, text in texts.items()}
        try:
            endpoint = parse_endpoint(self.url, self.token, _TEAM_TIMEOUT_SECONDS, attempts=1)
            with JsonClient(endpoint) as client:
                answer = client.post("/vectors", {"space": space, "proofs": proofs})
            found = _decode_vectors(answer, dimensions, texts)
        except (HttpError, ValueError, TypeError, KeyError) as error:
            log.info("The team's server gave no vectors (%s).", error)
            self._silent_until = time.monotonic() + _TEAM_PAUSE_SECONDS
            return {}
        return found


def _decode_vectors(
    answer: Mapping[str, Mapping[str, str]], dimensions: int, texts: Mapping[str, str]
) -> dict[str, Vectors]:
    """Float32 vectors by digest; those that are none are left out."""
    cells = {digest: base64.b64decode(cell) for digest, cell in answer["vectors"].items() if digest in texts}
    rows = {digest: np.frombuffer(cell, "<f2").astype(np.float32) for digest, cell in cells.items()}
    return {digest: row for digest, row in rows.items() if row.shape == (dimensions,) and np.isfinite(row).all()}


class EmbeddingThread:
    """One batch after the other; `done` is called in this thread with each outcome."""

    def __init__(
        self,
        open_embedder: Callable[[], Embedder],
        done: Callable[[EmbeddedBatch], None],
        team: TeamVectorSource | None = None,
    ) -> None:
        """What `team` has embedded already is taken from there."""
        self._open = open_embedder
        self._done = done
        self._team = team
        self._batches: SimpleQueue[Mapping[str, str] | None] = SimpleQueue()
        self._embedder: Embedder | None = None
        self._thread = threading.Thread(target=self._run, name="embedding", daemon=True)
        self._thread.start()

    def submit(self, texts: Mapping[str, str]) -> None:
        """Requests the vectors of texts by digest; outcomes come in the order of the batches."""
        self._batches.put(texts)

    def close(self) -> None:
        """Ends the thread after the batch it is at."""
        self._batches.put(None)

    def _run(self) -> None:
        while (texts := self._batches.get()) is not None:
            self._done(self._embedded(texts))

    def _embedded(self, texts: Mapping[str, str]) -> EmbeddedBatch:
        try:
            embedder = self._embedder = self._embedder or self._open()
            found = self._team.vectors(embedder.space, embedder.dimensions, texts) if self._team else {}
            rest = {digest: text for digest, text in texts.items() if digest not in found}
            rows = embedder.embed(list(rest.values())) if rest else ()
        except CodekinError as error:
            self._embedder = None
            return EmbeddedBatch(failure=str(error))
        except Exception as error:
            # The thread must outlive an embedder's defect: words are still found meanwhile.
            log.exception("Embedding failed.")
            self._embedder = None
            return EmbeddedBatch(failure=f"The embedder failed ({type(error).__name__}): see the log.")
        vectors = {**found, **dict(zip(rest, rows, strict=bool(rest)))}
        base = embedder.base_space
        return EmbeddedBatch(embedder.space, embedder.name, embedder.dimensions, vectors, base=base)


MAX_BATCH_TEXTS: Final = 32
MAX_BATCH_CHARACTERS: Final = 32_000
"""Bounds of a batch: small enough that a fresh text never waits long behind another batch."""

_LOOKAHEAD_TEXTS: Final = 1_024
_MAX_PRIORITY_TEXTS: Final = 512


ReadHead = Callable[[str], EmbeddingHead | None]


class EmbeddingBacklog:
    """The missing vectors of one index; used by the index's writing thread alone."""

    def __init__(self, index: VectorStore, read_head: ReadHead = lambda _base: None) -> None:
        """`read_head` gives the head that was trained on a base space, if there is one."""
        self._index = index
        self._read_active_head = read_head
        self._head: EmbeddingHead | None = None
        self._priority: dict[str, str] = {}
        self._waiting: deque[tuple[str, str]] = deque()
        self._more = True
        self.space = self._base = ""
        self.stored = 0

    def add(self, texts: Mapping[str, str], *, first: bool) -> None:
        """Notes chunks' texts that may lack a vector; `first` puts them before all others."""
        self._more = self._more or bool(texts)
        if first and len(self._priority) < _MAX_PRIORITY_TEXTS:
            self._priority.update(texts)

    def recheck_missing(self) -> None:
        """Notes that vectors may be missing that were there before."""
        self._more = True

    def enter(self, opened: EmbeddedBatch) -> None:
        """Goes on in the space of an embedder that was opened; what is missing there is looked up anew."""
        self._index.ensure_space(opened.space, opened.name, opened.dimensions)
        self.space, self._more = opened.space, True
        self._base = opened.base or opened.space
        self._waiting.clear()
        self.reload_head()

    def next_batch(self, most: int = MAX_BATCH_TEXTS, excluded: Container[str] = ()) -> dict[str, str]:
        """Up to `most` texts by digest to embed next; empty when all have their vector or are `excluded`."""
        while self._priority:
            if priority := self._next_priority(most):
                return priority
        if not self._waiting and self._more:
            self._fetch_missing(excluded)
        batch: dict[str, str] = {}
        characters = 0
        while self._waiting and len(batch) < most:
            digest, text = self._waiting[0]
            characters += len(text)
            if batch and characters > MAX_BATCH_CHARACTERS:
                break
            batch[digest] = text
            self._waiting.popleft()
        return batch

    def store(self, embedded: EmbeddedBatch) -> None:
        """Stores a batch's vectors, and beside them what the head makes of them."""
        self.stored += self._index.put_vectors(embedded.vectors, embedded.space)
        if self._head and embedded.vectors:
            moved = self._head.apply(np.asarray(list(embedded.vectors.values()), np.float32))
            self._index.put_vectors(dict(zip(embedded.vectors, moved, strict=True)), self._head.space)

    def reload_head(self) -> None:
        """Continues with the workspace's active head once all vectors are projected, or without one."""
        before, self._head = self._head, self._read_active_head(self.space) if self.space else None
        if self._head and self._head.space != (before.space if before else ""):
            self._index.ensure_space(self._head.space, self._head.name, len(self._head.matrix))
            self._index.project_space(self.space, self._head.space, self._head.apply)
            self._more = True

    def return_batch(self, batch: Mapping[str, str]) -> None:
        """Takes back a batch that failed, behind all others."""
        self._waiting.extend(batch.items())

    def missing(self) -> int:
        """How many chunks lack a vector of this space, as far as it is known."""
        status = self._index.status()
        covered = status.vectors if status.space in {self.space, self._target} else 0
        return max(status.chunks - covered, 0)

    def promote_space(self) -> bool:
        """Makes the space, now whole, the serving one; False when it was already.

        The base's vectors are kept under any head: the next head projects them, and a rollback to
        the base uses them. Those of other models and earlier heads are dropped, unless that was done before: a dropped
        space may vanish at any moment.
        """
        serving = self._index.serving_space()
        if not self.space or serving is None or serving.fingerprint == self._target:
            return False
        for space in self._index.status().spaces:
            if space.state in ("building", "kept") and space.fingerprint not in {self._base, self.space, self._target}:
                self._index.drop_space(space.fingerprint)
        self._index.promote(self._target, keep_old=serving.fingerprint == self._base)
        return True

    @property
    def _target(self) -> str:
        """The space that shall serve."""
        return self._head.space if self._head else self.space

    def _next_priority(self, most: int) -> dict[str, str]:
        """The oldest of the fresh texts, without those that have their vector already."""
        texts = {digest: self._priority.pop(digest) for digest in list(self._priority)[:most]}
        return {digest: texts[digest] for digest in self._index.missing_digests(self.space, texts)}

    def _fetch_missing(self, excluded: Container[str]) -> None:
        """Fetches the next missing texts, alike in length side by side, so that little is padded."""
        found = self._index.unembedded_texts(self.space, _LOOKAHEAD_TEXTS)
        wanted = [(digest, text) for digest, text in found if digest not in excluded]
        self._waiting = deque(sorted(wanted, key=lambda item: len(item[1])))
        self._more = bool(found)


_MAX_IN_FLIGHT: Final = 2
"""The embedder works on one while the index takes in the other."""

FIRST_RETRY_SECONDS: Final = 0.5
MAX_RETRY_SECONDS: Final = 30.0
_REPORT_AFTER_FAILURES: Final = 3
"""Failures in a row that may pass unseen: a daemon that restarts, a model that loads."""

_SETTLE_AFTER_FAILURES: Final = 5
"""Failures in a row after which the index counts as ready without the missing vectors."""


class BatchSubmitter(Protocol):
    """Where batches go to be embedded; each outcome comes back through `VectorWork.take`."""

    def submit(self, texts: Mapping[str, str]) -> None:
        """Requests the vectors of texts by digest."""
        ...


class EmbeddingQueue:
    """What is being embedded, what failed, and when to try again; without `batches` nothing is embedded."""

    def __init__(self, backlog: EmbeddingBacklog, batches: BatchSubmitter | None, reporter: EventReporter) -> None:
        self._backlog = backlog
        self._batches = batches
        self._reporter = reporter
        self._in_flight: deque[Mapping[str, str]] = deque()
        self._drained = False
        self._failures = 0
        self._retry_at = 0.0
        self._complete = batches is None
        self._total = 0

    @property
    def settled(self) -> bool:
        """Whether every vector is stored, or cannot be had for now."""
        return self._complete or self._failures >= _SETTLE_AFTER_FAILURES

    @property
    def stored(self) -> int:
        """Vectors stored by this process."""
        return self._backlog.stored

    def add(self, texts: Mapping[str, str], *, first: bool) -> None:
        """Notes texts that may lack a vector; `first` puts them before all others."""
        if self._batches is not None and texts:
            self._complete = self._drained = False
            self._total += len(texts)
            self._backlog.add(texts, first=first)

    def recheck_missing(self) -> None:
        """Queries the index again for missing vectors: it may have lost some."""
        if self._batches is not None:
            self._complete = self._drained = False
            self._backlog.recheck_missing()

    def reload_head(self) -> None:
        """Continues with the workspace's active head."""
        if self._batches is not None:
            self._backlog.reload_head()
            self._complete = self._drained = False

    def recount(self) -> None:
        """Counts the missing vectors for the next progress reports."""
        if self._batches is not None:
            self._total = self._backlog.stored + self._backlog.missing()

    def wait(self, now: float) -> float | None:
        """Seconds until the next try; None when there is nothing to try, or an outcome is awaited."""
        most = _MAX_IN_FLIGHT if self._backlog.space and not self._failures and not self._drained else 1
        if self._complete or len(self._in_flight) >= most:
            return None
        return max(0.0, self._retry_at - now)

    def step(self, now: float) -> None:
        """Submits the next batches, if they are due; an empty one first, to learn the embedder's space."""
        while self._batches is not None and self.wait(now) == 0.0:
            batch: Mapping[str, str] = {}
            if self._backlog.space:
                excluded = {digest for texts in self._in_flight for digest in texts}
                batch = self._backlog.next_batch(max(1, MAX_BATCH_TEXTS >> self._failures), excluded)
                if not batch:
                    self._drain()
                    return
            self._in_flight.append(batch)
            self._batches.submit(batch)

    def take(self, outcome: EmbeddedBatch, now: float) -> None:
        """Stores a batch's vectors, or plans another try: smaller each time, so that one bad text ends up alone."""
        batch = self._in_flight.popleft() if self._in_flight else {}
        self._drained = False
        if outcome.failure:
            self._failures += 1
            self._backlog.return_batch(batch)
            self._retry_at = now + min(FIRST_RETRY_SECONDS * 2 ** (self._failures - 1), MAX_RETRY_SECONDS)
            if self._failures >= _REPORT_AFTER_FAILURES:
                self._reporter.problem(f"Search uses the text index only for now: {outcome.failure}")
            return
        if outcome.space != self._backlog.space:
            self._backlog.enter(outcome)
            self.recount()
        if self._failures:
            self._reporter.recovered()
        self._failures = 0
        self._backlog.store(outcome)
        self._reporter.progress("vectors", self._backlog.stored, self._total, now)

    def _drain(self) -> None:
        """There is nothing left to submit; once nothing is under way either, the space is whole."""
        self._drained = True
        if not self._in_flight:
            self._complete = True
            self._backlog.promote_space()
