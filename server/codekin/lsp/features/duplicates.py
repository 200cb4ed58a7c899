"""`codekin/duplicates`: groups of places in a folder that say nearly the same."""

from collections.abc import Mapping
from typing import Any

from codekin.lsp.convert import any_folder, limits, located
from codekin.lsp.session import Session


async def duplicates(session: Session, params: Any) -> dict[str, Any]:
    """`{root?, limit?, filters?}` to `{groups, ms}`, each group a list of located hits."""
    given = params if isinstance(params, Mapping) else {}
    folder = any_folder(session, given)
    answer = await session.post("/duplicates", {"root": str(folder.root), **limits(given)})
    return {**answer, "groups": [await located(session, folder, group) for group in answer["groups"]]}
