"""The methods of learning: each takes the same material and gives the files of a checkpoint and how to embed with it.

`head` moves stored vectors by a matrix; `full` trains the small encoder itself. Knows nothing of the gate.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from codekin.errors import LearningError
from codekin.learning.ground import Told, lay_ground
from codekin.learning.heads import whitening
from codekin.learning.judging import measure
from codekin.learning.loop import Passed, Training
from codekin.learning.material import Embed, Material
from codekin.learning.pieces import Piece, split
from codekin.learning.train_encoder import SHARES, Pupil, between
from codekin.learning.train_head import Sides, accuracy_of, train_head
from codekin.learning.triplets import Mined, Mix, mine_some, mine_triplets
from codekin.learning.unfinished import NOWHERE, Unfinished
from codekin.models.checkpoints import head_files
from codekin.models.heads import apply_head, head_space
from codekin.seams import Embedder, Vectors

UNSEEN_TRIPLETS = 500
"""At most so many triplets of held-out code tell the triplet accuracy."""

VALIDATION = 0.3
"""Files below this share that are not held out choose the epoch and the place between base and trained weights."""

VALIDATED = 100
NOTHING = "No two functions share a pattern: there is nothing to learn from yet."


def no_pupil() -> Pupil:
    """Where nothing can be trained."""
    raise LearningError("This model's weights are not at hand: take the method head.")


@dataclass(frozen=True, slots=True)
class Base:
    """The model that is learned on, and what embeds with it; vectors are kept from run to run.

    `pupil` opens what of it can be trained. `keep` takes an epoch's figures, files and space of its checkpoint;
    `unfinished` names the place for the state of a run with these texts and choices.
    """

    embedder: Embedder
    embed: Embed
    pupil: Callable[[], Pupil] = field(default=no_pupil)
    keep: Callable[[dict[str, Any], Mapping[str, bytes], str], None] = lambda *_: None
    unfinished: Callable[..., Unfinished] = lambda *_: NOWHERE


@dataclass(frozen=True, slots=True)
class Taught:
    """What came out: a checkpoint's files, the space it opens, how texts embed in it, triplets, a note, epochs."""

    files: Mapping[str, bytes]
    space: str
    embed: Embed
    triplets: int
    note: str
    epochs: list[dict[str, float]]


def teach(method: str, base: Base, material: Material, order: tuple[Mix, Training], told: Told) -> Taught:
    """Learns by a method. Raises LearningError where there is nothing to learn from or the model cannot learn so."""
    return _teach_head(base, material, order, told) if method == "head" else _teach_encoder(base, material, order, told)


def _teach_head(base: Base, material: Material, order: tuple[Mix, Training], told: Told) -> Taught:
    mix, training = order
    mined = _mined(material.learned, material.vectors, mix, material.changed)
    start = whitening(material.vectors, [piece.fragment.language for piece in material.learned])
    sides = _beside(
        _sides(material.learned, material.vectors, mined), _named(base, material, len(mined.rows), mix.seed)
    )
    unseen = mine_some(material.held, material.held_vectors, Mix(UNSEEN_TRIPLETS))
    unseen_sides = _sides(material.held, material.held_vectors, unseen)
    judge = _judge_of(material.held, material.learned)

    def figures(passed: Passed | None, head: Vectors | None) -> dict[str, float]:
        found = judge(base.embed if head is None else lambda texts: apply_head(head, base.embed(texts)))
        return _epoch(passed, map=found, **({"accuracy": accuracy_of(head, unseen_sides)} if unseen.rows else {}))

    epochs, head = [figures(None, None)], start
    for passed, matrix in train_head(sides, start, training):
        head = matrix
        epochs.append(figures(passed, head))
        base.keep(epochs[-1], head_files(head), head_space(base.embedder.space, head))
        told("training", passed.number, training.epochs)
    space, final = head_space(base.embedder.space, head), head
    embed: Embed = lambda texts: apply_head(final, base.embed(texts))  # noqa: E731
    return Taught(head_files(head), space, embed, len(mined.rows), mined.note, epochs)


def _teach_encoder(base: Base, material: Material, order: tuple[Mix, Training], told: Told) -> Taught:
    """Full training with early stopping and interpolation, both by files that neither triplets nor the gate use."""
    pupil, (mix, training) = base.pupil(), order
    rest, validation = split(material.learned, VALIDATION)
    rows = {id(piece): row for piece, row in zip(material.learned, material.vectors, strict=True)}
    mined = _mined(rest, np.asarray([rows[id(piece)] for piece in rest], np.float32), mix, material.changed)
    texts = tuple([rest[at].code for at in side] for side in zip(*(row[1:] for row in mined.rows), strict=True))
    judge = _judge_of(validation[:VALIDATED], rest[:VALIDATED])
    best, chosen = judge(base.embed), None
    epochs = [_epoch(None, validation=best)]
    steps: Callable[[int, int], None] = lambda done, total: told("training", done, total)  # noqa: E731
    for passed, begun, trained in pupil.train(texts, training, steps, base.unfinished(texts, training)):  # type: ignore[arg-type]
        found, weights = max(
            (
                (judge(pupil.local(mixed).embed), mixed)
                for mixed in (between(begun, trained, share) for share in SHARES)
            ),
            key=lambda pair: pair[0],
        )
        epochs.append(_epoch(passed, validation=found))
        base.keep(epochs[-1], pupil.files(weights), pupil.local(weights).space)
        if found <= best:
            break
        best, chosen = found, weights
    if chosen is None:
        raise LearningError(
            "Training the encoder made it find nothing better, so nothing was kept: more code may help."
        )
    local = pupil.local(chosen)
    return Taught(pupil.files(chosen), local.space, local.embed, len(mined.rows), mined.note, epochs)


def _judge_of(asked: Sequence[Piece], others: Sequence[Piece]) -> Callable[[Embed], float]:
    return lambda embed: measure(lay_ground(asked, others, embed, {})).mean()


def _mined(pieces: Sequence[Piece], vectors: Vectors, mix: Mix, changed: frozenset[str]) -> Mined:
    mined = mine_triplets(pieces, vectors, mix, changed)
    if not mined.rows:
        raise LearningError(NOTHING)
    return mined


def _sides(pieces: Sequence[Piece], vectors: Vectors, mined: Mined) -> Sides:
    """Vectors of anchors, positives and negatives, centred within their language as the search centres them."""
    centred = vectors.copy()
    names = np.asarray([piece.fragment.language for piece in pieces])
    for name in set(names.tolist()):
        centred[names == name] -= centred[names == name].mean(axis=0)
    rows = np.asarray([row[1:] for row in mined.rows], np.int64).reshape(-1, 3)
    return centred[rows[:, 0]], centred[rows[:, 1]], centred[rows[:, 2]]


def _named(base: Base, material: Material, most: int, seed: int) -> Sides:
    """Up to `most` names' words, the code that bears the name, and other code: they keep words and code together."""
    chosen = np.random.default_rng(seed).permutation(len(material.learned))[:most].tolist()
    pieces = [material.learned[at] for at in chosen]
    words, code = base.embed([piece.words for piece in pieces]), base.embed([piece.code for piece in pieces])
    centre = code.mean(axis=0)
    return words - centre, code - centre, np.roll(code, 1, axis=0) - centre


def _beside(one: Sides, other: Sides) -> Sides:
    anchor, positive, negative = (np.concatenate(pair) for pair in zip(one, other, strict=True))
    return anchor, positive, negative


def _epoch(passed: Passed | None, **more: float) -> dict[str, float]:
    """Figures of an epoch; those of number 0 are from before."""
    figures = {"loss": passed.loss, "seconds": passed.seconds} if passed else {}
    return {"epoch": passed.number if passed else 0, **figures, **more}
