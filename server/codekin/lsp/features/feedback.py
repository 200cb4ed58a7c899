"""What became of a suggestion: `codekin/didShow`, `didAccept`, `didPartiallyAccept` and `didReject`.

The daemon keeps the events on this machine; they become training pairs.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from codekin.errors import UsageError
from codekin.lsp.features.inline import DID_ACCEPT, Completions
from codekin.lsp.positions import to_code_points
from codekin.lsp.session import Session

EVENTS = {
    "codekin/didShow": "shown",
    "codekin/didAccept": "accepted",
    "codekin/didPartiallyAccept": "partially_accepted",
    "codekin/didReject": "rejected",
}

Handler = Callable[[Session, Any], Awaitable[None]]


def feedback_handlers(completions: Completions) -> dict[str, Handler]:
    """A handler for each of the notifications: `{id}`, for a part `{id, acceptedLength}` in client units.

    The command that each suggestion carries is one of them: an editor that knows nothing of us runs it.
    """
    in_order = asyncio.Lock()
    handlers: dict[str, Handler] = {
        method: partial(_tell, completions, in_order, event) for method, event in EVENTS.items()
    }
    return {**handlers, DID_ACCEPT: handlers["codekin/didAccept"]}


async def _tell(completions: Completions, in_order: asyncio.Lock, event: str, session: Session, params: Any) -> None:
    match params:
        case {"id": str() as number} if number in completions.shown:
            root, text = completions.shown[number]
        case {"id": str()}:
            return  # too old to be known
        case _:
            raise UsageError("The params need the id of a suggestion.")
    body: dict[str, Any] = {"root": root, "id": number, "event": event}
    if isinstance(length := params.get("acceptedLength"), int):
        body["length"] = to_code_points(text, length, session.client.encoding)
    async with in_order:  # a part must not be told after the whole
        await session.post("/complete/events", body)
