"""Drives the embedding of what is missing: two batches in flight, retries after failures.

A failing embedder loses nothing: what is missing is asked of the index, and asked again.
Knows nothing of files; callers hand in the time, in seconds that only grow.
"""

from collections import deque
from collections.abc import Mapping
from typing import Final, Protocol

from codekin.ingest.backlog import MOST_TEXTS, Backlog
from codekin.ingest.embedding import Embedded
from codekin.ingest.reports import Reports

_MOST_IN_FLIGHT: Final = 2
"""The embedder works on one while the index takes in the other."""

FIRST_DELAY: Final = 0.5
LONGEST_DELAY: Final = 30.0
_TOLD_AFTER: Final = 3
"""Failures in a row that may pass unseen: a daemon that restarts, a model that loads."""

_GIVEN_UP_AFTER: Final = 5
"""Failures in a row after which the index counts as ready without the missing vectors."""


class Batches(Protocol):
    """Where batches go to be embedded; each outcome comes back through `VectorWork.take`."""

    def submit(self, texts: Mapping[str, str]) -> None:
        """Asks for the vectors of texts by digest."""
        ...


class VectorWork:
    """What is being embedded, what failed, and when to try again; without `batches` nothing is embedded."""

    def __init__(self, backlog: Backlog, batches: Batches | None, reports: Reports) -> None:
        self._backlog = backlog
        self._batches = batches
        self._reports = reports
        self._in_flight: deque[Mapping[str, str]] = deque()
        self._drained = False
        self._failures = 0
        self._retry_at = 0.0
        self._complete = batches is None
        self._total = 0

    @property
    def settled(self) -> bool:
        """Whether every vector is stored, or cannot be had for now."""
        return self._complete or self._failures >= _GIVEN_UP_AFTER

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

    def look_again(self) -> None:
        """Asks the index once more what is missing: it may have lost vectors."""
        if self._batches is not None:
            self._complete = self._drained = False
            self._backlog.look_again()

    def take_head(self) -> None:
        """Goes on with what the workspace has learned by now."""
        if self._batches is not None:
            self._backlog.take_head()
            self._complete = self._drained = False

    def recount(self) -> None:
        """Counts what is missing, for the progress told from now on."""
        if self._batches is not None:
            self._total = self._backlog.stored + self._backlog.missing()

    def wait(self, now: float) -> float | None:
        """Seconds until the next try; None when there is nothing to try, or an outcome is awaited."""
        most = _MOST_IN_FLIGHT if self._backlog.space and not self._failures and not self._drained else 1
        if self._complete or len(self._in_flight) >= most:
            return None
        return max(0.0, self._retry_at - now)

    def step(self, now: float) -> None:
        """Submits the next batches, if they are due; an empty one first, to learn the embedder's space."""
        while self._batches is not None and self.wait(now) == 0.0:
            batch: Mapping[str, str] = {}
            if self._backlog.space:
                away = {digest for texts in self._in_flight for digest in texts}
                batch = self._backlog.next_batch(max(1, MOST_TEXTS >> self._failures), away)
                if not batch:
                    self._drain()
                    return
            self._in_flight.append(batch)
            self._batches.submit(batch)

    def take(self, outcome: Embedded, now: float) -> None:
        """Stores a batch's vectors, or plans another try: smaller each time, so that one bad text ends up alone."""
        batch = self._in_flight.popleft() if self._in_flight else {}
        self._drained = False
        if outcome.failure:
            self._failures += 1
            self._backlog.give_back(batch)
            self._retry_at = now + min(FIRST_DELAY * 2 ** (self._failures - 1), LONGEST_DELAY)
            if self._failures >= _TOLD_AFTER:
                self._reports.problem(f"Similar code is found by words alone for now: {outcome.failure}")
            return
        if outcome.space != self._backlog.space:
            self._backlog.enter(outcome)
            self.recount()
        if self._failures:
            self._reports.recovered()
        self._failures = 0
        self._backlog.store(outcome)
        self._reports.progress("vectors", self._backlog.stored, self._total, now)

    def _drain(self) -> None:
        """There is nothing left to submit; once nothing is under way either, the space is whole."""
        self._drained = True
        if not self._in_flight:
            self._complete = True
            self._backlog.finish()
