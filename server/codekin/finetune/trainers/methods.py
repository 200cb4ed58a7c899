"""The training methods: each takes a dataset and returns the files of a checkpoint and an embedding function.

`head` trains a matrix over stored vectors; `lora` and `full` train the encoder.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from codekin.errors import CodekinError, FinetuneError
from codekin.finetune.dataset.functions import FunctionSample
from codekin.finetune.dataset.training_set import (
    TrainingSet,
    build_training_set,
    centre_by_language,
    concatenate_triplets,
    triplet_vectors,
)
from codekin.finetune.dataset.triplets import TripletMix, mine_available_triplets
from codekin.finetune.dataset.workspace import EmbedFunction, WorkspaceDataset
from codekin.finetune.evaluation import ProgressCallback, build_evaluation_set, evaluate
from codekin.finetune.gate import select_gate_kinds
from codekin.finetune.trainers.encoder import (
    FULL,
    INTERPOLATION_SHARES,
    LORA,
    MAX_TOKENS,
    BaseModel,
    TrainableModel,
    interpolate_weights,
    load_trainable_model,
)
from codekin.finetune.trainers.head import head_accuracy, initial_head, train_head
from codekin.finetune.trainers.loop import EpochResult, TrainingOptions
from codekin.finetune.trainers.resume_state import NO_RESUME_STATE, ResumeState
from codekin.models import checkpoints, planner
from codekin.models.catalogue import ModelSpec, find_model
from codekin.models.checkpoints import head_files
from codekin.models.embedding.finetuned import apply_head, head_space, is_encoder_checkpoint, load_checkpoint
from codekin.models.embedding.local import BUNDLED_FOLDER
from codekin.models.embedding.remote import RemoteEmbedder
from codekin.models.fetching import locate_model
from codekin.protocols import Embedder, Vectors
from codekin.settings import ModelSettings, Settings

MAX_HELD_OUT_TRIPLETS = 500
"""At most so many triplets of held-out code measure the triplet accuracy."""

HEAD_PENALTY = 2.0
"""How a head is held near its beginning: with less, it fits roles and forgets what else makes code similar."""

AVERAGED_SHARES = (0.25, 0.5)
"""How much of an earlier head an average has."""

FULL_INTERPOLATION_SHARES = (0.0, 0.25, 0.5)
"""How far a whole encoder may be laid: all of the way does harm to some kind of question, whatever it is trained on."""

MAX_KIND_LOSS = 0.03
"""A place between the weights at which a kind of question falls by more is refused, whatever the others gain: by
less it falls by chance, among as many questions as validate."""

VIEW_PAIRS_PER_TRIPLET = {FULL: 3, LORA: 1}
"""Pairs of views for each triplet; a whole encoder has them in the triplets' batches, which grow by them."""

MAX_VALIDATION_SAMPLES = {FULL: 300, LORA: 100}
"""At most so many functions evaluate a tuned encoder, with as many distractors; a large encoder is slow."""

MAX_EPOCH_EVALUATION_SAMPLES = 100
"""At most so many held-out functions are queries after each epoch of an encoder."""


def no_trainable_model() -> TrainableModel:
    """Where nothing can be trained."""
    raise FinetuneError("This model's weights are not on this machine: take the method head.")


@dataclass(frozen=True, slots=True)
class TrainerDependencies:
    """The base model, and what embeds with it; vectors are kept from run to run.

    `trainable_model` opens what of it can be trained. `keep` takes an epoch's figures, and the files and the space
    of its checkpoint; `resume_state` names the place of the state of a run with these texts and options. `on_epoch`
    takes the figures of each epoch, those from before as number 0. `earlier_heads` are averaged with, where it helps.
    """

    embedder: Embedder
    embed: EmbedFunction
    trainable_model: Callable[[], TrainableModel] = field(default=no_trainable_model)
    keep: Callable[[dict[str, Any], Mapping[str, bytes], str], None] = lambda *_: None
    resume_state: Callable[..., ResumeState] = lambda *_: NO_RESUME_STATE
    on_epoch: Callable[[Mapping[str, Any]], None] = lambda _: None
    earlier_heads: Mapping[str, Vectors] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """What came out: a checkpoint's files, the space it opens, how texts embed in it, triplets, a note, epochs."""

    files: Mapping[str, bytes]
    space: str
    embed: EmbedFunction
    triplets: int
    note: str
    epochs: list[dict[str, float]]
    sources: Mapping[str, int] = field(default_factory=dict)


def train(
    method: str,
    base: TrainerDependencies,
    dataset: WorkspaceDataset,
    config: tuple[TripletMix, TrainingOptions],
    on_progress: ProgressCallback,
) -> TrainingResult:
    """Trains by a method. Raises FinetuneError where there is nothing to train on or the model cannot be trained so."""
    if method == "head":
        return _train_head(base, dataset, config, on_progress)
    return _train_encoder(method, base, dataset, config, on_progress)


def _train_head(
    base: TrainerDependencies,
    dataset: WorkspaceDataset,
    config: tuple[TripletMix, TrainingOptions],
    on_progress: ProgressCallback,
) -> TrainingResult:
    """A head that begins where the workspace itself suggests and follows triplets and views as far as it helps."""
    mix, training = config
    training_set = build_training_set(dataset, mix)
    views, start = base.embed(training_set.view_texts), _initial_head_of(base, training_set)
    unseen = mine_available_triplets(dataset.held_out, dataset.held_out_vectors, TripletMix(MAX_HELD_OUT_TRIPLETS))
    unseen_sides = triplet_vectors(dataset.held_out, dataset.held_out_vectors, unseen)
    held_out, validate = (
        make_validator(dataset.held_out, dataset.train_samples),
        make_validator(training_set.validation, training_set.samples),
    )

    def with_head(head: Vectors) -> EmbedFunction:
        return partial(_embed_with_head, head, base.embed)

    def figures(epoch_result: EpochResult | None, head: Vectors | None) -> dict[str, float]:
        found = held_out(base.embed if head is None else with_head(head))
        return _epoch_report(
            epoch_result, map=found, **({"accuracy": head_accuracy(head, unseen_sides)} if unseen.rows else {})
        )

    epochs, best = [figures(None, None)], (validate(with_head(start)), start)
    base.on_epoch(epochs[0])
    head_options = replace(training, pull=HEAD_PENALTY)
    for epoch_result, matrix in train_head(
        concatenate_triplets(training_set.triplet_sides(), training_set.view_sides(views)), start, head_options
    ):
        interpolated = [start + share * (matrix - start) for share in INTERPOLATION_SHARES]
        found, head = max(((validate(with_head(each)), each) for each in interpolated), key=lambda pair: pair[0])
        best = (found, head) if found > best[0] else best
        epochs.append({**figures(epoch_result, head), "validation": found})
        base.on_epoch(epochs[-1])
        base.keep(epochs[-1], head_files(head), head_space(base.embedder.space, head))
        on_progress("training", epoch_result.number, training.epochs)
    head, averaged = average_with_earlier(best, base.earlier_heads, lambda each: validate(with_head(each)))
    return TrainingResult(
        head_files(head),
        head_space(base.embedder.space, head),
        with_head(head),
        training_set.count,
        " ".join(filter(None, (training_set.note, averaged))),
        epochs,
        training_set.sources,
    )


def average_with_earlier(
    best: tuple[float, Vectors], earlier: Mapping[str, Vectors], validate: Callable[[Vectors], float]
) -> tuple[Vectors, str]:
    """The new head, or its average with an earlier one where files that validate are found better so; a note."""
    new, note = best[1], ""
    for name, head in earlier.items():
        for share in AVERAGED_SHARES if head.shape == new.shape else ():
            average = np.asarray((1 - share) * new + share * head, np.float32)
            if (found := validate(average)) > best[0]:
                best, note = (found, average), f"Averaged with the head of {name} ({share:.0%})."
    return best[1], note


def _train_encoder(
    method: str,
    base: TrainerDependencies,
    dataset: WorkspaceDataset,
    config: tuple[TripletMix, TrainingOptions],
    on_progress: ProgressCallback,
) -> TrainingResult:
    """Training of the encoder with early stopping and interpolation, both by files that nothing else uses.

    Over a whole encoder lies the head that the base's vectors suggest.
    """
    trainable_model, (mix, options) = base.trainable_model(), config
    training_set = build_training_set(dataset, mix, VIEW_PAIRS_PER_TRIPLET[method])
    texts = training_set.texts
    training = (
        replace(options, batch_size=options.batch_size * len(texts[0]) // training_set.count)
        if method == FULL
        else options
    )
    most = MAX_VALIDATION_SAMPLES[method]
    validate = make_validator(training_set.validation[:most], training_set.samples[:most], base.embed)
    head, shares = (
        (_initial_head_of(base, training_set), FULL_INTERPOLATION_SHARES)
        if method == FULL
        else (None, INTERPOLATION_SHARES)
    )
    best, chosen = validate(base.embed), None
    epochs = [_epoch_report(None, validation=best, **_evaluate_held_out(dataset, base.embed))]
    base.on_epoch(epochs[0])
    steps: Callable[[int, int], None] = lambda done, total: on_progress("training", done, total)  # noqa: E731
    resume_state = base.resume_state(texts, training)
    for epoch_result, initial, trained in trainable_model.train(texts, training, steps, resume_state, head):
        places = [interpolate_weights(initial, trained, share) for share in shares]
        tried = [(weights, trainable_model.local(weights, head)) for weights in places]
        found, (weights, local) = max(((validate(one[1].embed), one) for one in tried), key=lambda pair: pair[0])
        epochs.append(_epoch_report(epoch_result, validation=found, **_evaluate_held_out(dataset, local.embed)))
        base.on_epoch(epochs[-1])
        base.keep(epochs[-1], trainable_model.files(weights, head), local.space)
        if found <= best:
            break
        best, chosen = found, weights
    if chosen is None:
        raise FinetuneError(
            "Training the encoder made it find nothing better, so nothing was kept: more code may help."
        )
    local = trainable_model.local(chosen, head)
    return TrainingResult(
        trainable_model.files(chosen, head),
        local.space,
        local.embed,
        training_set.count,
        training_set.note,
        epochs,
        training_set.sources,
    )


def _embed_with_head(head: Vectors, embed: EmbedFunction, texts: Sequence[str]) -> Vectors:
    return apply_head(head, embed(texts))


def _initial_head_of(base: TrainerDependencies, training_set: TrainingSet) -> Vectors:
    """The head that the base's vectors of the workspace as it is today suggest."""
    views = base.embed(training_set.view_texts)
    today = [at for at, sample in enumerate(training_set.samples) if not sample.earlier]
    samples = [training_set.samples[at] for at in today]
    known = (centre_by_language(training_set.vectors[today], samples), [sample.chunk.text for sample in samples])
    return initial_head(known, (training_set.centred_views(views), training_set.view_texts), training_set.offset(views))


def _evaluate_held_out(dataset: WorkspaceDataset, embed: EmbedFunction) -> dict[str, float]:
    """Held-out MAP and triplet accuracy of an embedder, on a sample that is small enough for each epoch."""
    held_out = dataset.held_out[:MAX_EPOCH_EVALUATION_SAMPLES]
    unseen = mine_available_triplets(
        held_out, dataset.held_out_vectors[:MAX_EPOCH_EVALUATION_SAMPLES], TripletMix(MAX_EPOCH_EVALUATION_SAMPLES)
    )
    vectors = embed([sample.chunk.text for sample in held_out])
    accuracy = {"accuracy": head_accuracy(None, triplet_vectors(held_out, vectors, unseen))} if unseen.rows else {}
    return {"map": make_validator(held_out, dataset.train_samples[:MAX_EPOCH_EVALUATION_SAMPLES])(embed), **accuracy}


def make_validator(
    queried: Sequence[FunctionSample], others: Sequence[FunctionSample], before: EmbedFunction | None = None
) -> Callable[[EmbedFunction], float]:
    """MAP over the kinds of question that would decide; none at all where a kind falls too far below `before`."""

    def by_kind(embed: EmbedFunction) -> dict[str, float]:
        measured = evaluate(build_evaluation_set(queried, others, embed, {}))
        return measured.by_kind(select_gate_kinds(Counter(measured.kinds)))

    floors = {kind: found - MAX_KIND_LOSS for kind, found in by_kind(before).items()} if before else {}

    def validate_embedder(embed: EmbedFunction) -> float:
        found = by_kind(embed)
        harmed = any(found[kind] < floor for kind, floor in floors.items())
        return 0.0 if harmed or not found else float(np.mean(list(found.values())))

    return validate_embedder


def _epoch_report(epoch_result: EpochResult | None, **more: float) -> dict[str, float]:
    """Figures of an epoch; those of number 0 are from before."""
    figures = (
        {"loss": epoch_result.loss, "seconds": epoch_result.seconds, "batch": epoch_result.batch}
        if epoch_result
        else {}
    )
    return {"epoch": epoch_result.number if epoch_result else 0, **figures, **more}


MAX_BATCH_TEXTS = 144
"""Different texts of one batch at most: three of each of sixteen triplets, two of each of three pairs beside it."""


def require_configured_model(wanted: str, serving: str) -> None:
    """`finetune.model` names the one model that may be tuned; "auto" is whichever serves. Raises FinetuneError."""
    if wanted not in ("auto", serving):
        raise FinetuneError(
            f"finetune.model is {wanted}, but {serving} serves: nothing was trained. Set models.embedder to {wanted},"
            " or finetune.model to auto."
        )


def open_trainable_model(method: str, embedder: Embedder, settings: Settings) -> TrainableModel:
    """Opens what a method trains. Raises FinetuneError where that cannot be, with the method that can."""
    base_model = find_base_model(method, embedder, settings)
    trainable_model = load_trainable_model(base_model)
    if trainable_model.space != embedder.space:
        raise FinetuneError(
            f"The weights in {base_model.base} give other vectors than {embedder.name} does: take the method head."
        )
    return trainable_model


def find_base_model(method: str, embedder: Embedder, settings: Settings) -> BaseModel:
    """What to train. Raises FinetuneError where the model's weights are not here, too large, or not for this method."""
    model, folder = _find_weights(embedder, settings.models)
    small = model.architecture == "bert" and (model.bundled or model.folder is not None)
    if method == FULL and not small:
        raise FinetuneError(f"{model.key} is too large to train with all its weights: take the method lora or head.")
    device = planner.choose_device(settings.models.device)
    dtype = settings.models.dtype if settings.models.dtype in ("float32", "bfloat16", "float16") else "auto"
    _require_memory(method, model, device)
    return BaseModel(method, model, folder, device, dtype)


def open_serving_embedder(folder: Path, embedder: Embedder, socket: str, root: Path) -> Embedder:
    """What serves in the workspace now: a trained encoder through the daemon, which holds it. Raises ModelError."""
    name = checkpoints.read_pointer(folder)
    if name == checkpoints.BASE:
        return embedder
    return (
        RemoteEmbedder(socket, root=str(root))
        if is_encoder_checkpoint(folder, name)
        else load_checkpoint(folder, name, embedder)
    )


def _find_weights(embedder: Embedder, settings: ModelSettings) -> tuple[ModelSpec, Path]:
    """The catalogue's row of the model that serves, and the folder of its weights."""
    for name in dict.fromkeys((embedder.name, settings.embedder)):
        try:
            model = find_model(name, settings.catalogue)
            folder = BUNDLED_FOLDER if model.bundled else locate_model(model, settings.dir)
        except CodekinError:
            continue
        if folder is not None:
            return model, folder
    raise FinetuneError(f"The weights of {embedder.name} are not on this machine: take the method head.")


def _activation_bytes(model: ModelSpec) -> int:
    """The bytes that a batch leaves behind in all layers until its gradients are there, in 16 bits."""
    return MAX_BATCH_TEXTS * MAX_TOKENS * model.layers * (12 * model.hidden + 4 * model.inner) * 2


def _require_memory(method: str, model: ModelSpec, device: str) -> None:
    """Refuses at once what would end without memory in an hour."""
    needed = planner.memory_need(model, "bfloat16", MAX_TOKENS * MAX_BATCH_TEXTS).total
    needed += _activation_bytes(model) if method == FULL else 0
    free = planner.free_memory(device)
    if needed > free:
        raise FinetuneError(
            f"Training {model.key} takes {planner.format_gigabytes(needed)} and"
            f" {planner.format_gigabytes(free)} are free:"
            " close other programs or take the method head."
        )
