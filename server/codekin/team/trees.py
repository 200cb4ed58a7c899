"""Writes repositories, branches and their code: chunks and texts by content hash, loaded by COPY.

A branch is replaced in one transaction, from the difference of its paths alone; a blob that any branch has is cut once.
"""

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256

import numpy as np

from codekin.errors import UsageError
from codekin.storage.database import compress_text, encode_detail, replace_surrogates, sample_level
from codekin.storage.snapshot import name_key, split_name
from codekin.storage.terms import compute_sketch, count_terms, encode_terms, tokenize_for_search, unpack_terms
from codekin.team.database import Connection, TeamDatabase
from codekin.types import Chunk


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file of a branch: git's object id of its bytes, the key of its blob, and its chunks, None if they are known."""

    path: str
    object: str
    key: bytes
    chunks: Sequence[Chunk] | None


def blob_key(version: str, language: str, path: str, text: bytes) -> bytes:
    """What chunks depend on: the code that cuts, the language, the path, the bytes."""
    parts = (version.encode(), language.encode(), path.encode("utf-8", "replace"), text)
    return sha256(b"".join(struct.pack(">q", len(part)) + part for part in parts)).digest()


def add_repository(database: TeamDatabase, name: str, source: str, branches: Sequence[str]) -> list[int]:
    """Notes a repository and the branches to index, and queues them; ids of the branches. Raises UsageError."""
    with database.transaction() as connection:
        row = connection.execute(
            "INSERT INTO repository (name, source) VALUES (%s, %s) ON CONFLICT (name) DO UPDATE SET name=EXCLUDED.name"
            " RETURNING id, source",
            (name, source),
        ).fetchone()
        if row is None or row[1] != source:
            raise UsageError(f"There is a repository {name} from elsewhere: give this one another name by --name.")
        ids = [_ensure_branch(connection, row[0], branch) for branch in branches]
        connection.cursor().executemany(
            "INSERT INTO job (branch) VALUES (%s) ON CONFLICT DO NOTHING", [(i,) for i in ids]
        )
    return ids


def _ensure_branch(connection: Connection, repository: int, name: str) -> int:
    connection.execute(
        "INSERT INTO branch (repository, name) VALUES (%s, %s) ON CONFLICT DO NOTHING", (repository, name)
    )
    query = "SELECT id FROM branch WHERE repository=%s AND name=%s"
    row = connection.execute(query, (repository, name)).fetchone()
    return int(row[0]) if row else 0


def remove_repository(database: TeamDatabase, name: str) -> bool:
    """Forgets a repository and what no other branch has of it; False where there was none."""
    removed = database.run("DELETE FROM repository WHERE name=%s", name) > 0
    remove_unlinked(database)
    return removed


def known_blobs(database: TeamDatabase, keys: Iterable[bytes]) -> set[bytes]:
    """Those keys whose chunks are stored."""
    return {row[0] for row in database.rows("SELECT key FROM blob WHERE key = ANY(%s)", list(keys))}


def known_objects(database: TeamDatabase, branch: int) -> dict[str, str]:
    """Git's object ids of a branch by path, as they were indexed last."""
    return dict(database.rows("SELECT path, object FROM tree WHERE branch=%s", branch))


def write_files(database: TeamDatabase, branch: int, files: Sequence[SourceFile], removed: Sequence[str] = ()) -> None:
    """Replaces some files of a branch, and removes others, in one transaction."""
    with database.transaction() as connection:
        fresh = {file.key: file.chunks for file in files if file.chunks is not None}
        store_blobs(connection, fresh)
        gone = [*removed, *(file.path for file in files)]
        connection.execute("DELETE FROM tree WHERE branch=%s AND path = ANY(%s)", (branch, gone))
        connection.execute(
            "INSERT INTO tree SELECT %s, path, object, blob.id FROM"
            " unnest(%s::text[], %s::text[], %s::bytea[]) AS one (path, object, key) JOIN blob USING (key)",
            (branch, [f.path for f in files], [f.object for f in files], [f.key for f in files]),
        )


def store_blobs(connection: Connection, blobs: Mapping[bytes, Sequence[Chunk]]) -> None:
    """Stores the chunks of blobs that are not there yet; two writers of one blob wait for each other."""
    keys = sorted(blobs)
    rows = connection.execute(
        "INSERT INTO blob (key) SELECT unnest(%s::bytea[]) ON CONFLICT DO NOTHING RETURNING key, id", (keys,)
    ).fetchall()
    chunks = [(blob, chunk) for key, blob in rows for chunk in blobs[key]]
    if not chunks:
        return
    contents = _store_contents(connection, {chunk.digest: chunk for _, chunk in chunks})
    with connection.cursor().copy(
        "COPY chunk (blob, content, language, kind, name, name_key, start_line, end_line, part, detail) FROM STDIN"
        " (FORMAT BINARY)"
    ) as copy:
        copy.set_types(["int8", "int8", "text", "text", "text", "text", "int4", "int4", "int4", "bytea"])
        for blob, chunk in chunks:
            name = clean_name(chunk.name)
            copy.write_row((
                blob, contents[chunk.digest], chunk.language, chunk.kind, name, key_of_name(name),
                chunk.start_line, chunk.end_line, chunk.part, encode_detail(chunk),
            ))  # fmt: skip


def _store_contents(connection: Connection, chunks: Mapping[str, Chunk]) -> dict[str, int]:
    """Stores the texts of chunks by digest, those that are new; the ids of all."""
    known = _content_ids(connection, chunks)
    fresh = {digest: chunk for digest, chunk in chunks.items() if digest not in known}
    if not fresh:
        return known
    columns = "digest, language, body, terms, sketch, words, sample"
    connection.execute(f"CREATE TEMP TABLE arriving ON COMMIT DROP AS SELECT {columns} FROM content LIMIT 0")
    with connection.cursor().copy(f"COPY arriving ({columns}) FROM STDIN (FORMAT BINARY)") as copy:
        copy.set_types(["bytea", "text", "bytea", "bytea", "bytea", "int4[]", "int2"])
        for digest, chunk in fresh.items():
            copy.write_row(_content_row(digest, chunk))
    connection.execute(
        f"INSERT INTO content ({columns}) SELECT {columns} FROM arriving ORDER BY digest ON CONFLICT DO NOTHING"
    )
    connection.execute("DROP TABLE arriving")
    return known | _content_ids(connection, fresh)


def _content_ids(connection: Connection, digests: Iterable[str]) -> dict[str, int]:
    keys = [bytes.fromhex(digest) for digest in digests]
    rows = connection.execute("SELECT digest, id FROM content WHERE digest = ANY(%s)", (keys,)).fetchall()
    return {digest.hex(): number for digest, number in rows}


def _content_row(digest: str, chunk: Chunk) -> tuple[bytes, str, bytes, bytes, bytes, list[int], int]:
    key = bytes.fromhex(digest)
    terms = count_terms(chunk.text)
    sketch = compute_sketch(chunk.text).tobytes()
    body = compress_text(chunk.text)
    return key, chunk.language, body, encode_terms(terms), sketch, word_numbers(chunk), sample_level(key)


def word_numbers(chunk: Chunk) -> list[int]:
    """The numbers of a chunk's words, its name's among them, once each: what the text index finds it by."""
    words = {*tokenize_for_search(chunk.text), *tokenize_for_search(chunk.name)}
    return sorted(set(map(word_number, words)))


@lru_cache(maxsize=1 << 18)
def word_number(word: str) -> int:
    """The number of a word, as in the terms of texts; a compound name has one of its own."""
    numbers, _ = unpack_terms(count_terms(word))
    return int(numbers[0]) if len(numbers) == 1 else compound_number(word)


def compound_number(word: str) -> int:
    """The number of a compound name, which the terms of texts know by its parts alone."""
    return int(np.uint32(int.from_bytes(sha256(word.encode("utf-8", "replace")).digest()[:4], "big") >> 1)) | 1 << 30


def clean_name(name: str) -> str:
    """A name that Postgres stores: no zero byte, no lone surrogate."""
    return replace_surrogates(name).replace("\0", "�")


def key_of_name(name: str) -> str:
    """What a chunk is looked up by: the last part of its name, in lower case without underscores."""
    parts = split_name(name)
    return name_key(parts[-1])[:200] if parts else ""


def remove_unlinked(database: TeamDatabase) -> int:
    """Deletes blobs that no branch has, and texts without a chunk; how many texts. Branches being written are safe."""
    with database.transaction() as connection:
        connection.execute("LOCK TABLE tree IN SHARE MODE")
        connection.execute("DELETE FROM blob WHERE NOT EXISTS (SELECT 1 FROM tree WHERE tree.blob = blob.id)")
        return connection.execute(
            "DELETE FROM content WHERE NOT EXISTS (SELECT 1 FROM chunk WHERE chunk.content = content.id)"
        ).rowcount
