"""`codekin lsp`: puts the parts together and serves one client over stdin and stdout.

Knows which method is answered by which feature; nothing of how.
"""

import argparse
import asyncio
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NoReturn, cast

from lsprotocol import types as lsp

from codekin import __version__
from codekin.lsp.features import (
    actions,
    commands,
    dashboard,
    duplicates,
    indexing,
    inline,
    learning,
    lens,
    search,
    similar,
    status,
    symbols,
)
from codekin.lsp.features.feedback import feedback_handlers
from codekin.lsp.features.hints import Hints
from codekin.lsp.features.sync import Buffers, Sync
from codekin.lsp.features.workspace import Workspace
from codekin.lsp.life import process_end
from codekin.lsp.protocol import Protocol, Server
from codekin.lsp.session import Connect, Daemon, Session
from codekin.lsp.transport import Writer, start_reader, take_stdio

TRIGGERS = [".", ":", "(", ">", "|"]

Feature = Callable[[Session, Any], Awaitable[Any]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve the client at stdin and stdout until it leaves; gives the exit status."""
    options = _read_options(arguments)
    logging.basicConfig(
        stream=sys.stderr, level=options.log_level.upper(), format="%(levelname)s %(name)s: %(message)s"
    )
    logging.getLogger("pygls").setLevel(logging.ERROR)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    code = asyncio.run(_serve(options.data_dir))
    sys.stderr.flush()
    os._exit(code)  # a thread that still starts a daemon must not keep the process


def build(connect: Connect, data: Path | None = None) -> tuple[Server, Session]:
    """A server with all its features, ready for its messages."""
    server = Server("codekin", __version__)
    session = Session(server.protocol, connect, data)
    buffers = Buffers(session)
    workspace = Workspace(session, buffers)
    sync = Sync(session, buffers, workspace.refresh)
    completions = inline.Completions(session)
    workspace.refreshers += [completions.warm_up, Hints(session).refresh]
    feedback = feedback_handlers(completions)
    switch = partial(completions.switch)  # pygls marks what it takes in, which a bound method does not let it do
    known: dict[str, Feature] = {
        **commands.COMMANDS, inline.DID_ACCEPT: feedback[inline.DID_ACCEPT], inline.SWITCH: switch
    }  # fmt: skip
    server.beginnings += [workspace.begin, partial(_announce, server, session, known)]
    features: dict[str, tuple[Feature, Any]] = {
        lsp.INITIALIZED: (workspace.initialized, None),
        lsp.TEXT_DOCUMENT_DID_OPEN: (sync.did_open, None),
        lsp.TEXT_DOCUMENT_DID_CHANGE: (sync.did_change, None),
        lsp.TEXT_DOCUMENT_DID_CLOSE: (sync.did_close, None),
        lsp.WORKSPACE_DID_CHANGE_WORKSPACE_FOLDERS: (workspace.folders_changed, None),
        lsp.WORKSPACE_DID_CHANGE_CONFIGURATION: (workspace.configuration_changed, None),
        lsp.WORKSPACE_EXECUTE_COMMAND: (partial(commands.execute_command, known), None),
        lsp.WORKSPACE_SYMBOL: (symbols.symbols, None),
        lsp.TEXT_DOCUMENT_CODE_ACTION: (actions.code_actions, None),
        lsp.TEXT_DOCUMENT_CODE_LENS: (lens.lenses, None),
        lsp.CODE_LENS_RESOLVE: (lens.resolve_lens, None),
        lsp.TEXT_DOCUMENT_INLINE_COMPLETION: (completions.inline, lsp.InlineCompletionOptions()),
        lsp.TEXT_DOCUMENT_COMPLETION: (completions.plain, lsp.CompletionOptions(trigger_characters=TRIGGERS)),
        "codekin/similar": (similar.similar, None),
        "codekin/search": (search.search, None),
        "codekin/status": (status.status, None),
        "codekin/duplicates": (duplicates.duplicates, None),
        "codekin/index": (indexing.index, None),
        "codekin/dashboard": (dashboard.dashboard, None),
        "codekin/learn": (learning.learn, None),
        "codekin/history": (learning.history, None),
        "codekin/rollback": (learning.rollback, None),
        **{method: (handler, None) for method, handler in feedback.items()},
    }
    for method, (handler, about) in features.items():
        server.feature(method, about)(partial(handler, session))
    return server, session


async def _serve(data: Path | None) -> int:
    server, session = build(partial(_connect, data), data)
    loop, protocol = asyncio.get_running_loop(), server.protocol
    server.beginnings.append(lambda _params: _follow_editor(session, protocol.stopped))
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, protocol.stopped.set)
    reading, writing = take_stdio()
    writer = Writer(writing)
    protocol.set_writer(writer)
    start_reader(reading, loop, protocol.receive, lambda: _drain(session, protocol))
    await protocol.stopped.wait()
    await session.close()
    writer.close()
    return protocol.exit_code


async def _connect(data: Path | None) -> Daemon:
    """The client brings an HTTP library, which takes long to import: after `initialize`, in a thread."""
    client = await asyncio.to_thread(_client_class)
    return cast("Daemon", await client.connect(data))


def _client_class() -> Any:
    from codekin.daemon.client import AsyncClient  # noqa: PLC0415

    return AsyncClient


def _drain(session: Session, protocol: Protocol) -> None:
    session.spawn(protocol.drain())


def _follow_editor(session: Session, stopped: asyncio.Event) -> None:
    async def follow(pid: int) -> None:
        await process_end(pid)
        stopped.set()

    if session.client.process_id is not None:
        session.spawn(follow(session.client.process_id))


def _announce(server: Server, session: Session, known: Mapping[str, Feature], _params: Any) -> None:
    """A command that the client has itself must not be announced: clients refuse to have it twice."""
    for name, command in known.items():
        if name != session.client.show_similar:
            server.command(name)(command)


class _Options(argparse.ArgumentParser):
    """Tells wrong use in one sentence, as all commands do."""

    def error(self, message: str) -> NoReturn:
        """Leaves with status 2."""
        self.exit(2, f"{message}; see `codekin lsp --help`.\n")


def _read_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = _Options("codekin lsp", description="Serve an editor over stdin and stdout.")
    parser.add_argument("--data-dir", type=Path, help="where indexes and checkpoints are kept")
    parser.add_argument("--log-level", choices=["debug", "info", "warning", "error"], default="warning")
    parser.add_argument("--stdio", action="store_true", help="the only way to talk, taken as given")
    parser.add_argument("--clientProcessId", type=int, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)
