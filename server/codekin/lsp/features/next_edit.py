"""Next edits: remembers the last edit of each document, and answers where it must be carried on.

`codekin/nextEdit` gives all places; `textDocument/copilotInlineEdit` speaks as Copilot's language server does. A place
that was dismissed does not come again.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from codekin.errors import CodekinError, UsageError
from codekin.lsp.convert import open_uris
from codekin.lsp.daemon_link import AUTOMATIC
from codekin.lsp.documents import DocumentSnapshot, FileLocation, to_client_units
from codekin.lsp.session import Session

MAX_DOCUMENTS = 64
MAX_DISMISSED = 500
MAX_EDITS = 5

NEAR_LINES = 2
"""Lines between two changes that count as one edit."""


@dataclass(frozen=True, slots=True)
class OpenEdit:
    """The document before the last edit, and the lines that the edit has reached since; `end` is exclusive."""

    before: DocumentSnapshot
    start: int
    end: int

    def grown(self, start: int, old_end: int, new_end: int) -> "OpenEdit | None":
        """The edit with a further change of lines; None where that is another edit."""
        if start > self.end + NEAR_LINES or old_end < self.start - NEAR_LINES:
            return None
        end = max(self.end, old_end) + new_end - old_end
        return OpenEdit(self.before, min(self.start, start), end)


class RecentEdits:
    """The last edit of each open document, as the window saw it."""

    def __init__(self) -> None:
        self._edits: OrderedDict[str, OpenEdit] = OrderedDict()

    def changed(self, before: DocumentSnapshot, after: DocumentSnapshot) -> None:
        """Takes in a change of a document."""
        start, old_end, new_end = changed_lines(before.lines, after.lines)
        if start == old_end == new_end:
            return
        known = self._edits.pop(after.uri, None)
        grown = known.grown(start, old_end, new_end) if known else None
        self._edits[after.uri] = grown or OpenEdit(before, start, new_end)
        while len(self._edits) > MAX_DOCUMENTS:
            self._edits.popitem(last=False)

    def before(self, uri: str) -> DocumentSnapshot | None:
        """The document before its last edit; None where there was none."""
        found = self._edits.get(uri)
        return found.before if found else None

    def forget(self, uri: str) -> None:
        """The document was closed."""
        self._edits.pop(uri, None)


def changed_lines(old: Sequence[str], new: Sequence[str]) -> tuple[int, int, int]:
    """The first line in which two texts differ, and behind the last one in the old and in the new text."""
    shared = min(len(old), len(new))
    start = next((at for at in range(shared) if old[at] != new[at]), shared)
    tail = next((at for at in range(shared - start) if old[-1 - at] != new[-1 - at]), shared - start)
    return start, len(old) - tail, len(new) - tail


class NextEditHandlers:
    """The handlers; `recent` hears of every change of a document."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._dismissed: OrderedDict[str, None] = OrderedDict()
        self.recent = RecentEdits()

    async def next_edit(self, session: Session, params: Any) -> dict[str, Any]:
        """`{textDocument, limit?}` gives `{edits: [{id, textDocument, range, text, oldText, chance}]}`."""
        return {"edits": await self._find(session.document(params))}

    async def copilot_inline_edit(self, session: Session, params: Any) -> dict[str, Any]:
        """The likeliest edit alone, with the command that reports that it was taken."""
        found = await self._find(session.document(params))
        return {"edits": [edit for edit in found[:1] if "version" in edit["textDocument"]]}

    async def dismiss(self, _session: Session, params: Any) -> None:
        """`{id}`: this place does not come again in this window."""
        match params:
            case {"id": str() as number}:
                self._dismissed[number] = None
            case _:
                raise UsageError("The params need the id of a next edit.")
        while len(self._dismissed) > MAX_DISMISSED:
            self._dismissed.popitem(last=False)

    async def _find(self, document: DocumentSnapshot) -> list[dict[str, Any]]:
        session, before = self._session, self.recent.before(document.uri)
        place = session.folders.locate(document.uri)
        if before is None or place is None or not session.settings(place.folder).next_edit.enabled:
            return []
        body = {"root": place.root, "path": place.path, "before": before.text, "text": document.text}
        response: Mapping[str, Any] = {"edits": ()}
        with suppress(CodekinError):  # the status shows the problem once
            response = await session.post(
                "/next-edit", {**body, "window": session.window, "limit": MAX_EDITS}, AUTOMATIC
            )
        if not session.documents.is_current(document):
            return []
        edits = (self._to_edit(place, edit) for edit in response.get("edits", ()))
        return [edit for edit in edits if edit["id"] not in self._dismissed]

    def _to_edit(self, place: FileLocation, found: Mapping[str, Any]) -> dict[str, Any]:
        session, path = self._session, found["path"]
        uri = open_uris(session, place.folder).get(path) or place.folder.uri_of(path)
        document = session.documents.get(uri)
        old, new = found["old_lines"], found["new_lines"]
        newline = "\r\n" if document is not None and document.lines[0].endswith("\r\n") else "\n"
        start, text = {"line": found["start_line"] - 1, "character": 0}, newline.join(new)
        if old and new:
            last = to_client_units(old[-1], len(old[-1]), session.client.encoding)
            end = {"line": found["end_line"] - 1, "character": last}
        else:
            end = {"line": found["end_line"], "character": 0}
            text += newline if new else ""
        return {
            "id": sha256("\0".join([path, *old, "", *new]).encode("utf-8", "replace")).hexdigest()[:16],
            "textDocument": {"uri": uri, **({"version": document.version} if document else {})},
            "range": {"start": start, "end": end},
            "text": text,
            "oldText": newline.join(old),
            "chance": found["chance"],
        }
