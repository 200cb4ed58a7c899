"""The Postgres database of a team's index: its pool of connections, its numbered migrations, its failures in sentences.

A migration is a file `migrations/NNNN_what.sql` that runs once, in one transaction with the note that it ran. A schema
of a newer Codekin is left alone.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.resources import files
from typing import Any, LiteralString, Self

import psycopg
from psycopg import errors
from psycopg.rows import TupleRow
from psycopg_pool import ConnectionPool, PoolClosed, PoolTimeout

from codekin.errors import StoreError, UsageError
from codekin.http.client import hide_credentials

Connection = psycopg.Connection[TupleRow]

OLDEST_POSTGRES = 150000
OLDEST_VECTOR = (0, 8)
_MIGRATION_LOCK = 0x636F6465
_CONNECT_SECONDS = 10.0
_MIGRATION_NAME = re.compile(r"(\d{4})_\w+\.sql")
_SENTENCES: Mapping[type[Exception], str] = {
    errors.DiskFull: "its disk is full: free some space there",
    errors.InsufficientPrivilege: "its user may not do this: grant it the rights on the database",
    errors.UndefinedTable: "it has no index yet: start `codekin server` once",
    errors.ReadOnlySqlTransaction: "it is a replica for reading: give the workers the address of the primary",
    errors.QueryCanceled: "the query took longer than allowed: narrow it by a filter",
    errors.TooManyConnections: "it takes no more connections: raise max_connections, or put pgbouncer before it",
}


def statement(text: str) -> LiteralString:
    """A statement that is put together from our own texts and numbers alone; values are always parameters."""
    return text


def server_error(error: Exception) -> StoreError:
    """A failure of the server or of the connection as one sentence."""
    for kind, reason in _SENTENCES.items():
        if isinstance(error, kind):
            return StoreError(f"Postgres kept its last state, since {reason}.")
    if isinstance(error, PoolTimeout | PoolClosed | psycopg.InterfaceError | psycopg.OperationalError):
        return StoreError(f"The connection to Postgres was lost ({_first_line(error)}): try again when it runs.")
    return StoreError(f"Postgres refused ({_first_line(error)}): see its log.")


class TeamDatabase:
    """A pool of connections to one database; every failure is a StoreError."""

    def __init__(self, address: str, connections: int = 8) -> None:
        """Connects to `address` (a URL or `key=value` pairs). Raises UsageError where nothing answers there."""
        self.address = address
        _probe(address)
        self._pool: ConnectionPool[Connection] = ConnectionPool(
            address, min_size=1, max_size=connections, open=True, timeout=30.0, kwargs={"autocommit": True},
            check=ConnectionPool.check_connection,
        )  # fmt: skip

    def close(self) -> None:
        """Closes all connections."""
        self._pool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """A connection outside any transaction."""
        try:
            with self._pool.connection() as connection:
                yield connection
        except (psycopg.Error, PoolTimeout, PoolClosed) as error:
            raise server_error(error) from error

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """A connection within a transaction, which an exception undoes."""
        with self.connection() as connection, connection.transaction():
            yield connection

    def rows(self, query: str, *values: Any) -> list[TupleRow]:
        """The rows of a query."""
        with self.connection() as connection:
            return connection.execute(statement(query), values).fetchall()

    def value(self, query: str, *values: Any) -> Any:
        """The first value of the first row, None without one."""
        found = self.rows(query, *values)
        return found[0][0] if found else None

    def run(self, query: str, *values: Any) -> int:
        """Runs a statement that returns nothing; how many rows it touched."""
        with self.connection() as connection:
            return connection.execute(statement(query), values).rowcount

    def migrate(self) -> int:
        """Brings the schema up to date, one process at a time; how many migrations ran. Raises StoreError."""
        with self.transaction() as connection:
            _check_server(connection)
            if _is_replica(connection):
                if _waiting_migrations(connection):
                    raise StoreError("The replica has the schema of an older Codekin: update the primary first.")
                return 0
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (_MIGRATION_LOCK,))
            connection.execute("CREATE TABLE IF NOT EXISTS migration (number integer PRIMARY KEY, name text NOT NULL)")
            waiting = _waiting_migrations(connection)
            for number, name, script in waiting:
                connection.execute(statement(script))
                connection.execute("INSERT INTO migration VALUES (%s, %s)", (number, name))
        return len(waiting)

    def require_current(self) -> None:
        """Raises StoreError unless the schema is that of this Codekin."""
        with self.connection() as connection:
            if _waiting_migrations(connection):
                raise StoreError("The database has the schema of an older Codekin: run `codekin server migrate` first.")


def _probe(address: str) -> None:
    """One connection, so that a wrong address is a sentence at once."""
    shown = hide_credentials(address) if "://" in address else "the database"
    try:
        psycopg.connect(address, connect_timeout=int(_CONNECT_SECONDS)).close()
    except psycopg.ProgrammingError as error:
        raise UsageError(f"{shown} is no address of a Postgres database ({_first_line(error)}).") from error
    except psycopg.Error as error:
        raise UsageError(f"{shown} cannot be reached ({_first_line(error)}): is the address right?") from error


def _check_server(connection: Connection) -> None:
    """Raises StoreError for a Postgres or a pgvector that is too old or missing."""
    version = connection.info.server_version
    if version < OLDEST_POSTGRES:
        raise StoreError(f"Postgres {version // 10000} is too old: Codekin needs {OLDEST_POSTGRES // 10000} or later.")
    row = connection.execute("SELECT default_version FROM pg_available_extensions WHERE name='vector'").fetchone()
    if row is None:
        raise StoreError("This Postgres has no pgvector: install the extension `vector` 0.8 or later there.")
    if tuple(int(part) for part in re.findall(r"\d+", row[0])[:2]) < OLDEST_VECTOR:
        raise StoreError(f"This Postgres has pgvector {row[0]}, which is too old: install 0.8 or later there.")


def _is_replica(connection: Connection) -> bool:
    row = connection.execute("SELECT pg_is_in_recovery()").fetchone()
    return bool(row and row[0])


def _waiting_migrations(connection: Connection) -> list[tuple[int, str, str]]:
    """Number, name and script of the migrations that have not run. Raises StoreError for a newer schema."""
    known = {number: script for number, *script in list_migrations()}
    done = [number for (number,) in connection.execute("SELECT number FROM migration").fetchall()]
    if max(done, default=0) > max(known):
        raise StoreError(f"The database has schema {max(done)} of a newer Codekin: update Codekin here.")
    return [(number, *known[number]) for number in sorted(known.keys() - set(done))]  # type: ignore[misc]


def list_migrations() -> list[tuple[int, str, str]]:
    """Number, name and script of every migration, in order."""
    entries = files("codekin.team").joinpath("migrations").iterdir()
    named = [(match, entry) for entry in entries if (match := _MIGRATION_NAME.fullmatch(entry.name))]
    return sorted((int(match[1]), entry.name, entry.read_text(encoding="utf-8")) for match, entry in named)


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0] or type(error).__name__
