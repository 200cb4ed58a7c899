"""What a reader may ask of a team's index: search, similar code, duplicates, vectors of texts that the reader has.

Every query is given a `SearchScope`, which only `access` makes; nothing outside it is read, ranked or counted.
"""

import hmac
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from codekin import ranking
from codekin.errors import UsageError
from codekin.indexing.embedding_queue import possession_proof
from codekin.protocols import Embedder, EmbeddingSpace, TextKind, Vectors
from codekin.ranking.names import is_name_query
from codekin.ranking.query import compile_glob, looks_like_code, parse_query
from codekin.storage.database import decompress_text
from codekin.storage.terms import tokenize_for_search
from codekin.team.candidates import PATH_SEPARATOR, CandidateIndex, CandidateRow, ScopeSample, open_sample, read_places
from codekin.team.database import TeamDatabase, statement
from codekin.team.text_index import SearchScope, TeamTextIndex
from codekin.team.trees import key_of_name
from codekin.team.vectors import TeamVectors, decode_vectors, vector_literal, vector_table
from codekin.types import Chunk, Filters, Hit, SearchRequest

_NEAREST, _WORDED, _NAMED = 120, 120, 100
_IDENTIFIER = re.compile(r"[A-Za-z_]\w*(?:(?:::|\.|#)[A-Za-z_]\w*[!?]?)*")
_EXACT_ROWS = 20_000
"""A scope with fewer chunks is compared row by row: exact, and no slower than leaving the HNSW index often."""

_SEARCHED, _SCANNED = 200, 100_000
"""pgvector's ef_search, and how many tuples an iterative scan may read."""

_UNRELATED, _UNRELATED_OF_QUESTION = 0.2, 0.35
_GLOB_PARTS = re.compile(r"\*\*/|\*\*|\*|\?|[^*?]+")
GROUPS_LIMIT = 200


@dataclass(frozen=True, slots=True)
class TeamHit:
    """A hit with where it lies, and the content hash of the chunk."""

    hit: Hit
    repository: str
    branch: str
    digest: str


def search(
    database: TeamDatabase, embedder: Embedder | None, scope: SearchScope, request: SearchRequest
) -> list[TeamHit]:
    """Code of a scope that is named by the words, does what they say, or is like a pasted snippet."""
    parsed = parse_query(request.text, request.filters)
    words = parsed.words
    if looks_like_code(words) and not is_name_query(words):
        return similar(database, embedder, scope, ranking_snippet(words), parsed.filters, request.limit)
    narrow = narrow_scope(scope, parsed.filters)
    query = _Query(database, embedder, narrow)
    contents = [*query.nearest(query.embed(words, "query")), *query.worded(words), *query.named(words)]
    index, sample = query.index(contents)
    found = ranking.search_code(index, query.embedder, request)
    return _to_team_hits(index, _recalibrated(found, index, sample, is_question=True))


def similar(  # noqa: PLR0913, PLR0917 - the query, and the place to search
    database: TeamDatabase, embedder: Embedder | None, scope: SearchScope, chunk: Chunk, filters: Filters, limit: int
) -> list[TeamHit]:
    """Code of a scope that is like a chunk, best first."""
    query = _Query(database, embedder, narrow_scope(scope, filters))
    vector = query.stored(chunk.digest)
    vector = query.embed(chunk.text, "passage") if vector is None else vector
    contents = [*query.nearest(vector), *query.worded(f"{chunk.text} {chunk.name}")]
    index, sample = query.index(contents)
    found = ranking.find_similar(index, query.embedder, replace(chunk, path=""), filters, limit)
    return _to_team_hits(index, _recalibrated(found, index, sample, is_question=False))


def ranking_snippet(text: str) -> Chunk:
    """A pasted text as a chunk of no known language."""
    return Chunk("", "", "snippet", "", 1, 1 + text.count("\n"), text)


class _Query:
    """One query's look at the index: its scope, its space, and the vectors that it has computed."""

    def __init__(self, database: TeamDatabase, embedder: Embedder | None, scope: SearchScope) -> None:
        self._database, self._scope = database, scope
        self.space = TeamVectors(database).serving_space()
        fits = embedder is not None and self.space is not None and embedder.space == self.space.fingerprint
        self.embedder = embedder if fits else None

    def embed(self, text: str, kind: TextKind) -> Vectors | None:
        """The vector of a query, None where nothing here embeds for the space that serves."""
        return self.embedder.embed([text], kind)[0] if self.embedder else None

    def stored(self, digest: str) -> Vectors | None:
        """The vector of a text that lies in the scope."""
        if self.space is None:
            return None
        return _vectors_in_scope(self._database, self._scope, self.space, [digest]).get(digest, (b"", None))[1]

    def nearest(self, vector: Vectors | None, most: int = _NEAREST) -> list[int]:
        """Contents of the nearest vectors."""
        if vector is None or self.space is None:
            return []
        return [content for content, _ in nearest_contents(self._database, self._scope, self.space, vector, most)]

    def worded(self, text: str) -> list[int]:
        """Contents with the rarest words of a text."""
        index = TeamTextIndex.open(self._database, self._scope)
        contents, _ = index.best_contents(Counter(tokenize_for_search(text)), self._scope, _WORDED)
        return [int(content) for content in contents]

    def named(self, text: str) -> list[int]:
        """Contents of chunks whose name a text spells."""
        keys = {key_of_name(name) for name in (*_IDENTIFIER.findall(text), text)} - {""}
        keys |= {"".join(text.lower().split())}
        values: dict[str, object] = {"keys": list(keys), "most": _NAMED}
        query = (
            f"SELECT DISTINCT chunk.content FROM chunk JOIN tree USING (blob) WHERE {self._scope.condition(values)}"
            " AND chunk.name_key = ANY(%(keys)s) LIMIT %(most)s"
        )
        with self._database.connection() as connection:
            return [row[0] for row in connection.execute(statement(query), values).fetchall()]

    def index(self, contents: Sequence[int]) -> tuple[CandidateIndex, ScopeSample]:
        """The index of some candidates."""
        sample = open_sample(self._database, self._scope.branches, self.space)
        rows = read_places(self._database, self._scope, self.space, list(dict.fromkeys(contents)))
        return CandidateIndex(sample, rows), sample


def nearest_contents(
    database: TeamDatabase, scope: SearchScope, space: EmbeddingSpace, vector: Vectors, most: int
) -> list[tuple[int, float]]:
    """Contents of a scope with the nearest vectors and their cosines, best first.

    A small scope is compared row by row; a large one by the HNSW index, in iterative scans that go on until enough
    rows have met the filters.
    """
    values: dict[str, object] = {"vector": vector_literal(vector), "most": most}
    languages = "AND v.language = ANY(%(languages)s)" if scope.languages else ""
    values["languages"] = list(scope.languages)
    condition = (
        "EXISTS (SELECT 1 FROM chunk JOIN tree USING (blob) WHERE chunk.content = v.content"
        f" AND {scope.condition(values)})"
    )
    distance = f"v.embedding <=> %(vector)s::halfvec({space.dimensions})"
    table = vector_table(space)
    if _chunks_in(database, scope) <= _EXACT_ROWS:
        inner = (
            f"SELECT DISTINCT v.content, v.embedding FROM {table} v JOIN chunk ON chunk.content = v.content"
            f" JOIN tree USING (blob) WHERE {scope.condition(values)}"
        )
        query = f"SELECT content, 1 - ({distance}) FROM ({inner}) AS v ORDER BY {distance} LIMIT %(most)s"
    else:
        query = (
            f"SELECT v.content, 1 - ({distance}) FROM {table} v WHERE {condition} {languages}"
            f" ORDER BY {distance} LIMIT %(most)s"
        )
    with database.transaction() as connection:
        connection.execute("SET LOCAL hnsw.iterative_scan = strict_order")
        connection.execute(statement(f"SET LOCAL hnsw.ef_search = {_SEARCHED}"))
        connection.execute(statement(f"SET LOCAL hnsw.max_scan_tuples = {_SCANNED}"))
        rows = connection.execute(statement(query), values).fetchall()
    return [(content, float(cosine)) for content, cosine in rows]


def _chunks_in(database: TeamDatabase, scope: SearchScope) -> int:
    return int(database.value("SELECT coalesce(sum(chunks), 0) FROM branch WHERE id = ANY(%s)", list(scope.branches)))


def possessed_vectors(
    database: TeamDatabase, scope: SearchScope, space: str, proofs: Mapping[str, str], key: bytes
) -> dict[str, Vectors]:
    """Vectors by digest for texts of a scope that the reader proves to have; those of others are left out.

    A proof is a MAC of the text under the reader's key: a content hash alone opens nothing, and a text outside the
    scope is as unknown as one that nobody has.
    """
    serving = TeamVectors(database).serving_space()
    if serving is None or serving.fingerprint != space:
        return {}
    found = _vectors_in_scope(database, scope, serving, list(proofs))
    return {
        digest: vector
        for digest, (body, vector) in found.items()
        if hmac.compare_digest(possession_proof(key, decompress_text(body) or ""), proofs[digest])
    }


def _vectors_in_scope(
    database: TeamDatabase, scope: SearchScope, space: EmbeddingSpace, digests: Sequence[str]
) -> dict[str, tuple[bytes, Vectors]]:
    """Text and vector by digest, of those digests that lie in a scope."""
    values: dict[str, object] = {"digests": [bytes.fromhex(digest) for digest in digests]}
    query = (
        f"SELECT digest, body, embedding FROM content JOIN {vector_table(space)} v ON v.content = content.id"
        " WHERE digest = ANY(%(digests)s) AND EXISTS (SELECT 1 FROM chunk JOIN tree USING (blob)"
        f" WHERE chunk.content = content.id AND {scope.condition(values)})"
    )
    with database.connection() as connection:
        rows = connection.execute(statement(query), values, binary=True).fetchall()
    vectors = decode_vectors([row[2] for row in rows], space.dimensions) if rows else ()
    return {row[0].hex(): (row[1], vector) for row, vector in zip(rows, vectors, strict=True)}


def duplicates(database: TeamDatabase, scope: SearchScope, filters: Filters, limit: int) -> list[list[TeamHit]]:
    """Groups of texts that lie at several places of a scope, the most repeated lines first."""
    narrow = narrow_scope(scope, filters)
    values: dict[str, object] = {"most": min(limit, GROUPS_LIMIT)}
    query = (
        "SELECT content FROM (SELECT chunk.content, count(DISTINCT (branch.repository, tree.path)) AS places,"
        " min(end_line - start_line + 1) AS lines FROM chunk JOIN tree USING (blob)"
        f" JOIN branch ON branch.id = tree.branch WHERE {narrow.condition(values)}"
        " AND chunk.kind NOT IN ('module', 'namespace', 'file') GROUP BY content) AS one"
        " WHERE places > 1 AND lines >= 4 ORDER BY (places - 1) * lines DESC LIMIT %(most)s"
    )
    with database.connection() as connection:
        contents = [row[0] for row in connection.execute(statement(query), values).fetchall()]
    groups: dict[int, list[CandidateRow]] = {content: [] for content in contents}
    for row in read_places(database, narrow, None, contents):
        groups[row.content].append(row)
    return [[_duplicate_hit(row) for row in group] for group in groups.values() if len(group) > 1]


def _duplicate_hit(row: CandidateRow) -> TeamHit:
    hit = Hit(
        row.path,
        row.name,
        row.kind,
        row.language,
        row.start_line,
        row.end_line,
        row.start_line,
        1.0,
        ("identical copy",),
    )
    return TeamHit(hit, row.repository, row.branch, row.digest.hex())


def read_document(
    database: TeamDatabase, scope: SearchScope, repository: str, path: str
) -> list[tuple[int, str]] | None:
    """First lines and texts of a file's chunks, None where the scope has no such file."""
    values: dict[str, object] = {"repository": repository, "path": path}
    query = (
        "SELECT chunk.start_line, content.body FROM chunk JOIN tree USING (blob) JOIN branch ON branch.id = tree.branch"
        " JOIN repository ON repository.id = branch.repository JOIN content ON content.id = chunk.content"
        f" WHERE {scope.condition(values)} AND repository.name = %(repository)s AND tree.path = %(path)s"
        " ORDER BY chunk.start_line, chunk.id"
    )
    with database.connection() as connection:
        rows = connection.execute(statement(query), values).fetchall()
    return [(line, decompress_text(body) or "") for line, body in rows] or None


def narrow_scope(scope: SearchScope, filters: Filters) -> SearchScope:
    """The scope with the filters that Postgres applies; the ranking applies all of them again."""
    return replace(
        scope,
        languages=scope.languages or filters.languages,
        kinds=scope.kinds or filters.kinds,
        paths=scope.paths or tuple(map(glob_to_regex, filters.paths)),
    )


def glob_to_regex(glob: str) -> str:
    """A path pattern as a regular expression of Postgres. Raises UsageError where matching it could take long."""
    compile_glob(glob)
    if len(glob) > 1000:
        raise UsageError("A path pattern has at most 1000 characters.")
    body = glob.removeprefix("./").strip("/")
    anchored = "/" in body or glob.startswith("/")
    known = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    parts = "".join(known.get(part) or re.escape(part) for part in _GLOB_PARTS.findall(body))
    return f"^{'' if anchored else '(?:.*/)?'}{parts}(?:/.*)?$"


def _recalibrated(hits: Sequence[Hit], index: CandidateIndex, sample: ScopeSample, *, is_question: bool) -> list[Hit]:
    """The hits with the scores that they have among all chunks of the scope, not among the candidates."""
    unrelated = _UNRELATED_OF_QUESTION if is_question else _UNRELATED
    here, there = (
        unrelated * float(np.sqrt(np.log(max(2, n)) / np.log(10_000))) for n in (len(index.rows), sample.chunks)
    )
    if there <= here:
        return list(hits)
    scores = [(hit.score * (1 - here) + here - there) / (1 - there) for hit in hits]
    return [replace(hit, score=round(max(0.0, score), 4)) for hit, score in zip(hits, scores, strict=True)]


def _to_team_hits(index: CandidateIndex, hits: Sequence[Hit]) -> list[TeamHit]:
    known = {(row.repository, row.path, row.start_line, row.name): row for row in reversed(index.rows)}
    found = []
    for hit in hits:
        repository, _, path = hit.path.partition(PATH_SEPARATOR)
        row = known[repository, path, hit.start_line, hit.name]
        found.append(TeamHit(replace(hit, path=path), repository, row.branch, row.digest.hex()))
    return found
