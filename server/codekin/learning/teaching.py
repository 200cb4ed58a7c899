"""The methods of learning: each takes the same material and gives the files of a checkpoint and how to embed with it.

`head` moves stored vectors by a matrix; `full` trains the small encoder itself. Knows nothing of the gate.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from codekin.errors import LearningError
from codekin.learning.gate import deciding
from codekin.learning.ground import Told, lay_ground
from codekin.learning.heads import beginning
from codekin.learning.judging import measure
from codekin.learning.lesson import Lesson, beside, centred, prepare, sides
from codekin.learning.loop import Passed, Training
from codekin.learning.material import Embed, Material
from codekin.learning.pieces import Piece
from codekin.learning.train_encoder import FULL, LORA, SHARES, Pupil, between
from codekin.learning.train_head import accuracy_of, train_head
from codekin.learning.triplets import Mix, mine_some
from codekin.learning.unfinished import NOWHERE, Unfinished
from codekin.models.checkpoints import head_files
from codekin.models.heads import apply_head, head_space
from codekin.seams import Embedder, Vectors

UNSEEN_TRIPLETS = 500
"""At most so many triplets of held-out code tell the triplet accuracy."""

HEAD_PULL = 2.0
"""How a head is held near its beginning: with less, it learns roles and forgets what else makes code alike."""

GENTLE = (0.0, 0.25, 0.5)
"""How far a whole encoder may be laid: all of the way does harm to some kind of question, whatever it learns by."""

WORST_OF_KIND = 0.03
"""A place between the weights at which a kind of question falls by more is refused, whatever the others gain: by
less it falls by chance, among as many questions as validate."""

PAIRS = {FULL: 3, LORA: 1}
"""Pairs of views for each triplet; a whole encoder has them in the triplets' batches, which grow by them."""

VALIDATED = {FULL: 300, LORA: 100}
"""At most so many functions tell how good a tuned encoder is, and as many stand beside; a large one reads slowly."""

UNSEEN = 100
"""At most so many held-out functions are asked after each epoch of an encoder."""


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
    if method == "head":
        return _teach_head(base, material, order, told)
    return _teach_encoder(method, base, material, order, told)


def _teach_head(base: Base, material: Material, order: tuple[Mix, Training], told: Told) -> Taught:
    """A head that begins where the workspace itself suggests and follows triplets and views as far as it helps."""
    mix, training = order
    lesson = prepare(material, mix)
    views, start = base.embed(lesson.view_texts), _suggested(base, lesson)
    unseen = mine_some(material.held, material.held_vectors, Mix(UNSEEN_TRIPLETS))
    unseen_sides = sides(material.held, material.held_vectors, unseen)
    held, validate = judge_of(material.held, material.learned), judge_of(lesson.validation, lesson.pieces)

    def with_head(head: Vectors) -> Embed:
        return partial(_under, head, base.embed)

    def figures(passed: Passed | None, head: Vectors | None) -> dict[str, float]:
        found = held(base.embed if head is None else with_head(head))
        return _epoch(passed, map=found, **({"accuracy": accuracy_of(head, unseen_sides)} if unseen.rows else {}))

    epochs, best = [figures(None, None)], (validate(with_head(start)), start)
    heard = replace(training, pull=HEAD_PULL)
    for passed, matrix in train_head(beside(lesson.triplet_sides(), lesson.view_sides(views)), start, heard):
        laid = [start + share * (matrix - start) for share in SHARES]
        found, head = max(((validate(with_head(each)), each) for each in laid), key=lambda pair: pair[0])
        best = (found, head) if found > best[0] else best
        epochs.append({**figures(passed, head), "validation": found})
        base.keep(epochs[-1], head_files(head), head_space(base.embedder.space, head))
        told("training", passed.number, training.epochs)
    head = best[1]
    return Taught(
        head_files(head), head_space(base.embedder.space, head), with_head(head), lesson.count, lesson.note, epochs
    )


def _teach_encoder(method: str, base: Base, material: Material, order: tuple[Mix, Training], told: Told) -> Taught:
    """Training of the encoder with early stopping and interpolation, both by files that nothing else uses.

    Over a whole encoder lies the head that the base's vectors suggest.
    """
    pupil, (mix, choices) = base.pupil(), order
    lesson = prepare(material, mix, PAIRS[method])
    texts = lesson.texts
    training = (
        replace(choices, batch_size=choices.batch_size * len(texts[0]) // lesson.count) if method == FULL else choices
    )
    most = VALIDATED[method]
    validate = judge_of(lesson.validation[:most], lesson.pieces[:most], base.embed)
    head, shares = (_suggested(base, lesson), GENTLE) if method == FULL else (None, SHARES)
    best, chosen = validate(base.embed), None
    epochs = [_epoch(None, validation=best, **_on_unseen(material, base.embed))]
    steps: Callable[[int, int], None] = lambda done, total: told("training", done, total)  # noqa: E731
    unfinished = base.unfinished(texts, training)
    for passed, begun, trained in pupil.train(texts, training, steps, unfinished, head):
        places = [between(begun, trained, share) for share in shares]
        tried = [(weights, pupil.local(weights, head)) for weights in places]
        found, (weights, local) = max(((validate(one[1].embed), one) for one in tried), key=lambda pair: pair[0])
        epochs.append(_epoch(passed, validation=found, **_on_unseen(material, local.embed)))
        base.keep(epochs[-1], pupil.files(weights, head), local.space)
        if found <= best:
            break
        best, chosen = found, weights
    if chosen is None:
        raise LearningError(
            "Training the encoder made it find nothing better, so nothing was kept: more code may help."
        )
    local = pupil.local(chosen, head)
    return Taught(pupil.files(chosen, head), local.space, local.embed, lesson.count, lesson.note, epochs)


def _under(head: Vectors, embed: Embed, texts: Sequence[str]) -> Vectors:
    return apply_head(head, embed(texts))


def _suggested(base: Base, lesson: Lesson) -> Vectors:
    """The head that the base's vectors of the workspace as it is today suggest."""
    views = base.embed(lesson.view_texts)
    today = [at for at, piece in enumerate(lesson.pieces) if not piece.earlier]
    pieces = [lesson.pieces[at] for at in today]
    known = (centred(lesson.vectors[today], pieces), [piece.fragment.text for piece in pieces])
    return beginning(known, (lesson.centred_views(views), lesson.view_texts), lesson.offset(views))


def _on_unseen(material: Material, embed: Embed) -> dict[str, float]:
    """Held-out MAP and triplet accuracy of an embedder, on a sample that is small enough for each epoch."""
    held = material.held[:UNSEEN]
    unseen = mine_some(held, material.held_vectors[:UNSEEN], Mix(UNSEEN))
    vectors = embed([piece.fragment.text for piece in held])
    accuracy = {"accuracy": accuracy_of(None, sides(held, vectors, unseen))} if unseen.rows else {}
    return {"map": judge_of(held, material.learned[:UNSEEN])(embed), **accuracy}


def judge_of(asked: Sequence[Piece], others: Sequence[Piece], before: Embed | None = None) -> Callable[[Embed], float]:
    """MAP over the kinds of question that would decide; none at all where a kind falls too far below `before`."""

    def by_kind(embed: Embed) -> dict[str, float]:
        measured = measure(lay_ground(asked, others, embed, {}))
        return measured.by_kind(deciding(Counter(measured.kinds)))

    floors = {kind: found - WORST_OF_KIND for kind, found in by_kind(before).items()} if before else {}

    def judged(embed: Embed) -> float:
        found = by_kind(embed)
        harmed = any(found[kind] < floor for kind, floor in floors.items())
        return 0.0 if harmed or not found else float(np.mean(list(found.values())))

    return judged


def _epoch(passed: Passed | None, **more: float) -> dict[str, float]:
    """Figures of an epoch; those of number 0 are from before."""
    figures = {"loss": passed.loss, "seconds": passed.seconds, "batch": passed.batch} if passed else {}
    return {"epoch": passed.number if passed else 0, **figures, **more}
