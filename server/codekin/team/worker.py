"""A worker: takes branches that are due from the queue, reads what changed from git, cuts, stores and embeds it.

Any number may run, on any machine. A job is leased and the lease renewed while its worker lives; whatever a killed one
had stored is kept, and the next goes on from there: paths that are stored as they are now are not read again.
"""

import logging
import os
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from codekin import parsing
from codekin.errors import CodekinError, StoreError
from codekin.indexing.file_reader import decode_text, find_skip_reason, is_printable
from codekin.indexing.file_update import index_version
from codekin.indexing.scan import IndexScope, scope_of_settings
from codekin.parsing.secrets import is_secret_name
from codekin.protocols import Embedder
from codekin.settings import IndexSettings
from codekin.storage.database import decompress_text
from codekin.team.database import TeamDatabase, statement
from codekin.team.mirrors import Mirror, TreeEntry
from codekin.team.statistics import refresh_statistics
from codekin.team.trees import SourceFile, blob_key, known_blobs, known_objects, write_files
from codekin.team.vectors import TeamVectors, check_vectors, copy_vectors, require_space, vector_table
from codekin.types import Chunk

log = logging.getLogger(__name__)

_Item = TypeVar("_Item")

FILES_PER_BATCH = 128
TEXTS_PER_BATCH = 64
_RETRY_SECONDS = 5.0
_VERSION_LETTERS = 12


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """How a worker works: its folder of mirrors, seconds between polls and of a lease."""

    data: Path
    poll_seconds: float = 60.0
    lease_seconds: float = 60.0
    settings: IndexSettings = IndexSettings()  # noqa: RUF009 - frozen


class Worker:
    """One worker of a team's index."""

    def __init__(self, database: TeamDatabase, options: WorkerOptions, embedder: Embedder | None) -> None:
        self._database, self._options, self._embedder = database, options, embedder
        self._scope = scope_of_settings(options.settings)
        self.name = f"{socket.gethostname()}-{os.getpid()}"
        self.stopping = threading.Event()

    def run(self, *, until_idle: bool = False) -> int:
        """Works until `stopping` is set, or until nothing is due; how many branches were brought up to date."""
        done = 0
        while not self.stopping.is_set():
            try:
                finished = self._step()
                is_idle = not (finished or self._embed_batch() or self._promote_complete())
            except CodekinError as error:  # the database, or a remote embedder, may be back later
                if until_idle:
                    raise
                log.warning("The worker waits: %s", error)
                self.stopping.wait(_RETRY_SECONDS)
                continue
            done += finished
            if is_idle:
                if until_idle:
                    return done
                self.stopping.wait(min(1.0, self._options.poll_seconds))
        return done

    def _step(self) -> bool:
        """Does the job that is due, if there is one."""
        branch = self._claim()
        if branch is not None:
            self._run_job(branch)
        return branch is not None

    def _claim(self) -> int | None:
        """Takes the job that is due for longest and that no living worker has."""
        rows = self._database.rows(
            "UPDATE job SET worker=%s, leased=now() + make_interval(secs => %s::float8) WHERE branch ="
            " (SELECT branch FROM job WHERE due <= now() AND (leased IS NULL OR leased < now()) ORDER BY due"
            "  FOR UPDATE SKIP LOCKED LIMIT 1) RETURNING branch",
            self.name,
            self._options.lease_seconds,
        )
        return rows[0][0] if rows else None

    def _run_job(self, branch: int) -> None:
        problem = ""
        try:
            with self._leased(branch):
                self.index_branch(branch)
        except CodekinError as error:
            problem = str(error)
            log.warning("Branch %d is left as it is: %s", branch, problem)
        self._database.run("UPDATE branch SET problem=%s WHERE id=%s", problem, branch)
        self._database.run(
            "UPDATE job SET leased=NULL, worker='', due=now() + make_interval(secs => %s::float8)"
            " WHERE branch=%s AND worker=%s",
            self._options.poll_seconds,
            branch,
            self.name,
        )

    @contextmanager
    def _leased(self, branch: int) -> Iterator[None]:
        """Renews the lease of a job until the end."""
        ended = threading.Event()

        def renew() -> None:
            while not ended.wait(self._options.lease_seconds / 3):
                try:
                    self._database.run(
                        "UPDATE job SET leased=now() + make_interval(secs => %s::float8) WHERE branch=%s AND worker=%s",
                        self._options.lease_seconds, branch, self.name,
                    )  # fmt: skip
                except StoreError as error:
                    log.warning("The lease of branch %d could not be renewed: %s", branch, error)

        thread = threading.Thread(target=renew, name="lease", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def index_branch(self, branch: int) -> None:
        """Brings one branch up to date. Raises CodekinError."""
        rows = self._database.rows(
            "SELECT repository.source, branch.name, branch.revision FROM branch"
            " JOIN repository ON repository.id = branch.repository WHERE branch.id=%s",
            branch,
        )
        if not rows:
            return
        source, name, known_revision = rows[0]
        mirror = Mirror.of(self._options.data, source)
        mirror.update()
        revision = mirror.revision(name)
        version = index_version()[:_VERSION_LETTERS]
        if known_revision == f"{revision} {version}":
            return
        began = time.monotonic()
        changed, removed = self._difference(branch, mirror.files(revision), version)
        for some in _batches(changed, FILES_PER_BATCH):
            self._write_batch(branch, mirror, some, version)
        for paths in _batches(removed, 10_000):
            write_files(self._database, branch, [], paths)
        refresh_statistics(self._database, branch)
        self._database.run(
            "UPDATE branch SET revision=%s, indexed=clock_timestamp() WHERE id=%s", f"{revision} {version}", branch
        )
        log.info("%s %s: %d files in %.1f s", source, name, len(changed), time.monotonic() - began)

    def _difference(self, branch: int, entries: Sequence[TreeEntry], version: str) -> tuple[list[TreeEntry], list[str]]:
        """The files to read, and the paths that are gone."""
        wanted = {entry.path: entry for entry in entries if is_wanted(self._scope, entry)}
        known = known_objects(self._database, branch)
        changed = [one for path, one in wanted.items() if known.get(path) != f"{one.object} {version}"]
        return changed, [path for path in known if path not in wanted]

    def _write_batch(self, branch: int, mirror: Mirror, entries: Sequence[TreeEntry], version: str) -> None:
        texts = list(mirror.read([entry.object for entry in entries]))
        languages = [_language(entry.path, data) for entry, data in zip(entries, texts, strict=True)]
        keys = [
            blob_key(version, language, entry.path, data)
            for entry, data, language in zip(entries, texts, languages, strict=True)
        ]
        stored = known_blobs(self._database, keys)
        files = [
            SourceFile(
                entry.path,
                f"{entry.object} {version}",
                key,
                None if key in stored else cut_bytes(entry.path, data, language),
            )
            for entry, data, language, key in zip(entries, texts, languages, keys, strict=True)
        ]
        write_files(self._database, branch, files)

    def _embed_batch(self) -> bool:
        """Embeds some texts that lack a vector and that no other worker is at; False when none is left."""
        if self._embedder is None:
            return False
        vectors = TeamVectors(self._database)
        vectors.ensure_space(self._embedder.space, self._embedder.name, self._embedder.dimensions)
        with self._database.transaction() as connection:
            space = require_space(connection, self._embedder.space)
            query = (
                f"SELECT digest, body FROM content WHERE NOT EXISTS (SELECT 1 FROM {vector_table(space)} v"
                " WHERE v.content = content.id) ORDER BY id LIMIT %s FOR NO KEY UPDATE SKIP LOCKED"
            )
            rows = connection.execute(statement(query), (TEXTS_PER_BATCH,)).fetchall()
            if not rows:
                return False
            matrix = self._embedder.embed([decompress_text(body) or "" for _, body in rows])
            check_vectors(matrix, space)
            copy_vectors(connection, space, [digest.hex() for digest, _ in rows], matrix)
        return True

    def _promote_complete(self) -> bool:
        """Once all texts have a vector: builds the HNSW index of a large space, and lets a new space serve."""
        if self._embedder is None:
            return False
        vectors, fingerprint = TeamVectors(self._database), self._embedder.space
        vectors.ensure_index(fingerprint)
        serving = vectors.serving_space()
        if serving is None or serving.fingerprint == fingerprint or vectors.unembedded_texts(fingerprint, 1):
            return False
        vectors.promote(fingerprint, keep_old=True)
        return True


def _batches(values: Sequence[_Item], most: int) -> Iterator[Sequence[_Item]]:
    return (values[start : start + most] for start in range(0, len(values), most))


def is_wanted(scope: IndexScope, entry: TreeEntry) -> bool:
    """Whether a file may be indexed, by its name and size alone: as at home, ignore files of the repository aside."""
    folders = entry.path.split("/")
    parents = ("/".join(folders[:depth]) for depth in range(1, len(folders)))
    return (
        is_printable(entry.path)
        and entry.size <= scope.largest_file
        and scope.known_language(entry.path)
        and not is_secret_name(folders[-1])
        and not any(scope.rules.reason(parent, folder=True) for parent in parents)
        and not scope.rules.reason(entry.path, folder=False)
    )


def _language(path: str, data: bytes) -> str:
    return parsing.detect_language(path, data[:65536].decode("utf-8", "replace")) or ""


def cut_bytes(path: str, data: bytes, language: str) -> list[Chunk]:
    """The chunks of a file; none of one that is left out at home as well: binary, secret, minified, generated."""
    text = decode_text(data)
    if text is None or not language or find_skip_reason(text) is not None:
        return []
    try:
        return parsing.cut_chunks(path, text, language)[0]
    except Exception:
        # One file that no one foresaw must not end the indexing of all others.
        log.exception("Cutting %s failed.", path)
        return []
