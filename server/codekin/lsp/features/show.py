"""Showing places: what the dashboard was clicked for, and similar code in a client without a view of its own.

For similar code there is a choice, then the place. A client with such a view names its command in
`initializationOptions.showSimilarCommand`; it is called with one argument, `{uri, position | range, hits?}`.
"""

import logging
from collections.abc import Mapping
from typing import Any

from lsprotocol import types as lsp

from codekin.errors import CodekinError, UsageError
from codekin.lsp.convert import line_range
from codekin.lsp.features.similar import similar
from codekin.lsp.folders import Folder
from codekin.lsp.session import SHOW_SIMILAR, Session

CHOICES = 6
"""A message with more buttons is hard to read."""

log = logging.getLogger(__name__)


def show_command(session: Session, title: str, argument: Mapping[str, Any]) -> lsp.Command:
    """The command that shows similar code in this client."""
    return lsp.Command(title=title, command=session.client.show_similar or SHOW_SIMILAR, arguments=[argument])


async def show_similar(session: Session, params: Any) -> dict[str, Any]:
    """`{uri, position | range, hits?}`: lets the user choose among the hits; gives them too."""
    if not isinstance(params, Mapping) or not isinstance(params.get("uri"), str):
        raise UsageError("The command needs one argument: {uri, position or range}.")
    hits = params.get("hits")
    if not isinstance(hits, list):
        hits = (await similar(session, {**params, "textDocument": {"uri": params["uri"]}}))["hits"]
    session.spawn(_choose(session, hits))
    return {"hits": hits}


async def show_place(session: Session, folder: Folder, path: str, line: int) -> None:
    """Opens a line (from 1) of a file in the folder, if the client can."""
    if not session.client.shows_documents:
        return
    show = {"uri": folder.uri_of(path), "takeFocus": True, "selection": line_range(line)}
    try:
        await session.wire.ask("window/showDocument", show)
    except (CodekinError, TimeoutError):
        log.info("The client did not show the place")


async def _choose(session: Session, hits: list[dict[str, Any]]) -> None:
    titles = {f"{hit['score']:.2f}  {hit['name'] or hit['path']}:{hit['start_line']}": hit for hit in hits[:CHOICES]}
    message = "Similar code:" if hits else "There is no similar code in this workspace."
    actions = [{"title": title} for title in titles] if session.client.shows_documents else []
    try:
        chosen = await session.wire.ask(
            "window/showMessageRequest", {"type": lsp.MessageType.Info.value, "message": message, "actions": actions}
        )
        if isinstance(chosen, Mapping) and (hit := titles.get(str(chosen.get("title")))) is not None:
            show = {"uri": hit["uri"], "takeFocus": True, "selection": hit["range"]}
            await session.wire.ask("window/showDocument", show)
    except (CodekinError, TimeoutError):
        log.info("The client showed no similar code")
