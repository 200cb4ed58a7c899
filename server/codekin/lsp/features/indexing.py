"""`codekin/index`: bring a folder's index up to date now; its progress comes as for any indexing."""

from collections.abc import Mapping
from typing import Any

from codekin.errors import DaemonError
from codekin.lsp.convert import any_folder
from codekin.lsp.session import Session


async def index(session: Session, params: Any) -> dict[str, Any]:
    """`{root?, rebuild?}` to `{files, fragments, embedded, reused, skipped, seconds}`."""
    given = params if isinstance(params, Mapping) else {}
    body = {"root": str(any_folder(session, given).root), "rebuild": given.get("rebuild") is True}
    async for line in (await session.daemon()).lines("/index", body):
        if isinstance(result := line.get("result"), dict):
            return result
    raise DaemonError("The daemon left while it was indexing; it is started again, and goes on by itself.")
