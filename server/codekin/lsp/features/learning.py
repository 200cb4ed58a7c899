"""`codekin/learn`, `codekin/history`, `codekin/rollback`: the night school, asked for from the editor."""

import logging
from collections.abc import Mapping
from typing import Any

from lsprotocol import types as lsp

from codekin.errors import CodekinError
from codekin.lsp.convert import any_folder
from codekin.lsp.folders import Folder
from codekin.lsp.session import Session

ROLL_BACK = "Roll back"
log = logging.getLogger(__name__)

CHOICES = {"method": "method", "count": "count", "epochs": "epochs", "dryRun": "dry_run"}


async def learn(session: Session, params: Any) -> Any:
    """`{root?, dryRun?, method?, count?, epochs?}` to `{message}`; it goes on in the background."""
    given = params if isinstance(params, Mapping) else {}
    chosen = {name: given[key] for key, name in CHOICES.items() if key in given}
    return await session.post("/learn", {"root": _root(session, given), **chosen, "background": True})


async def history(session: Session, params: Any) -> Any:
    """`{root?}` to `{runs, active}`, the newest run first."""
    return await (await session.daemon()).get("/history", root=_root(session, params))


async def rollback(session: Session, params: Any) -> Any:
    """`{root?, checkpoint?}` to `{message, active}`; without a checkpoint or a run's number, to the one before."""
    checkpoint = params.get("checkpoint") if isinstance(params, Mapping) else None
    if isinstance(checkpoint, int):
        checkpoint = str(checkpoint)
    return await session.post("/rollback", {"root": _root(session, params), "checkpoint": checkpoint})


async def tell_of_run(session: Session, folder: Folder, run: Mapping[str, Any]) -> None:
    """Says that a new model took over, with its gain and the way back; other decisions are for the history."""
    if run.get("decision") != "activated":
        return
    gain = 100 * (run["after"]["map"] - run["before"]["map"])
    is_head = run.get("method", "head") == "head"  # anything else has all embedded anew first
    took = f"took over in {folder.name}" if is_head else f"takes over in {folder.name} once all is embedded anew"
    message = f"A new model {took}: {gain:+.1f} points on code that it had not seen."
    asked = {"type": lsp.MessageType.Info.value, "message": message, "actions": [{"title": ROLL_BACK}]}
    try:
        chosen = await session.wire.ask("window/showMessageRequest", asked)
        if isinstance(chosen, Mapping) and chosen.get("title") == ROLL_BACK:
            done = await rollback(session, {"root": str(folder.root)})
            session.wire.notify("window/showMessage", {"type": lsp.MessageType.Info.value, "message": done["message"]})
    except (CodekinError, TimeoutError) as error:
        log.info("The new model was not rolled back: %s", error)


def _root(session: Session, params: Any) -> str:
    return str(any_folder(session, params if isinstance(params, Mapping) else {}).root)
