"""`workspace/executeCommand`: the twins of our own requests, for clients that know only commands."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from codekin.errors import UsageError
from codekin.lsp.features.duplicates import duplicates
from codekin.lsp.features.indexing import index
from codekin.lsp.features.learning import history, learn, rollback
from codekin.lsp.features.search import search
from codekin.lsp.features.show import show_similar
from codekin.lsp.features.similar import similar
from codekin.lsp.features.status import status
from codekin.lsp.session import SHOW_SIMILAR, Session

Command = Callable[[Session, Any], Awaitable[Any]]

COMMANDS: Mapping[str, Command] = {
    "codekin.similar": similar,
    "codekin.search": search,
    "codekin.status": status,
    "codekin.duplicates": duplicates,
    "codekin.index": index,
    "codekin.learn": learn,
    # Other names than their requests', which a client may have for commands of its own.
    "codekin.learningHistory": history,
    "codekin.rollbackTo": rollback,
    SHOW_SIMILAR: show_similar,
}


async def execute_command(commands: Mapping[str, Command], session: Session, params: Any) -> Any:
    """Run the command with its one argument, the params of the request that it stands for."""
    name = params.get("command") if isinstance(params, Mapping) else None
    command = commands.get(name) if isinstance(name, str) else None
    if command is None:
        raise UsageError(f"There is no command {name!r}; there are {', '.join(commands)}.")
    arguments = params.get("arguments") or [{}]
    if not isinstance(arguments, list):
        raise UsageError("`arguments` must be a list with one object.")
    return await command(session, arguments[0])
