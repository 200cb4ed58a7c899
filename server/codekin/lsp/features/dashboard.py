"""`codekin/dashboard`: the address of the page that shows the code's map and the learning history."""

from collections.abc import Mapping
from typing import Any

from codekin.lsp.convert import any_folder
from codekin.lsp.session import Session


async def dashboard(session: Session, params: Any) -> Any:
    """`{root?}` to `{url}`, good for one visit."""
    given = params if isinstance(params, Mapping) else {}
    return await session.post("/dashboard", {"root": str(any_folder(session, given).root)})
