"""The completion service of the daemon: a corpus per workspace, the request scheduler, and the suggestion log.

Runs on the event loop; slow work runs in the threads passed to it.
"""

import asyncio
import fnmatch
import logging
import re
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

from codekin.completion.context import CursorPosition
from codekin.completion.corpus_manager import CorpusManager
from codekin.completion.corpus_snapshot import Corpus, build_corpus
from codekin.completion.gate import Gate, load_gate, place_of
from codekin.completion.generation import GenerationCache
from codekin.completion.outcomes import (
    SuggestionEvent,
    SuggestionLog,
    SuggestionOutcome,
    event_time,
    read_events,
    surrounding_lines,
)
from codekin.completion.plausibility import has_evidence
from codekin.completion.prompt import FindSimilar, SimilarSnippetCache
from codekin.completion.ranking import Guess
from codekin.completion.scheduler import CompletionScheduler
from codekin.completion.suggestions import (
    CompletionOptions,
    GuessCallback,
    Suggestion,
    context_at_cursor,
    filter_suggestions,
    make_suggestions,
    next_line_cursor,
    normalize_newlines,
)
from codekin.errors import ModelError
from codekin.settings.schema import CompletionSettings

log = logging.getLogger(__name__)

MAX_REMEMBERED = 500
SYNC_SECONDS = 2.0
INVOKED_THRESHOLD = 0.005
"""Least confidence of the best guess when invoked; measured lines below it were all wrong, with a similarity of 1/3."""

REPOSITORY = "repository"

Result = TypeVar("Result")
GenerateGuesses = Callable[[Corpus, CursorPosition, CompletionOptions, GuessCallback], Awaitable[list[Guess]]]
"""Guesses of a generator and the repository together; cancelled once no request waits for them."""

FileHashes = Callable[[], Mapping[str, str]]
"""Content hashes of the files that count, by path; called in a thread."""

BufferTexts = Callable[[], Mapping[str, str]]
"""The unsaved texts that other files may show, by path; called in a thread."""


@dataclass(frozen=True, slots=True)
class CompletionRequest:
    """One request: where, on whose behalf, and how.

    If `generate` fails the repository answers, unless the user named the model: then the error is raised.
    `on_progress` is called, from any thread, with the text of the best suggestion as it grows; `find_similar` searches
    by vectors in the background, for later requests. A file that `is_left_out` is completed from itself alone, when
    the user invokes it, and nothing of it is kept.
    """

    root: Path
    cursor: CursorPosition
    window: str
    is_invoked: bool = False
    alternatives: int = 1
    threshold: float | None = None
    generate: GenerateGuesses | None = None
    model: str = REPOSITORY
    is_named: bool = False
    on_progress: Callable[[str], None] | None = None
    find_similar: FindSimilar | None = None
    is_left_out: bool = False


@dataclass(frozen=True, slots=True)
class CompletionItem:
    """A suggestion with its id, and the offsets in the document (characters) between which it goes."""

    id: str
    text: str
    replace_start: int
    replace_end: int
    kind: str
    confidence: float


@dataclass(slots=True)
class _WorkspaceState:
    """What is kept of one workspace."""

    corpus_manager: CorpusManager
    events: SuggestionLog
    gate: Gate
    similar_cache: SimilarSnippetCache = field(default_factory=SimilarSnippetCache)
    generation_cache: GenerationCache = field(default_factory=GenerationCache)
    generation_cache_model: str = ""
    problem: str = ""
    synced_at: float = -SYNC_SECONDS
    sync_task: asyncio.Task[None] | None = None
    is_stale: bool = False


@dataclass(slots=True)
class CompletionService:
    """All that completion keeps between two requests; `run` runs a function in a thread for foreground work."""

    run: Callable[[Callable[[], list[Suggestion]]], Awaitable[list[Suggestion]]]
    scheduler: CompletionScheduler = field(default_factory=CompletionScheduler)
    model: str = REPOSITORY
    _states: dict[Path, _WorkspaceState] = field(default_factory=dict)
    _suggested: OrderedDict[str, tuple[CompletionRequest, Suggestion]] = field(default_factory=OrderedDict)
    _tasks: set[asyncio.Task[Any]] = field(default_factory=set)
    _is_searching: bool = False

    async def complete(self, request: CompletionRequest, settings: CompletionSettings) -> list[CompletionItem]:
        """The items to show. Raises CancelledError when a newer request of the window came."""
        if not request.is_invoked and not self._may_appear(request, settings):
            return []
        cursor = normalize_newlines(request.cursor)
        cursor = replace(cursor, similar_paths=self._states[request.root].similar_cache.paths(cursor))
        options = replace(_options_of(request, settings), gate=self._states[request.root].gate)
        delay = 0.0 if request.is_invoked else None
        make = self._make_compute(request, cursor, options)
        found = await self.scheduler.request_suggestions(
            request.window, self._request_scope(request, options), cursor, make, delay=delay
        )
        self._prefetch_similar(request, cursor)
        return [self._item(request, suggestion) for suggestion in found]

    async def overlay_buffers(self, root: Path, buffers: Mapping[str, str], ignored_path: str) -> None:
        """Adds the unsaved texts of other files to the corpus before the answer."""
        corpus_manager = self._states[root].corpus_manager
        if not corpus_manager.has_overlay(buffers, ignored_path):
            await asyncio.to_thread(corpus_manager.overlay_if_idle, dict(buffers))

    def sync(self, root: Path, folder: Path, files: FileHashes, buffers: BufferTexts, *, at_once: bool = False) -> None:
        """Updates the corpus in the background."""
        state = self._states.get(root)
        if state is None:
            corpus_manager = CorpusManager(root, folder / "completion" / "corpus")
            state = self._states[root] = _WorkspaceState(
                corpus_manager, SuggestionLog(folder / "completion" / "events.jsonl"), load_gate(folder / "completion")
            )
        state.is_stale = True
        if at_once:
            state.synced_at = -SYNC_SECONDS
        if state.sync_task is None or state.sync_task.done():
            state.sync_task = asyncio.ensure_future(_sync(state, files, buffers))

    def corpus(self, root: Path) -> Corpus:
        """What is known of a workspace now."""
        return self._states[root].corpus_manager.corpus

    async def wait_synced(self, root: Path) -> None:
        """Waits until the corpus has been brought up to date."""
        state = self._states.get(root)
        if state and state.sync_task:
            await asyncio.shield(state.sync_task)

    def record_outcome(self, number: str, outcome: SuggestionOutcome, length: int | None) -> bool:
        """Records the outcome of an item; False for an unknown one."""
        known = self._suggested.get(number)
        if known is None:
            return False
        request, suggestion = known
        state = self._states.get(request.root)
        taken = len(suggestion.text) if outcome == "accepted" else max(0, min(length or 0, len(suggestion.text)))
        if state:
            state.events.append(_event(number, request.cursor, suggestion, outcome, taken))
        if outcome == "accepted":
            self._prefetch_next_line(request, suggestion)
        return True

    def fit_gate(self, root: Path, folder: Path) -> bool:
        """Moves the gate by what became of a workspace's suggestions; called in a thread, at night."""
        events = list(read_events(folder / "completion" / "events.jsonl"))
        learned = load_gate(folder / "completion").fitted_to(events)
        if not learned.shifts:
            return False
        learned.save(folder / "completion")
        if state := self._states.get(root):
            state.gate = learned
        return True

    def status(self, root: Path | None) -> dict[str, Any]:
        """Which model answers, how fast, and how its suggestions fare."""
        state = self._states.get(root) if root else None
        about: dict[str, Any] = {"model": self.model, "ms": round(self.scheduler.milliseconds, 1)}
        if state:
            about |= {"tokens": len(state.corpus_manager.corpus.base.tokens)} | dict(state.events.counts)
        if problem := self.problem(root):
            about["problem"] = problem
        return about

    def problem(self, root: Path | None) -> str:
        """Why answers of a workspace come without the model of the settings, or without the repository."""
        state = self._states.get(root) if root else None
        return (state.problem or state.corpus_manager.problem) if state else ""

    def set_problem(self, root: Path, problem: str) -> None:
        """Keeps why the generator of the settings does not answer; an empty text removes it."""
        if state := self._states.get(root):
            state.problem = problem

    async def close(self) -> None:
        """Cancels everything in progress."""
        for state in self._states.values():
            state.corpus_manager.close()
            if state.sync_task:
                state.sync_task.cancel()
                await asyncio.wait([state.sync_task], timeout=2)
        for task in self._tasks:
            task.cancel()

    def _may_appear(self, request: CompletionRequest, settings: CompletionSettings) -> bool:
        """Whether something may be shown by itself: more than the file that is typed in has been read."""
        if request.is_left_out or not is_enabled(request.cursor, settings):
            return False
        corpus_manager = self._states[request.root].corpus_manager
        return corpus_manager.builds > 0 and has_evidence(corpus_manager.corpus, request.cursor.path)

    def _make_compute(
        self, request: CompletionRequest, cursor: CursorPosition, options: CompletionOptions
    ) -> Callable[[], Awaitable[list[Suggestion]]]:
        on_progress = request.on_progress

        def on_guess(best: Guess) -> None:
            if on_progress and (certain := filter_suggestions(cursor, [best], 1)):
                on_progress(certain[0].text)

        async def make() -> list[Suggestion]:
            state = self._states[request.root]
            corpus, found = state.corpus_manager.corpus, None
            self.model = REPOSITORY
            if request.is_left_out:
                text = cursor.prefix + cursor.suffix
                corpus = await asyncio.to_thread(lambda: build_corpus([(cursor.path, text)]))
            elif request.generate is not None:
                try:
                    found = await request.generate(corpus, cursor, options, on_guess)
                    state.problem, self.model = "", request.model
                except ModelError as error:
                    if request.is_named:
                        raise
                    state.problem = str(error)
            return await self.run(lambda: make_suggestions(corpus, cursor, options, found, on_guess))

        return make

    def cached_finder(self, root: Path, find: FindSimilar) -> FindSimilar:
        """The same, kept for a workspace while a cursor stays near."""
        similar_cache = self._states[root].similar_cache
        return lambda cursor: similar_cache.get_or_find(cursor, find)

    def generation_cache(self, root: Path, model: str) -> GenerationCache:
        """What a generator thought at the last keys in a workspace; nothing of what another one did."""
        state = self._states[root]
        if state.generation_cache_model != model:
            state.generation_cache_model, state.generation_cache = model, GenerationCache()
        return state.generation_cache

    def _prefetch_similar(self, request: CompletionRequest, cursor: CursorPosition) -> None:
        """Sees to it, behind the answer, that the next one has the snippets of this place; one search at a time."""
        state = self._states[request.root]
        if (
            request.is_left_out
            or request.find_similar is None
            or state.similar_cache.cached_near(cursor) is not None
            or self._is_searching
        ):
            return
        self._is_searching = True
        task = asyncio.ensure_future(
            asyncio.to_thread(state.similar_cache.get_or_find, cursor.around_line, request.find_similar)
        )
        self._tasks.add(task)
        task.add_done_callback(self._prefetch_done)

    def _prefetch_done(self, task: "asyncio.Task[Any]") -> None:
        self._is_searching = False
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.warning("Searching for code similar to the cursor position failed: %s", error)

    def _request_scope(self, request: CompletionRequest, options: CompletionOptions) -> Hashable:
        """All that an answer depends on beside the gap."""
        return (
            request.root,
            request.model,
            request.is_left_out,
            options,
            self._states[request.root].corpus_manager.builds,
        )

    def _item(self, request: CompletionRequest, suggestion: Suggestion) -> CompletionItem:
        number = uuid4().hex
        if not request.is_left_out:
            self._suggested[number] = request, suggestion
        while len(self._suggested) > MAX_REMEMBERED:
            self._suggested.popitem(last=False)
        newline = "\r\n" if "\r\n" in request.cursor.prefix or "\r\n" in request.cursor.suffix else "\n"
        offset = len(request.cursor.prefix)
        text = suggestion.text.replace("\n", newline)
        return CompletionItem(number, text, offset, offset, suggestion.kind, round(suggestion.confidence, 4))

    def _prefetch_next_line(self, request: CompletionRequest, suggestion: Suggestion) -> None:
        """Computes the suggestion for the line after an accepted one ahead of its request."""
        cursor = normalize_newlines(request.cursor)
        cursor = next_line_cursor(replace(cursor, prefix=cursor.prefix + suggestion.text))
        options = CompletionOptions(
            threshold=CompletionSettings().threshold if request.threshold is None else request.threshold,
            gate=self._states[request.root].gate,
        )
        make = self._make_compute(replace(request, on_progress=None), cursor, options)
        task = asyncio.ensure_future(self.scheduler.prepare(self._request_scope(request, options), cursor, make))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def is_enabled(cursor: CursorPosition, settings: CompletionSettings) -> bool:
    """Whether suggestions may appear by themselves: not switched off, by language or by glob; nothing behind."""
    if not settings.enabled or not cursor.language or cursor.language in settings.languages_off:
        return False
    if _compile_globs(settings.ignore).match(cursor.path):
        return False
    return len(cursor.line_after.strip()) <= MAX_TEXT_AFTER


@lru_cache(maxsize=16)
def _compile_globs(patterns: tuple[str, ...]) -> re.Pattern[str]:
    """One expression for all patterns: each request matches it once; without patterns it matches nothing."""
    return re.compile("|".join(map(fnmatch.translate, patterns)) or r"(?!)")


MAX_TEXT_AFTER = 8
"""With more text than this behind the cursor nothing appears by itself (as in llama.vim)."""


def _options_of(request: CompletionRequest, settings: CompletionSettings) -> CompletionOptions:
    threshold = settings.threshold if request.threshold is None else request.threshold
    return CompletionOptions(
        alternatives=max(1, request.alternatives),
        threshold=min(INVOKED_THRESHOLD, threshold) if request.is_invoked else threshold,
        extent=settings.multiline,
    )


async def _sync(state: _WorkspaceState, files: FileHashes, buffers: BufferTexts) -> None:
    """Brings the corpus up to date, not too often, and again if another request came meanwhile."""
    while state.is_stale:
        await asyncio.sleep(state.synced_at + SYNC_SECONDS - time.monotonic())
        state.synced_at, state.is_stale = time.monotonic(), False
        await asyncio.to_thread(_read_changes, state.corpus_manager, files, buffers)


def _read_changes(corpus_manager: CorpusManager, files: FileHashes, buffers: BufferTexts) -> None:
    corpus_manager.overlay_buffers(buffers())
    corpus_manager.sync(files())


def _event(
    number: str, cursor: CursorPosition, suggestion: Suggestion, outcome: SuggestionOutcome, length: int
) -> SuggestionEvent:
    before, after = surrounding_lines(cursor.prefix, cursor.suffix)
    return SuggestionEvent(
        event_time(),
        outcome,
        cursor.path,
        cursor.language,
        suggestion.text,
        length,
        suggestion.confidence,
        before,
        after,
        number,
        place_of(cursor, context_at_cursor(cursor).kind),
        suggestion.estimate,
    )
