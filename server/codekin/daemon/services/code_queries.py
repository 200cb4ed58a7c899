"""Queries about code: the chunk at a place, similar code, search, lenses and duplicates.

`services.heavy` imports this module at the first query.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from textwrap import dedent

from codekin import parsing, paths, ranking
from codekin.completion.context import CursorPosition
from codekin.completion.prompt import Snippet
from codekin.daemon.services.embedding import EmbeddingEngine
from codekin.daemon.services.left_out import holds_secret
from codekin.daemon.services.queries import CodeQuery, Lens, QueryResult
from codekin.daemon.services.workspaces import OpenWorkspace
from codekin.errors import FinetuneError, UsageError
from codekin.indexing.file_reader import SkipReason, WorkspaceRoot, decode_text, read_bytes
from codekin.models.embedding.finetuned import checkpoint_of_space
from codekin.parsing import count_lines_before_code
from codekin.protocols import Embedder, EmbeddingSpace
from codekin.settings import TeamSettings
from codekin.storage import ChunkIndex
from codekin.storage.reader import IndexView
from codekin.team.client import TeamAnswers, TeamRequest, merge_hits
from codekin.types import Chunk, Filters, Hit, SearchRequest

BYTES_LIMIT = 4_000_000
CONTEXT_LINES = 10
"""Lines before and after a cursor that is outside all chunks."""


@dataclass(frozen=True, slots=True)
class SourceText:
    """A file of a workspace; `text` is None where the file itself counts.

    `extensions` maps the user's own file extensions to languages.
    """

    root: Path
    path: str
    text: str | None = None
    extensions: Mapping[str, str] = field(default_factory=dict)

    def read(self) -> str:
        """The text. Raises UsageError where the file is missing, not regular, too large or unreadable."""
        return self.text if self.text is not None else _read_text(self.root, self.path)

    def chunks(self, text: str) -> list[Chunk]:
        """All chunks of its text, in order."""
        return parsing.cut_chunks(self.path, text, self.language(text) or None)[0]

    def language(self, text: str) -> str:
        """The language of its text; empty where it is none that is known."""
        return parsing.detect_language(self.path, text, self.extensions) or ""


_READ_PROBLEMS: Mapping[SkipReason | None, str] = {
    None: "cannot be read: there is no such file.",
    SkipReason.SPECIAL: "is not a file.",
    SkipReason.SYMLINK: "is a link, and links are not followed: give the path of the file itself.",
    SkipReason.TOO_LARGE: f"is larger than {BYTES_LIMIT} bytes: use a selection or a snippet of it.",
}


def _read_text(root: Path, path: str) -> str:
    """A regular file's text as the index reads it: below the root, without following a link or waiting on a pipe."""
    data = read_bytes(WorkspaceRoot(root), path, BYTES_LIMIT)
    if not isinstance(data, bytes):
        raise UsageError(
            f"{root / path} {_READ_PROBLEMS.get(data, 'cannot be read: make it readable, and try again.')}"
        )
    text = decode_text(data)
    if text is None:
        raise UsageError(f"{root / path} is a binary file: give a text file.")
    return text


def chunks_of_source(source: SourceText) -> list[Chunk]:
    """All chunks of a text, in order. Raises UsageError where it cannot be read."""
    return source.chunks(source.read())


def chunk_at_cursor(source: SourceText, line: int) -> Chunk:
    """The innermost chunk at a line, else the lines around it. Raises UsageError past the text's end."""
    text = source.read()
    lines = _split_lines(text)
    _check_line(source, line, lines)
    found = parsing.chunk_at_line(source.chunks(text), line)
    if found is not None:
        return found
    first, last = max(1, line - CONTEXT_LINES), min(len(lines), line + CONTEXT_LINES)
    return _chunk_of_lines(source, text, lines, first, last)


def chunk_of_selection(source: SourceText, line: int, end_line: int) -> Chunk:
    """The selected lines; the chunk itself where they are just its own."""
    text = source.read()
    lines = _split_lines(text)
    _check_line(source, line, lines)
    end_line = min(end_line, len(lines))
    exact = next(
        (found for found in source.chunks(text) if (found.start_line, found.end_line) == (line, end_line)), None
    )
    return exact or _chunk_of_lines(source, text, lines, line, end_line)


def chunk_of_snippet(snippet: str, language: str, path: str = "") -> Chunk:
    """Pasted code: its own first chunk where it is one, else the unchanged text.

    `language` may be empty; then the path decides, and without one the text counts as words.
    """
    language = language or (parsing.detect_language(path, snippet) if path else None) or ""
    count = len(_split_lines(snippet))
    if language and language not in parsing.LANGUAGES:
        raise UsageError(f"There is no language {language!r}; there are {', '.join(sorted(parsing.LANGUAGES))}.")
    chunks = parsing.cut_chunks(path or "snippet", snippet, language)[0] if language else []
    whole = [found for found in chunks if found.end_line - found.start_line + 1 >= count - 1]
    return whole[0] if whole else Chunk(path, language, "snippet", "", 1, count, snippet)


def _chunk_of_lines(source: SourceText, text: str, lines: list[str], first: int, last: int) -> Chunk:
    return Chunk(source.path, source.language(text), "selection", "", first, last, "\n".join(lines[first - 1 : last]))


def _check_line(source: SourceText, line: int, lines: list[str]) -> None:
    if line > len(lines):
        raise UsageError(f"{source.path} has {len(lines)} lines; there is no line {line}.")


def _split_lines(text: str) -> list[str]:
    """Lines as editors count them: form feeds and Unicode separators do not break one."""
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


CONTEXT_LINES_BEFORE, CONTEXT_LINES_AFTER, MAX_SNIPPET_LINES = 20, 6, 16
"""Lines around a cursor whose meaning counts, and lines of what is found."""

MIN_SNIPPET_SCORE, MAX_SNIPPETS = 0.35, 8

WARM_UP_CODE, WARM_UP_WORDS = "def add(one, other), do: one + other", "where the sum of two numbers is computed"

NO_INDEX = "the index has just been begun"
NO_VECTORS = "the index holds no vectors yet"
OTHER_SPACE = "the index is being embedded anew for this model"
NOT_SENT = "this file is left out of the index, so it is not sent to the server of `models.remote`"

KINDS_WITHOUT_LENS = frozenset({"file", "module", "namespace", "describe"})
"""Kinds that are only frames around the code that somebody may want to find again."""


@dataclass(frozen=True, slots=True)
class CodeQueries:
    """Queries with the models of one daemon; every method runs in a worker thread."""

    engine: EmbeddingEngine
    team: TeamAnswers = field(default_factory=lambda: TeamAnswers(TeamSettings()))

    def similar_to(
        self, workspace: OpenWorkspace, query: CodeQuery, filters: Filters, limit: int, *, hide_noise: bool = False
    ) -> tuple[Chunk, QueryResult]:
        """The chunk that the query names, and code like it. Raises UsageError where there is none."""
        chunk = _chunk_of_query(workspace, query)
        found = self.similar_to_chunk(workspace, chunk, filters, limit, is_sent=self._may_send(workspace, query, chunk))
        return chunk, replace(found, hits=ranking.drop_noise(found.hits)) if hide_noise else found

    def similar_to_chunk(
        self, workspace: OpenWorkspace, query: Chunk, filters: Filters, limit: int, *, is_sent: bool = True
    ) -> QueryResult:
        """Code like a chunk; by its words alone where it must not be sent to an embedder elsewhere."""

        def rank(index: ChunkIndex, embedder: Embedder | None, view: IndexView) -> Sequence[Hit]:
            return ranking.find_similar(index, embedder, query, filters, limit, view=view)

        asked = self.team.similar(query, filters, limit) if is_sent and not holds_secret(query.text) else None
        found = self._query_one_view(workspace, rank, query.digest, is_sent=is_sent)
        return self._with_team(workspace, found, asked, limit)

    def matching(self, workspace: OpenWorkspace, request: SearchRequest) -> QueryResult:
        """Code that is named by the words, or does what they say."""

        def rank(index: ChunkIndex, embedder: Embedder | None, view: IndexView) -> Sequence[Hit]:
            return ranking.search_code(index, embedder, request, view)

        asked = None if request.grep or holds_secret(request.text) else self.team.search(request)
        return self._with_team(workspace, self._query_one_view(workspace, rank, ""), asked, request.limit)

    def _with_team(
        self, workspace: OpenWorkspace, found: QueryResult, asked: TeamRequest | None, limit: int
    ) -> QueryResult:
        """Local hits and the team's as one ranking; what this index has or has changed counts as it is here."""
        rows = asked.rows() if asked is not None else []
        if not rows:
            return found
        index = workspace.index() if workspace.has_index() else None
        own = workspace.root.name
        places = {(hit.path, hit.name) for hit in found.hits}
        fresh = [
            row.hit
            for row in rows
            if not (index and index.has_content(row.digest))
            and not (row.repository == own and ((index and index.file(row.path)) or (row.path, row.hit.name) in places))
        ]
        return replace(found, hits=merge_hits(found.hits, fresh, limit))

    def before_and_after(
        self, workspace: OpenWorkspace, questions: Sequence[str], limit: int
    ) -> list[tuple[Sequence[Hit], Sequence[Hit]]]:
        """The answers to each question by the model as it came and by the one that serves.

        Raises FinetuneError where that is the same one, or where the vectors of the base are gone.
        """
        index, base = workspace.index(), self.engine.embedder()
        view = index.view()
        serving = self._embedder_for_space(workspace, view.snapshot.space)
        if base is None or serving is None or serving.space == base.space:
            raise FinetuneError("The model as it came serves: run `codekin finetune` first, then compare.")
        if (base_view := index.view_in_space(base.space)) is None:
            raise FinetuneError("The vectors of the model as it came are gone: there is nothing to compare with.")
        requests = [SearchRequest(question, limit=limit) for question in questions]
        return [
            (ranking.search_code(index, base, each, base_view), ranking.search_code(index, serving, each, view))
            for each in requests
        ]

    def warm_up(self, workspace: OpenWorkspace) -> None:
        """Reads what the first queries of a workspace read, so that they find it in memory; sends nothing elsewhere."""
        if not self.engine.is_remote:
            self.matching(workspace, SearchRequest(WARM_UP_CODE))
            self.similar_to_chunk(workspace, chunk_of_snippet(WARM_UP_CODE, "elixir"), Filters(), 1)
            self._warm_up_words(workspace)

    def _warm_up_words(self, workspace: OpenWorkspace) -> None:
        """Answers a question of words once, and embeds those that names are made of."""
        self.matching(workspace, SearchRequest(WARM_UP_WORDS))
        if workspace.has_index() and (embedder := self._query_embedder(workspace)) is not None:
            ranking.embed_frequent_words(workspace.index().view().snapshot, embedder)

    def existing(
        self, workspace: OpenWorkspace, chunks: Sequence[Chunk], min_score: float
    ) -> list[list[ranking.ExistingCode]]:
        """For each chunk the code that does the same already."""
        if not workspace.has_index():
            return [[] for _ in chunks]
        index = workspace.index()
        view = index.view()
        embedder = self._embedder_for_space(workspace, view.snapshot.space)
        is_hidden = self.engine.is_remote and any(holds_secret(chunk.text) for chunk in chunks)
        found = None if is_hidden else embedder
        return [ranking.find_existing(index, found, chunk, view, min_score) for chunk in chunks]

    def snippets(self, workspace: OpenWorkspace, cursor: CursorPosition) -> list[Snippet]:
        """Code of other files like what is being written around a cursor, for completions; none without vectors."""
        if not workspace.has_index() or (embedder := self._query_embedder(workspace)) is None:
            return []
        query = _chunk_around(cursor)
        filters = Filters(languages=(cursor.language,), min_score=MIN_SNIPPET_SCORE)
        place = cursor.path, 1, 1 << 30
        hits = ranking.find_similar(workspace.index(), embedder, query, filters, MAX_SNIPPETS, place)
        found = ((hit, _snippet_lines(workspace, hit)) for hit in hits)
        return [Snippet(hit.path, lines, hit.score) for hit, lines in found if lines]

    def lenses(
        self, workspace: OpenWorkspace, query: CodeQuery, lines: frozenset[int] | None, *, counts: bool
    ) -> list[Lens]:
        """The lenses of a file, of those chunks that start at one of the lines if given; counted if wanted."""
        chunks = [
            chunk
            for chunk in chunks_of_source(_source_of_query(workspace, query))
            if chunk.kind not in KINDS_WITHOUT_LENS and chunk.part <= 1 and (lines is None or chunk.start_line in lines)
        ]
        if counts and all(self._may_send(workspace, query, chunk) for chunk in chunks):
            numbers: Sequence[int | None] = self._count_similar(workspace, chunks)
        else:
            numbers = [0 if counts else None] * len(chunks)
        return [_lens(chunk, number) for chunk, number in zip(chunks, numbers, strict=True)]

    @staticmethod
    def duplicates(workspace: OpenWorkspace, filters: Filters, limit: int) -> list[list[Hit]]:
        """Groups of near-duplicates; they come from the texts and need no model."""
        return ranking.find_duplicates(workspace.index(), filters, limit) if workspace.has_index() else []

    def _count_similar(self, workspace: OpenWorkspace, chunks: Sequence[Chunk]) -> Sequence[int]:
        """How many similar places each chunk has above the scores of the settings."""
        if not workspace.has_index():
            return [0] * len(chunks)
        settings = workspace.settings.similar
        min_score = max(settings.lens_min_score, settings.min_score)
        return ranking.count_similar(workspace.index(), self._query_embedder(workspace), chunks, min_score)

    def _query_one_view(
        self,
        workspace: OpenWorkspace,
        rank: Callable[[ChunkIndex, Embedder | None, IndexView], Sequence[Hit]],
        digest: str,
        *,
        is_sent: bool = True,
    ) -> QueryResult:
        """Ranks in one view of the index, with what embeds for its space: another may begin to serve meanwhile."""
        if not workspace.has_index():
            return QueryResult((), "", NO_INDEX)
        index = workspace.index()
        view = index.view()
        if not is_sent:
            return QueryResult(rank(index, None, view), "", NOT_SENT)
        embedder = self._embedder_for_space(workspace, view.snapshot.space)
        return QueryResult(rank(index, embedder, view), *self._space_used(index, embedder, digest, view))

    def _may_send(self, workspace: OpenWorkspace, query: CodeQuery, chunk: Chunk) -> bool:
        """Whether an embedder may see a chunk: one elsewhere sees nothing of a file that is left out."""
        if not self.engine.is_remote:
            return True
        text = query.snippet or _source_of_query(workspace, query).read()
        rules = workspace.left_out()
        return not (rules.leaves_out(query.path, text) if query.path else holds_secret(chunk.text))

    def _query_embedder(self, workspace: OpenWorkspace) -> Embedder | None:
        """What embeds a query for the space that serves here: the model, or what was fine-tuned from it."""
        return self._embedder_for_space(workspace, workspace.index().serving_space())

    def _embedder_for_space(self, workspace: OpenWorkspace, serving: EmbeddingSpace | None) -> Embedder | None:
        base = self.engine.embedder()
        if base is None or serving is None or serving.fingerprint == base.space:
            return base
        folder = paths.finetune_dir(workspace.data, workspace.root)
        kept = workspace.serving_checkpoint
        if kept is None or kept[0] != serving.fingerprint:
            kept = workspace.serving_checkpoint = serving.fingerprint, checkpoint_of_space(folder, serving.fingerprint)
        return self.engine.finetuned_embedder(folder, kept[1]) if kept[1] else base

    def _space_used(
        self, index: ChunkIndex, embedder: Embedder | None, digest: str, view: IndexView
    ) -> tuple[str, str]:
        """(space, why not): a stored vector serves without a model, a model only in the space that is searched."""
        serving = view.snapshot.space
        if serving is None:
            return "", self.engine.degraded() or NO_VECTORS
        stored = digest and index.vector(digest, view) is not None
        if (embedder and embedder.space == serving.fingerprint) or stored:
            return serving.fingerprint, ""
        return "", OTHER_SPACE if embedder else self.engine.degraded()


def open_queries(engine: EmbeddingEngine, team: TeamSettings) -> CodeQueries:
    """The queries of a daemon, with the team's server if the user has named one."""
    return CodeQueries(engine, TeamAnswers(team))


def _chunk_of_query(workspace: OpenWorkspace, query: CodeQuery) -> Chunk:
    if query.snippet:
        return chunk_of_snippet(query.snippet, query.language, query.path)
    source = _source_of_query(workspace, query)
    if query.end_line:
        return chunk_of_selection(source, query.line, query.end_line)
    return chunk_at_cursor(source, query.line)


def _source_of_query(workspace: OpenWorkspace, query: CodeQuery) -> SourceText:
    text = workspace.buffers.get(query.path) if query.text is None else query.text
    return SourceText(workspace.root, query.path, text, workspace.settings.index.extensions)


def _chunk_around(cursor: CursorPosition) -> Chunk:
    line = cursor.prefix.count("\n") + 1
    before = cursor.prefix.split("\n")[-CONTEXT_LINES_BEFORE:]
    after = cursor.suffix.split("\n")[1 : CONTEXT_LINES_AFTER + 1]
    first, last = max(1, line - CONTEXT_LINES_BEFORE), line + CONTEXT_LINES_AFTER
    return Chunk(cursor.path, cursor.language, "file", "", first, last, "\n".join([*before, *after]))


def _snippet_lines(workspace: OpenWorkspace, hit: Hit) -> str:
    """The first lines of what was found, as they are now; none of a file that has become a secret or ignored one."""
    try:
        text = SourceText(workspace.root, hit.path, workspace.buffers.get(hit.path)).read()
    except UsageError:
        return ""
    if workspace.left_out().leaves_out(hit.path, text):
        return ""
    last = min(hit.end_line, hit.start_line + MAX_SNIPPET_LINES - 1)
    return dedent("\n".join(text.split("\n")[hit.start_line - 1 : last])).rstrip()


def _lens(chunk: Chunk, similar: int | None) -> Lens:
    code_line = chunk.start_line + count_lines_before_code(chunk.language, chunk.text)
    return Lens(chunk.name, chunk.kind, chunk.start_line, chunk.end_line, code_line, similar)
