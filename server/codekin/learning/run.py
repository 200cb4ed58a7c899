"""One learning run in one workspace, from the changed code to the decision.

Reads the index, writes checkpoints and the history; it never writes the index. Who serves swaps the new model in
when the pointer `active` has moved. Knows nothing of processes, schedules or HTTP.
"""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from codekin.errors import LearningError
from codekin.index import Index
from codekin.learning import history
from codekin.learning.gate import Decision, decide
from codekin.learning.general import general_ground
from codekin.learning.ground import KeptVectors, Told, lay_ground
from codekin.learning.judging import Measured, gain, measure
from codekin.learning.loop import Training
from codekin.learning.material import Embed, Material, gather
from codekin.learning.schedule import BY_SCHEDULE
from codekin.learning.teaching import Base, Taught, teach
from codekin.learning.triplets import Mix
from codekin.models import checkpoints
from codekin.models.learned import active_embedder
from codekin.seams import Embedder

JUDGED_KINDS = ("sentence", "renamed", "half", "version")
"""Kinds of question that no triplet resembles decide; `role`, which triplets do resemble, is reported beside them."""


@dataclass(frozen=True, slots=True)
class Order:
    """What a run shall do."""

    mix: Mix
    training: Training
    method: str = "head"
    asked_by: str = "user"
    date: str = ""
    dry_run: bool = False
    keep: int = 5


@dataclass(frozen=True, slots=True)
class Conclusion:
    """What a run came to; without a `checkpoint` it was a dry one."""

    run: int
    checkpoint: str
    decision: Decision
    report: Mapping[str, Any]
    span: tuple[int, int]
    keep: int = 5


class NothingNewError(LearningError):
    """Nothing changed since the last run; by night that is no reason to learn again."""


def learn(index: Index, folder: Path, embedder: Embedder, order: Order, told: Told) -> history.Run:
    """Trains on the workspace's code and activates the result if it is better; gives the run as noted.

    Raises LearningError where there is too little code; nothing has changed then but the history. The caller holds
    the learner's lock.
    """
    used = history.used_until(folder)
    run = history.begin_run(folder, order.asked_by, order.date, asdict(order))
    base = Base(embedder, KeptVectors(folder, embedder, told).embed)
    try:
        material = gather(index, embedder.space, base.embed, used)
        _require_news(material, order)
        taught = teach(order.method, base, material, (order.mix, order.training), told)
        decision, report = _judged(folder, base, material, taught, told)
        name = "" if order.dry_run else f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{run}"
        about = {"method": order.method, "model": embedder.name, "base_space": embedder.space, "space": taught.space}
        conclude(folder, Conclusion(run, name, decision, report, material.span, order.keep), taught.files, about)
    except LearningError as error:
        history.end_run(folder, run, history.SKIPPED, str(error), {})
        if not isinstance(error, NothingNewError):
            raise
    except Exception as error:
        history.end_run(folder, run, history.FAILED, f"It failed: {error}", {})
        raise
    return history.runs(folder, 1)[0]


def conclude(folder: Path, found: Conclusion, files: Mapping[str, bytes], about: Mapping[str, Any]) -> None:
    """Writes the checkpoint, points to it if it was decided so, then notes the run's end.

    Killed at any point the pointer names a whole checkpoint; `history` finds out by it whether the run had ended.
    """
    verdict = history.KEPT if found.checkpoint else history.DRY_RUN
    if found.checkpoint:
        meta = {**about, "run": found.run, "span": found.span, "reason": found.decision.reason, "report": found.report}
        checkpoints.write_checkpoint(folder, found.checkpoint, files, meta)
        if found.decision.activate:
            checkpoints.point(folder, "active", found.checkpoint)
            verdict = history.ACTIVATED
    history.end_run(folder, found.run, verdict, found.decision.reason, found.report, found.checkpoint, found.span)
    checkpoints.retain(folder, found.keep)


def _require_news(material: Material, order: Order) -> None:
    if order.asked_by == BY_SCHEDULE and material.span[0] and not material.changed:
        raise NothingNewError("Nothing changed since the last run.")


def _judged(
    folder: Path, base: Base, material: Material, taught: Taught, told: Told
) -> tuple[Decision, dict[str, Any]]:
    """The decision and its figures: the new model against the one that serves, and both against the base."""
    served = active_embedder(folder, base.embedder)
    serving = base.embed if served is base.embedder else KeptVectors(folder, served, told).embed
    shared = KeptVectors(folder.parent, base.embedder, told).embed
    now, new, begun = (_measured(material, embed) for embed in (serving, taught.embed, base.embed))
    judged = gain(now, new, JUDGED_KINDS)
    general = gain(measure(general_ground(shared)), measure(general_ground(taught.embed)))
    decision = decide(judged, general, sum(kind in JUDGED_KINDS for kind in new.kinds))
    report = {
        "triplets": taught.triplets,
        "note": taught.note,
        "epochs": taught.epochs,
        "questions": len(new.kinds),
        "judged": asdict(judged),
        "all": asdict(gain(now, new)),
        "from_base": asdict(gain(begun, new, JUDGED_KINDS)),
        "general": asdict(general),
    }
    return decision, report


def _measured(material: Material, embed: Embed) -> Measured:
    return measure(lay_ground(material.held, material.learned, embed, material.earlier))
