"""One learning run in one workspace, from the changed code to the decision.

Reads the index, writes checkpoints and the history; it never writes the index. Who serves swaps the new model in
when the pointer `active` has moved. Knows nothing of processes, schedules or HTTP.
"""

import errno
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from codekin.errors import CheckpointError, LearningError, NothingToLearnError
from codekin.index import Index
from codekin.learning import history
from codekin.learning.gate import Decision, decide, deciding
from codekin.learning.general import general_ground
from codekin.learning.ground import KeptVectors, Told, lay_ground
from codekin.learning.judging import Measured, gain, measure
from codekin.learning.loop import Training
from codekin.learning.material import Embed, Material, Past, gather
from codekin.learning.schedule import BY_SCHEDULE
from codekin.learning.teaching import Base, Taught, teach
from codekin.learning.train_encoder import Pupil
from codekin.learning.triplets import Mix
from codekin.learning.unfinished import Unfinished, forget_unfinished
from codekin.models import checkpoints
from codekin.models.learned import active_embedder
from codekin.seams import Embedder
from codekin.settings import Settings


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


@dataclass(frozen=True, slots=True)
class AtHand:
    """What is opened only if a run needs it: the model to train by a method, what serves now, and earlier texts."""

    pupil: Callable[[str], Pupil]
    serving: Callable[[], Embedder]
    past: Past = lambda _: {}


Keep = Callable[[dict[str, Any], Mapping[str, bytes], str], None]
"""Takes the figures, the files and the space of an epoch."""


def loaded_here(folder: Path, embedder: Embedder, past: Past = lambda _: {}) -> AtHand:
    """For a model that is loaded in this process."""
    from codekin.learning.subject import open_pupil  # noqa: PLC0415 - brings the hub's library

    return AtHand(
        lambda method: open_pupil(method, embedder, Settings()), lambda: active_embedder(folder, embedder), past
    )


def learn(  # noqa: PLR0913, PLR0917 - what a run needs
    index: Index, folder: Path, embedder: Embedder, order: Order, told: Told, at_hand: AtHand | None = None
) -> history.Run:
    """Trains on the workspace's code and activates the result if it is better; gives the run as noted.

    Raises NothingToLearnError where there is too little code, except by night; nothing has changed then but the
    history. The caller holds the learner's lock.
    """
    used = history.used_until(folder)
    run = history.begin_run(folder, order.asked_by, order.date, asdict(order))
    at_hand = at_hand or loaded_here(folder, embedder)
    name = f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{run}"
    about = {"id": name, "run": run, "method": order.method, "model": embedder.name, "base_space": embedder.space}
    keep = (lambda *_: None) if order.dry_run else partial(_keep_epoch, folder, about)
    base = _base(folder, KeptVectors(folder, embedder, told), order, at_hand, keep)
    try:
        material = gather(index, embedder.space, base.embed, used, at_hand.past)
        _require_news(material, order)
        served, refusal = _served(at_hand, embedder)
        taught = teach(order.method, base, material, (order.mix, order.training), told)
        taught = replace(taught, note=" ".join(filter(None, (refusal, taught.note))))
        decision, report = _judged(folder, base, material, taught, told, served)
        found = Conclusion(run, "" if order.dry_run else name, decision, report, material.span, order.keep)
        conclude(folder, found, taught.files, {**about, "space": taught.space})
    except LearningError as error:
        history.end_run(folder, run, history.SKIPPED, str(error), {})
        forget_unfinished(folder)
        if order.asked_by != BY_SCHEDULE or not isinstance(error, NothingToLearnError):
            raise
    except MemoryError as error:
        history.end_run(folder, run, history.FAILED, out_of_memory(order.method), {})
        raise LearningError(out_of_memory(order.method)) from error
    except OSError as error:
        reason = disk_full(folder) if error.errno == errno.ENOSPC else f"It failed: {error}"
        with suppress(LearningError):  # a history that cannot be written either finds out at the next run
            history.end_run(folder, run, history.FAILED, reason, {})
        if error.errno == errno.ENOSPC:
            raise LearningError(reason) from error
        raise
    except Exception as error:
        history.end_run(folder, run, history.FAILED, f"It failed: {error}", {})
        raise
    forget_unfinished(folder)
    return history.runs(folder, 1)[0]


def _served(at_hand: AtHand, embedder: Embedder) -> tuple[Embedder, str]:
    """What serves now: the model as it came where the checkpoint that is named is refused, with a sentence on that."""
    try:
        return at_hand.serving(), ""
    except CheckpointError as error:
        return embedder, f"{error} The model as it came serves meanwhile, and what was learned is measured against it."


def _base(folder: Path, kept: KeptVectors, order: Order, at_hand: AtHand, keep: Keep) -> Base:
    """The model that is learned on, with where its epochs and the state of an unfinished run are kept."""

    def unfinished(texts: Any, training: Training) -> Unfinished:
        return Unfinished(folder, order.method, kept.embedder.space, training, texts)

    return Base(kept.embedder, kept.embed, lambda: at_hand.pupil(order.method), keep, unfinished)


def _keep_epoch(
    folder: Path, about: Mapping[str, Any], epoch: dict[str, Any], files: Mapping[str, bytes], space: str
) -> None:
    """Writes the checkpoint of an epoch."""
    epoch["checkpoint"] = f"{about['id']}-e{epoch['epoch']}"
    checkpoints.write_checkpoint(folder, epoch["checkpoint"], files, {**about, "space": space, "figures": epoch})


def out_of_memory(method: str) -> str:
    """What to do about it, in a sentence."""
    less = {"full": "take the method lora or head", "lora": "take the method head"}.get(method, "close other programs")
    return f"Memory ran out even for one triplet at a time: {less}, which needs less; the old model serves on."


def disk_full(folder: Path) -> str:
    """What to do about it, in a sentence."""
    return f"The disk of {folder} is full: free some space and learn again; the old model serves on."


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
        raise NothingToLearnError("Nothing changed since the last run.")


def _judged(  # noqa: PLR0913, PLR0917 - old, new and what both are measured on
    folder: Path, base: Base, material: Material, taught: Taught, told: Told, served: Embedder
) -> tuple[Decision, dict[str, Any]]:
    """The decision and its figures: the new model against the one that serves, and both against the base."""
    serving = base.embed if served.space == base.embedder.space else KeptVectors(folder, served, told).embed
    shared = KeptVectors(folder.parent, base.embedder, told).embed
    now, new, begun = (_measured(material, embed) for embed in (serving, taught.embed, base.embed))
    counts = Counter(new.kinds)
    kinds = deciding(counts)
    judged = gain(now, new, kinds)
    general = gain(measure(general_ground(shared)), measure(general_ground(taught.embed)))
    decision = decide(judged, general, sum(counts[kind] for kind in kinds))
    report = {
        "better": decision.activate,
        "triplets": taught.triplets,
        "note": taught.note,
        "epochs": taught.epochs,
        "questions": len(new.kinds),
        "counts": dict(counts),
        "judged": asdict(judged),
        "all": asdict(gain(now, new)),
        "from_base": asdict(gain(begun, new, kinds)),
        "general": asdict(general),
    }
    return decision, report


def _measured(material: Material, embed: Embed) -> Measured:
    return measure(lay_ground(material.held, material.learned, embed, material.earlier))
