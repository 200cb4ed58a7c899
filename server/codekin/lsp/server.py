"""`codekin lsp`: registers the handlers and serves one client over stdin and stdout."""

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
from codekin.lsp.daemon_link import ConnectDaemon, DaemonConnection
from codekin.lsp.features import commands, completion, similar
from codekin.lsp.features import similar as similar_module
from codekin.lsp.features.completion import feedback_handlers
from codekin.lsp.features.next_edit import NextEditHandlers
from codekin.lsp.features.similar import DuplicateHints
from codekin.lsp.features.sync import BufferUploader, DocumentSync
from codekin.lsp.features.workspace import WorkspaceManager
from codekin.lsp.protocol import LspProtocol, LspServer
from codekin.lsp.session import Session
from codekin.lsp.transport import PipeWriter, start_reader, take_stdio, wait_for_process_end

TRIGGER_CHARACTERS = [".", ":", "(", ">", "|"]

FeatureHandler = Callable[[Session, Any], Awaitable[Any]]


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


def build_server(connect: ConnectDaemon, data: Path | None = None) -> tuple[LspServer, Session]:
    """A server with all its features, ready for its messages."""
    server = LspServer("codekin", __version__)
    session = Session(server.protocol, connect, data)
    buffers = BufferUploader(session)
    workspace = WorkspaceManager(session, buffers)
    next_edits = NextEditHandlers(session)
    completions = completion.CompletionHandlers(session)
    sync = DocumentSync(session, buffers, workspace.refresh, next_edits.recent, completions.watch.saved)
    workspace.refresh_callbacks += [completions.warm_up, DuplicateHints(session).refresh]
    feedback = feedback_handlers(completions)
    switch = partial(completions.switch)  # pygls marks what it takes in, which a bound method does not let it do
    known: dict[str, FeatureHandler] = {
        **commands.COMMANDS,
        completion.DID_ACCEPT: feedback[completion.DID_ACCEPT],
        completion.SWITCH_SUGGESTIONS: switch,
    }  # fmt: skip
    server.initialize_hooks += [workspace.begin, partial(_register_commands, server, session, known)]
    features: dict[str, tuple[FeatureHandler, Any]] = {
        lsp.INITIALIZED: (workspace.initialized, None),
        lsp.TEXT_DOCUMENT_DID_OPEN: (sync.did_open, None),
        lsp.TEXT_DOCUMENT_DID_CHANGE: (sync.did_change, None),
        lsp.TEXT_DOCUMENT_DID_SAVE: (sync.did_save, lsp.SaveOptions(include_text=False)),
        lsp.TEXT_DOCUMENT_DID_CLOSE: (sync.did_close, None),
        lsp.WORKSPACE_DID_CHANGE_WORKSPACE_FOLDERS: (workspace.folders_changed, None),
        lsp.WORKSPACE_DID_CHANGE_CONFIGURATION: (workspace.configuration_changed, None),
        lsp.WORKSPACE_EXECUTE_COMMAND: (partial(commands.execute_command, known), None),
        lsp.WORKSPACE_SYMBOL: (similar_module.find_symbols, None),
        lsp.TEXT_DOCUMENT_CODE_ACTION: (similar.list_code_actions, None),
        lsp.TEXT_DOCUMENT_CODE_LENS: (similar.list_lenses, None),
        lsp.CODE_LENS_RESOLVE: (similar.resolve_lens, None),
        lsp.TEXT_DOCUMENT_INLINE_COMPLETION: (completions.inline, lsp.InlineCompletionOptions()),
        lsp.TEXT_DOCUMENT_COMPLETION: (completions.plain, lsp.CompletionOptions(trigger_characters=TRIGGER_CHARACTERS)),
        "codekin/nextEdit": (partial(next_edits.next_edit), None),
        "codekin/dismissNextEdit": (partial(next_edits.dismiss), None),
        "textDocument/copilotInlineEdit": (partial(next_edits.copilot_inline_edit), None),
        "codekin/similar": (similar.find_similar, None),
        "codekin/search": (similar_module.search, None),
        "codekin/status": (commands.get_status, None),
        "codekin/duplicates": (similar_module.find_duplicates, None),
        "codekin/index": (commands.update_index, None),
        "codekin/dashboard": (commands.get_dashboard_url, None),
        "codekin/finetune": (commands.finetune, None),
        "codekin/history": (commands.history, None),
        "codekin/rollback": (commands.rollback, None),
        **{method: (handler, None) for method, handler in feedback.items()},
    }
    for method, (handler, about) in features.items():
        server.feature(method, about)(partial(handler, session))
    return server, session


async def _serve(data: Path | None) -> int:
    server, session = build_server(partial(_connect, data), data)
    loop, protocol = asyncio.get_running_loop(), server.protocol
    server.initialize_hooks.append(lambda _params: _watch_editor_process(session, protocol.stopped))
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, protocol.stopped.set)
    reading, writing = take_stdio()
    writer = PipeWriter(writing)
    protocol.set_writer(writer)
    start_reader(reading, loop, protocol.receive, lambda: _drain(session, protocol))
    await protocol.stopped.wait()
    await session.close()
    writer.close()
    return protocol.exit_code


async def _connect(data: Path | None) -> DaemonConnection:
    """The client brings an HTTP library, which takes long to import: after `initialize`, in a thread."""
    client = await asyncio.to_thread(_client_class)
    return cast("DaemonConnection", await client.connect(data))


def _client_class() -> Any:
    from codekin.daemon.client import AsyncDaemonClient  # noqa: PLC0415

    return AsyncDaemonClient


def _drain(session: Session, protocol: LspProtocol) -> None:
    session.spawn(protocol.drain())


def _watch_editor_process(session: Session, stopped: asyncio.Event) -> None:
    async def follow(pid: int) -> None:
        await wait_for_process_end(pid)
        stopped.set()

    if session.client.process_id is not None:
        session.spawn(follow(session.client.process_id))


def _register_commands(server: LspServer, session: Session, known: Mapping[str, FeatureHandler], _params: Any) -> None:
    """A command that the client has itself must not be announced: clients refuse to have it twice."""
    for name, command in known.items():
        if name != session.client.show_similar:
            server.command(name)(command)


class _Options(argparse.ArgumentParser):
    """Reports wrong usage in one sentence, as all commands do."""

    def error(self, message: str) -> NoReturn:
        """Exits with status 2."""
        self.exit(2, f"{message}; see `codekin lsp --help`.\n")


def _read_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = _Options("codekin lsp", description="Serve an editor over stdin and stdout.")
    parser.add_argument("--data-dir", type=Path, help="where indexes and checkpoints are kept")
    parser.add_argument("--log-level", choices=["debug", "info", "warning", "error"], default="warning")
    parser.add_argument("--stdio", action="store_true", help="the only way to talk, taken as given")
    parser.add_argument("--clientProcessId", type=int, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)
