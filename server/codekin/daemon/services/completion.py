"""Ghost text for a workspace: reads the cursor, keeps the corpus in step, chooses the generator, and answers.

Brings numpy and tree-sitter, so `services.heavy` imports it at the first request; the generator's call, which brings
tokenizers, is imported where a generator completes.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from functools import partial
from typing import Any

from codekin.completion.context import cursor_at
from codekin.completion.corpus_snapshot import Corpus
from codekin.completion.generation import GenerationConfig
from codekin.completion.outcomes import SuggestionOutcome
from codekin.completion.service import CompletionRequest, CompletionService
from codekin.daemon.services.code_queries import CodeQueries, SourceText
from codekin.daemon.services.context import Priority, ServiceContext
from codekin.daemon.services.generation import REPOSITORY_MODEL, GeneratorService
from codekin.daemon.services.queries import GhostTextQuery
from codekin.daemon.services.workspaces import OpenWorkspace
from codekin.parsing import detect_language
from codekin.storage import FileState

SCAN_WAIT_SECONDS = 30.0
SCAN_INCOMPLETE = "The repository is still being read: try again later for more of it."

TextCallback = Callable[[str], None]
"""Takes what is certain so far of the best suggestion's text; called in any thread."""


class GhostTextService:
    """Completions of one daemon; lives on its event loop."""

    def __init__(self, context: ServiceContext, generators: GeneratorService, queries: CodeQueries) -> None:
        self._context, self._generators, self._queries = context, generators, queries
        self._completions = CompletionService(run=lambda work: context.workers.run(Priority.COMPLETION, work))

    async def complete(
        self, workspace: OpenWorkspace, query: GhostTextQuery, on_progress: TextCallback | None = None
    ) -> dict[str, Any]:
        """The answer: items, the model, milliseconds; `superseded` where a newer request of its window overtook it."""
        began = time.perf_counter()
        request = await self._context.workers.run(Priority.COMPLETION, _read_request, workspace, query)
        is_read = not query.waits_for_index or await workspace.wait_until_scanned(SCAN_WAIT_SECONDS)
        await self._bring_up_to_date(workspace, request.cursor.path, at_once=query.waits_for_index)
        request = replace(request, on_progress=on_progress)
        if not request.is_left_out:
            request = replace(request, find_similar=partial(self._queries.snippets, workspace))
            request = await self._with_generator(workspace, query.model, request)
        if query.waits_for_index:
            await self._completions.wait_synced(workspace.root)
        answer = await self._answer(workspace, request, "" if is_read else SCAN_INCOMPLETE)
        return answer | {"model": self._completions.model, "ms": round((time.perf_counter() - began) * 1000, 1)}

    async def corpus(self, workspace: OpenWorkspace, path: str) -> Corpus:
        """The workspace's tokens, with what was typed in other files than `path`; empty until they have been read."""
        await self._bring_up_to_date(workspace, path, at_once=False)
        return self._completions.corpus(workspace.root)

    def record_outcome(self, identifier: str, outcome: SuggestionOutcome, length: int) -> bool:
        """Notes what became of a suggestion; False where it is not known."""
        return self._completions.record_outcome(identifier, outcome, length)

    async def fit_gate(self, workspace: OpenWorkspace) -> None:
        """Learns from the outcomes of a workspace's suggestions when they are worth showing."""
        await asyncio.to_thread(self._completions.fit_gate, workspace.root, workspace.folder)

    def status(self, workspace: OpenWorkspace | None) -> dict[str, Any]:
        """How the completions of a workspace, or of all, do."""
        return self._completions.status(workspace.root if workspace else None)

    async def close(self) -> None:
        """Ends what runs."""
        await self._completions.close()

    async def _bring_up_to_date(self, workspace: OpenWorkspace, path: str, *, at_once: bool) -> None:
        files = FileHashes(workspace, checks_disk=at_once)

        def shared_buffers() -> Mapping[str, str]:
            return workspace.left_out().without_left_out(dict(workspace.buffers))

        self._completions.sync(workspace.root, workspace.folder, files, shared_buffers, at_once=at_once)
        shared = await self._context.workers.run(Priority.COMPLETION, shared_buffers)
        await self._completions.overlay_buffers(workspace.root, shared, path)

    async def _answer(self, workspace: OpenWorkspace, request: CompletionRequest, note: str) -> dict[str, Any]:
        """Items, and a problem where there is one; listeners hear of one that has begun or ended."""
        answer: dict[str, Any] = {"items": []}
        before = self._completions.problem(workspace.root)
        try:
            items = await self._completions.complete(request, workspace.settings.completion)
            answer["items"] = [asdict(item) for item in items]
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise  # the client has gone
            answer["superseded"] = True
        problem = self._completions.problem(workspace.root)
        if problem != before:
            workspace.send({"event": "model"})
        return {**answer, "problem": problem or note} if problem or note else answer

    async def _with_generator(
        self, workspace: OpenWorkspace, requested: str, request: CompletionRequest
    ) -> CompletionRequest:
        """The request with the generator that it or the settings name; `auto` takes one that is here, if any.

        Raises ModelError for one that the request names in vain; of the settings' it is noted, and the repository
        answers.
        """
        if requested in ("", "auto", REPOSITORY_MODEL):
            name = requested or workspace.settings.completion.model
            chosen = await asyncio.to_thread(self._generators.choose_for_completion, name)
            self._completions.set_problem(workspace.root, chosen.problem)
            key = chosen.key
        else:
            key = await asyncio.to_thread(self._generators.choose, requested)
        if not key:
            return request
        generate = await asyncio.to_thread(self._generator_call, workspace, key)
        return replace(request, generate=generate, model=key, is_named=bool(requested))

    def _generator_call(self, workspace: OpenWorkspace, key: str) -> Any:
        from codekin.daemon.services.generator_call import GeneratorCall  # noqa: PLC0415 - brings tokenizers

        settings = workspace.settings.completion
        config = GenerationConfig(
            max_tokens=settings.max_tokens,
            has_snippets=settings.retrieval,
            repository=workspace.root.name,
            similar=self._completions.cached_finder(workspace.root, partial(self._queries.snippets, workspace)),
            generation_cache=self._completions.generation_cache(workspace.root, key),
        )
        return GeneratorCall(self._generators.service(), key, config)


class FileHashes:
    """The content hashes of a workspace's indexed files, for a worker thread; none that were left out.

    With `checks_disk` a file that has changed since it was indexed gets a hash of its own.
    """

    def __init__(self, workspace: OpenWorkspace, *, checks_disk: bool = False) -> None:
        self._workspace, self._checks_disk = workspace, checks_disk

    def __call__(self) -> Mapping[str, str]:
        """Hashes by path."""
        if not self._workspace.has_index():
            return {}
        files = self._workspace.index().files()
        counted = {path: state for path, state in files.items() if not state.skipped and not state.buffer}
        if not self._checks_disk:
            return {path: state.hash for path, state in counted.items()}
        return {path: self._current_hash(path, state) for path, state in counted.items()}

    def _current_hash(self, path: str, state: FileState) -> str:
        try:
            found = (self._workspace.root / path).lstat()
        except OSError:
            return state.hash
        is_same = (found.st_size, found.st_mtime_ns) == (state.size, state.mtime_ns)
        return state.hash if is_same else f"{found.st_size}:{found.st_mtime_ns}"


def _read_request(workspace: OpenWorkspace, query: GhostTextQuery) -> CompletionRequest:
    given = workspace.buffers.get(query.path) if query.text is None else query.text
    text = SourceText(workspace.root, query.path, given).read()
    language = detect_language(query.path, text, workspace.settings.index.extensions) or ""
    return CompletionRequest(
        root=workspace.root,
        cursor=cursor_at(query.path, language, text, query.line, query.column),
        window=query.window,
        is_invoked=query.is_invoked,
        alternatives=query.alternatives,
        is_left_out=workspace.left_out().leaves_out(query.path, text),
    )
