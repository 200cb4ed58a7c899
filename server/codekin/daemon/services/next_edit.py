"""Next edits for a workspace: takes the corpus and the files as they are now, and searches in a worker thread.

Brings numpy and tree-sitter, so `services.heavy` imports it at the first request.
"""

import asyncio
import time
from pathlib import Path
from typing import Any

from codekin.daemon.services.completion import GhostTextService
from codekin.daemon.services.context import Priority, ServiceContext
from codekin.daemon.services.left_out import holds_secret
from codekin.daemon.services.queries import NextEditQuery
from codekin.daemon.services.reading import source_of
from codekin.daemon.services.workspaces import OpenWorkspace
from codekin.errors import UsageError
from codekin.next_edit.finder import NextEdit
from codekin.next_edit.service import NextEditFinder, NextEditRequest
from codekin.parsing import detect_language


class NextEditService:
    """Next edits of one daemon; lives on its event loop."""

    def __init__(self, context: ServiceContext, ghost_text: GhostTextService) -> None:
        self._context, self._ghost_text = context, ghost_text
        self._finder = NextEditFinder()
        self._reading: dict[Path, asyncio.Task[None]] = {}

    async def find(self, workspace: OpenWorkspace, query: NextEditQuery) -> dict[str, Any]:
        """The answer: the edits, the likeliest first, and milliseconds."""
        began = time.perf_counter()
        found: list[NextEdit] = []
        if not await self._context.workers.run(Priority.QUERY, _is_left_out, workspace, query):
            corpus = await self._ghost_text.corpus(workspace, query.path)
            self._read_history(workspace.root)
            request = _request_of(workspace, query)
            found = await self._context.workers.run(
                Priority.QUERY, lambda: self._finder.find(request, corpus, lambda path: _read_shared(workspace, path))
            )
        items = [_item(edit) for edit in found]
        return {"edits": items, "ms": round((time.perf_counter() - began) * 1000, 1)}

    async def close(self) -> None:
        """Ends what runs in the background."""
        for task in self._reading.values():
            task.cancel()

    def _read_history(self, root: Path) -> None:
        """Reads the history behind the first answer; those after it know what changed together."""
        if root not in self._reading and not self._finder.has_history(root):
            read = self._context.workers.run(Priority.INDEX, self._finder.read_history, root)
            self._reading[root] = asyncio.ensure_future(read)


def _is_left_out(workspace: OpenWorkspace, query: NextEditQuery) -> bool:
    return workspace.left_out().leaves_out(query.path, query.text)


def _request_of(workspace: OpenWorkspace, query: NextEditQuery) -> NextEditRequest:
    language = detect_language(query.path, query.text, workspace.settings.index.extensions) or ""
    before, after = (text.replace("\r\n", "\n") for text in (query.before, query.text))
    return NextEditRequest(workspace.root, query.path, language, before, after, query.window, query.limit)


def _read_shared(workspace: OpenWorkspace, path: str) -> str | None:
    """The text of another file as it is now; None where it cannot be read or holds a secret."""
    try:
        text = source_of(workspace, path).read()
    except UsageError:
        return None
    return None if holds_secret(text) else text


def _item(edit: NextEdit) -> dict[str, Any]:
    """An edit with lines from 1."""
    return {
        "path": edit.path,
        "start_line": edit.start_line + 1,
        "end_line": edit.end_line,
        "old_lines": list(edit.old_lines),
        "new_lines": list(edit.new_lines),
        "chance": round(edit.chance, 4),
        "kinds": list(edit.kinds),
    }
