"""`codekin/search`: places that do what the words, or a pasted piece of code, say."""

import asyncio
from collections.abc import Mapping
from typing import Any

from codekin.lsp.convert import asked_search, located
from codekin.lsp.folders import Folder
from codekin.lsp.session import Session

DEFAULT_LIMIT = 20


async def search(session: Session, params: Any) -> dict[str, Any]:
    """`{text, limit?, filters?, root?}` to hits, from every folder of the workspace unless one is named."""
    folders, body = asked_search(session, params)
    answers = await asyncio.gather(*(_search_one(session, folder, body) for folder in folders))
    hits = sorted((hit for answer in answers for hit in answer["hits"]), key=_score, reverse=True)
    limit = body.get("limit", DEFAULT_LIMIT)
    return {**answers[0], "hits": hits[:limit], "ms": max(answer.get("ms", 0) for answer in answers)}


async def _search_one(session: Session, folder: Folder, body: Mapping[str, Any]) -> dict[str, Any]:
    answer = await session.post("/search", {"root": str(folder.root), **body})
    return {**answer, "hits": await located(session, folder, answer["hits"])}


def _score(hit: Mapping[str, Any]) -> float:
    return float(hit["score"])
