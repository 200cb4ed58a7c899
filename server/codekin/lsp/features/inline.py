"""Ghost text: `textDocument/inlineCompletion`, and `textDocument/completion` for clients without it.

One request lives in a window: a newer one withdraws the older, and an answer for a text that
has changed since is dropped.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from typing import Any
from uuid import uuid4

from lsprotocol import types as lsp

from codekin.errors import CodekinError, UsageError
from codekin.lsp.convert import SUFFIXES, any_folder, position_of
from codekin.lsp.documents import Snapshot
from codekin.lsp.session import Session

NOBODY = "nobody"
"""The window of a request whose answer is not wanted."""
DID_ACCEPT = "codekin.didAccept"
SWITCH = "codekin.switchSuggestions"
EVERY_LANGUAGE = ""
ALTERNATIVES = 3
"""Suggestions when the user asks; one when the editor does by itself."""
READING = 150.0
"""Seconds that a folder may take to be read before its first suggestion."""
REMEMBERED = 64
"""Suggestions whose text is kept, to count what the client accepts of them."""


class Completions:
    """The handlers that suggest; `shown` keeps the latest suggestions by id."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._window = uuid4().hex
        self._live: asyncio.Task[Any] | None = None
        self._off: set[str] = set()
        self.shown: OrderedDict[str, tuple[str, str]] = OrderedDict()
        """Root and text by id."""

    async def inline(self, session: Session, params: Any) -> lsp.InlineCompletionList:
        """The suggestions as ghost text."""
        document = session.document(params)
        context = params.get("context")
        kind = context.get("triggerKind") if isinstance(context, Mapping) else None
        invoked = kind == lsp.InlineCompletionTriggerKind.Invoked.value
        items = await self._suggest(document, position_of(params), invoked)
        return lsp.InlineCompletionList(items=[_inline_item(document, item) for item in items])

    async def plain(self, session: Session, params: Any) -> lsp.CompletionList:
        """The suggestions as a menu's items; none for a client that shows ghost text."""
        document, position = session.document(params), position_of(params)
        items = [] if session.client.inline_completion else await self._suggest(document, position, invoked=False)
        plain = [_menu_item(document, position, item, rank) for rank, item in enumerate(items)]
        return lsp.CompletionList(is_incomplete=True, items=[item for item in plain if item is not None])

    async def switch(self, _session: Session, params: Any) -> dict[str, Any]:
        """Suggests by itself or no longer, until the window closes: `{on?, language?}`, over when nothing is said."""
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
        """Ask once for each folder with an open document, for nobody: the first real answer is then quick.

        The answer to nobody comes when the whole folder has been read, and nothing here waits for it.
        """
        for document in self._session.documents:
            body = self._question(document, {"line": 0, "character": 0}, invoked=False)
            if body is not None and body["root"] not in self._session.warm:
                self._session.warm.add(body["root"])
                self._session.spawn(self._ask_for_nobody(body))

    async def _ask_for_nobody(self, body: dict[str, Any]) -> None:
        with suppress(CodekinError):
            daemon = await self._session.daemon()
            await daemon.post("/complete", {**body, "window": NOBODY, "wait": True}, timeout=READING)

    async def _suggest(self, document: Snapshot, position: dict[str, int], invoked: bool) -> list[dict[str, Any]]:
        body = self._question(document, position, invoked)
        if body is None:
            return []
        try:
            answer = await self._latest(self._session.post("/complete", body))
        except CodekinError:
            if invoked:
                raise
            return []  # whoever types on is told by the status, not at each key
        if answer is None or not self._session.documents.is_current(document):
            return []
        items: list[dict[str, Any]] = answer["items"]
        self._remember(str(body["root"]), items)
        return items

    def _question(self, document: Snapshot, position: dict[str, int], invoked: bool) -> dict[str, Any] | None:
        session = self._session
        place = session.folders.locate(document.uri)
        folders = list(session.folders)
        if place is None and (document.uri.startswith("file:") or not folders):
            return None
        folder = place.folder if place else any_folder(session, {})
        settings = session.settings(folder).completion
        off = {*settings.languages_off, *self._off}
        if not invoked and (not settings.enabled or off & {document.language_id, EVERY_LANGUAGE}):
            return None
        line, column = document.place(position)
        return {
            "root": str(folder.root),
            "path": place.path if place else f"untitled.{SUFFIXES.get(document.language_id, 'txt')}",
            "text": document.text,
            "line": line + 1,
            "column": column,
            "character_offset": document.offset(position),
            "trigger": "invoked" if invoked else "automatic",
            "alternatives": ALTERNATIVES if invoked else 1,
            "window": self._window,
            "version": document.version,
        }

    async def _latest(self, call: Coroutine[Any, Any, Any]) -> Any:
        """The call's result, or None once a newer call has taken its place."""
        if self._live is not None:
            self._live.cancel()
        live = self._live = asyncio.get_running_loop().create_task(call)
        try:
            return await live
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise  # the client withdrew its request
            return None

    def _remember(self, root: str, items: list[dict[str, Any]]) -> None:
        for item in items:
            self.shown[item["id"]] = (root, item["text"])
        while len(self.shown) > REMEMBERED:
            self.shown.popitem(last=False)


def _inline_item(document: Snapshot, item: Mapping[str, Any]) -> lsp.InlineCompletionItem:
    accept = lsp.Command(title="Accepted", command=DID_ACCEPT, arguments=[{"id": item["id"]}])
    return lsp.InlineCompletionItem(insert_text=item["text"], range=_replaced(document, item), command=accept)


def _menu_item(
    document: Snapshot, position: dict[str, int], item: Mapping[str, Any], rank: int
) -> lsp.CompletionItem | None:
    """None for one that a menu cannot insert: it may only replace text in the cursor's line."""
    replaced = _replaced(document, item)
    line = position["line"]
    if not item["text"].strip() or (replaced.start.line, replaced.end.line) != (line, line):
        return None
    before = document.lines[line][: document.place(position)[1]]
    start = document.place({"line": line, "character": replaced.start.character})[1]
    return lsp.CompletionItem(
        label=item["text"].strip().splitlines()[0],
        kind=lsp.CompletionItemKind.Text,
        detail="Codekin",
        documentation=item["text"],
        sort_text=f"\x20{rank}",
        filter_text=before[start:] + item["text"],
        text_edit=lsp.TextEdit(range=replaced, new_text=item["text"]),
        command=lsp.Command(title="Accepted", command=DID_ACCEPT, arguments=[{"id": item["id"]}]),
    )


def _replaced(document: Snapshot, item: Mapping[str, Any]) -> lsp.Range:
    start = document.position(item["replace_start"])
    return lsp.Range(lsp.Position(*start), lsp.Position(*document.position(item["replace_end"])))
