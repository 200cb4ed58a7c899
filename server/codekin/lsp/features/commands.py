"""`workspace/executeCommand`, and the short requests: status, dashboard, indexing, fine-tuning and its history."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from lsprotocol import types as lsp

from codekin.errors import CodekinError, DaemonError, UsageError
from codekin.lsp.convert import resolve_folder
from codekin.lsp.documents import WorkspaceFolder
from codekin.lsp.features.similar import find_duplicates, find_similar, search, show_similar
from codekin.lsp.session import SHOW_SIMILAR, Session

ROLLBACK_ACTION = "Roll back"
RUN_OPTIONS = {"method": "method", "count": "count", "epochs": "epochs", "dryRun": "dry_run"}

log = logging.getLogger(__name__)


async def get_status(session: Session, _params: Any) -> dict[str, Any]:
    """`{busy, message, kind, folders}`."""
    return session.status.current.as_params()


async def get_dashboard_url(session: Session, params: Any) -> Any:
    """`{root?}` to `{url}`, good for one visit."""
    given = params if isinstance(params, Mapping) else {}
    return await session.post("/dashboard", {"root": str(resolve_folder(session, given).root)})


async def update_index(session: Session, params: Any) -> dict[str, Any]:
    """`{root?, rebuild?}` to `{files, chunks, embedded, reused, skipped, seconds}`."""
    given = params if isinstance(params, Mapping) else {}
    body = {"root": str(resolve_folder(session, given).root), "rebuild": given.get("rebuild") is True}
    async for line in (await session.daemon.connection()).lines("/index", body):
        if isinstance(result := line.get("result"), dict):
            return result
    raise DaemonError("The daemon left while it was indexing; it is started again, and goes on by itself.")


async def finetune(session: Session, params: Any) -> Any:
    """`{root?, dryRun?, method?, count?, epochs?}` to `{message}`; it goes on in the background."""
    given = params if isinstance(params, Mapping) else {}
    chosen = {name: given[key] for key, name in RUN_OPTIONS.items() if key in given}
    return await session.post("/finetune", {"root": _root_of(session, given), **chosen, "background": True})


async def history(session: Session, params: Any) -> Any:
    """`{root?}` to `{runs, active}`, the newest run first."""
    return await session.daemon.get("/history", root=_root_of(session, params))


async def rollback(session: Session, params: Any) -> Any:
    """`{root?, checkpoint?}` to `{message, active}`; without a checkpoint or a run's number, to the one before."""
    checkpoint = params.get("checkpoint") if isinstance(params, Mapping) else None
    if isinstance(checkpoint, int):
        checkpoint = str(checkpoint)
    return await session.post("/rollback", {"root": _root_of(session, params), "checkpoint": checkpoint})


async def announce_run(session: Session, folder: WorkspaceFolder, run: Mapping[str, Any]) -> None:
    """Shows that a new model took over, its gain and how to roll back; other decisions are in the history only."""
    if run.get("decision") != "activated":
        return
    gain = 100 * (run["after"]["map"] - run["before"]["map"])
    is_head = run.get("method", "head") == "head"  # anything else has all embedded anew first
    took = f"took over in {folder.name}" if is_head else f"takes over in {folder.name} once all is embedded anew"
    message = f"A new model {took}: {gain:+.1f} points on code that it had not seen."
    request = {"type": lsp.MessageType.Info.value, "message": message, "actions": [{"title": ROLLBACK_ACTION}]}
    try:
        chosen = await session.connection.request("window/showMessageRequest", request)
        if isinstance(chosen, Mapping) and chosen.get("title") == ROLLBACK_ACTION:
            done = await rollback(session, {"root": str(folder.root)})
            session.connection.notify(
                "window/showMessage", {"type": lsp.MessageType.Info.value, "message": done["message"]}
            )
    except (CodekinError, TimeoutError) as error:
        log.info("The new model was not rolled back: %s", error)


def _root_of(session: Session, params: Any) -> str:
    return str(resolve_folder(session, params if isinstance(params, Mapping) else {}).root)


Command = Callable[[Session, Any], Awaitable[Any]]

COMMANDS: Mapping[str, Command] = {
    "codekin.similar": find_similar,
    "codekin.search": search,
    "codekin.status": get_status,
    "codekin.duplicates": find_duplicates,
    "codekin.index": update_index,
    "codekin.finetune": finetune,
    # Other names than their requests', which a client may have for commands of its own.
    "codekin.finetuneHistory": history,
    "codekin.rollbackTo": rollback,
    SHOW_SIMILAR: show_similar,
}


async def execute_command(commands: Mapping[str, Command], session: Session, params: Any) -> Any:
    """Run the command with its one argument, the params of the matching request."""
    name = params.get("command") if isinstance(params, Mapping) else None
    command = commands.get(name) if isinstance(name, str) else None
    if command is None:
        raise UsageError(f"There is no command {name!r}; there are {', '.join(commands)}.")
    arguments = params.get("arguments") or [{}]
    if not isinstance(arguments, list):
        raise UsageError("`arguments` must be a list with one object.")
    return await command(session, arguments[0])
