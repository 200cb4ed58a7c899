"""Has what a workspace's pointer names take over: opened first, then its vectors, then the switch.

Knows the indexer and the engine; nothing of how models are learned, nor of who asked.
"""

import asyncio
import time
from typing import TYPE_CHECKING

from codekin import places
from codekin.daemon.work import Priority
from codekin.errors import LearningError

if TYPE_CHECKING:
    from codekin.daemon.state import Daemon
    from codekin.daemon.workspaces import Workspace

SWAP_SECONDS = 60.0
"""How long the indexer may take to move all vectors until it is told of as slow; it goes on."""


async def take_over(daemon: "Daemon", workspace: "Workspace") -> str:
    """Has the indexer move the vectors, and waits for a while until they serve; a sentence where they do not by then.

    Raises CodekinError where what the pointer names cannot be opened; what served serves on.
    """
    await asyncio.to_thread(_open, daemon, workspace)
    if workspace.indexer is None or workspace.pid is None:
        return ""  # the next indexer finds the pointer moved
    if await asyncio.to_thread(_changes_encoder, daemon, workspace):
        workspace.state = "indexing"
        workspace.indexer.restart()  # it opens another encoder then, and the old space serves until all is embedded
        return ""
    before = list(workspace.problems)
    workspace.indexer.tell({"do": "head"})
    until = time.monotonic() + SWAP_SECONDS
    while time.monotonic() < until:
        if await daemon.workers.run(Priority.QUERY, _serves, daemon, workspace):
            workspace.tell({"event": "model"})
            return ""
        await asyncio.sleep(0.05)
    reasons = [problem for problem in workspace.problems if problem not in before]
    return f"The new model does not serve yet, the old one does. {' '.join(reasons) or 'Its vectors are being moved.'}"


def _open(daemon: "Daemon", workspace: "Workspace") -> None:
    """Reads the checkpoint as the answers will. Raises CodekinError."""
    from codekin.models import checkpoints  # noqa: PLC0415 - brings numpy

    folder = places.learning_folder(workspace.data, workspace.root)
    name = checkpoints.pointed(folder)
    try:
        if name != checkpoints.BASE:
            daemon.engine.learned(folder, name)
    except MemoryError as error:
        raise LearningError(f"There is no memory to open {name}: close other programs.") from error


def _serves(daemon: "Daemon", workspace: "Workspace") -> bool:
    """Whether the space that serves is the one that the pointer names."""
    wanted, serving = _wanted_space(daemon, workspace), workspace.index().serving_space()
    return serving is not None and serving.fingerprint == wanted


def _wanted_space(daemon: "Daemon", workspace: "Workspace") -> str:
    """The space of what the pointer names; empty while the base is not loaded."""
    from codekin.models.heads import active_head  # noqa: PLC0415 - brings numpy

    base = daemon.engine.embedder()
    if base is None:
        return ""
    head = active_head(places.learning_folder(workspace.data, workspace.root), base.space)
    return head.space if head else base.space


def _changes_encoder(daemon: "Daemon", workspace: "Workspace") -> bool:
    """Whether a trained encoder serves, or shall."""
    from codekin.models import checkpoints  # noqa: PLC0415 - brings numpy
    from codekin.models.learned import is_encoder  # noqa: PLC0415

    base, serving = daemon.engine.embedder(), workspace.index().serving_space()
    folder = places.learning_folder(workspace.data, workspace.root)
    on_base = base is None or serving is None or serving.fingerprint.startswith(base.space)
    return not on_base or is_encoder(folder, checkpoints.pointed(folder))
