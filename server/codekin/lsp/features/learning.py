"""`codekin/learn`, `codekin/history`, `codekin/rollback`: the night school, asked for from the editor."""

from collections.abc import Mapping
from typing import Any

from codekin.lsp.convert import any_folder
from codekin.lsp.session import Session

CHOICES = ("method", "count", "epochs", "dry_run")


async def learn(session: Session, params: Any) -> Any:
    """`{root?, method?, count?, epochs?}` to `{message}`; it goes on in the background."""
    given = params if isinstance(params, Mapping) else {}
    chosen = {key: given[key] for key in CHOICES if key in given}
    return await session.post("/learn", {"root": _root(session, given), **chosen, "background": True})


async def history(session: Session, params: Any) -> Any:
    """`{root?}` to `{runs, active}`, the newest run first."""
    return await (await session.daemon()).get("/history", root=_root(session, params))


async def rollback(session: Session, params: Any) -> Any:
    """`{root?, checkpoint?}` to `{message, active}`; without a checkpoint, to the one before."""
    checkpoint = params.get("checkpoint") if isinstance(params, Mapping) else None
    return await session.post("/rollback", {"root": _root(session, params), "checkpoint": checkpoint})


def _root(session: Session, params: Any) -> str:
    return str(any_folder(session, params if isinstance(params, Mapping) else {}).root)
