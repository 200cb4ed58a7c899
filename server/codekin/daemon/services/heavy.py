"""The daemon's start-up boundary: services that bring numpy, tree-sitter or torch, imported in a thread at first use.

The first handshake is answered before any of them is loaded.
"""

import asyncio
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codekin import paths
from codekin.daemon.services.context import Priority, ServiceContext
from codekin.daemon.services.generation import REPOSITORY_MODEL, GeneratorService
from codekin.daemon.services.workspaces import OpenWorkspace
from codekin.errors import CodekinError
from codekin.util.process import IMPORT_LOCK

if TYPE_CHECKING:
    from collections.abc import Callable

    from codekin.daemon.services.code_queries import CodeQueries
    from codekin.daemon.services.completion import GhostTextService
    from codekin.daemon.services.embedding import EmbeddingEngine
    from codekin.daemon.services.finetune_records import FinetuneRecords
    from codekin.daemon.services.history import HistoryReader
    from codekin.daemon.services.next_edit import NextEditService
    from codekin.daemon.services.reading import CodeReader
    from codekin.daemon.services.reuse import ReuseGate
    from codekin.settings import TeamSettings

log = logging.getLogger(__name__)


class HeavyServices:
    """Queries and ghost text of one daemon; lives on its event loop."""

    name = "completion"
    is_busy = False

    def __init__(self, context: ServiceContext, generators: GeneratorService) -> None:
        self._context, self._generators = context, generators
        self._loading = asyncio.Lock()
        self._queries: CodeQueries | None = None
        self._ghost_text: GhostTextService | None = None
        self._next_edit: NextEditService | None = None

    def team_state(self) -> str:
        """How the team's server does, in one word: "" where there is none, ready, down, or idle before it is asked."""
        if not self._context.settings.team.url:
            return ""
        return self._queries.team.state if self._queries else "idle"

    async def queries(self) -> "CodeQueries":
        """What answers similar-code, search and lens queries."""
        async with self._loading:
            if self._queries is None:
                make = await asyncio.to_thread(_import_queries)
                self._queries = await asyncio.to_thread(make, self._context.engine, self._context.settings.team)
        return self._queries

    @staticmethod
    async def reader() -> "CodeReader":
        """What reads code at places of files."""
        make = await asyncio.to_thread(_import_reader)
        return make()

    @staticmethod
    async def history() -> "HistoryReader":
        """What reads from git who changed code last."""
        make = await asyncio.to_thread(_import_history)
        return make()

    async def reuse_gate(self) -> "ReuseGate":
        """What finds code that exists already."""
        make = await asyncio.to_thread(_import_reuse_gate)
        return make(await self.queries())

    async def ghost_text(self) -> "GhostTextService":
        """What completes code."""
        queries = await self.queries()
        async with self._loading:
            if self._ghost_text is None:
                make = await asyncio.to_thread(_import_ghost_text)
                self._ghost_text = make(self._context, self._generators, queries)
        return self._ghost_text

    async def next_edit(self) -> "NextEditService":
        """What finds the places where an edit must be carried on."""
        ghost_text = await self.ghost_text()
        async with self._loading:
            if self._next_edit is None:
                make = await asyncio.to_thread(_import_next_edit)
                self._next_edit = make(self._context, ghost_text)
        return self._next_edit

    async def fit_gate(self, workspace: OpenWorkspace) -> None:
        """Lets completions learn at night what became of their suggestions."""
        await (await self.ghost_text()).fit_gate(workspace)

    async def warm_up(self) -> None:
        """Loads what the first queries need, at the lowest priority; what fails is reported when it is asked for."""
        try:
            queries = await self.queries()
            for workspace in list(self._context.workspaces.open.values()):
                await self._context.workers.run(Priority.INDEX, queries.warm_up, workspace)
        except CodekinError as error:
            log.info("The first queries are not prepared: %s", error)

    def status(self, workspace: OpenWorkspace | None) -> dict[str, Any]:
        """How completions do."""
        return self._ghost_text.status(workspace) if self._ghost_text else {"model": REPOSITORY_MODEL}

    async def open(self) -> None:
        """Loads nothing yet."""

    async def close(self) -> None:
        """Ends the completions that run."""
        for service in (self._next_edit, self._ghost_text):
            if service is not None:
                await service.close()


def _import_queries() -> "Callable[[EmbeddingEngine, TeamSettings], CodeQueries]":
    with IMPORT_LOCK:
        from codekin.daemon.services.code_queries import open_queries  # noqa: PLC0415 - brings numpy and tree-sitter

    return open_queries


def _import_reader() -> "type[CodeReader]":
    with IMPORT_LOCK:
        from codekin.daemon.services.reading import CodeReader  # noqa: PLC0415 - brings tree-sitter

    return CodeReader


def _import_reuse_gate() -> "type[ReuseGate]":
    with IMPORT_LOCK:
        from codekin.daemon.services.reuse import ReuseGate  # noqa: PLC0415 - brings numpy and tree-sitter

    return ReuseGate


def _import_history() -> "type[HistoryReader]":
    with IMPORT_LOCK:
        from codekin.daemon.services.history import HistoryReader  # noqa: PLC0415 - brings tree-sitter

    return HistoryReader


def _import_ghost_text() -> "type[GhostTextService]":
    with IMPORT_LOCK:
        from codekin.daemon.services.completion import GhostTextService  # noqa: PLC0415 - brings numpy and tree-sitter

    return GhostTextService


def _import_next_edit() -> "type[NextEditService]":
    with IMPORT_LOCK:
        from codekin.daemon.services.next_edit import NextEditService  # noqa: PLC0415 - brings numpy and tree-sitter

    return NextEditService


def finetune_records(context: ServiceContext, root: Path) -> "FinetuneRecords":
    """The fine-tuning records of a workspace root; called in a thread."""
    with IMPORT_LOCK:
        from codekin.daemon.services.finetune_records import FinetuneRecords  # noqa: PLC0415 - brings numpy and croniter

    return FinetuneRecords(context, paths.finetune_dir(context.data, root))
