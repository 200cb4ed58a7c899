"""`codekin/status`: the window's state on request; the notification of the same name follows every change."""

from typing import Any

from codekin.lsp.session import Session


async def status(session: Session, _params: Any) -> dict[str, Any]:
    """`{busy, message, kind, folders}`."""
    return session.status.current.as_params()
