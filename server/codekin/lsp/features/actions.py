"""The code action "Find similar code", for the cursor and for a selection."""

from collections.abc import Mapping
from typing import Any

from lsprotocol import types as lsp

from codekin.errors import UsageError
from codekin.lsp.features.show import show_command
from codekin.lsp.session import Session, document_uri


async def code_actions(session: Session, params: Any) -> list[lsp.CodeAction]:
    """One action; none where only certain kinds are wanted, since it changes nothing."""
    uri = document_uri(params)
    match params:
        case {"context": {"only": [_, *_]}}:
            return []
        case {"range": {"start": Mapping() as start, "end": Mapping() as end}}:
            where = {"position": start} if start == end else {"range": {"start": start, "end": end}}
        case _:
            raise UsageError("The params need a range.")
    if session.folders.locate(uri) is None and session.documents.get(uri) is None:
        return []
    title = "Find similar code" if start == end else "Find code similar to the selection"
    return [lsp.CodeAction(title=title, command=show_command(session, title, {"uri": uri, **where}))]
