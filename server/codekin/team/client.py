"""A developer's side of the team's server: its hits, beside those of the local index and never in their way.

A request goes out while the local index is searched, and its answer is awaited for a short time. A server that fails is
left alone for a while. Its answers are foreign data: what is no hit is left out.
"""

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

from codekin.errors import HttpError
from codekin.http import JsonClient, parse_endpoint
from codekin.settings import TeamSettings
from codekin.types import Chunk, Filters, Hit, SearchRequest

log = logging.getLogger(__name__)

SCHEME = "codekin://"
"""What the path of a hit begins with that lies in another repository: `codekin://REPOSITORY/PATH`."""

_THREADS = 4
_PAUSE_SECONDS = 30.0
_MAX_HITS = 200


@dataclass(frozen=True, slots=True)
class TeamRow:
    """A hit of the team's server, its path a `codekin://` address; repository, path there, and content hash."""

    hit: Hit
    repository: str
    path: str
    digest: str


@dataclass(frozen=True, slots=True)
class TeamRequest:
    """A request that is under way."""

    answers: "TeamAnswers"
    answer: "Future[list[TeamRow]]"
    deadline: float

    def rows(self) -> list[TeamRow]:
        """The team's hits; none where they are not there in time."""
        try:
            return self.answer.result(max(0.0, self.deadline - time.monotonic()))
        except TimeoutError:
            self.answers.note_failure("it did not answer in time")
            return []


class TeamAnswers:
    """The team's server of the settings; every method may be called from any thread."""

    def __init__(self, settings: TeamSettings) -> None:
        self._settings = settings
        self._silent_until = 0.0
        self._is_asked = False
        self._clients = threading.local()
        self._threads = ThreadPoolExecutor(_THREADS, "team") if settings.url else None

    @property
    def state(self) -> str:
        """In one word: idle, ready or down."""
        if time.monotonic() < self._silent_until:
            return "down"
        return "ready" if self._is_asked else "idle"

    def similar(self, chunk: Chunk, filters: Filters, limit: int) -> TeamRequest | None:
        """Asks for code like a chunk; None where there is no server to ask."""
        body = {"snippet": chunk.text, "language": chunk.language, "name": chunk.name}
        return self._ask("/similar", body, filters, limit)

    def search(self, request: SearchRequest) -> TeamRequest | None:
        """Asks for code by words; None where there is no server to ask."""
        return self._ask("/search", {"text": request.text}, request.filters, request.limit)

    def note_failure(self, why: str) -> None:
        """Leaves the server alone for a while."""
        log.info("The team's server is left alone for %g seconds: %s", _PAUSE_SECONDS, why)
        self._silent_until = time.monotonic() + _PAUSE_SECONDS

    def _ask(self, path: str, body: Mapping[str, Any], filters: Filters, limit: int) -> TeamRequest | None:
        if self._threads is None or time.monotonic() < self._silent_until:
            return None
        allowed = {name: list(value) for name, value in asdict(filters).items() if isinstance(value, tuple)}
        whole = {**body, "limit": min(limit, _MAX_HITS), "filters": {**allowed, "min_score": filters.min_score}}
        answer = self._threads.submit(self._fetch, path, whole)
        return TeamRequest(self, answer, time.monotonic() + self._settings.timeout_seconds)

    def _fetch(self, path: str, body: Mapping[str, Any]) -> list[TeamRow]:
        try:
            answer = self._client().post(path, body)
            rows = [_read_row(row) for row in answer["hits"][:_MAX_HITS]]
        except (HttpError, KeyError, TypeError, ValueError) as error:
            self.note_failure(str(error))
            return []
        self._is_asked, self._silent_until = True, 0.0
        return rows

    def _client(self) -> JsonClient:
        """The client of the calling thread, whose connection is kept."""
        if not hasattr(self._clients, "client"):
            settings = self._settings
            endpoint = parse_endpoint(settings.url, settings.token, settings.timeout_seconds, attempts=1)
            self._clients.client = JsonClient(endpoint)
        client: JsonClient = self._clients.client
        return client


def _read_row(row: Mapping[str, Any]) -> TeamRow:
    """A hit from the server's JSON. Raises KeyError, TypeError or ValueError where it is none."""
    repository, path = str(row["repository"]), str(row["path"])
    digest = bytes.fromhex(row["digest"]).hex()
    hit = Hit(
        path=f"{SCHEME}{repository}/{path}",
        name=str(row["name"]),
        kind=str(row["kind"]),
        language=str(row["language"]),
        start_line=int(row["start_line"]),
        end_line=int(row["end_line"]),
        code_line=int(row["code_line"]),
        score=min(1.0, max(0.0, float(row["score"]))),
        reasons=(f"in {repository}", *map(str, row["reasons"])),
    )
    return TeamRow(hit, repository, path, digest)


def merge_hits(local: Sequence[Hit], team: Sequence[Hit], limit: int) -> list[Hit]:
    """Both by score, local ones first among equals."""
    return sorted([*local, *team], key=lambda hit: -hit.score)[:limit]
