"""One learning run in one workspace, from the changed code to the decision.

Reads the index, writes checkpoints and the history; it never writes the index. Who serves swaps the new model in
when the pointer `active` has moved. Knows nothing of processes, schedules or HTTP.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from codekin.errors import LearningError
from codekin.index import Index
from codekin.learning import history
from codekin.learning.gate import Decision, decide
from codekin.learning.ground import KeptVectors, Told, lay_ground
from codekin.learning.heads import whitening
from codekin.learning.judging import Gain, Ground, gain, measure
from codekin.learning.pieces import Piece, pieces_of, split
from codekin.learning.schedule import BY_SCHEDULE
from codekin.learning.train_head import Training, accuracy_of, train_head
from codekin.learning.triplets import Mined, Mix, analyze_triplets, mine_triplets, require_enough, spelled_out
from codekin.models import checkpoints
from codekin.models.heads import active_head, apply_head
from codekin.records import Fragment
from codekin.seams import Embedder, Vectors

HELD_OUT = 0.2
"""The share of files that no triplet uses."""

TRAINED_KINDS = ("role",)
"""Kinds of question that triplets resemble; the gate looks at the others, the report at all."""

JUDGED_KINDS = ("sentence", "renamed", "half", "version")


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
class Material:
    """What a run learns from: pieces with their vectors, those held out, changed names, earlier texts by name."""

    learned: list[Piece]
    vectors: Vectors
    held: list[Piece]
    changed: frozenset[str]
    earlier: Mapping[str, str]
    span: tuple[int, int]


class NothingNewError(LearningError):
    """Nothing changed since the last run; by night that is no reason to learn again."""


def learn(index: Index, folder: Path, embedder: Embedder, order: Order, told: Told) -> history.Run:
    """Trains on the workspace's code and activates the result if it is better; gives the run as noted.

    Raises LearningError where there is too little code; nothing has changed then but the history. The caller holds
    the learner's lock.
    """
    used = history.used_until(folder)
    run = history.begin_run(folder, order.asked_by, order.date, asdict(order))
    try:
        material = gather(index, embedder, used)
        _require_news(material, order)
        _run(folder, embedder, material, (order, run), told)
    except LearningError as error:
        history.end_run(folder, run, history.SKIPPED, str(error), {})
        if not isinstance(error, NothingNewError):
            raise
    except Exception as error:
        history.end_run(folder, run, history.FAILED, f"It failed: {error}", {})
        raise
    return history.runs(folder, 1)[0]


def gather(index: Index, embedder: Embedder, used: int) -> Material:
    """Reads the workspace's functions, their vectors in the embedder's space and what changed after `used`."""
    changes = index.changes(used)
    stored = {
        digest: row
        for digests, rows in index.vectors(embedder.space)
        for digest, row in zip(digests, rows, strict=True)
    }
    pieces = [piece for piece in pieces_of(_fragments(index)) if piece.fragment.digest in stored]
    require_enough(pieces)
    learned, held = split(pieces, HELD_OUT)
    vectors = np.asarray([stored[piece.fragment.digest] for piece in learned], np.float32)
    edits = [edit for change in changes for edit in change.edits]
    changed = frozenset(edit.name for edit in edits if edit.new_text)
    earlier = {edit.name: edit.old_text for edit in index_edits(index) if edit.old_text and edit.new_text}
    return Material(learned, vectors, held, changed, earlier, (used, changes[-1].seq if changes else used))


def mined_now(index: Index, embedder: Embedder, mix: Mix, used: int) -> dict[str, Any]:
    """What a run would learn from: triplets with texts and places, what they are like, a note."""
    material = gather(index, embedder, used)
    mined = mine_triplets(material.learned, material.vectors, mix, material.changed)
    found = spelled_out(material.learned, material.vectors, mined)
    return {"triplets": [asdict(one) for one in found], "analysis": analyze_triplets(found), "note": mined.note}


def _require_news(material: Material, order: Order) -> None:
    if order.asked_by == BY_SCHEDULE and material.span[0] and not material.changed:
        raise NothingNewError("Nothing changed since the last run.")


def index_edits(index: Index) -> list[Any]:
    """Every edit that the journal still holds, oldest first."""
    return [edit for change in index.changes(0) for edit in change.edits]


def _fragments(index: Index) -> list[Fragment]:
    return [
        fragment for path, state in index.files().items() if not state.skipped for fragment in index.fragments(path)
    ]


def _run(folder: Path, embedder: Embedder, material: Material, asked: tuple[Order, int], told: Told) -> None:
    """Mines, trains, measures, decides; ends the run in the history."""
    order, run = asked
    mined = mine_triplets(material.learned, material.vectors, order.mix, material.changed)
    if not mined.rows:
        raise LearningError("No two functions share a pattern: there is nothing to learn from yet.")
    ground = lay_ground(material.held, material.learned, KeptVectors(folder, embedder, told).embed, material.earlier)
    head, epochs = _trained(material, mined, order.training, ground, told)
    active = active_head(folder, embedder.space)
    old = active.matrix if active else None
    judged = _compare(ground, old, head, JUDGED_KINDS)
    decision = decide(judged, None, sum(question.kind in JUDGED_KINDS for question in ground.questions))
    report = {
        "triplets": len(mined.rows),
        "note": mined.note,
        "epochs": epochs,
        "questions": len(ground.questions),
        "judged": asdict(judged),
        "all": asdict(_compare(ground, old, head, ())),
        "from_base": asdict(_compare(ground, None, head, ())),
    }
    name = "" if order.dry_run else _keep(folder, head, embedder, (material, decision, report), asked)
    verdict = history.DRY_RUN if order.dry_run else history.ACTIVATED if decision.activate else history.KEPT
    history.end_run(folder, run, verdict, decision.reason, report, name, material.span)


def _keep(
    folder: Path,
    head: Vectors,
    embedder: Embedder,
    result: tuple[Material, Decision, Mapping[str, Any]],
    asked: tuple[Order, int],
) -> str:
    """Writes the checkpoint and, where it was decided so, points to it; gives its id."""
    (material, decision, report), (order, run) = result, asked
    name = f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{run}"
    meta = {
        "run": run,
        "method": order.method,
        "model": embedder.name,
        "base_space": embedder.space,
        "span": material.span,
        "reason": decision.reason,
        "report": report,
    }
    checkpoints.write_head(folder, name, head, meta)
    if decision.activate:
        checkpoints.point(folder, "active", name)
    checkpoints.retain(folder, order.keep)
    return name


def _trained(
    material: Material, mined: Mined, choices: Training, ground: Ground, told: Told
) -> tuple[Vectors, list[dict[str, float]]]:
    """The head after the last epoch, and what each epoch reached."""
    groups = [piece.fragment.language for piece in material.learned]
    start = whitening(material.vectors, groups)
    centred = _centred(material.vectors, groups)
    rows = np.asarray([row[1:] for row in mined.rows])
    sides = (centred[rows[:, 0]], centred[rows[:, 1]], centred[rows[:, 2]])
    reached = [{"epoch": 0, "loss": 0.0, "accuracy": accuracy_of(None, sides), "map": measure(ground).mean()}]
    head = start
    for epoch in train_head(sides, start, choices):
        head = epoch.head
        found = measure(ground, lambda vectors, head=head: apply_head(head, vectors)).mean()  # type: ignore[misc]
        reached.append(
            {
                "epoch": epoch.number,
                "loss": epoch.loss,
                "accuracy": epoch.accuracy,
                "map": found,
                "seconds": epoch.seconds,
            }
        )
        told("training", epoch.number, choices.epochs)
    return head, reached


def _centred(vectors: Vectors, groups: list[str]) -> Vectors:
    centred = vectors.copy()
    names = np.asarray(groups)
    for name in set(groups):
        centred[names == name] -= centred[names == name].mean(axis=0)
    return centred


def _compare(ground: Ground, old: Vectors | None, new: Vectors, kinds: tuple[str, ...]) -> Gain:
    before = measure(ground, _mover(old))
    return gain(before, measure(ground, _mover(new)), kinds)


def _mover(head: Vectors | None) -> Callable[[Vectors], Vectors] | None:
    return None if head is None else lambda vectors: apply_head(head, vectors)
