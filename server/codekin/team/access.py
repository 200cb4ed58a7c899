"""Who may ask what: tokens (stored as hashes), their repositories, their rate, and the log of what was asked.

A token opens all repositories or those named. What a reader may not see is answered as what does not exist.
"""

import secrets
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from codekin.errors import CodekinError, UsageError
from codekin.team.database import TeamDatabase
from codekin.team.text_index import SearchScope

TOKEN_PREFIX = "ckt_"  # noqa: S105 - what a token begins with, so that scanners of secrets know it
_RATE, _BURST = 20.0, 100.0
"""Requests a second of one token on the long run, and how many may come at once."""


class AccessError(CodekinError):
    """A request without a token that holds; `status` is its HTTP status."""

    def __init__(self, message: str, status: int = 401) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Reader:
    """Who asks: the token's name, its repositories (None for all), and the key of its proofs of possession."""

    name: str
    repositories: tuple[str, ...] | None
    key: bytes = field(repr=False)


def add_token(
    database: TeamDatabase, name: str, repositories: Sequence[str] | None = None, days: float | None = None
) -> str:
    """Makes a token for some repositories (None: all) that expires after `days`; it is shown this once alone."""
    if repositories is not None:
        known = {row[0] for row in database.rows("SELECT name FROM repository")}
        if unknown := sorted(set(repositories) - known):
            raise UsageError(f"There is no repository {unknown[0]}: add it by `codekin server add` first.")
    if database.value("SELECT 1 FROM token WHERE name=%s", name):
        raise UsageError(f"There is a token {name} already: revoke it, or give this one another name.")
    token = TOKEN_PREFIX + secrets.token_urlsafe(32)
    database.run(
        "INSERT INTO token (name, hash, repositories, expires)"
        " VALUES (%s, %s, %s, now() + make_interval(secs => %s::float8))",
        name,
        _hash(token),
        None if repositories is None else list(repositories),
        None if days is None else days * 86400,
    )
    return token


def list_tokens(database: TeamDatabase) -> list[dict[str, Any]]:
    """All tokens, without what opens anything."""
    rows = database.rows(
        "SELECT name, repositories, created::text, expires::text, CASE WHEN revoked IS NOT NULL THEN 'revoked'"
        " WHEN expires < now() THEN 'expired' ELSE 'valid' END FROM token ORDER BY created, name"
    )
    return [
        {"name": name, "repositories": repositories, "created": created, "expires": expires, "state": state}
        for name, repositories, created, expires, state in rows
    ]


def revoke_token(database: TeamDatabase, name: str) -> None:
    """Ends a token at once. Raises UsageError where there is none of that name."""
    if not database.run("UPDATE token SET revoked = coalesce(revoked, now()) WHERE name=%s", name):
        raise UsageError(f"There is no token {name}; `codekin server token list` shows them.")


def authenticate(database: TeamDatabase, token: str) -> Reader:
    """Whose token it is. Raises AccessError where it does not hold."""
    rows = database.rows(
        "SELECT name, repositories, revoked IS NOT NULL, coalesce(expires < now(), false) FROM token WHERE hash=%s",
        _hash(token),
    )
    if not token or not rows:
        raise AccessError("This token is not known here: ask for one (`codekin server token add`), and set team.token.")
    name, repositories, is_revoked, is_expired = rows[0]
    if is_revoked or is_expired:
        what = "was revoked" if is_revoked else "has expired"
        raise AccessError(f"This token {what}: ask for another one, and set team.token.")
    return Reader(name, None if repositories is None else tuple(repositories), _hash(token))


def scope_of(database: TeamDatabase, reader: Reader, repositories: Sequence[str] = (), branch: str = "") -> SearchScope:
    """What a reader may see of some repositories (empty: all), on one branch or on each one's first."""
    rows = database.rows(
        "SELECT DISTINCT ON (repository.id) branch.id FROM branch JOIN repository ON repository.id = branch.repository"
        " WHERE (%s::text[] IS NULL OR repository.name = ANY(%s)) AND (%s::text[] = '{}' OR repository.name = ANY(%s))"
        " AND (%s = '' OR branch.name = %s) ORDER BY repository.id, branch.id",
        *(None if reader.repositories is None else list(reader.repositories),) * 2,
        *(list(repositories),) * 2,
        *(branch,) * 2,
    )
    return SearchScope(tuple(row[0] for row in rows))


def record_request(database: TeamDatabase, row: tuple[str, str, int, float, int]) -> None:
    """Notes who asked which route, with status, milliseconds and results; never what question or answer say."""
    database.run("INSERT INTO audit (token, route, status, milliseconds, results) VALUES (%s, %s, %s, %s, %s)", *row)


class RateLimiter:
    """A bucket for each token, filled at a steady rate."""

    def __init__(self, rate: float = _RATE, burst: float = _BURST) -> None:
        self._rate, self._burst = rate, burst
        self._buckets: dict[str, tuple[float, float]] = {}
        self._mutex = threading.Lock()

    def admit(self, name: str) -> None:
        """Counts a request. Raises AccessError where the token has asked too often."""
        now = time.monotonic()
        with self._mutex:
            left, since = self._buckets.get(name, (self._burst, now))
            left = min(self._burst, left + (now - since) * self._rate)
            if left < 1:
                raise AccessError(f"This token asks more than {self._rate:g} times a second: wait a moment.", 429)
            self._buckets[name] = (left - 1, now)


def _hash(token: str) -> bytes:
    return sha256(token.encode("utf-8", "replace")).digest()
