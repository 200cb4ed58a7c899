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
from codekin.learning.ground import Told, lay_ground, remembering
from codekin.learning.heads import beginning, identity
from codekin.learning.judging import measure
from codekin.learning.lesson import Lesson, beside, centred, prepare, sides
from codekin.learning.loop import Passed, Training
from codekin.learning.material import Embed, Material
from codekin.learning.pieces import Piece
from codekin.learning.train_encoder import FULL, LORA, SHARES, Pupil, Weights, between
from codekin.learning.train_head import accuracy_of, train_head
from codekin.learning.triplets import Mix, mine_some
from codekin.learning.unfinished import NOWHERE, Unfinished
from codekin.models.checkpoints import head_files
from codekin.models.heads import apply_head, head_space
from codekin.seams import Embedder, Vectors

UNSEEN_TRIPLETS = 500
"""At most so many triplets of held-out code tell the triplet accuracy."""

HEAD_PULL = 0.5
"""How a head is held near its beginning: without, it learns roles and forgets what else makes code alike."""

HEAD_SHARES = (0.5, 1.0)
"""How far a head may be laid on a tuned encoder, and on the base."""

WORST_OF_KIND = 0.01
"""A place between the weights at which a kind of question falls by more is refused, whatever the others gain."""

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

    Over a whole encoder lies the head that the base's vectors suggest, as far as it helps.
    """
    pupil, (mix, training) = base.pupil(), order
    lesson = prepare(material, mix)
    most = VALIDATED[method]
    validate = judge_of(lesson.validation[:most], lesson.pieces[:most], base.embed)
    heads, shares = (_laid_heads(base, lesson), (0.0, *SHARES)) if method == FULL else ([None], SHARES)
    best, chosen = validate(base.embed), None
    epochs = [_epoch(None, validation=best, **_on_unseen(material, base.embed))]
    steps: Callable[[int, int], None] = lambda done, total: told("training", done, total)  # noqa: E731
    texts, unfinished = lesson.texts, base.unfinished(lesson.texts, training)
    for passed, begun, trained in pupil.train(texts, training, steps, unfinished, heads[-1]):
        laid = [between(begun, trained, share) for share in shares]
        found, weights, head = max(
            (_best_head(pupil.local(each).embed, heads, validate, each) for each in laid), key=lambda one: one[0]
        )
        local = pupil.local(weights, head)
        epochs.append(_epoch(passed, validation=found, **_on_unseen(material, local.embed)))
        base.keep(epochs[-1], pupil.files(weights, head), local.space)
        if found <= best:
            break
        best, chosen = found, (weights, head)
    if chosen is None:
        raise LearningError(
            "Training the encoder made it find nothing better, so nothing was kept: more code may help."
        )
    local = pupil.local(*chosen)
    return Taught(pupil.files(*chosen), local.space, local.embed, lesson.count, lesson.note, epochs)


def _laid_heads(base: Base, lesson: Lesson) -> list[Vectors | None]:
    """None, and the head that the workspace suggests, some of the way and all of it."""
    start = _suggested(base, lesson)
    plain = identity(len(start))
    return [None, *(plain + share * (start - plain) for share in HEAD_SHARES)]


def _best_head(
    embed: Embed, heads: Sequence[Vectors | None], validate: Callable[[Embed], float], weights: Weights
) -> tuple[float, Weights, Vectors | None]:
    """The score of an encoder with these weights under the head that suits it best, and both."""
    known = remembering(embed)
    embeds = [known if head is None else partial(_under, head, known) for head in heads]
    scores = [validate(each) for each in embeds]
    best = int(np.argmax(scores))
    return scores[best], weights, heads[best]


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
