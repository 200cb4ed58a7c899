"""Whether the text of a suggestion that was shown stands at its place some time later, whoever wrote it.

That is what the daemon learns from at night when suggestions are worth showing: typing what was suggested shows that it
was right, and taking something back shows that it was not.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from codekin.errors import CodekinError
from codekin.lsp.documents import DocumentSnapshot
from codekin.lsp.session import Session

RETENTION_SECONDS = 30.0
MAX_WATCHED = 64


@dataclass(frozen=True, slots=True)
class WatchedText:
    """A suggested text from the start of its line, and how often it stood in the document before."""

    root: str
    uri: str
    text: str
    count: int

    def stands_in(self, document: DocumentSnapshot) -> bool:
        """Whether the document has it once more."""
        return _unified(document.text).count(self.text) > self.count


def watched_text(root: str, document: DocumentSnapshot, item: Mapping[str, Any]) -> WatchedText:
    """What to look for after an item was shown in a document."""
    before = document.text[: item["replace_start"]]
    line = _unified(before[before.rfind("\n") + 1 :] + item["text"])
    return WatchedText(root, document.uri, line, _unified(document.text).count(line))


class RetentionWatch:
    """Looks twice: after a while, and when the document is next saved."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._watched: OrderedDict[str, WatchedText] = OrderedDict()

    def shown(self, number: str, watched: WatchedText) -> None:
        """A suggestion was shown: look at it later."""
        if number in self._watched:
            return
        self._watched[number] = watched
        while len(self._watched) > MAX_WATCHED:
            self._watched.popitem(last=False)
        self._session.spawn(self._look_later(number))

    async def saved(self, uri: str) -> None:
        """A document was saved: what stands in it now was right; it is not looked at again."""
        for number in [number for number, one in self._watched.items() if one.uri == uri]:
            await self._look(number)
            self._watched.pop(number, None)

    async def _look_later(self, number: str) -> None:
        await asyncio.sleep(RETENTION_SECONDS)
        await self._look(number)

    async def _look(self, number: str) -> None:
        watched = self._watched.get(number)
        document = self._session.documents.get(watched.uri) if watched else None
        if watched is None or document is None:
            return
        event = "retained" if watched.stands_in(document) else "lost"
        with suppress(CodekinError):  # one outcome less to learn from
            await self._session.post("/complete/events", {"root": watched.root, "id": number, "event": event})


def _unified(text: str) -> str:
    return text.replace("\r\n", "\n")
