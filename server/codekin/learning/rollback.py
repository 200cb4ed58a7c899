"""The way back: moves the pointer to a checkpoint that was looked through, or to the base."""

from pathlib import Path

from codekin.errors import CheckpointError
from codekin.learning import history
from codekin.models import checkpoints
from codekin.models.learned import read_learned
from codekin.seams import Embedder

MOST_RUNS = 100_000


def go_back(folder: Path, name: str | None, base: Embedder) -> str:
    """Points `active` at the checkpoint `name`, a run's by its number ("base" for none); None: the one before.

    Gives its id. Raises CheckpointError where it is refused; nothing has changed then.
    """
    wanted = _named(folder, name) if name else _before(folder, base)
    if wanted != checkpoints.BASE:
        read_learned(folder, wanted, base)
    checkpoints.point(folder, "active", wanted)
    return wanted


def _named(folder: Path, name: str) -> str:
    """The id of a checkpoint that is named by it, or by the number of the run that it came from."""
    if not name.isdecimal():
        return name
    found = [run.checkpoint for run in history.runs(folder, MOST_RUNS) if run.id == int(name) and run.checkpoint]
    if not found:
        raise CheckpointError(f"Run {name} left no checkpoint: `codekin history` shows the runs that did.")
    return found[0]


def _before(folder: Path, base: Embedder) -> str:
    """The latest checkpoint that was activated before the active one and can still be read; else the base."""
    active = checkpoints.pointed(folder)
    activated = [run.checkpoint for run in history.runs(folder) if run.decision == history.ACTIVATED]
    older = activated[activated.index(active) + 1 :] if active in activated else activated
    for candidate in older:
        try:
            read_learned(folder, candidate, base)
        except CheckpointError:
            continue
        return candidate if active != checkpoints.BASE else checkpoints.BASE
    return checkpoints.BASE
