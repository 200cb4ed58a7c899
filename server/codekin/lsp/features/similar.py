"""`codekin/similar`: where do we already have code like this, at the cursor, in a selection or a snippet."""

from typing import Any

from codekin.lsp.convert import asked_similar, with_places
from codekin.lsp.session import Session


async def similar(session: Session, params: Any) -> dict[str, Any]:
    """`{textDocument, position | range}` or `{snippet, language?}`, and `limit?`, `filters?`, to hits."""
    folder, body = asked_similar(session, params)
    return await with_places(session, folder, await session.post("/similar", body))
