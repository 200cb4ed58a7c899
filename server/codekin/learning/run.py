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
from codekin.learning import checkpoints, history
from codekin.learning.gate import Decision, decide
from codekin.learning.ground import KeptVectors, Told, lay_ground
from codekin.learning.heads import apply_head, whitening
from codekin.learning.judging import Gain, Ground, gain, measure
from codekin.learning.pieces import Piece, pieces_of, split
from codekin.learning.train_head import Training, accuracy_of, train_head
from codekin.learning.triplets import Mined, Mix, mine_triplets, require_enough
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


def learn(index: Index, folder: Path, embedder: Embedder, order: Order, told: Told) -> history.Run:
    """Trains a head on the workspace's vectors and activates it if it is better; gives the run as noted.

    Raises LearningError where there is too little code; nothing has changed then but the history.
    """
    material = gather(index, embedder, history.used_until(folder))
    run = history.begin_run(folder, order.asked_by, order.date, material.span, asdict(order))
    try:
        report, decision, checkpoint = _run(folder, embedder, material, (order, run), told)
    except Exception as error:
        reason = str(error) if isinstance(error, LearningError) else f"It failed: {error}"
        history.end_run(folder, run, "failed", reason, {})
        raise
    history.end_run(folder, run, _verdict(decision, order), decision.reason, report, checkpoint)
    return history.runs(folder, 1)[0]


def _verdict(decision: Decision, order: Order) -> str:
    if order.dry_run:
        return "dry run"
    return "activated" if decision.activate else "kept"


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
    return Material(learned, vectors, held, changed, earlier, (used, changes[-1].seq if changes else index.seq()))


def index_edits(index: Index) -> list[Any]:
    """Every edit that the journal still holds, oldest first."""
    return [edit for change in index.changes(0) for edit in change.edits]


def _fragments(index: Index) -> list[Fragment]:
    return [
        fragment for path, state in index.files().items() if not state.skipped for fragment in index.fragments(path)
    ]


def _run(
    folder: Path, embedder: Embedder, material: Material, asked: tuple[Order, int], told: Told
) -> tuple[dict[str, Any], Decision, str]:
    order, run = asked
    mined = mine_triplets(material.learned, material.vectors, order.mix, material.changed)
    if not mined.rows:
        raise LearningError("No two functions share a pattern: there is nothing to learn from yet.")
    ground = lay_ground(material.held, material.learned, KeptVectors(folder, embedder, told).embed, material.earlier)
    head, epochs = _trained(material, mined, order.training, ground, told)
    old = _active_head(folder, embedder)
    judged, everything = _compare(ground, old, head, JUDGED_KINDS), _compare(ground, old, head, ())
    decision = decide(judged, None, sum(question.kind in JUDGED_KINDS for question in ground.questions))
    report = {
        "triplets": len(mined.rows),
        "note": mined.note,
        "epochs": epochs,
        "questions": len(ground.questions),
        "judged": asdict(judged),
        "all": asdict(everything),
        "from_base": asdict(_compare(ground, None, head, ())),
    }
    if order.dry_run:
        return report, decision, ""
    name = f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{run}"
    meta = {
        "run": run,
        "method": "head",
        "model": embedder.name,
        "base_space": embedder.space,
        "span": material.span,
        **report,
    }
    checkpoints.write_head(folder, name, head, meta)
    if decision.activate:
        checkpoints.point(folder, "active", name)
    checkpoints.retain(folder, order.keep)
    return report, decision, name


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


def _active_head(folder: Path, embedder: Embedder) -> Vectors | None:
    """The head that serves now; None for the base."""
    name = checkpoints.pointed(folder)
    return (
        None if name == checkpoints.BASE else checkpoints.read_head(folder, name, embedder.space, embedder.dimensions)
    )
