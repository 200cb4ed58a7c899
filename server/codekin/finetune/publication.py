"""Publishes the result of a run: writes its checkpoint, moves the pointer if the gate passes, and rolls back."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from codekin.errors import CheckpointError
from codekin.finetune import history
from codekin.finetune.gate import GateDecision
from codekin.models import checkpoints
from codekin.models.embedding.finetuned import active_head, load_checkpoint
from codekin.protocols import Embedder, Vectors

MAX_RUNS = 100_000
MAX_WORKSPACES = 50


@dataclass(frozen=True, slots=True)
class FinetuneOutcome:
    """What a run came to; without a `checkpoint` it was a dry one."""

    run: int
    checkpoint: str
    decision: GateDecision
    report: Mapping[str, Any]
    span: tuple[int, int]
    keep: int = 5


def record_outcome(
    folder: Path, outcome: FinetuneOutcome, files: Mapping[str, bytes], about: Mapping[str, Any]
) -> None:
    """Writes the checkpoint, points to it if it was decided so, then notes the run's end.

    Killed at any point the pointer names a whole checkpoint; `history` finds out by it whether the run had ended.
    """
    verdict = history.KEPT if outcome.checkpoint else history.DRY_RUN
    if outcome.checkpoint:
        meta = {
            **about,
            "run": outcome.run,
            "span": outcome.span,
            "reason": outcome.decision.reason,
            "report": outcome.report,
        }
        checkpoints.write_checkpoint(folder, outcome.checkpoint, files, meta)
        if outcome.decision.activate:
            checkpoints.set_pointer(folder, "active", outcome.checkpoint)
            verdict = history.ACTIVATED
    history.end_run(
        folder, outcome.run, verdict, outcome.decision.reason, outcome.report, outcome.checkpoint, outcome.span
    )
    checkpoints.prune_checkpoints(folder, outcome.keep, history.served_checkpoints(folder))


def earlier_heads(folder: Path, base_space: str) -> dict[str, Vectors]:
    """Heads over the same base that a new one may be averaged with: what serves, and the mean of other workspaces.

    Keys are `serving` and `other workspaces`; those that there are not, or that are refused, are left out.
    """
    own = _active_head(folder, base_space)
    siblings = sorted(each for each in folder.parent.iterdir() if each.is_dir() and each != folder)
    others = [head for each in siblings[:MAX_WORKSPACES] if (head := _active_head(each, base_space)) is not None]
    found = {} if own is None else {"serving": own}
    return {**found, "other workspaces": np.mean(others, axis=0)} if others else found


def _active_head(folder: Path, base_space: str) -> Vectors | None:
    try:
        head = active_head(folder, base_space)
    except (CheckpointError, OSError):
        return None
    return None if head is None else head.matrix


def roll_back(folder: Path, name: str | None, base: Embedder) -> str:
    """Points `active` at the checkpoint `name`, a run's by its number ("base" for none); None: the one before.

    Gives its id. Raises CheckpointError where it is refused; nothing has changed then.
    """
    wanted = _checkpoint_of_name(folder, name) if name else _previous_checkpoint(folder, base)
    if not name and wanted == checkpoints.BASE == checkpoints.read_pointer(folder):
        raise CheckpointError("There is no earlier model: the model as it came serves.")
    if wanted != checkpoints.BASE:
        load_checkpoint(folder, wanted, base)
    checkpoints.set_pointer(folder, "active", wanted)
    return wanted


def _checkpoint_of_name(folder: Path, name: str) -> str:
    """The id of a checkpoint that is named by it, or by the number of the run that it came from."""
    if not name.isdecimal():
        return name
    found = [run.checkpoint for run in history.list_runs(folder, MAX_RUNS) if run.id == int(name) and run.checkpoint]
    if not found:
        raise CheckpointError(f"Run {name} left no checkpoint: `codekin history` shows the runs that did.")
    if found[0] not in checkpoints.list_checkpoints(folder):
        raise CheckpointError(f"The checkpoint of run {name} never served and has been deleted: choose another run.")
    return found[0]


def _previous_checkpoint(folder: Path, base: Embedder) -> str:
    """The latest checkpoint that was activated before the active one and can still be read; else the base."""
    active = checkpoints.read_pointer(folder)
    activated = [run.checkpoint for run in history.list_runs(folder) if run.decision == history.ACTIVATED]
    older = activated[activated.index(active) + 1 :] if active in activated else activated
    for candidate in older:
        try:
            load_checkpoint(folder, candidate, base)
        except CheckpointError:
            continue
        return candidate if active != checkpoints.BASE else checkpoints.BASE
    return checkpoints.BASE
