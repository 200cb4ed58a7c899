"""The HTTP server of a team's index: search, similar, duplicates, vectors, documents, status, metrics, health.

Every request but `/health` and `/ready` needs a token; what it may see is one `SearchScope`, and every request is
counted, limited and noted in the audit log. Put TLS before it, or give it a certificate.
"""

import asyncio
import base64
import json
import logging
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from codekin import parsing
from codekin.errors import CodekinError, StoreError, UsageError
from codekin.protocols import Embedder
from codekin.team import queries
from codekin.team.access import AccessError, RateLimiter, Reader, authenticate, record_request, scope_of
from codekin.team.database import TeamDatabase
from codekin.team.embedder import SharedEmbedder
from codekin.team.queries import TeamHit
from codekin.team.text_index import SearchScope
from codekin.team.vectors import TeamVectors
from codekin.types import Chunk, Filters, SearchRequest

log = logging.getLogger(__name__)

TEXT_LIMIT = 100_000
HITS_LIMIT = 200
PROOFS_LIMIT = 1000
BODY_LIMIT = 4 << 20
_SHUTDOWN_SECONDS = 20
_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


@dataclass(eq=False)
class TeamService:
    """What the routes share: the database, the embedder of queries, the limits and the counts."""

    database: TeamDatabase
    embedder: Embedder | None = None
    limiter: RateLimiter = field(default_factory=RateLimiter)
    requests: Counter[tuple[str, int]] = field(default_factory=Counter)
    durations: defaultdict[str, list[int]] = field(default_factory=lambda: defaultdict(lambda: [0] * len(_BUCKETS)))
    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    mutex: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        if self.embedder is not None:
            self.embedder = SharedEmbedder(self.embedder)

    def count(self, route: str, status: int, seconds: float) -> None:
        """Counts a request for the metrics."""
        with self.mutex:
            self.requests[route, status] += 1
            self.seconds[route] += seconds
            buckets = self.durations[route]
            for at, bound in enumerate(_BUCKETS):
                buckets[at] += seconds <= bound


Answer = dict[str, Any]
Handler = Callable[[TeamService, Reader, Mapping[str, Any]], tuple[Answer, int]]


def search(service: TeamService, reader: Reader, values: Mapping[str, Any]) -> tuple[Answer, int]:
    """{"text", "limit"?, "filters"?, "repositories"?, "branch"?} gives {"hits", "space"}."""
    text = _text(values, "text").strip()
    if not text or len(text) > TEXT_LIMIT:
        raise UsageError(f"`text` must have between 1 and {TEXT_LIMIT} characters.")
    request = SearchRequest(text, _filters(values), _number(values, "limit", 10, HITS_LIMIT))
    scope = _scope(service, reader, values)
    hits = queries.search(service.database, service.embedder, scope, request) if scope.branches else []
    return _hits(service, hits), len(hits)


def similar(service: TeamService, reader: Reader, values: Mapping[str, Any]) -> tuple[Answer, int]:
    """{"snippet", "language"?, "name"?, "limit"?, "filters"?, "repositories"?, "branch"?} gives {"hits", "space"}."""
    chunk = _chunk(_text(values, "snippet"), _text(values, "language", ""), _text(values, "name", ""))
    limit, scope = _number(values, "limit", 10, HITS_LIMIT), _scope(service, reader, values)
    if not scope.branches:
        return _hits(service, []), 0
    hits = queries.similar(service.database, service.embedder, scope, chunk, _filters(values), limit)
    return _hits(service, hits), len(hits)


def duplicates(service: TeamService, reader: Reader, values: Mapping[str, Any]) -> tuple[Answer, int]:
    """{"limit"?, "filters"?, "repositories"?, "branch"?} gives {"groups": [[hit, …], …]}."""
    scope, limit = _scope(service, reader, values), _number(values, "limit", 50, HITS_LIMIT)
    groups = queries.duplicates(service.database, scope, _filters(values), limit) if scope.branches else []
    return {"groups": [[_hit(one) for one in group] for group in groups]}, len(groups)


def vectors(service: TeamService, reader: Reader, values: Mapping[str, Any]) -> tuple[Answer, int]:
    """{"space", "proofs": {digest: proof}} gives {"vectors": {digest: base64 of little-endian float16}}."""
    proofs = values.get("proofs")
    if not isinstance(proofs, dict) or len(proofs) > PROOFS_LIMIT or not all(map(_is_proof, proofs.items())):
        raise UsageError(f"`proofs` must map at most {PROOFS_LIMIT} content hashes to proofs, all of 64 hex digits.")
    scope, space = _scope(service, reader, values), _text(values, "space")
    found = queries.possessed_vectors(service.database, scope, space, proofs, reader.key)
    cells = {digest: base64.b64encode(row.astype("<f2").tobytes()).decode() for digest, row in found.items()}
    return {"vectors": cells}, len(cells)


def document(service: TeamService, reader: Reader, values: Mapping[str, Any]) -> tuple[Answer, int]:
    """{"repository", "path"} gives {"chunks": [{"start_line", "text"}]}: what is stored of a file."""
    scope = _scope(service, reader, values)
    found = queries.read_document(service.database, scope, _text(values, "repository"), _text(values, "path"))
    if found is None:
        raise UsageError("There is no such file for this token.")
    return {"chunks": [{"start_line": line, "text": text} for line, text in found]}, len(found)


def status(service: TeamService, reader: Reader, values: Mapping[str, Any]) -> tuple[Answer, int]:
    """{} gives {"repositories": [row, …], "space", "reader"}: the branches that the token opens."""
    del values
    rows = service.database.rows(
        "SELECT repository.name, branch.name, revision, files, chunks, indexed::text, problem FROM branch"
        " JOIN repository ON repository.id = branch.repository WHERE %s::text[] IS NULL OR repository.name = ANY(%s)"
        " ORDER BY 1, 2",
        *(None if reader.repositories is None else list(reader.repositories),) * 2,
    )
    names = ("repository", "branch", "revision", "files", "chunks", "indexed", "problem")
    shown = [dict(zip(names, row, strict=True)) for row in rows]
    return {"repositories": shown, "space": _space(service), "reader": reader.name}, len(shown)


def refresh(service: TeamService, reader: Reader, values: Mapping[str, Any]) -> tuple[Answer, int]:
    """{"repository"} lets its branches be read at once, for the hook of a push; gives {"queued"}."""
    name = _text(values, "repository")
    if reader.repositories is not None and name not in reader.repositories:
        return {"queued": 0}, 0
    queued = service.database.run(
        "UPDATE job SET due=now() FROM branch JOIN repository ON repository.id = branch.repository"
        " WHERE branch.id = job.branch AND repository.name = %s",
        name,
    )
    return {"queued": queued}, queued


def metrics(service: TeamService) -> str:
    """What Prometheus reads (text format 0.0.4)."""
    lines = ["# TYPE codekin_requests_total counter"]
    with service.mutex:
        lines += [f'codekin_requests_total{{route="{r}",status="{s}"}} {n}' for (r, s), n in service.requests.items()]
        lines.append("# TYPE codekin_request_seconds histogram")
        for route, buckets in service.durations.items():
            total = sum(count for (name, _), count in service.requests.items() if name == route)
            lines += [
                f'codekin_request_seconds_bucket{{route="{route}",le="{bound:g}"}} {count}'
                for bound, count in zip(_BUCKETS, buckets, strict=True)
            ]
            lines.append(f'codekin_request_seconds_bucket{{route="{route}",le="+Inf"}} {total}')
            lines.append(f'codekin_request_seconds_sum{{route="{route}"}} {service.seconds[route]:.6f}')
            lines.append(f'codekin_request_seconds_count{{route="{route}"}} {total}')
    gauges = {
        "codekin_chunks": "SELECT coalesce(sum(chunks), 0) FROM branch",
        "codekin_branches": "SELECT count(*) FROM branch",
        "codekin_jobs_due": "SELECT count(*) FROM job WHERE due <= now()",
        "codekin_branches_with_problems": "SELECT count(*) FROM branch WHERE problem <> ''",
    }
    for name, query in gauges.items():
        lines += [f"# TYPE {name} gauge", f"{name} {service.database.value(query)}"]
    return "\n".join(lines) + "\n"


HANDLERS: Mapping[str, Handler] = {
    "/search": search,
    "/similar": similar,
    "/duplicates": duplicates,
    "/vectors": vectors,
    "/document": document,
    "/status": status,
    "/refresh": refresh,
}


def build_app(service: TeamService) -> Starlette:
    """The ASGI app."""
    routes = [Route(path, _endpoint(service, path, handler), methods=["POST"]) for path, handler in HANDLERS.items()]
    routes.append(Route("/metrics", _metrics_endpoint(service), methods=["GET"]))
    routes.append(Route("/health", _health, methods=["GET"]))
    routes.append(Route("/ready", _ready_endpoint(service), methods=["GET"]))
    return Starlette(routes=routes)


def _endpoint(service: TeamService, path: str, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        body = await _read_body(request)
        return await asyncio.to_thread(_answer, service, path, handler, _bearer(request), body)

    return endpoint


def _answer(service: TeamService, path: str, handler: Handler, token: str, body: bytes | None) -> Response:
    """Authenticates, limits, answers, counts and notes one request; every failure is one sentence."""
    began, name, results = time.perf_counter(), "", 0
    try:
        reader = authenticate(service.database, token)
        name = reader.name
        service.limiter.admit(name)
        answer, results = handler(service, reader, _parse(body))
        status_code = 200
    except CodekinError as error:
        answer, status_code = {"error": {"message": str(error), "type": type(error).__name__}}, _status_of(error)
    except Exception:
        log.exception("A request to %s failed.", path)
        answer, status_code = {"error": {"message": "The server failed; its log says why.", "type": "Error"}}, 500
    seconds = time.perf_counter() - began
    answer["ms"] = round(seconds * 1000, 1)
    service.count(path, status_code, seconds)
    log.info("request", extra={"fields": {"reader": name, "route": path, "status": status_code, "ms": answer["ms"]}})
    _note(service, (name, path, status_code, answer["ms"], results))
    return JSONResponse(answer, status_code)


def _note(service: TeamService, row: tuple[str, str, int, float, int]) -> None:
    """Notes the request of a known reader in the audit log."""
    if row[0]:
        try:
            record_request(service.database, row)
        except StoreError as error:
            log.warning("A request could not be noted in the audit log: %s", error)


def _status_of(error: CodekinError) -> int:
    if isinstance(error, AccessError):
        return error.status
    return 400 if isinstance(error, UsageError) else 503 if isinstance(error, StoreError) else 422


def _metrics_endpoint(service: TeamService) -> Callable[[Request], Awaitable[Response]]:
    def answer(token: str) -> Response:
        try:
            reader = authenticate(service.database, token)
            if reader.repositories is not None:
                raise AccessError("Metrics need a token for all repositories.", 403)
            return PlainTextResponse(metrics(service), media_type="text/plain; version=0.0.4")
        except CodekinError as error:
            return PlainTextResponse(f"{error}\n", _status_of(error))

    async def endpoint(request: Request) -> Response:
        return await asyncio.to_thread(answer, _bearer(request))

    return endpoint


async def _health(_request: Request) -> Response:
    return JSONResponse({"alive": True})


def _ready_endpoint(service: TeamService) -> Callable[[Request], Awaitable[Response]]:
    def answer() -> Response:
        try:
            service.database.require_current()
        except CodekinError as error:
            return JSONResponse({"ready": False, "problem": str(error)}, 503)
        return JSONResponse({"ready": True})

    async def endpoint(_request: Request) -> Response:
        return await asyncio.to_thread(answer)

    return endpoint


async def _read_body(request: Request) -> bytes | None:
    """The body, None where it is too large."""
    parts, left = [], BODY_LIMIT
    async for part in request.stream():
        left -= len(part)
        if left < 0:
            return None
        parts.append(part)
    return b"".join(parts)


def _bearer(request: Request) -> str:
    kind, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if kind.lower() == "bearer" else ""


def _parse(body: bytes | None) -> Mapping[str, Any]:
    if body is None:
        raise UsageError(f"A request has at most {BODY_LIMIT >> 20} MB.")
    try:
        values = json.loads(body) if body else {}
    except (ValueError, RecursionError) as error:
        raise UsageError("The body of the request is not JSON.") from error
    if not isinstance(values, dict):
        raise UsageError("The body of the request must be a JSON object.")
    return values


def _text(values: Mapping[str, Any], key: str, default: str | None = None) -> str:
    value = default if values.get(key) is None else values[key]
    if not isinstance(value, str):
        raise UsageError(f"`{key}` must be a text.")
    return value.encode("utf-8", "replace").decode().replace("\0", "")


def _texts(values: Mapping[str, Any], key: str) -> tuple[str, ...]:
    found = values.get(key) or ()
    if not isinstance(found, list | tuple) or len(found) > 1000:
        raise UsageError(f"`{key}` must be a list of texts.")
    return tuple(_text({key: one}, key) for one in found)


def _number(values: Mapping[str, Any], key: str, default: int, high: int) -> int:
    value = default if values.get(key) is None else values[key]
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= high:
        raise UsageError(f"`{key}` must be a whole number between 1 and {high}.")
    return value


def _filters(values: Mapping[str, Any]) -> Filters:
    table = values.get("filters") or {}
    if not isinstance(table, dict):
        raise UsageError("`filters` must be an object.")
    score = table.get("min_score") or 0.0
    if isinstance(score, bool) or not isinstance(score, int | float) or not 0 <= score <= 1:
        raise UsageError("`min_score` must be a number between 0 and 1.")
    return Filters(_texts(table, "languages"), _texts(table, "kinds"), _texts(table, "paths"), float(score))


def _scope(service: TeamService, reader: Reader, values: Mapping[str, Any]) -> SearchScope:
    return scope_of(service.database, reader, _texts(values, "repositories"), _text(values, "branch", ""))


def _chunk(snippet: str, language: str, name: str) -> Chunk:
    """Code as a chunk: its own first one where it is one, else the unchanged text."""
    if not snippet.strip() or len(snippet) > TEXT_LIMIT:
        raise UsageError(f"`snippet` must have between 1 and {TEXT_LIMIT} characters.")
    if language and language not in parsing.LANGUAGES:
        raise UsageError(f"There is no language {language!r}; there are {', '.join(sorted(parsing.LANGUAGES))}.")
    lines = 1 + snippet.count("\n")
    found = parsing.cut_chunks("snippet", snippet, language)[0] if language else []
    whole = next((one for one in found if one.end_line - one.start_line + 1 >= lines - 1), None)
    kind, shape = (whole.kind, whole.shape) if whole else ("snippet", Chunk("", "", "", "", 1, 1, "").shape)
    return Chunk("", language, kind, name or (whole.name if whole else ""), 1, lines, snippet, "", 0, shape)


def _is_proof(pair: tuple[object, object]) -> bool:
    return all(isinstance(one, str) and len(one) == 64 and set(one) <= set("0123456789abcdef") for one in pair)


def _space(service: TeamService) -> str:
    serving = TeamVectors(service.database).serving_space()
    return serving.fingerprint if serving else ""


def _hits(service: TeamService, hits: list[TeamHit]) -> Answer:
    return {"hits": [_hit(one) for one in hits], "space": _space(service)}


def _hit(one: TeamHit) -> Answer:
    return {**asdict(one.hit), "repository": one.repository, "branch": one.branch, "digest": one.digest}


class JsonLines(logging.Formatter):
    """A log of one JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        row = {"at": round(record.created, 3), "level": record.levelname, "message": record.getMessage()}
        row |= getattr(record, "fields", {})
        if record.exc_info:
            row["trace"] = self.formatException(record.exc_info)
        return json.dumps(row)


def start_logging() -> None:
    """Structured logs to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)


def serve(service: TeamService, host: str, port: int, certificate: str = "", key: str = "") -> None:
    """Serves until SIGTERM or SIGINT; requests that run are answered first."""
    config = uvicorn.Config(
        build_app(service), host=host, port=port, log_config=None, access_log=False,
        timeout_graceful_shutdown=_SHUTDOWN_SECONDS, ssl_certfile=certificate or None, ssl_keyfile=key or None,
    )  # fmt: skip
    uvicorn.Server(config).run()
