"""Inline completion, plain completion for other clients, and feedback on suggestions.

At most one request per window is active: a newer one cancels the older, and a response for outdated text is dropped.
The daemon stores the feedback on this machine and uses it as training data.
"""

import asyncio
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from lsprotocol import types as lsp

from codekin.errors import CodekinError, UsageError
from codekin.lsp.convert import SUFFIXES, read_position
from codekin.lsp.daemon_link import AUTOMATIC, REQUESTED
from codekin.lsp.documents import DocumentSnapshot, FileLocation, apply_changes, to_client_units, to_code_points
from codekin.lsp.features.retention import RetentionWatch, WatchedText, watched_text
from codekin.lsp.session import Session

WARM_UP_WINDOW = "warm-up"
"""The window of a request whose answer is not wanted."""
DID_ACCEPT = "codekin.didAccept"
SWITCH_SUGGESTIONS = "codekin.switchSuggestions"
EVERY_LANGUAGE = ""
MAX_ALTERNATIVES = 3
"""Suggestions when the user invokes completion; an automatic request gets one."""
WARM_UP_TIMEOUT = 150.0
"""Seconds that a folder may take to be read before its first suggestion."""
MAX_REMEMBERED = 64
"""Suggestions whose text is kept, to count what the client accepts of them."""


_WORD_AT_END = re.compile(r"\w*\Z")


@dataclass(frozen=True, slots=True)
class ShownSuggestion:
    """A suggestion at the client: `lead` code points of its text were put before the daemon's."""

    root: str
    text: str
    lead: int
    watched: WatchedText


@dataclass(frozen=True, slots=True)
class MenuSelection:
    """The text as it would be with the selected item of a menu in place; `start` is where the item begins there."""

    document: DocumentSnapshot
    position: dict[str, int]
    start: int
    text: str
    grown: int
    """Code points that the item adds to the document."""

    def extend(self, items: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """The items that go on from the selected one, as replacements in the document as it is."""
        return [extended for item in items if (extended := self._extend(item)) is not None]

    def _extend(self, item: Mapping[str, Any]) -> dict[str, Any] | None:
        begin = min(self.start, item["replace_start"])
        lead = self.document.text[begin : item["replace_start"]]
        whole = lead + item["text"]
        if not whole[self.start - begin :].startswith(self.text):
            return None
        end = item["replace_end"] - self.grown
        return {**item, "text": whole, "replace_start": begin, "replace_end": end, "lead": len(lead)}


def read_selection(document: DocumentSnapshot, info: Any) -> MenuSelection | None:
    """The selected item that the request's context names; None without one, or where it spans lines."""
    match info:
        case {"range": {"start": Mapping() as start, "end": Mapping() as end} as span, "text": str() as text} if text:
            first, last = (read_position({"position": where}) for where in (start, end))
        case _:
            return None
    length = document.offset(last) - document.offset(first)
    if length < 0 or first["line"] != last["line"] or len(text.splitlines()) != 1:
        return None
    changed = replace(document, lines=apply_changes(document.lines, [{"range": span, "text": text}], document.encoding))
    line, column = document.place(first)
    character = to_client_units(changed.lines[line], column + len(text), document.encoding)
    position = {"line": line, "character": character}
    return MenuSelection(changed, position, document.offset(first), text, len(text) - length)


class CompletionHandlers:
    """The handlers that suggest; `shown` keeps the latest suggestions by id."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._active_task: asyncio.Task[Any] | None = None
        self._off: set[str] = set()
        self.shown: OrderedDict[str, ShownSuggestion] = OrderedDict()
        self.watch = RetentionWatch(session)

    async def inline(self, session: Session, params: Any) -> lsp.InlineCompletionList:
        """The suggestions as ghost text; over the selected item of a menu, those that go on from it."""
        document, position = session.document(params), read_position(params)
        context = params.get("context")
        context = context if isinstance(context, Mapping) else {}
        invoked = context.get("triggerKind") == lsp.InlineCompletionTriggerKind.Invoked.value
        selection = read_selection(document, context.get("selectedCompletionInfo"))
        if selection is None:
            items = await self._suggest(document, document, position, invoked)
        else:
            items = selection.extend(await self._suggest(document, selection.document, selection.position, invoked))
        self._remember(items, document)
        return lsp.InlineCompletionList(items=[_inline_item(document, item) for item in items])

    async def plain(self, session: Session, params: Any) -> lsp.CompletionList:
        """The suggestions as a menu's items; none for a client that shows ghost text."""
        document, position = session.document(params), read_position(params)
        if session.client.inline_completion:
            return lsp.CompletionList(is_incomplete=True, items=[])
        items = await self._suggest(document, document, position, invoked=False)
        self._remember(items, document)
        plain = [_menu_item(document, position, item, rank) for rank, item in enumerate(items)]
        return lsp.CompletionList(is_incomplete=True, items=[item for item in plain if item is not None])

    async def switch(self, _session: Session, params: Any) -> dict[str, Any]:
        """Turns automatic suggestions on or off until the window closes: `{on?, language?}`; without `on`, toggles."""
        given = params if isinstance(params, Mapping) else {}
        match given:
            case {"on": on} if not isinstance(on, bool):
                raise UsageError("`on` must be true or false; leave it out to switch over.")
            case {"language": language} if not isinstance(language, str):
                raise UsageError("`language` must be the id of a language, such as elixir.")
        language = given.get("language", EVERY_LANGUAGE)
        if given.get("on", language in self._off):
            self._off.discard(language)
        else:
            self._off.add(language)
        return {"on": EVERY_LANGUAGE not in self._off, "languagesOff": sorted(self._off - {EVERY_LANGUAGE})}

    async def warm_up(self) -> None:
        """Send one request for each folder with an open document, so that the first real one is quick.

        It is answered when the whole folder has been read, and nothing here waits for it.
        """
        for document in self._session.documents:
            if self._session.folders.locate(document.uri) is None:
                continue
            body = self._build_request(document, {"line": 0, "character": 0}, invoked=False)
            if body is not None and body["root"] not in self._session.warm:
                self._session.warm.add(body["root"])
                self._session.spawn(self._warm_up_folder(body))

    async def _warm_up_folder(self, body: dict[str, Any]) -> None:
        with suppress(CodekinError):
            daemon = await self._session.daemon.connection()
            await daemon.post("/complete", {**body, "window": WARM_UP_WINDOW, "wait": True}, timeout=WARM_UP_TIMEOUT)

    async def _suggest(
        self, document: DocumentSnapshot, as_seen: DocumentSnapshot, position: dict[str, int], invoked: bool
    ) -> list[dict[str, Any]]:
        """The daemon's items for the text `as_seen`; none once the document itself has changed."""
        body = self._build_request(as_seen, position, invoked)
        if body is None:
            return []
        try:
            response = await self._run_latest(
                self._session.post("/complete", body, REQUESTED if invoked else AUTOMATIC)
            )
        except CodekinError:
            if invoked:
                raise
            return []  # the status shows the problem once, not at each key
        if response is None or not self._session.documents.is_current(document):
            return []
        return [{**item, "root": body["root"], "lead": 0} for item in response["items"]]

    def _build_request(
        self, document: DocumentSnapshot, position: dict[str, int], invoked: bool
    ) -> dict[str, Any] | None:
        session = self._session
        place = session.folders.locate(document.uri) or self._locate_outside(document)
        settings = session.settings(place.folder).completion
        off = {*settings.languages_off, *self._off}
        if not invoked and (not settings.enabled or off & {document.language_id, EVERY_LANGUAGE}):
            return None
        line, column = document.place(position)
        return {
            "root": place.root,
            "path": place.path,
            "text": document.text,
            "line": line + 1,
            "column": column,
            "character_offset": document.offset(position),
            "trigger": "invoked" if invoked else "automatic",
            "alternatives": MAX_ALTERNATIVES if invoked else 1,
            "window": session.window,
            "version": document.version,
        }

    def _locate_outside(self, document: DocumentSnapshot) -> FileLocation:
        """A new document belongs to the first folder; a file outside all folders belongs to none."""
        first = next(iter(self._session.folders), None)
        if first is None or document.uri.startswith("file:"):
            return self._session.locate_alone(document.uri)
        return FileLocation(first, f"untitled.{SUFFIXES.get(document.language_id, 'txt')}")

    async def _run_latest(self, call: Coroutine[Any, Any, Any]) -> Any:
        """The call's result, or None once a newer call has taken its place."""
        if self._active_task is not None:
            self._active_task.cancel()
        live = self._active_task = asyncio.get_running_loop().create_task(call)
        try:
            return await live
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise  # the client withdrew its request
            return None

    def _remember(self, items: list[dict[str, Any]], document: DocumentSnapshot) -> None:
        for item in items:
            watched = watched_text(item["root"], document, item)
            self.shown[item["id"]] = ShownSuggestion(item["root"], item["text"], item["lead"], watched)
        while len(self.shown) > MAX_REMEMBERED:
            self.shown.popitem(last=False)


def _inline_item(document: DocumentSnapshot, item: Mapping[str, Any]) -> lsp.InlineCompletionItem:
    accept = lsp.Command(title="Accepted", command=DID_ACCEPT, arguments=[{"id": item["id"]}])
    return lsp.InlineCompletionItem(insert_text=item["text"], range=_replaced_range(document, item), command=accept)


def _menu_item(
    document: DocumentSnapshot, position: dict[str, int], item: Mapping[str, Any], rank: int
) -> lsp.CompletionItem | None:
    """None for one that a menu cannot insert: it may only replace text in the cursor's line."""
    replaced = _replaced_range(document, item)
    line = position["line"]
    if not item["text"].strip() or (replaced.start.line, replaced.end.line) != (line, line):
        return None
    # Menus filter by the word before the cursor, so an item holds all of it.
    before = document.lines[line][: document.place(position)[1]]
    start = document.place({"line": line, "character": replaced.start.character})[1]
    word = min(start, len(before) - len(_WORD_AT_END.findall(before)[0]))
    text, typed = before[word:start] + item["text"], before[word:]
    replaced.start.character = to_client_units(before, word, document.encoding)
    first_line = text.strip().splitlines()[0]
    return lsp.CompletionItem(
        label=first_line,
        kind=lsp.CompletionItemKind.Text,
        detail="Codekin",
        documentation=text,
        sort_text=f"\x20{rank}",
        filter_text=first_line if first_line.startswith(typed) else typed + first_line,
        text_edit=lsp.TextEdit(range=replaced, new_text=text),
        command=lsp.Command(title="Accepted", command=DID_ACCEPT, arguments=[{"id": item["id"]}]),
    )


def _replaced_range(document: DocumentSnapshot, item: Mapping[str, Any]) -> lsp.Range:
    start = document.position(item["replace_start"])
    return lsp.Range(lsp.Position(*start), lsp.Position(*document.position(item["replace_end"])))


FEEDBACK_EVENTS = {
    "codekin/didShow": "shown",
    "codekin/didAccept": "accepted",
    "codekin/didPartiallyAccept": "partially_accepted",
    "codekin/didReject": "rejected",
}

FeedbackHandler = Callable[[Session, Any], Awaitable[None]]


def feedback_handlers(completions: CompletionHandlers) -> dict[str, FeedbackHandler]:
    """A handler for each of the notifications: `{id}`, for a part `{id, acceptedLength}` in client units.

    The command that each suggestion carries is one of them: an editor that knows nothing of us runs it.
    """
    in_order = asyncio.Lock()
    handlers: dict[str, FeedbackHandler] = {
        method: partial(_send_feedback, completions, in_order, event) for method, event in FEEDBACK_EVENTS.items()
    }
    return {**handlers, DID_ACCEPT: handlers["codekin/didAccept"]}


async def _send_feedback(
    completions: CompletionHandlers, in_order: asyncio.Lock, event: str, session: Session, params: Any
) -> None:
    match params:
        case {"id": str() as number} if number in completions.shown:
            shown = completions.shown[number]
        case {"id": str()}:
            return  # too old to be known
        case _:
            raise UsageError("The params need the id of a suggestion.")
    if event == "shown":
        completions.watch.shown(number, shown.watched)
    if event == "rejected" and params.get("reason") == "typed":
        event = "typed_over"
    body: dict[str, Any] = {"root": shown.root, "id": number, "event": event}
    if isinstance(length := params.get("acceptedLength"), int):
        body["length"] = max(to_code_points(shown.text, length, session.client.encoding) - shown.lead, 0)
    async with in_order:  # a part must not be reported after the whole
        await session.post("/complete/events", body)
