"""The completion room as the daemon holds it: the corpora of its workspaces, the flow, and what was suggested.

Runs on the event loop; what takes time runs in the threads that are handed in. It knows nothing of HTTP.
"""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

from codekin.completion.block import after_acceptance
from codekin.completion.corpus import Corpus
from codekin.completion.events import Event, Events, Outcome, around, now
from codekin.completion.flow import Flow
from codekin.completion.gap import Gap
from codekin.completion.kinship import Find, Kinship
from codekin.completion.lately import Lately
from codekin.completion.repository import Guess
from codekin.completion.shelf import Shelf
from codekin.completion.suggest import Suggestion, Tell, Wish, shown, suggestions, without_carriage_returns
from codekin.errors import ModelError
from codekin.settings.schema import CompletionSettings

log = logging.getLogger(__name__)

REMEMBERED = 500
FOLLOW_SECONDS = 2.0
LEAST_CHANCE = 0.005
"""Of the best one when the user asks: below, none of the lines measured was right, and they were a third alike."""

REPOSITORY = "repository"

Result = TypeVar("Result")
Generate = Callable[[Corpus, Gap, Wish, Tell], Awaitable[list[Guess]]]
"""Guesses of a generator and the repository together; cancelled when nobody waits for them."""

Files = Callable[[], Mapping[str, str]]
"""Content hashes of the files that count, by path; called in a thread."""


@dataclass(frozen=True, slots=True)
class Question:
    """One request: where, on whose behalf, and how.

    A `generate` that fails leaves the answer to the repository, but is told where the user named its model.
    `told` hears, in some thread, the text so far of the best suggestion as it grows; `find_kin` finds code by meaning,
    behind the answer, for the ones to come.
    """

    root: Path
    gap: Gap
    window: str
    is_invoked: bool = False
    alternatives: int = 1
    threshold: float | None = None
    generate: Generate | None = None
    model: str = REPOSITORY
    is_named: bool = False
    told: Callable[[str], None] | None = None
    find_kin: Find | None = None


@dataclass(frozen=True, slots=True)
class Item:
    """A suggestion with its id, and the offsets in the document (characters) between which it goes."""

    id: str
    text: str
    replace_start: int
    replace_end: int
    kind: str
    confidence: float


@dataclass(slots=True)
class _Home:
    """What is kept of one workspace."""

    shelf: Shelf
    events: Events
    kinship: Kinship = field(default_factory=Kinship)
    lately: Lately = field(default_factory=Lately)
    lately_of: str = ""
    problem: str = ""
    followed: float = -FOLLOW_SECONDS
    follower: asyncio.Task[None] | None = None
    is_stale: bool = False


@dataclass(slots=True)
class Room:
    """All that completion keeps between two requests; `run` runs a function in a thread for foreground work."""

    run: Callable[[Callable[[], list[Suggestion]]], Awaitable[list[Suggestion]]]
    flow: Flow = field(default_factory=Flow)
    model: str = REPOSITORY
    _homes: dict[Path, _Home] = field(default_factory=dict)
    _suggested: OrderedDict[str, tuple[Question, Suggestion]] = field(default_factory=OrderedDict)
    _tasks: set[asyncio.Task[Any]] = field(default_factory=set)
    _is_searching: bool = False

    async def complete(self, question: Question, settings: CompletionSettings) -> list[Item]:
        """The items to show. Raises CancelledError when a newer request of the window came."""
        if not question.is_invoked and not is_on(question.gap, settings):
            return []
        gap = without_carriage_returns(question.gap)
        gap = replace(gap, kin=self._homes[question.root].kinship.paths(gap))
        wish = _wish(question, settings)
        waits = 0.0 if question.is_invoked else None
        make = self._maker(question, gap, wish)
        found = await self.flow.ask(question.window, self._place(question, wish), gap, make, waits=waits)
        self._find_kin(question, gap)
        return [self._item(question, suggestion) for suggestion in found]

    async def lay(self, root: Path, buffers: Mapping[str, str], besides: str) -> None:
        """Takes in what was typed in other files than the one at hand, before the answer."""
        shelf = self._homes[root].shelf
        if not shelf.has_laid(buffers, besides):
            await asyncio.to_thread(shelf.lay_at_once, dict(buffers))

    def follow(
        self, root: Path, folder: Path, files: Files, buffers: Mapping[str, str], *, at_once: bool = False
    ) -> None:
        """Sees to it, behind the answers, that the corpus keeps up with the workspace."""
        home = self._homes.get(root)
        if home is None:
            shelf = Shelf(root, folder / "completion" / "corpus")
            home = self._homes[root] = _Home(shelf, Events(folder / "completion" / "events.jsonl"))
        home.is_stale = True
        if at_once:
            home.followed = -FOLLOW_SECONDS
        if home.follower is None or home.follower.done():
            home.follower = asyncio.ensure_future(_follow(home, files, buffers))

    async def settled(self, root: Path) -> None:
        """Waits until the corpus has been brought up to date."""
        home = self._homes.get(root)
        if home and home.follower:
            await asyncio.shield(home.follower)

    def tell(self, number: str, outcome: Outcome, length: int | None) -> bool:
        """Takes note of what became of an item; False for one that is not known (any more)."""
        known = self._suggested.get(number)
        if known is None:
            return False
        question, suggestion = known
        home = self._homes.get(question.root)
        taken = len(suggestion.text) if outcome == "accepted" else max(0, min(length or 0, len(suggestion.text)))
        if home:
            home.events.add(_event(question.gap, suggestion, outcome, taken))
        if outcome == "accepted":
            self._prepare(question, suggestion)
        return True

    def status(self, root: Path | None) -> dict[str, Any]:
        """Which model answers, how fast, and how its suggestions fare."""
        home = self._homes.get(root) if root else None
        about: dict[str, Any] = {"model": self.model, "ms": round(self.flow.milliseconds, 1)}
        if home:
            about |= {"tokens": len(home.shelf.corpus.base.tokens)} | dict(home.events.counts)
        if problem := self.problem(root):
            about["problem"] = problem
        return about

    def problem(self, root: Path | None) -> str:
        """Why answers of a workspace come without the model of the settings, or without the repository."""
        home = self._homes.get(root) if root else None
        return (home.problem or home.shelf.problem) if home else ""

    def note(self, root: Path, problem: str) -> None:
        """Keeps why the generator of the settings does not answer; an empty text withdraws it."""
        if home := self._homes.get(root):
            home.problem = problem

    async def close(self) -> None:
        """Ends what is under way."""
        for home in self._homes.values():
            home.shelf.close()
            if home.follower:
                home.follower.cancel()
                await asyncio.wait([home.follower], timeout=2)
        for task in self._tasks:
            task.cancel()

    def _maker(self, question: Question, gap: Gap, wish: Wish) -> Callable[[], Awaitable[list[Suggestion]]]:
        told = question.told

        def tell(best: Guess) -> None:
            if told and (certain := shown(gap, [best], 1)):
                told(certain[0].text)

        async def make() -> list[Suggestion]:
            home = self._homes[question.root]
            corpus, found = home.shelf.corpus, None
            self.model = REPOSITORY
            if question.generate is not None:
                try:
                    found = await question.generate(corpus, gap, wish, tell)
                    home.problem, self.model = "", question.model
                except ModelError as error:
                    if question.is_named:
                        raise
                    home.problem = str(error)
            return await self.run(lambda: suggestions(corpus, gap, wish, found, tell))

        return make

    def kin_finder(self, root: Path, find: Find) -> Find:
        """The same, kept for a workspace while a cursor stays near."""
        kinship = self._homes[root].kinship
        return lambda gap: kinship.renewed(gap, find)

    def lately(self, root: Path, model: str) -> Lately:
        """What a generator thought at the last keys in a workspace; nothing of what another one did."""
        home = self._homes[root]
        if home.lately_of != model:
            home.lately_of, home.lately = model, Lately()
        return home.lately

    def _find_kin(self, question: Question, gap: Gap) -> None:
        """Sees to it, behind the answer, that the next one knows the kin of this place; one search at a time."""
        home = self._homes[question.root]
        if question.find_kin is None or home.kinship.near(gap) is not None or self._is_searching:
            return
        self._is_searching = True
        task = asyncio.ensure_future(asyncio.to_thread(home.kinship.renewed, gap.around_line, question.find_kin))
        self._tasks.add(task)
        task.add_done_callback(self._searched)

    def _searched(self, task: "asyncio.Task[Any]") -> None:
        self._is_searching = False
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.warning("Kin of the place at the cursor could not be found: %s", error)

    def _place(self, question: Question, wish: Wish) -> Hashable:
        """All that an answer depends on beside the gap."""
        return question.root, question.model, wish, self._homes[question.root].shelf.builds

    def _item(self, question: Question, suggestion: Suggestion) -> Item:
        number = uuid4().hex
        self._suggested[number] = question, suggestion
        while len(self._suggested) > REMEMBERED:
            self._suggested.popitem(last=False)
        newline = "\r\n" if "\r\n" in question.gap.prefix or "\r\n" in question.gap.suffix else "\n"
        offset = len(question.gap.prefix)
        text = suggestion.text.replace("\n", newline)
        return Item(number, text, offset, offset, suggestion.kind, round(suggestion.confidence, 4))

    def _prepare(self, question: Question, suggestion: Suggestion) -> None:
        """Makes the answer for the line behind an accepted one ahead of its request."""
        gap = without_carriage_returns(question.gap)
        gap = after_acceptance(replace(gap, prefix=gap.prefix + suggestion.text))
        wish = Wish(threshold=CompletionSettings().threshold if question.threshold is None else question.threshold)
        make = self._maker(replace(question, told=None), gap, wish)
        task = asyncio.ensure_future(self.flow.prepare(self._place(question, wish), gap, make))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def is_on(gap: Gap, settings: CompletionSettings) -> bool:
    """Whether suggestions may appear by themselves: not switched off, by language or by glob; nothing behind."""
    if not settings.enabled or not gap.language or gap.language in settings.languages_off:
        return False
    if any(fnmatch(gap.path, pattern) for pattern in settings.ignore):
        return False
    return len(gap.line_behind.strip()) <= LONGEST_BEHIND


LONGEST_BEHIND = 8
"""With more text than this behind the cursor nothing appears by itself (as in llama.vim)."""


def _wish(question: Question, settings: CompletionSettings) -> Wish:
    threshold = settings.threshold if question.threshold is None else question.threshold
    return Wish(
        alternatives=max(1, question.alternatives),
        threshold=min(LEAST_CHANCE, threshold) if question.is_invoked else threshold,
        extent=settings.multiline,
    )


async def _follow(home: _Home, files: Files, buffers: Mapping[str, str]) -> None:
    """Brings the corpus up to date, not too often, and again if that was asked for meanwhile."""
    while home.is_stale:
        await asyncio.sleep(home.followed + FOLLOW_SECONDS - time.monotonic())
        home.followed, home.is_stale = time.monotonic(), False
        await asyncio.to_thread(_read, home.shelf, files, dict(buffers))


def _read(shelf: Shelf, files: Files, buffers: Mapping[str, str]) -> None:
    shelf.lay(buffers)
    shelf.follow(files())


def _event(gap: Gap, suggestion: Suggestion, outcome: Outcome, length: int) -> Event:
    before, behind = around(gap.prefix, gap.suffix)
    return Event(now(), outcome, gap.path, gap.language, suggestion.text, length, suggestion.confidence, before, behind)
